"""How each kind of WSF-ViT golden case is checked; array names, seeds and tolerances as in its README.

Weights come by rule for the names of a manifest; a file's name gives the variant and the size, hence the window.
"""

import functools
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from golden_files import DEFAULT_FOLDER, GoldenCase

from subband.methods.wsfvit import WSFViT, WSFViTFeatures
from subband.methods.wsfvit.architecture import ARCHITECTURES, size_problem
from subband.methods.wsfvit.checkpoint import load_checkpoint
from subband.methods.wsfvit.published import MODELS, PublishedModel

SAMPLES = 2048
PARTS = ("conv", "attn_local", "attn_inter", "attn_global")


def manifest(golden: GoldenCase, name: str) -> dict:
    path = golden.folder / f"manifest_{name}.json"
    path = path if path.is_file() else DEFAULT_FOLDER / "wsfvit" / path.name
    return json.loads(path.read_text(encoding="utf-8"))


def filled_state(rule: ModuleType, described: dict, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's tensors filled by the rule; the fixed filters as they are."""
    state = {}
    for name, tensor in own.items():
        if name in described["kept_buffers"]:
            state[name] = tensor
            continue
        value = torch.from_numpy(rule.fill_value(name, tuple(tensor.shape)))
        state[name] = value * 0.5 if name.endswith(tuple(described["halved_suffixes"])) else value
    return state


def model_of(golden: GoldenCase) -> PublishedModel:
    """The published model of the variant in the file's name whose windows divide the pictures."""
    height, width = (int(side) for side in golden.stored("input_shape")[2:])
    fitting = [
        model
        for model in MODELS.values()
        if model.variant == golden.kind.split("_")[0] and size_problem(height, width, model.window) is None
    ]
    assert fitting, f"{golden.file}: no published window divides {height} x {width} pixels"
    return fitting[0]


@functools.lru_cache(maxsize=1)  # cases of one model follow each other
def filled_network(rule: ModuleType, model: PublishedModel, described_text: str) -> WSFViT:
    network = WSFViT(ARCHITECTURES[model.variant], model.window, channel_heads=model.channel_heads)
    load_checkpoint(network, filled_state(rule, json.loads(described_text), network.state_dict()))
    return network.eval()


def sampled(tensor: torch.Tensor) -> np.ndarray:
    flat = tensor.detach().contiguous().flatten()
    return flat[np.linspace(0, len(flat) - 1, min(SAMPLES, len(flat))).astype(np.int64)].numpy()


def near_sampled(golden: GoldenCase, found: torch.Tensor, name: str, absolute: float | None = None) -> None:
    """Samples, shape and moments of a map."""
    std = float(golden.stored(f"{name}_std"))
    assert tuple(golden.stored(f"{name}_shape")) == tuple(found.shape)
    golden.near(sampled(found), name, 2e-4 * std if absolute is None else absolute)
    golden.near(found.detach().double().mean(), f"{name}_mean", 1e-5 * std)
    golden.near(found.detach().double().std(), f"{name}_std", 1e-4 * std)


def images_of(golden: GoldenCase) -> torch.Tensor:
    return torch.from_numpy(golden.input(int(golden.stored("seed")), golden.stored("input_shape")))


def traced(network: WSFViT, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """What flows through the network, by the golden names; maps as NCHW."""
    seen: dict[str, torch.Tensor] = {}
    first = network.stages[0].blocks[0]
    watched = {"dwt": network.stem.dwt_l2, "stem": network.stem}
    watched |= {f"s0b0_{part}": getattr(first, part) for part in PARTS}
    watched |= {f"stage{i}": stage for i, stage in enumerate(network.stages)}

    def keep(name: str):
        nhwc = "attn" in name
        return lambda module, inputs, out: seen.update({name: out.permute(0, 3, 1, 2) if nhwc else out})

    hooks = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
    try:
        seen["logits"] = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def check_classifier(golden: GoldenCase) -> None:
    model = model_of(golden)
    network = filled_network(golden.rule, model, json.dumps(manifest(golden, model.variant)))
    with torch.set_grad_enabled(golden.has("cam_class")):
        found = traced(network, images_of(golden))
    golden.near(found["logits"][0].detach(), "logits", 5e-5)
    for name in golden.names():
        if f"{name}_std" in golden.names():
            near_sampled(golden, found[name], name, 5e-6 if name == "dwt" else None)
    if golden.has("cam_class"):
        check_cam(golden, found["logits"][0], found["stage3"])


def check_cam(golden: GoldenCase, logits: torch.Tensor, maps: torch.Tensor) -> None:
    """Grad-CAM of the greatest logit at the last block."""
    assert logits.argmax() == golden.stored("cam_class")
    (gradient,) = torch.autograd.grad(logits.max(), maps)
    weights = gradient[0].mean(dim=(1, 2))
    golden.close(weights, "cam_weights", 1e-3)
    golden.close(torch.einsum("c,chw->hw", weights, maps[0]).detach(), "cam_raw", 1e-3)


def check_backbone(golden: GoldenCase) -> None:
    model = model_of(golden)
    features = WSFViTFeatures(
        WSFViT(ARCHITECTURES[model.variant], model.window, channel_heads=model.channel_heads), output_norms=True
    )
    described = manifest(golden, f"{model.variant}_backbone")
    load_checkpoint(features, filled_state(golden.rule, described, features.state_dict()))
    with torch.inference_mode():
        for i, maps in enumerate(features.eval()(images_of(golden))):
            near_sampled(golden, maps, f"feat{i}", 2e-4)


CHECKS = {**dict.fromkeys(ARCHITECTURES, check_classifier), "t_backbone": check_backbone}


def manifests(folder: Path = DEFAULT_FOLDER / "wsfvit") -> dict[str, dict]:
    """Manifests of classifiers and backbones, by file name without its beginning and ending."""
    found = {
        re.fullmatch(r"manifest_(.*)", path.stem)[1]: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("manifest_*.json"))
    }
    return {name: described for name, described in found.items() if name.split("_")[0] in ARCHITECTURES}
