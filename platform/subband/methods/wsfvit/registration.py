"""WSF-ViT in timm's registry, by the published names and by short ones for 224 pixels: ``timm.create_model("wsfvit_t")``.

Importing this module registers them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model, resolve_pretrained_cfg

from subband.errors import ModelError
from subband.methods.wsfvit.architecture import ARCHITECTURES, STRIDE
from subband.methods.wsfvit.checkpoint import load_checkpoint
from subband.methods.wsfvit.features import WSFViTFeatures
from subband.methods.wsfvit.network import WSFViT
from subband.methods.wsfvit.published import MODELS, PublishedModel

NAMES: Mapping[str, PublishedModel] = {
    **MODELS,
    **{f"wsfvit_{variant}": MODELS[f"wsfvit_{variant}_224"] for variant in ARCHITECTURES},
}
"""Every registered name, with the published model that it builds."""

_FEATURE_OPTIONS = ("output_norms", "frozen_batch_norm")


def _data_config(model: PublishedModel) -> dict[str, Any]:
    return {
        "input_size": (3, model.side, model.side),
        "pool_size": (model.window, model.window),
        "interpolation": "bicubic",
        "crop_pct": model.crop_pct,
        "crop_mode": "squash" if model.squashed else "center",
        "mean": model.mean,
        "std": model.std,
        "num_classes": 1000,
        "first_conv": "stem.conv1",
        "classifier": "head.fc",
    }


default_cfgs = generate_default_cfgs({name: _data_config(model) for name, model in NAMES.items()})


def create_wsfvit(
    name: str,
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    **options: Any,
) -> WSFViT | WSFViTFeatures:
    """What ``timm.create_model(name, ...)`` calls.

    Args:
        name: key of `NAMES`.
        pretrained: whether to load the checkpoint that ``file`` of the (overlaid) pretrained configuration names; there is no other
            source. Its last layer is left out if another number of classes than the configuration's 1000 is asked for, as in timm.
        pretrained_cfg: timm's; replaces the published data configuration.
        pretrained_cfg_overlay: timm's; replaces some of its fields.
        options: arguments of `WSFViT` (``window``, ``img_size``, ``channel_heads``, ``wavelet``, ``num_classes``,
            ``drop_path_rate``, ...); with ``features_only=True`` also those of `WSFViTFeatures`.

    Raises:
        ParamsError: an option has an illegal value.
        ModelError: `pretrained` without a file, or the file does not fit.
    """
    configuration = resolve_pretrained_cfg(name, pretrained_cfg, pretrained_cfg_overlay)
    if pretrained and not configuration.file:
        raise ModelError(
            f"{name}: its authors' weights lie on a file-sharing site, which a program cannot fetch. Download them in a "
            "browser and give the file with pretrained_cfg_overlay={'file': PATH}, or start from random weights with "
            "pretrained=False"
        )
    published = NAMES[name]
    options.setdefault("window", published.window)
    options.setdefault("channel_heads", published.channel_heads)
    options.pop("cache_dir", None)
    features = {key: options.pop(key) for key in _FEATURE_OPTIONS if key in options}
    if features and not options.get("features_only"):
        raise TypeError(f"{' and '.join(features)} need features_only=True")
    model: WSFViT | WSFViTFeatures = build_model_with_cfg(
        WSFViT,
        name,
        pretrained=False,
        pretrained_cfg=configuration.to_dict(),
        feature_cfg={"feature_cls": WSFViTFeatures, "out_indices": (0, 1, 2, 3), **features},
        architecture=ARCHITECTURES[published.variant],
        **options,
    )
    _tell_size(model, published, options.get("img_size"))
    if pretrained:
        replaced = isinstance(model, WSFViT) and model.num_classes != configuration.num_classes
        load_checkpoint(model, configuration.file, replace_head=replaced)
    return model


def _tell_size(model: Any, published: PublishedModel, img_size: int | tuple[int, int] | None) -> None:
    """Put the size of images into the data configuration: the one asked for, else the nearest that the windows divide."""
    unit = STRIDE * model.window
    side = max(1, round(published.side / unit)) * unit
    size = img_size or side
    height, width = (size, size) if isinstance(size, int) else size
    model.pretrained_cfg |= {"input_size": (3, height, width), "pool_size": (height // STRIDE, width // STRIDE)}


def _entrypoint(name: str) -> Callable[..., WSFViT | WSFViTFeatures]:
    def create(pretrained: bool = False, **options: Any) -> WSFViT | WSFViTFeatures:
        return create_wsfvit(name, pretrained, **options)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"WSF-ViT-{NAMES[name].variant.upper()} for {NAMES[name].side} pixels."
    return create


for _name in NAMES:
    globals()[_name] = register_model(_entrypoint(_name))
