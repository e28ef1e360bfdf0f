"""The deployable model: scores, maps, decisions, saving and loading."""

import numpy as np
import pytest
import torch
from PIL import Image
from wpformer_subjects import awake, pictures, small_network, small_params

from subband.errors import ModelError, ParamsError
from subband.methods import get_method, load
from subband.methods.deployable import read_tensors
from subband.methods.wpformer.segmenter import DEFAULT, WPFormerSegmenter


def segmenter(**values):
    return WPFormerSegmenter(small_params(**values), awake(small_network(**values)), DEFAULT, {"data": "made"}).eval()


@torch.inference_mode()
def test_maps_are_probabilities_and_the_score_is_the_highest():
    plain, stretching = segmenter(), segmenter(map_stretching=True)
    maps, scores = plain(pictures(3))
    assert maps.shape == (3, 64, 64)
    torch.testing.assert_close(maps, torch.sigmoid(plain.network(pictures(3))[:, 4]))
    assert torch.equal(scores, maps.amax(dim=(1, 2)))
    for found, expected in zip(stretching(pictures(3)), (maps, scores), strict=True):
        assert torch.equal(found, expected), "stretching does not touch what is served and decided by"


def test_stretching_belongs_to_the_maps_that_are_written():
    images = [Image.fromarray(picture) for picture in (255 * pictures(3)).to(torch.uint8).permute(0, 2, 3, 1).numpy()]
    for found in segmenter(map_stretching=True).prediction_maps(images):
        assert (found.min(), found.max() >= 254) == (0, True)
    for found, same in zip(
        segmenter().prediction_maps(images),
        segmenter(map_stretching=True).prediction_maps(images, stretch=False),
        strict=True,
    ):
        np.testing.assert_array_equal(found, same)
        assert found.min() > 0


@pytest.mark.parametrize("weights", ["random:3", "random:4"])
def test_making_a_network_leaves_the_global_generator_as_it_was(weights):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    small_network(weights=weights)
    assert torch.equal(torch.rand(3), expected)


@torch.inference_mode()
def test_rectangles_are_scored_at_their_own_size():
    maps, scores = segmenter()(pictures(2, 40, 90))
    assert (maps.shape, scores.shape) == ((2, 40, 90), (2,))


def test_pictures_of_any_size_are_decided_by_one_half():
    model = segmenter()
    samples = [Image.fromarray(np.full((50 + 9 * i, 70, 3), 60 * i, np.uint8)) for i in range(3)]
    found = model.predict(samples)
    assert found.threshold == 0.5
    assert found.decisions.tolist() == (found.scores > 0.5).tolist()
    assert "any pixel's probability is above 0.5" in model.calibration.rule
    assert found.maps.shape == (3, 64, 64)
    assert model.predict(samples, threshold=float(found.scores.max())).decisions.sum() == 0
    assert model.predict([]).scores.shape == (0,)
    with pytest.raises(ParamsError, match="give a single one in a list"):
        model.predict(samples[0])


def test_saved_and_loaded_it_gives_the_same_scores(tmp_path):
    model = segmenter(map_order="object", wavelet=False)
    again = load(model.save(tmp_path / "model"))
    assert isinstance(again, WPFormerSegmenter)
    assert (again.params, again.about, again.calibration) == (model.params, model.about, model.calibration)
    images = (255 * pictures(3)).to(torch.uint8).numpy()
    for found, wanted in zip(again.score(images), model.score(images), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert again.fitted_bytes() == sum(tensor.nbytes for tensor in again.state_dict().values())


def test_loading_needs_neither_the_weights_file_nor_the_hub(tmp_path):
    weights = tmp_path / "pvt.pth"
    torch.save(small_network().backbone.state_dict(), weights)
    folder = segmenter(weights=str(weights)).save(tmp_path / "model")
    weights.unlink()
    load(folder)


def test_tensors_of_another_network_are_refused(tmp_path):
    tensors = read_tensors(segmenter().save(tmp_path / "model"))
    with pytest.raises(
        ModelError, match="not those of WPFormer of pvt_v2_b0 with 16 channels without prototype attention"
    ):
        get_method("wpformer").restore(small_params(prototypes=False), tensors, {"about": {}, **segmenter().kept()})


@torch.inference_mode()
def test_scores_do_not_depend_on_the_size_of_the_batch():
    model = segmenter()
    images = (255 * pictures(5)).to(torch.uint8).numpy()
    together, alone = model.score(images, batch=5), model.score(images, batch=1)
    for found, wanted in zip(together, alone, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
