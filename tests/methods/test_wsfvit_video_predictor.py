"""What is saved and served: frames in, frames out, and published checkpoints."""

import numpy as np
import pytest
import torch
from PIL import Image

import subband
from subband.errors import DataError, ModelError
from subband.methods import adopt
from subband.methods.wsfvit.video.predictor import VideoPredictor, adopt_checkpoint, make_network
from tests.methods.video_subjects import noise, tiny


@pytest.fixture(scope="module")
def predictor():
    return VideoPredictor(tiny(), make_network(tiny()), {"dataset": "noise"}).eval()


def test_frames_may_come_as_numbers_or_as_pictures(predictor):
    frames = noise()
    predicted = predictor.predict(frames)
    assert (predicted.shape, predicted.dtype) == ((4, 32, 32), np.float32)
    assert predicted.min() >= 0
    assert predicted.max() <= 1
    pictures = [Image.fromarray(frame) for frame in frames]
    for same in (
        frames / 255,
        (frames / 255).astype(np.float32),
        list(frames),
        pictures,
        [p.convert("RGB") for p in pictures],
    ):
        np.testing.assert_allclose(predictor.predict(same), predicted, atol=1e-6)
    unclipped = predictor(torch.from_numpy(frames / np.float32(255))[None, :, None])[0, :, 0].detach().numpy()
    np.testing.assert_allclose(np.clip(unclipped, 0, 1), predicted, atol=1e-6)
    assert (predictor.predict(frames[::-1].copy()) != predicted).any(), "the order of frames matters"


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (noise(5), r"sees 4 grey frames of 32 x 32 pixels, oldest first: an array \(4, 32, 32\); one of \(5, 32, 32\)"),
        (noise(3), r"one of \(3, 32, 32\)"),
        (noise(side=40), r"one of \(4, 40, 40\)"),
        (np.zeros((4, 32, 32, 3), np.uint8), r"one of \(4, 32, 32, 3\)"),
        (noise().astype(np.int64), "frames are uint8, or floating-point numbers from 0 to 1; int64 from 0 to 255"),
        (noise().astype(np.float32), "float32 from 0 to 255"),
        (np.full((4, 32, 32), np.nan), "float64 from nan to nan"),
        ([noise()[0], noise(side=40)[0]], "differ in size"),
        ([], r"one of \(0,\)"),
        (Image.new("L", (32, 32)), "not one image"),
        ([Image.new("L", (32, 32))] * 3, "3 of 32 x 32 were given"),
        ([Image.new("L", (32, 32))] * 3 + [Image.new("L", (32, 30))], "4 of 32 x 30, 32 x 32 were given"),
    ],
)
def test_other_frames_are_refused(predictor, frames, message):
    with pytest.raises(DataError, match=message):
        predictor.predict(frames)


def test_a_saved_predictor_predicts_the_same(predictor, tmp_path):
    loaded = subband.load(predictor.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(noise()), predictor.predict(noise()))
    assert (loaded.task, loaded.method, loaded.about) == ("video prediction", "wsfvit-video", {"dataset": "noise"})
    assert loaded.params == predictor.params
    examples = [{"frames": torch.rand(4, 1, 32, 32)} for _ in range(2)]
    assert loaded.replay(examples).shape == (2 * 4 * 32 * 32,)
    np.testing.assert_array_equal(loaded.replay(examples), predictor.replay(examples))
    assert loaded.timing_probe()().shape == (4, 32, 32)


def test_tensors_of_other_params_are_refused(predictor, tmp_path):
    folder = predictor.save(tmp_path / "model")
    about = (folder / "model.json").read_text()
    (folder / "model.json").write_text(about.replace('"translator_channels": 64', '"translator_channels": 96'))
    with pytest.raises(ModelError, match="the saved tensors are not those of a wsfvit-video"):
        subband.load(folder)


@pytest.mark.parametrize(
    "values", [{}, {"wavelet": "none"}, {"translator_channels": 32, "translator_blocks": 3, "frame_layers": 3}]
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_published_checkpoint_tells_its_sizes(tmp_path, values, wrapped):
    params = tiny(seed=3, **values)
    state = make_network(params).state_dict()
    for name in ("dwt_l2.w_l", "dwt_l2.w_h"):
        state.pop(name, None) if wrapped else None
    kept = (
        {"epoch": 7, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}} if wrapped else state
    )
    torch.save(kept, tmp_path / "checkpoint.pth")
    adopted = adopt_checkpoint(tmp_path / "checkpoint.pth", image_size=32)
    found = adopted.network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    sizes = ("frames_in", "frame_channels", "frame_layers", "translator_channels", "translator_blocks", "wavelet")
    assert all(getattr(adopted.params, name) == getattr(params, name) for name in sizes)
    assert not adopted.training
    assert "which sequences chose it is not in the file" in adopted.about["weights"]


def test_a_checkpoint_that_does_not_fit_says_where(tmp_path):
    path = tmp_path / "checkpoint.pth"
    state = make_network(tiny()).state_dict()

    def refused(changed, message, **values):
        torch.save(changed, path)
        with pytest.raises(ModelError, match=message):
            adopt_checkpoint(path, image_size=32, **values)

    refused(state, r"5 missing|of another shape \(hid", translator_channels=96)
    refused({**state, "head.weight": torch.ones(1)}, r"1 without a place in it \(head\.weight\)")
    refused(
        {name: tensor for name, tensor in state.items() if name != "dec.readout.bias"},
        r"1 missing \(dec\.readout\.bias\)",
    )
    refused({**state, "dwt_l2.w_h": -state["dwt_l2.w_h"]}, r"made with another wavelet: dwt_l2\.w_h is")
    refused({"queries": torch.ones(1)}, r"no checkpoint of a WSF-ViT video model: it has no enc\.enc\.0")


def test_the_platform_finds_the_method_of_a_published_file(tmp_path):
    torch.save(make_network(tiny(image_size=64)).state_dict(), tmp_path / "checkpoint.pth")
    assert adopt(tmp_path / "checkpoint.pth").method == "wsfvit-video"
