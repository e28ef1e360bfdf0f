"""The whole detector: its size, its losses and detections, and that dividing a batch changes nothing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn

from subband.methods.wsfvit.detect.backbone import make_body
from subband.methods.wsfvit.detect.network import DetectionNetwork
from subband.methods.wsfvit.detect.params import WSFViTDetectionParams
from subband.nn.sync_batch_norm import SyncBatchNorm, synchronised
from tests.methods.detection_parts import batch, exhaustive, network, total

KINDS = ("mask-rcnn", "cascade")
COCO = tuple(f"class {number}" for number in range(80))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("kind", "variant", "whole", "published"),
    [
        ("mask-rcnn", "t", 42_648_028, 42.7),
        ("cascade", "t", 80_483_230, 80.5),
        ("cascade", "s", 98_937_170, 98.9),
        ("cascade", "m", 126_666_266, 126.7),
    ],
)
def test_parameters_are_the_published_ones(kind: str, variant: str, whole: int, published: float) -> None:
    params = WSFViTDetectionParams(kind=kind, variant=variant, classes=COCO)  # type: ignore[arg-type]
    with torch.device("meta"):
        made = DetectionNetwork(params, make_body(params, 0))
    backbone = {"t": 22_497_004, "s": 40_950_944, "m": 68_618_600}[variant]
    heads = made.heads.stages
    assert count(made.backbone.body) == backbone
    assert count(made.rpn) == 593_935
    assert [count(stage.boxes) for stage in heads] == [14_306_705] if kind == "mask-rcnn" else [15_618_449] * 3
    assert [count(stage.masks) for stage in heads] == [2_643_280] * len(heads)
    assert count(made) == whole
    assert whole / 1e6 == pytest.approx(published, abs=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_from_pictures_with_and_without_objects(kind: str) -> None:
    """A weight without a gradient would stop several workers."""
    made = network(kind=kind)
    stages = 3 if kind == "cascade" else 1
    for indices in ((0, 7), (7,)):
        made.zero_grad()
        losses = made(*batch(*indices))
        names = {f"{part}_{number}" for part in ("class", "box", "mask") for number in range(1, stages + 1)}
        assert set(losses) == {"objectness", "proposal_box", *names}
        assert all(torch.isfinite(loss) and loss.dtype == torch.float32 for loss in losses.values())
        total(losses).backward()
        assert [name for name, each in made.named_parameters() if each.grad is None] == []
    assert losses["mask_1"].item() == losses["box_1"].item() == losses["proposal_box"].item() == 0


def test_later_stages_of_a_cascade_weigh_less() -> None:
    made = exhaustive(network(kind="cascade"))
    before = made(*batch(0, 1))
    made.heads.stages[2].kind.__dict__["weight"] = 0.5  # of a frozen dataclass, for this test alone
    try:
        after = made(*batch(0, 1))
    finally:
        made.heads.stages[2].kind.__dict__["weight"] = 0.25
    for part in ("class", "box", "mask"):
        assert after[f"{part}_3"].item() == pytest.approx(2 * before[f"{part}_3"].item(), rel=1e-3)
        assert after[f"{part}_2"].item() == pytest.approx(before[f"{part}_2"].item(), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_stacked_and_listed_pictures_give_the_same_loss(kind: str) -> None:
    made = exhaustive(network(kind=kind))
    images, targets = batch(0, 1)
    assert total(made(torch.stack(images), targets)).item() == total(made(images, targets)).item()


def test_what_is_found_in_a_picture_does_not_depend_on_the_others_and_their_padding() -> None:
    made = network().eval()
    narrow, wide = batch(0)[0][0][:, :50, :40], batch(1)[0][0]
    with torch.inference_mode():
        (alone,), both = made([narrow]), made([wide, narrow])
    assert len(alone["scores"]) > 0
    for name, values in alone.items():
        torch.testing.assert_close(both[1][name], values, rtol=1e-4, atol=1e-4)
    assert alone["boxes"][:, 0::2].max() <= 40
    assert alone["boxes"][:, 1::2].max() <= 50
    assert alone["labels"].min() >= 0
    assert alone["labels"].max() <= 1
    assert alone["masks"].shape == (len(alone["scores"]), 28, 28)


def test_pictures_are_padded_to_what_the_windows_divide() -> None:
    made = network(window=3)
    padded = made._batched([torch.full((3, 97, 20), 255, dtype=torch.uint8), torch.zeros(3, 30, 40, dtype=torch.uint8)])
    assert padded.tensors.shape == (2, 3, 192, 96)
    assert padded.image_sizes == [(97, 20), (30, 40)]
    assert padded.tensors[0, :, 97:].abs().max() == padded.tensors[0, :, :, 20:].abs().max() == 0
    assert padded.tensors[0, 0, 0, 0] == pytest.approx((1 - 0.485) / 0.229)


def test_statistics_of_the_backbone_are_frozen_unless_asked_for() -> None:
    for frozen in (True, False):
        made = network(frozen_statistics=frozen, kind="cascade").train()
        before = {name: value.clone() for name, value in made.named_buffers() if name.endswith("running_mean")}
        made(*batch(0, 1))
        moved = {
            name.partition(".")[0]
            for name, value in made.named_buffers()
            if name in before and not torch.equal(value, before[name])
        }
        assert moved == ({"heads"} if frozen else {"heads", "backbone"})


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_keeps_boxes_precise(kind: str) -> None:
    made = exhaustive(network(kind=kind))
    expected = made(*batch(0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        found = made(*batch(0, 1))
        maps = made.backbone(torch.zeros(1, 3, 64, 64))
        (anchors,) = made.rpn.anchor_generator(made._batched([torch.zeros(3, 64, 64)]), list(maps.values()))
    assert maps["0"].dtype == torch.bfloat16
    assert anchors.dtype == torch.float32
    for name, loss in expected.items():
        assert found[name].dtype == torch.float32
        assert found[name].item() == pytest.approx(loss.item(), rel=0.05, abs=0.01)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for each in made.eval()(batch(0, 1)[0]):
            assert each["boxes"].dtype == each["scores"].dtype == each["masks"].dtype == torch.float32


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for on in (False, True):
        made = exhaustive(network())
        made.set_grad_checkpointing(on)
        total(made(*batch(0))).backward()
        gradients.append([each.grad for each in made.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        torch.testing.assert_close(one, other)


def stepped(made: DetectionNetwork, *indices: int) -> dict[str, Tensor]:
    loss = total(made(*batch(*indices)))
    loss.backward()
    return {
        "loss": loss.detach(),
        **{name: each.grad for name, each in made.named_parameters() if each.grad is not None},
    }


def _half(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for kind in KINDS:
        made = synchronised(exhaustive(network(kind=kind)))
        assert kind == "mask-rcnn" or any(isinstance(module, SyncBatchNorm) for module in made.heads.modules())
        torch.save(stepped(made, rank), Path(folder) / f"{kind}-{rank}.pt")  # type: ignore[arg-type]
    dist.destroy_process_group()


@pytest.mark.slow  # two processes that import everything anew
def test_two_workers_learn_what_one_learns(tmp_path: Path) -> None:
    """Each has one image, with as many regions and objects as it happens to have."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_half, (port, str(tmp_path)), nprocs=2)
    for kind in KINDS:
        halves = [torch.load(tmp_path / f"{kind}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        whole = stepped(exhaustive(network(kind=kind)), 0, 1)
        assert halves[0].keys() == halves[1].keys() == whole.keys()
        for name, expected in whole.items():
            found = (halves[0][name] + halves[1][name]) / 2
            scale = float(expected.abs().max())
            torch.testing.assert_close(
                found, expected, rtol=1e-3, atol=1e-3 * scale + 1e-6, msg=lambda m, n=name: f"{n}: {m}"
            )
