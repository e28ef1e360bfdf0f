"""Segmenter: a training step and an inference of WPFormer beside its equations written plainly, same weights, one run.

- `python platform/bench/segmenter.py`                          B2 with 64 channels at 384 pixels
- `python platform/bench/segmenter.py --size 192 --repeats 3`   quicker
- `python platform/bench/segmenter.py --device cuda --batch 8`  also bfloat16 and compiled, images a second

The plain form (`plain_wpformer`) forms attention weights, convolves four wavelet bands, makes one map a query, and copies tokens to
maps and back. Predictions and gradients of both must be equal; then both are timed in turn, and the ratio of medians is told, with
the share of the fast form's time that its backbone takes. Inference is timed twice: ours with all five predictions, as the plain
form gives them, and with the final one alone, which is all that is served.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(Path(__file__).resolve().parent)]

import torch  # noqa: E402
from plain_wpformer import PlainWPFormer  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from subband.methods import make_params, trained_method  # noqa: E402
from subband.methods.wpformer.loss import segmentation_loss  # noqa: E402

AIM = 1.3
TIMED = ("training step", "inference, all predictions", "inference, final only")
EQUAL_PREDICTIONS, EQUAL_GRADIENTS = 1e-4, 2e-3


def main() -> int:
    """Measure and print; returns 1 if the two forms differ or the fast one is not faster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backbone", default="pvt_v2_b2")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    method = trained_method("wpformer")
    values = {"backbone": arguments.backbone, "channels": arguments.channels, "image_size": arguments.size}
    params = make_params(method, {**values, "weights": "random:0", "dropout": 0.0, "drop_path": 0.0})
    network: Any = method.model(params).to(device)
    plain = PlainWPFormer(network)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    images = torch.randn(shape, generator=generator).to(device)
    masks = (torch.rand((shape[0], 1, *shape[2:]), generator=generator) > 0.9).float().to(device)

    predictions, gradients = _differences(network, plain, images, masks)
    print(f"{arguments.backbone}, {arguments.channels} channels, {arguments.batch} x {arguments.size} pixels, {device}")
    print(f"  greatest difference of predictions {predictions:.1e}, of gradients {gradients:.1e} (relative)")

    def step(forward: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def work() -> None:
            network.zero_grad(set_to_none=True)
            segmentation_loss(forward(images), masks).total.backward()

        return work

    def inference(forward: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def work() -> None:
            with torch.inference_mode():
                forward(images)

        return work

    figures: dict[str, Any] = {"predictions": predictions, "gradients": gradients}
    network.train()
    figures["training step"] = _compare(step(network.logits), step(plain), arguments.repeats, device)
    network.eval()
    figures["inference, all predictions"] = _compare(
        inference(network.logits), inference(plain), arguments.repeats, device
    )
    figures["inference, final only"] = _compare(
        inference(lambda x: network.logits(x, final_only=True)), inference(plain), arguments.repeats, device
    )
    backbone = inference(lambda x: network.backbone.forward_intermediates(x, intermediates_only=True)[-1])
    alone = _median(backbone, arguments.repeats, device)
    figures["backbone_share"] = alone / figures["inference, final only"]["fast"]
    for name in TIMED:
        each = figures[name]
        per_image = 1e3 / arguments.batch
        print(
            f"  {name}: {each['ratio']:.2f} x faster (aim {AIM}): plain {each['plain'] * per_image:.0f} ms, "
            f"ours {each['fast'] * per_image:.0f} ms an image"
        )
    print(f"  the backbone takes {figures['backbone_share']:.0%} of our inference of the final one")
    if device.type == "cuda":
        figures["modes"] = _modes(network, images, masks, arguments.repeats, device)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
    equal = predictions <= EQUAL_PREDICTIONS and gradients <= EQUAL_GRADIENTS
    return 0 if equal and min(figures[name]["ratio"] for name in TIMED) > 1 else 1


def _differences(network: Any, plain: nn.Module, images: Tensor, masks: Tensor) -> tuple[float, float]:
    found = []
    for forward in (network.logits, plain):
        network.train()
        network.zero_grad(set_to_none=True)
        predictions = forward(images)
        segmentation_loss(predictions, masks).total.backward()
        gradients = {name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None}
        found.append((predictions.detach(), gradients))
    (one, fast), (other, slow) = found
    greatest = max(float(gradient.abs().max()) for gradient in slow.values())
    # Of a parameter whose gradient is zero but for rounding, the difference is measured against the greatest gradient.
    differences = [
        float((fast[name] - gradient).abs().max() / max(float(gradient.abs().max()), 1e-5 * greatest))
        for name, gradient in slow.items()
    ]
    return float((one - other).abs().max() / other.abs().max()), max(differences)


def _compare(
    fast: Callable[[], None], plain: Callable[[], None], repeats: int, device: torch.device
) -> dict[str, float]:
    for work in (fast, plain):
        _seconds(work, device)
    pairs = [(_seconds(fast, device), _seconds(plain, device)) for _ in range(repeats)]
    ours, theirs = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    return {"fast": ours, "plain": theirs, "ratio": theirs / ours}


def _modes(network: Any, images: Tensor, masks: Tensor, repeats: int, device: torch.device) -> dict[str, float]:
    """Images a second of training and inference in float32, bfloat16, and both compiled."""
    rates = {}
    compiled = torch.compile(network.logits)
    for words, forward in (("eager", network.logits), ("compiled", compiled)):
        for dtype in (torch.float32, torch.bfloat16):

            def train(forward: Any = forward, dtype: torch.dtype = dtype) -> None:
                network.zero_grad(set_to_none=True)
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    loss = segmentation_loss(forward(images), masks).total
                loss.backward()

            def infer(forward: Any = forward, dtype: torch.dtype = dtype) -> None:
                with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    forward(images)

            for kind, work in (("training", train), ("inference", infer)):
                network.train(kind == "training")
                name = f"{kind} {words} {str(dtype).removeprefix('torch.')}"
                rates[name] = len(images) / _median(work, repeats, device)
                print(f"  {name}: {rates[name]:.1f} images a second")
    return rates


def _median(work: Callable[[], None], repeats: int, device: torch.device) -> float:
    _seconds(work, device)
    return statistics.median(_seconds(work, device) for _ in range(repeats))


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
