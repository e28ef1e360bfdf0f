"""The official evaluation code's values, case by case."""

import json
from pathlib import Path

import numpy as np
import pytest

from subband import metrics

FOLDER = Path(__file__).parent.parent / "golden" / "baselines"
KIND = json.loads((FOLDER / "cases.json").read_text())["metrics"]


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / KIND["file"]) as stored:
        return dict(stored)


@pytest.mark.parametrize("case", KIND["cases"], ids=lambda case: case["key"])
def test_metrics_equal_the_official_values(arrays, case):
    key = case["key"]
    maps, masks = arrays[f"{key}_maps"], arrays[f"{key}_masks"]
    regions = metrics.label_regions(masks)
    assert len(regions) == arrays[f"{key}_regions_8conn"] == case["regions"]
    got = metrics.pixel_metrics(maps, masks, limits=case["limits"], regions=regions)
    got |= metrics.image_metrics(masks.any(axis=(1, 2)), maps.max(axis=(1, 2)))
    wanted = {
        "pixel_auroc": arrays[f"{key}_pixel_auroc"],
        "pixel_ap": arrays[f"{key}_pixel_ap"],
        "image_auroc": arrays[f"{key}_image_auroc_max"],
        **{f"au_pro_{limit:g}": arrays[f"{key}_aupro_{limit}"] for limit in case["limits"]},
    }
    for name, value in wanted.items():
        assert got[name] == pytest.approx(float(value), abs=KIND["tolerance"]), name
        assert isinstance(got[name], float), name


def test_cases_list_everything_that_is_stored(arrays):
    assert {case["key"] for case in KIND["cases"]} == {
        name.removesuffix("_maps") for name in arrays if name.endswith("_maps")
    }
