"""What the corrected mode is for: a small defect is found where it is, and near the border too."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from subband.data import Category, Sample
from subband.evaluation import CategoryBench
from subband.methods import get_method, make_params

SIZE = 112


@dataclass(frozen=True)
class Drawn:
    """A grey image with fine noise; a defect is a darker square of 12 pixels."""

    seed: int
    corner: tuple[int, int] | None = None
    as_mask: bool = False

    def open(self):
        defect = np.zeros((SIZE, SIZE), bool)
        if self.corner:
            top, left = self.corner
            defect[top : top + 12, left : left + 12] = True
        if self.as_mask:
            return Image.fromarray(defect.astype(np.uint8) * 255)
        grey = 150 + 12 * np.random.default_rng(self.seed).standard_normal((SIZE, SIZE, 3))
        grey[defect] -= 70
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))

    def digest(self):
        return repr(self)


def sample(number, corner=None):
    kind = "spot" if corner else "good"
    picture, mask = Drawn(number, corner), Drawn(number, corner, as_mask=True) if corner else None
    return Sample(
        f"test/{kind}/{number:03d}", "test" if number >= 100 else "train", int(bool(corner)), kind, picture, mask
    )


@pytest.fixture(scope="module")
def bench():
    corners = [(50, 30), (20, 70), (80, 60), (2, 40), (60, 98), (98, 10)]
    test = [sample(100 + n) for n in range(4)] + [sample(200 + n, corner) for n, corner in enumerate(corners)]
    return CategoryBench(Category("made", tuple(sample(n) for n in range(12)), tuple(test)), "test", 0, None)


def metrics(bench, **values):
    method = get_method("wepadim")
    common = {"weights": "random:0", "image_size": SIZE, "resize": SIZE, "sigma": 2.0}
    return bench.evaluate(method, make_params(method, {**common, **values})).report


def test_a_finer_grid_localises_better(bench):
    fine, coarse = metrics(bench, grid=14), metrics(bench, grid="smallest")
    assert fine["au_pro_0.3"] > coarse["au_pro_0.3"] + 0.05
    assert fine["au_pro_0.05"] > coarse["au_pro_0.05"] + 0.05
    assert fine["pixel_auroc"] > coarse["pixel_auroc"]


def test_the_corrected_mode_localises_better_than_the_reference(bench):
    corrected, reference = metrics(bench), metrics(bench, mode="reference")
    assert corrected["au_pro_0.3"] > reference["au_pro_0.3"] + 0.05
    assert corrected["pixel_ap"] > reference["pixel_ap"]
