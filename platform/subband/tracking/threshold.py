"""Another threshold for a registered champion: a new version with the same tensors, to which the alias moves."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path

from subband.errors import ParamsError, TrackingError, unknown_name
from subband.methods.deployable import read_description
from subband.methods.detector import Calibration, parse_calibration, set_calibration
from subband.tracking.download import download_model
from subband.tracking.registry import Champion, list_champions, register_champion
from subband.tracking.uri import TrackingTarget


def set_threshold(
    name: str, target: TrackingTarget, threshold: float | None = None, fpr: float | None = None
) -> Champion:
    """Register the champion of a model once more, with another threshold.

    The former version stays as it was, so the alias can be moved back; a server takes the new one at its next look.

    Args:
        name: the registered model's name.
        target: the registry.
        threshold: images with a higher score are defective.
        fpr: instead, the share of good images that may be called defective; the threshold follows from the good scores that were
            saved with the detector.

    Returns:
        The new champion.

    Raises:
        ParamsError: neither or both are given, the threshold is not a number, or the rate is not between 0 and 1.
        TrackingError: there is no such champion (near matches are named), or the registry cannot be reached.
        ModelError: its files are not a detector of this platform.
    """
    change = _change(threshold, fpr)
    champions = {champion.name: champion for champion in list_champions(target)}
    if name not in champions:
        raise TrackingError(unknown_name("champion", name, champions))
    before = champions[name]
    with tempfile.TemporaryDirectory(prefix="subband-threshold-") as scratch:
        folder = download_model(before.uri, target, into=Path(scratch) / "model")
        calibration = parse_calibration(read_description(folder))
        changed = change(calibration)
        set_calibration(folder, changed)
        tags = {
            **before.tags,
            "threshold": f"{changed.threshold:.6g}",
            "threshold_rule": changed.rule,
            "threshold_before": f"{calibration.threshold:.6g} (version {before.version})",
        }
        return register_champion(folder, name, tags, target=target, run_id=before.run_id)


def _change(threshold: float | None, fpr: float | None) -> Callable[[Calibration], Calibration]:
    """What is wanted, checked before anything is fetched; the rate's range is `Calibration`'s to check."""
    if threshold is not None and fpr is None:
        if not math.isfinite(threshold):
            raise ParamsError(f"threshold {threshold} is not a finite number")
        return methodcaller("with_threshold", threshold)
    if fpr is not None and threshold is None:
        return methodcaller("with_fpr", fpr)
    raise ParamsError("give a threshold or a false-positive rate (fpr), one of them")
