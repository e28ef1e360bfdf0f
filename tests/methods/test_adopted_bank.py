"""Published banks as detectors: the same distances as from the bank's own network, and what is lost is said."""

import numpy as np
import pytest
import torch

from subband.errors import ModelError, ParamsError
from subband.methods import load
from subband.methods.wedgenet.adoption import calibrate, detector_of
from subband.methods.wedgenet.checkpoint import read_bank

OPEN = {"weights": "random:0", "encoder_seed": 3}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)


@pytest.fixture(scope="module")
def published(tmp_path_factory, images):
    """A file as the published code writes it: some vectors of the first image."""
    empty = tmp_path_factory.mktemp("banks") / "model_data_tile_1pct.pt"
    torch.save(
        {"memory_bank": torch.zeros(1, 2048), "feature_mean": torch.zeros(2048), "feature_std": torch.ones(2048)}, empty
    )
    network = detector_of(read_bank(empty), OPEN).embedder
    with torch.inference_mode():
        vectors = network(torch.tensor(images[:1]).float() / 255)[0]
    torch.save(
        {"memory_bank": vectors[::2].clone(), "feature_mean": vectors.mean(0), "feature_std": vectors.std(0)}, empty
    )
    return empty


def test_the_pictures_behind_the_bank_score_lower_than_others(published, images, tmp_path):
    detector = detector_of(read_bank(published), OPEN)
    cells = detector.grid_scores(torch.tensor(images).float() / 255)
    assert float(cells[0].flatten()[::2].abs().max()) < 1e-5  # its own vectors
    assert float(cells[1].min()) > 1e-3
    calibrate(detector, images, 0.2)
    assert "may have seen" in detector.calibration.rule
    _, scores = detector.score(images)
    _, again = load(detector.save(tmp_path / "saved")).score(images)
    np.testing.assert_allclose(again, scores, rtol=1e-5)
    assert load(tmp_path / "saved").about["bank"]["encoder_seed"] == "unknown"


def test_a_bank_of_another_backbone_is_refused(published):
    with pytest.raises(ModelError, match=r"vectors of 2048 numbers, resnet18 .* 512"):
        detector_of(read_bank(published), {**OPEN, "backbone": "resnet18"})


def test_an_illegal_assumption_is_named(published):
    with pytest.raises(ParamsError, match=r"wedgenet\.wavelet"):
        detector_of(read_bank(published), {**OPEN, "wavelet": "db2"})


def test_the_published_baselines_bank(tmp_path, images):
    torch.save(torch.rand(5, 1536), tmp_path / "patchcore_tile.pt")
    detector = detector_of(read_bank(tmp_path / "patchcore_tile.pt"), {"weights": "random:0"})
    assert detector.method == "patchcore"
    assert detector.grid_scores(torch.tensor(images[:1]).float() / 255).shape == (1, 28, 28)
