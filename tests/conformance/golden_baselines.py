"""How each kind of golden case of the baselines is checked."""

import golden_patchcore
import pytest
from golden_files import GoldenCase

from subband import metrics


def check_metrics(golden: GoldenCase) -> None:
    """The official evaluation code's values."""
    maps, masks = golden.stored("maps"), golden.stored("masks")
    limits = golden.get("limits") or [
        float(name.removeprefix("aupro_")) for name in golden.names() if name.startswith("aupro_")
    ]
    regions = metrics.label_regions(masks)
    assert len(regions) == golden.stored("regions_8conn") == golden.get("regions", len(regions))
    got = metrics.pixel_metrics(maps, masks, limits=limits, regions=regions)
    got |= metrics.image_metrics(masks.any(axis=(1, 2)), maps.max(axis=(1, 2)))
    wanted = {
        "pixel_auroc": golden.stored("pixel_auroc"),
        "pixel_ap": golden.stored("pixel_ap"),
        "image_auroc": golden.stored("image_auroc_max"),
        **{f"au_pro_{limit:g}": stored_limit(golden, limit) for limit in limits},
    }
    for name, value in wanted.items():
        assert got[name] == pytest.approx(float(value), abs=golden.tolerance or 1e-6), name
        assert isinstance(got[name], float), name


def stored_limit(golden: GoldenCase, limit: float):
    """Array names write a limit either as Python prints it (1.0) or in the short form (1)."""
    return golden.stored(f"aupro_{limit}" if golden.has(f"aupro_{limit}") else f"aupro_{limit:g}")


CHECKS = {"metrics": check_metrics, **golden_patchcore.CHECKS}

KINDS = {"metrics": "maps", "patchcore_embed": "out", "patchcore_coreset_nn": None}
