"""Classifier: a training step and an inference of WSF-ViT beside its equations written plainly, same weights, one run.

- `python platform/bench/classifier.py`                            T at 224 pixels
- `python platform/bench/classifier.py --model wsfvit_p0_224 --repeats 3`   quicker
- `python platform/bench/classifier.py --device cuda --batch 128`  also images a second in bfloat16, eager and compiled, of timm's
  models of like size too (on a processor with `--peers NAME ...`)

The plain form (`plain_wsfvit`) takes the wavelet bands by FFT, position biases by one-hot products, forms attention weights and
copies maps back and forth. Logits and gradients of both must be equal; then both are timed in turn, and the ratio of medians
is told, also of the time that the processor spent on them, which other work on the machine disturbs less.
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

import timm  # noqa: E402
import torch  # noqa: E402
from plain_wsfvit import PlainWSFViT  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import subband.methods.wsfvit  # noqa: E402, F401  # registers the models

# timm's models of like size at 224 pixels.
PEERS = {
    "wsfvit_t_224": ("swin_tiny_patch4_window7_224", "convnext_tiny", "davit_tiny", "maxvit_tiny_rw_224"),
    "wsfvit_s_224": ("swin_small_patch4_window7_224", "convnext_small", "davit_small"),
    "wsfvit_m_224": ("swin_base_patch4_window7_224", "convnext_base", "davit_base"),
    "wsfvit_b_224": ("swin_base_patch4_window7_224", "convnext_base", "davit_base"),
}
AIM = 1.3
TIMED = ("training step", "inference")
EQUAL_LOGITS, EQUAL_GRADIENTS = 1e-6, 1e-5


def main() -> int:
    """Measure and print; returns 1 if the two forms differ or the fast one is not faster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="wsfvit_t_224")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--peers", nargs="*", help="timm models to stand beside; on a GPU by default those of like size"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if strange := [name for name in arguments.peers or () if not timm.is_model(name)]:
        parser.error(f"{strange[0]} is no model of timm's")
    device = torch.device(arguments.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    network: Any = timm.create_model(arguments.model, drop_path_rate=0.0).to(device)
    plain = PlainWSFViT(network)
    side = network.pretrained_cfg["input_size"][1]
    images = torch.randn(arguments.batch, 3, side, side).to(device)
    labels = torch.arange(arguments.batch, device=device)

    logits, gradients = _differences(network, plain, images[:2], labels[:2])
    print(f"{arguments.model}, {arguments.batch} x {side} pixels, {device}, {torch.get_num_threads()} threads")
    print(f"  greatest difference of logits {logits:.1e}, of gradients {gradients:.1e} (relative, float64)")

    def step(forward: nn.Module) -> Callable[[], None]:
        def work() -> None:
            network.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(forward(images), labels).backward()

        return work

    def inference(forward: nn.Module) -> Callable[[], None]:
        def work() -> None:
            with torch.inference_mode():
                forward(images)

        return work

    figures: dict[str, Any] = {"logits": logits, "gradients": gradients}
    for name, work in zip(TIMED, (step, inference), strict=True):
        network.train(name == "training step")
        figures[name] = _compare(work(network), work(plain), arguments.repeats, device)
        found = figures[name]
        print(
            f"  {name}: {found['fast']:.3f} s, plain {found['plain']:.3f} s: {found['ratio']:.2f} times as fast (aim {AIM}); "
            f"by the processor's own time {found['processor_ratio']:.2f}"
        )
    default = PEERS.get(arguments.model, ()) if device.type == "cuda" else ()
    peers = default if arguments.peers is None else arguments.peers
    if peers or device.type == "cuda":
        print(f"  images a second, {arguments.batch} at a time, channels last, no drop path; float32 without TF32")
        rates = figures["images a second"] = {}
        for name in (arguments.model, *peers):
            peer = network if name == arguments.model else timm.create_model(name, drop_path_rate=0.0).to(device)
            rates[name] = _rates(name, peer, images, labels, arguments.repeats)
            _write(arguments.json, figures)
    _write(arguments.json, figures)
    equal = logits <= EQUAL_LOGITS and gradients <= EQUAL_GRADIENTS
    return 0 if equal and min(figures[name]["ratio"] for name in TIMED) > 1 else 1


def _differences(network: Any, plain: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Of the logits in eval mode and of the gradients in training, relative to the greatest of each tensor.

    In float64, as in float32 random weights amplify the rounding of either form to a per cent of some gradients.
    """
    network.double().eval()
    images = images.double()
    with torch.inference_mode():
        one, other = network(images), plain(images)
    fast, slow = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    network.train()
    for forward, gradients in ((network, fast), (plain, slow)):
        network.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(forward(images), labels).backward()
        gradients |= {name: each.grad.clone() for name, each in network.named_parameters()}
    network.float()
    greatest = max(float(gradient.abs().max()) for gradient in slow.values())
    # Of a parameter whose gradient is zero but for rounding, the difference is measured against the greatest gradient.
    differences = [
        float((fast[name] - gradient).abs().max() / max(float(gradient.abs().max()), 1e-4 * greatest))
        for name, gradient in slow.items()
    ]
    return float((one - other).abs().max() / other.abs().max()), max(differences)


def _compare(
    fast: Callable[[], None], plain: Callable[[], None], repeats: int, device: torch.device
) -> dict[str, float]:
    for work in (fast, plain):
        _seconds(work, device)
    pairs, busy = [], []
    for _ in range(repeats):
        started = time.process_time()
        ours = _seconds(fast, device)
        between = time.process_time()
        pairs.append((ours, _seconds(plain, device)))
        busy.append((between - started, time.process_time() - between))
    found: dict[str, float] = {}
    for name, seconds in (("", pairs), ("processor_", busy)):
        ours, theirs = (statistics.median(pair[side] for pair in seconds) for side in (0, 1))
        found |= {f"{name}fast": ours, f"{name}plain": theirs, f"{name}ratio": theirs / ours}
    return found


def _rates(name: str, network: nn.Module, images: Tensor, labels: Tensor, repeats: int) -> dict[str, float]:
    """Images a second of training and inference; on a GPU in float32 and bfloat16, eager and compiled."""
    rates = {}
    kind = images.device.type
    images = images.to(memory_format=torch.channels_last)
    network = network.to(memory_format=torch.channels_last)
    forms = {"eager": network, "compiled": torch.compile(network)} if kind == "cuda" else {"eager": network}
    for words, forward in forms.items():
        for dtype in (torch.float32, torch.bfloat16) if kind == "cuda" else (torch.float32,):

            def train(forward: Any = forward, dtype: torch.dtype = dtype) -> None:
                network.zero_grad(set_to_none=True)
                with torch.autocast(kind, dtype, enabled=dtype != torch.float32):
                    loss = nn.functional.cross_entropy(forward(images), labels)
                loss.backward()

            def infer(forward: Any = forward, dtype: torch.dtype = dtype) -> None:
                with torch.inference_mode(), torch.autocast(kind, dtype, enabled=dtype != torch.float32):
                    forward(images)

            for doing, work in (("training", train), ("inference", infer)):
                network.train(doing == "training")
                mode = f"{doing} {words} {str(dtype).removeprefix('torch.')}"
                try:
                    _seconds(work, images.device)
                    seconds = statistics.median(_seconds(work, images.device) for _ in range(repeats))
                except RuntimeError as error:
                    # The compiler of torch 2.11 fails on some models: the others are still measured.
                    print(f"    {name}: {mode} failed: {str(error).splitlines()[-1][:120]}")
                    continue
                rates[mode] = len(images) / seconds
                print(f"    {name}: {mode} {rates[mode]:.1f}")
    network.zero_grad(set_to_none=True)
    return rates


def _write(file: Path | None, figures: dict[str, Any]) -> None:
    if file is not None:
        file.write_text(json.dumps(figures, indent=1))


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
