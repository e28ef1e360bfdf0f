"""Training: what Ray Train adds to an epoch, and whether two workers learn what one does.

- `python platform/bench/training.py`
- `python platform/bench/training.py --examples 960`   longer epochs, smaller share of overhead

A small WPFormer trains on the embedded surfaces three times from the same weights: by a loop in plain PyTorch (DataLoader, loss,
backward, Adam; no Ray), by the platform's loop on one Ray Train worker, and on two with the same global batch. Losses of
all three must agree to 1e-4. The overhead is the time between the end of the first epoch and that of the last but one, checkpoints
and reports included, against the plain loop's same epochs (target below 5 % for epochs of 30 s or more). Validation is in neither.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

import torch  # noqa: E402

from subband.compute.group import run_on_workers  # noqa: E402
from subband.data import open_dataset  # noqa: E402
from subband.methods import Step, make_params, trained_method  # noqa: E402
from subband.training.batches import micro_batches  # noqa: E402
from subband.training.worker import train_worker  # noqa: E402

AGREE = 1e-4
TARGET = 0.05


def main() -> int:
    """Measure and print; returns 1 if the losses differ or the overhead is beyond its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=480)
    parser.add_argument("--epochs", type=int, default=4, help="at least 3")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    method = trained_method("wpformer")
    values = {
        **method.recipes["small"],
        "image_size": arguments.size,
        "epochs": arguments.epochs,
        "lr": 8e-5,  # as published; at 5e-4 the first updates from random weights amplify rounding
        "dropout": 0.0,  # what is drawn inside the network differs between workers
        "drop_path": 0.0,
        "validation_share": 0.01,
        "validate_from": arguments.epochs,
    }
    data = f"synthetic-surface:?train={arguments.examples}&test=1&size={arguments.size}"
    params = make_params(method, values)
    torch.set_num_threads(1)
    plain = _plain(method, params, data)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SUBBAND_HOME"] = folder
        one = _on_ray(method.name, params.model_dump(mode="json"), data, 1, Path(folder))
        two = _on_ray(method.name, params.model_dump(mode="json"), data, 2, Path(folder))
    apart = {
        "one worker and plain": _apart(one["losses"], plain["losses"]),
        "two workers and one": _apart(two["losses"], one["losses"]),
    }
    epochs = arguments.epochs - 2  # the first also warms up, the last also validates
    overhead = one["seconds"] / plain["seconds"] - 1
    throughput = one["seconds"] / two["seconds"]
    print(f"{arguments.examples} examples of {arguments.size} pixels, {arguments.epochs} epochs, one thread a worker")
    for what, difference in apart.items():
        print(f"  losses of {what} differ by at most {difference:.1e} (target {AGREE:.0e})")
    print(
        f"  an epoch: plain {plain['seconds'] / epochs:.1f} s, Ray Train {one['seconds'] / epochs:.1f} s: {overhead:+.1%}"
    )
    print(f"  two workers: {throughput:.2f} x the examples a second of one")
    figures = {"apart": apart, "overhead": overhead, "throughput": throughput, "plain": plain, "one": one, "two": two}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
    long_enough = plain["seconds"] / epochs >= 30
    if not long_enough:
        print("  epochs are shorter than 30 s: the overhead's target does not apply; give more --examples")
    return 0 if max(apart.values()) <= AGREE and (overhead < TARGET or not long_enough) else 1


def _plain(method: Any, params: Any, data: str) -> dict[str, Any]:
    """The loop that a person would write, with the platform's order of examples so that losses can be compared."""
    examples = method.examples(params, open_dataset(data)).train
    network = method.model(params).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=params.lr)
    losses, ends = [], []
    for epoch in range(params.epochs):
        batches = micro_batches(len(examples), params.batch, 1, params.seed, epoch)
        total = 0.0
        for group in optimizer.param_groups:
            group["lr"] = 1e-7 + (params.lr - 1e-7) * (1 + math.cos(math.pi * epoch / params.epochs)) / 2
        for update, draws in enumerate(batches):
            drawn = [examples[draw] for draw in draws]
            batch = {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}
            optimizer.zero_grad()
            loss = method.loss(params, network, batch, Step(epoch, update, params.seed))
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(batches))
        ends.append(time.perf_counter())
    return {"losses": losses, "seconds": ends[-2] - ends[0], "ends": ends}


def _on_ray(method: str, params: dict[str, Any], data: str, workers: int, folder: Path) -> dict[str, Any]:
    losses: list[float] = []
    ends: list[float] = []

    def hear(message: Mapping[str, Any]) -> None:
        if "epoch" in message:
            losses.append(message["metrics"]["loss"])
            ends.append(time.perf_counter())

    run_on_workers(
        train_worker,
        {"method": method, "params": params, "data": data, "loaders": 0},
        name=f"workers-{workers}",
        workers=workers,
        storage=folder,
        use_gpu=False,
        on_message=hear,
    )
    return {"losses": losses, "seconds": ends[-2] - ends[0], "ends": ends}


def _apart(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    sys.exit(main())
