#!/usr/bin/env python
"""Make a detector from a published WEDGE-Net or PatchCore bank (.pt) and good images of its category.

- `python jobs/import_bank.py model_data_tile_1pct.pt --data mvtec:/data/MVTec?categories=tile --out detectors/tile`

Only tensors are read from the file. It holds neither the backbone's weights nor the encoder's seed: `--weights` and
`--encoder-seed` say what to assume. The folder is evaluated and served like any other (`jobs/evaluate.py`, `serve/run.py`).
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys
from pathlib import Path
from typing import Annotated

import tyro

from subband.data import load_images, open_dataset
from subband.errors import DataError
from subband.methods.wedgenet.adoption import calibrate, detector_of
from subband.methods.wedgenet.checkpoint import read_bank
from subband.runs.shell import DONE, run_job


def import_bank(
    bank: Annotated[Path, tyro.conf.Positional],
    data: str,
    out: Path,
    weights: str = "pretrained",
    encoder_seed: int = 0,
    wavelet: str = "haar",
    fpr: float = 0.05,
) -> int:
    """Read, calibrate, save.

    Args:
        bank: the .pt file.
        data: dataset URI with one category, whose good training images set the threshold.
        out: folder to make.
        weights: of the backbone: pretrained, random:SEED or a path.
        encoder_seed: of the frequency encoder, which the file does not hold.
        wavelet: of the guidance map: haar or bior2.2.
        fpr: share of good images that may be called defective.
    """
    dataset = open_dataset(data)
    if len(dataset.categories) != 1:
        raise DataError(
            f"{data} has {len(dataset.categories)} categories; a bank is of one: add ?categories=NAME "
            f"({', '.join(dataset.categories)})"
        )
    found = read_bank(bank)
    values: dict[str, str | int] = {"weights": weights}
    if found.facts.semantic is not None:
        values |= {"encoder_seed": encoder_seed, "wavelet": wavelet}
    detector = detector_of(found, values)
    category = dataset.category(dataset.categories[0])
    calibrate(detector, load_images([sample.image for sample in category.train], detector.preprocess), fpr)
    detector.about |= {"category": category.name, "dataset": dataset.name, "bank_file": bank.name}
    print(f"{bank.name}: {len(found.vectors_MD)} vectors of {found.vectors_MD.shape[1]} numbers, {detector.method}")
    print(f"threshold {detector.calibration.threshold:.4g}: {detector.calibration.rule}")
    print(f"saved to {detector.save(out)}")
    return DONE


if __name__ == "__main__":
    sys.exit(run_job(lambda shell: tyro.cli(import_bank, description=__doc__)))
