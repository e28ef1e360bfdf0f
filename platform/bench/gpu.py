"""What one GPU gives: frames a second of a memory bank, k-center, a sweep, mixed precision, parity, serving; run by gpu.sh.

Each section is written to the JSON as soon as it is done, and one that fails, lacks a package or has no time left says so there. So
an interrupted run keeps what it has.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

PUBLISHED_FPS = {1.0: 37, 0.1: 265, 0.01: 687}
"""WEDGE-Net's table (PatchCore with the whole bank, itself with a tenth and a hundredth); their GPU is not named."""
ROWS = 230 * 28 * 28
"""Vectors of the whole bank of MVTec AD's tile: 230 training images, 28 x 28 cells."""

Figures = dict[str, Any]


def frames_a_second(tiny: bool, device: str) -> Figures:
    """WEDGE-Net's published protocol (batch 1, network and search, not waited for) by share of the bank; random vectors."""
    import torch

    import subband
    from subband.banks import NearestNeighbours

    detector = subband.fit(
        "wedgenet", "synthetic:?train=3&test=2&size=64&categories=weave", weights="random:0", ratio=1.0
    )
    detector = detector.to(device)
    side, width = detector.preprocess.image_size, detector.bank.shape[1]
    image = torch.randn((1, 3, side, side), device=device)
    found: Figures = {
        "published": {str(ratio): fps for ratio, fps in PUBLISHED_FPS.items()},
        "rows_of_whole_bank": ROWS,
    }
    for ratio in (0.01,) if tiny else PUBLISHED_FPS:
        bank = torch.randn((round(ROWS * ratio), width), generator=torch.Generator().manual_seed(0))
        detector.search = NearestNeighbours(bank, 1).to(device)
        seconds = _timed(lambda: detector.grid_scores(image), device, 2 if tiny else 50)
        found[f"fps_at_{ratio:g}"] = 1 / seconds
    return found


def kcenter(tiny: bool, device: str) -> Figures:
    """Exact greedy k-center on the CPU beside the plain loop on the device, same picks asked for; projected width 128."""
    import numpy as np
    import torch

    from subband.banks import GreedyKCenter, Rows

    rows, picks = (2_000, 20) if tiny else (ROWS, ROWS // 100)
    vectors = np.random.default_rng(0).standard_normal((rows, 128), np.float32)
    began = time.perf_counter()
    ours = GreedyKCenter(Rows.of(vectors)).extend(picks)
    ours_seconds = time.perf_counter() - began
    there = torch.from_numpy(vectors).to(device)
    began = time.perf_counter()
    nearest = (there - there[0]).square().sum(1)
    chosen = [0]
    for _ in range(picks - 1):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (there - there[chosen[-1]]).square().sum(1))
    plain_seconds = time.perf_counter() - began
    same = int((np.asarray(chosen) == np.asarray(ours)).sum())
    return {
        "rows": rows,
        "picks": picks,
        "cpu_seconds": ours_seconds,
        "plain_loop_seconds": plain_seconds,
        "equal_picks": same,
    }


def half_precision(tiny: bool, device: str) -> Figures:
    """Greatest difference of image scores under autocast from float32 ones, relative to the greatest score."""
    import numpy as np
    import torch

    import subband

    data = "synthetic:?train=6&test=6&size=64&categories=weave"
    size = 64 if tiny else 224
    category = subband.open_dataset(data).category("weave")
    found: Figures = {}
    for method in ("wepadim", "patchcore"):
        detector = subband.fit(method, data, weights="random:0", image_size=size).to(device)
        images = np.stack([detector.preprocess.image(s.image.open()).transpose(2, 0, 1) for s in category.test])
        _, exact = detector.score(images)
        for dtype in (torch.bfloat16, torch.float16):
            if device == "cpu" and dtype == torch.float16:
                continue
            with torch.autocast(torch.device(device).type, dtype):
                _, half = detector.score(images)
            name = str(dtype).removeprefix("torch.")
            found[f"{method}_{name}"] = float(np.abs(half.astype(np.float64) - exact).max() / np.abs(exact).max())
    return found


def training(name: str, tiny_words: list[str], words: list[str]) -> Callable[[bool, str], Figures]:
    """A bench of its own (training and inference, float32 and bfloat16) on this device."""

    def run(tiny: bool, device: str) -> Figures:
        return _bench(name, ["--device", device, *(tiny_words if tiny else words)])

    return run


def sweep(tiny: bool, device: str) -> Figures:
    """64 configurations and the 216-point grid that share their stages, beside a plain loop."""
    data = f"synthetic:?categories=leather&train={4 if tiny else 64}&test={4 if tiny else 52}"
    return _bench("sharing", ["--data", data])


def marked_tests(tiny: bool, device: str) -> Figures:
    """The tests marked gpu."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-o", "addopts=", "tests/gpu"]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    return {"exit_status": done.returncode, "said": done.stdout.strip().splitlines()[-1:]}


def ray_sweep(tiny: bool, device: str) -> Figures:
    """A sweep on Ray from the job: wall time, whole process."""
    with tempfile.TemporaryDirectory() as home:
        words = [
            "jobs/sweep_wepadim.py",
            "--weights",
            "random:0",
            "--no-register",
            *(["--smoke"] if tiny else ["--trials", "48"]),
        ]
        began = time.perf_counter()
        environment = {**_environment(), "SUBBAND_HOME": home}
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])
        return {"seconds": time.perf_counter() - began}


def serving(tiny: bool, device: str) -> Figures:
    """Images a second over HTTP, one client and eight, of a detector on this device."""
    import io
    import socket
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    import subband

    data = "synthetic:?train=6&test=4&size=64&categories=weave"
    with tempfile.TemporaryDirectory() as place:
        subband.fit("wepadim", data, weights="random:0").save(Path(place) / "models" / "weave")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        words = ["serve/run.py", "--models-dir", f"{place}/models", "--port", url.rpartition(":")[2]]
        words += ["--gpus", "1"] if device == "cuda" else []
        with subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                if not any("Ctrl-C ends" in line for line in server.stdout):
                    raise RuntimeError("the server ended before it answered")
                body = io.BytesIO()
                subband.open_dataset(data).category("weave").test[0].image.open().save(body, "JPEG")

                def ask(number: int) -> None:
                    client.post(f"{url}/v1/models/weave/predict", content=body.getvalue()).raise_for_status()

                count, found = 16 if tiny else 400, {}
                with httpx.Client(timeout=120) as client:
                    ask(0)
                    for clients in (1, 8):
                        began = time.perf_counter()
                        with ThreadPoolExecutor(clients) as pool:
                            list(pool.map(ask, range(count)))
                        found[f"images_a_second_{clients}_clients"] = count / (time.perf_counter() - began)
                return found
            finally:
                server.terminate()


SECTIONS: dict[str, tuple[Callable[[bool, str], Figures], tuple[str, ...]]] = {
    "wedgenet_fps": (frames_a_second, ("pydantic", "safetensors", "pywt", "pytorch_wavelets")),
    "kcenter": (kcenter, ("pydantic",)),
    "half_precision": (half_precision, ("pydantic", "safetensors", "pywt", "pytorch_wavelets")),
    "segmenter": (
        training("segmenter", ["--size", "64", "--batch", "1", "--repeats", "1"], ["--batch", "8"]),
        ("pydantic", "safetensors"),
    ),
    "classifier": (
        training("classifier", ["--model", "wsfvit_p0_224", "--batch", "1", "--repeats", "1"], ["--batch", "128"]),
        ("pydantic", "safetensors"),
    ),
    "sharing": (sweep, ("pydantic", "pyarrow", "optuna")),
    "marked_tests": (marked_tests, ("pytest",)),
    "serving": (serving, ("ray", "fastapi", "httpx")),
    "ray_sweep": (ray_sweep, ("ray", "mlflow", "optuna")),
}


def main() -> int:
    """Run every section; returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("gpu.json"), help="where the figures go (default: %(default)s)"
    )
    parser.add_argument(
        "--budget", type=float, default=540, help="seconds after which no section starts (default: %(default)s)"
    )
    parser.add_argument("--only", choices=SECTIONS, action="append", help="some sections only")
    parser.add_argument("--tiny", action="store_true", help="seconds, on any machine: checks the script")
    arguments = parser.parse_args()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.tiny:
        parser.error("torch sees no GPU; --tiny checks the script on a CPU")
    began = time.monotonic()
    figures: Figures = {"machine": _machine(device), "tiny": arguments.tiny}
    failed = False
    for name in arguments.only or SECTIONS:
        run, needs = SECTIONS[name]
        missing = [module for module in needs if not _has(module)]
        if missing:
            figures[name] = {"skipped": f"not installed: {', '.join(missing)}"}
        elif time.monotonic() - began > arguments.budget:
            figures[name] = {"skipped": f"the budget of {arguments.budget:g} s was spent"}
        else:
            started = time.monotonic()
            try:
                figures[name] = run(arguments.tiny, device)
            except Exception as error:  # one section must not cost the others
                figures[name], failed = {"failed": f"{type(error).__name__}: {str(error)[:500]}"}, True
            figures[name]["section_seconds"] = round(time.monotonic() - started, 1)
        print(f"{name}: {json.dumps(figures[name])}", flush=True)
        arguments.out.write_text(json.dumps(figures, indent=1))
    print(f"written to {arguments.out}")
    return int(failed)


def _machine(device: str) -> Figures:
    import torch

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "torch": torch.__version__,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or None,
    }


def _has(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _timed(step: Callable[[], object], device: str, iterations: int) -> float:
    """Seconds of an iteration, the device waited for once at the end."""
    import torch

    with torch.inference_mode():
        for _ in range(max(iterations // 5, 1)):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(iterations):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - began) / iterations


def _bench(name: str, words: list[str]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "figures.json"
        command = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), "--json", str(found), *words]
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
        if not found.exists():
            raise RuntimeError((done.stdout + done.stderr).strip()[-500:])
        figures: Figures = json.loads(found.read_text())
        return figures


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)])}


if __name__ == "__main__":
    sys.exit(main())
