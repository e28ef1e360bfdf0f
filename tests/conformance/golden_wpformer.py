"""How each kind of WPFormer golden case is checked; array names, seeds and tolerances as in its README.

The files hold no seeds: the README beside them does, unless cases.json or an array ``seed`` gives one. Stored maps are sampled; the
steps are read off the shapes.
"""

import copy
import functools
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from golden_files import DEFAULT_FOLDER, GoldenCase

from subband.methods.wpformer import checkpoint
from subband.methods.wpformer.backbone import build_backbone
from subband.methods.wpformer.dual_domain import haar_low_and_sum
from subband.methods.wpformer.loss import segmentation_loss
from subband.methods.wpformer.maps import prediction_map
from subband.methods.wpformer.network import WPFormer
from subband.methods.wpformer.positions import position_encoding

MASK_SEED = 1000  # added to the seed of the pictures


def manifest_path(golden: GoldenCase, variant: str) -> Path:
    path = golden.folder / f"manifest_{variant}.json"
    return path if path.is_file() else DEFAULT_FOLDER / "wpformer" / path.name


def manifest(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def published_state(rule: ModuleType, path: Path) -> dict[str, torch.Tensor]:
    """Every published tensor: filled by the rule, the fixed filters as they are."""
    described = manifest(path)
    kept = set(described["kept_as_is"])
    return {
        entry["name"]: haar(entry["name"], entry["shape"])
        if entry["name"] in kept
        else torch.from_numpy(rule.fill_value(entry["name"], tuple(entry["shape"])))
        for entry in described["state_dict"]
    }


def haar(name: str, shape: list[int]) -> torch.Tensor:
    return torch.tensor(checkpoint.HAAR[name.split(".")[-2]]).expand(shape).clone()


def case_of(golden: GoldenCase) -> tuple[str, int, int]:
    """Variant, side of the picture and seed."""
    variant, side = re.search(r"(b\d)_(\d+)", golden.file).groups()
    seed = golden.get("seed")
    if seed is None:
        seed = golden.stored("seed") if golden.has("seed") else documented_seed(golden)
    return variant, int(side), int(seed)


def documented_seed(golden: GoldenCase) -> int:
    """The first seed that a README names after the file: the folder's own, else the repository's."""
    for readme in (golden.folder / "README.md", DEFAULT_FOLDER / "wpformer" / "README.md"):
        text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
        if found := re.search(rf"`{re.escape(golden.file)}`.*?seed (\d+)", text, re.DOTALL):
            return int(found[1])
    raise AssertionError(
        f"the seed of {golden.file} is unknown; name it in cases.json, as the array seed, or in README.md"
    )


@functools.lru_cache(maxsize=1)  # cases of one variant follow each other
def filled_network(rule: ModuleType, path: Path, drop_rate: float = 0.1) -> WPFormer:
    described = manifest(path)
    network = WPFormer(
        build_backbone(described["backbone"], drop_rate, seed=0), described["channel"], dropout=drop_rate
    )
    checkpoint.load_whole(network, published_state(rule, path), path.name, "the golden network")
    return network


def sampled(full: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """`full` at the steps that leave the stored shape."""
    assert full.ndim == stored.ndim, f"{full.shape} against {stored.shape}"
    steps = [
        next(step for step in range(1, n + 1) if -(-n // step) == m)
        for n, m in zip(full.shape, stored.shape, strict=True)
    ]
    return full[tuple(slice(None, None, step) for step in steps)]


def traced(network: WPFormer, normalised: torch.Tensor) -> dict[str, torch.Tensor]:
    """What flows through the network, by the golden names."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, output: seen.update({name: output})

    hooks = [
        network.pyramid.register_forward_hook(
            lambda module, inputs, output: seen.update({f"c{i + 1}": each for i, each in enumerate(inputs[0])})
        ),
        *(network.pyramid.smooth[i].register_forward_hook(keep(f"d{i + 1}")) for i in range(3)),
        network.pyramid.pixels.register_forward_hook(keep("mask_features")),
        network.decoder.register_forward_hook(keep("queries0")),
    ]
    for i, stage in enumerate(network.stages):
        hooks.append(stage.register_forward_hook(keep(f"self{i}")))
        hooks.append(
            stage.self_attention.register_forward_hook(
                lambda module, inputs, output, i=i: seen.update({f"cross{i}": inputs[0]})
            )
        )
    try:
        predictions = network.logits(normalised)
    finally:
        for hook in hooks:
            hook.remove()
    return seen | {f"pred{i}": each[:, None] for i, each in enumerate(predictions.unbind(dim=1))}


@torch.inference_mode()
def check_forward(golden: GoldenCase) -> None:
    variant, side, seed = case_of(golden)
    network = filled_network(golden.rule, manifest_path(golden, variant)).eval()
    pictures = torch.from_numpy(golden.input(seed, (1, 3, side, side)))
    found = traced(network, pictures)
    for name in golden.names():
        if name != "seed":
            near_sampled(golden, found[name], name, 1e-3 if name.startswith("pred") else 2e-5)
    assert torch.equal(network.logits(pictures, final_only=True), found["pred4"])


def near_sampled(golden: GoldenCase, found: torch.Tensor, name: str, default: float) -> None:
    golden.near(sampled(found.detach().numpy(), golden.stored(name)), name, default)


def check_train(golden: GoldenCase) -> None:
    variant, side, seed = case_of(golden)
    path = manifest_path(golden, variant)
    network = copy.deepcopy(filled_network(golden.rule, path, drop_rate=0.0)).train()
    with torch.no_grad():
        for head in network.heads:
            for parameter in head.weigh.parameters():
                parameter *= 0.02
    pictures = torch.from_numpy(golden.input(seed, (2, 3, side, side)))
    masks = torch.from_numpy(golden.input(seed + MASK_SEED, (2, 1, side, side)) > 0.5).float()
    logits = network.logits(pictures)
    loss = segmentation_loss(logits, masks, form="probabilities")
    loss.total.backward()

    golden.close((loss.cross_entropy + loss.iou).detach(), "losses", 1e-5)
    golden.close(loss.total.detach(), "total", 1e-5)
    near_sampled(golden, logits[:, 4:], "pred4", 2e-4)
    gradients = {checkpoint.reference_name(name): each.grad for name, each in network.named_parameters()}
    golden.close(torch.cat([each.flatten() for each in gradients.values()]).norm(), "grad_norm", 1e-4)
    buffers = {checkpoint.reference_name(name): each for name, each in network.named_buffers() if name.count(".")}
    for name in golden.names():
        what, _, tensor = name.partition(":")
        if what == "grad":
            golden.close(gradients[tensor], name, 2e-3)
        elif what == "buffer":
            golden.near(buffers[tensor], name, 1e-5)

    published = {entry["name"] for entry in manifest(path)["state_dict"]}
    running = ("running_mean", "running_var", "num_batches_tracked")
    without = {name for name in published - set(gradients) if not name.endswith(running)}
    assert without == set(golden.stored("without_grad").tolist())


def check_loss(golden: GoldenCase) -> None:
    masks = torch.from_numpy(golden.stored("mask"))
    forms = ["probabilities", "logits"]
    if np.abs(golden.stored("logits")).max() > 15:
        forms = ["probabilities"]  # beyond float32 sigmoids only the published form has the published values
    for form in forms:
        logits = torch.from_numpy(golden.stored("logits")).requires_grad_()
        loss = segmentation_loss(logits, masks, form=form)
        loss.total.backward()
        golden.close([loss.total.item(), loss.iou.item(), loss.cross_entropy.item()], "values", 1e-5, form)
        golden.near(logits.grad, "grad", 1e-7)


def check_parts(golden: GoldenCase) -> None:
    for name in golden.names():
        if found := re.fullmatch(r"pe_(\d+)_(\d+)x(\d+)", name):
            size = (int(number) for number in found.groups())
            golden.near(position_encoding(torch.empty(1, *size))[None], name, 1e-6)
    source = golden.stored("wave_input")
    low, bands = haar_low_and_sum(torch.from_numpy(source))
    golden.near(low, "wave_LL", 1e-6)
    published = sum(golden.stored(f"wave_{band}").astype(np.float64) for band in checkpoint.HAAR)
    np.testing.assert_allclose(bands, published, rtol=0, atol=2e-6)
    rows, columns = (2 * (side // 2) for side in source.shape[2:])
    for band, filters in checkpoint.HAAR.items():
        blocks = source[:, :, :rows, :columns].reshape(*source.shape[:2], rows // 2, 2, columns // 2, 2)
        golden.near(np.einsum("bcirjs,rs->bcij", blocks, np.array(filters)), f"wave_{band}", 1e-6)


def check_maps(golden: GoldenCase) -> None:
    logits = torch.from_numpy(golden.stored("logits"))
    same_grey(prediction_map(logits, tuple(logits.shape), stretch=True), golden.stored("defect_net_size"))
    defect = golden.stored("defect")
    same_grey(prediction_map(logits, defect.shape, stretch=True), defect)
    if golden.has("object"):
        wanted = golden.stored("object")
        same_grey(prediction_map(logits, wanted.shape, "object", stretch=True), wanted)


def same_grey(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    difference = np.abs(found.astype(int) - wanted)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.99


CHECKS = {
    "b2": check_forward,
    "b4": check_forward,
    "train": check_train,
    "loss": check_loss,
    "parts": check_parts,
    "maps": check_maps,
}

KINDS = {**dict.fromkeys(CHECKS), "loss": "logits", "maps": "logits"}
