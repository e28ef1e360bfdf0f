"""The video network: its sizes, its options, and where its weights come from."""

import pytest
import torch
from timm.layers import DropPath
from torch.utils.flop_counter import FlopCounterMode

from subband.errors import ParamsError
from subband.methods import get_method, make_params
from subband.methods.wsfvit.video.network import VideoNetwork, window_side
from subband.methods.wsfvit.video.params import WSFViTVideoParams
from subband.methods.wsfvit.video.predictor import make_network
from tests.methods.video_subjects import tiny


def frames(params, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, params.frames_in, 1, params.image_size, params.image_size, generator=generator)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"wavelet": "none"},
        {"wavelet": "db2"},
        {"frame_layers": 3},
        {"frame_layers": 4},
        {"translator_blocks": 3},
        {"translator_channels": 32},
        {"image_size": 48},
        {"image_size": 36},
        {"frames_in": 8, "frame_channels": 4},
        {"channel_mlp_ratio": 4},
    ],
)
@torch.inference_mode()
def test_every_size_predicts_as_many_frames_as_are_seen(values):
    params = tiny(frames_out=values.get("frames_in", 4), **values)
    network = make_network(params).eval()
    seen = frames(params)
    predicted = network(seen)
    assert predicted.shape == seen.shape
    assert predicted.isfinite().all()
    torch.testing.assert_close(network(seen[:1]), predicted[:1], atol=1e-5, rtol=0)
    assert (network.dwt_l2 is None) == (network.norm is None) == (params.wavelet == "none")


@torch.inference_mode()
def test_more_frames_are_predicted_from_predictions_and_fewer_are_the_first_of_them():
    network = make_network(tiny()).eval()
    seen = frames(tiny())
    once = network(seen)
    network.frames_out = 10
    more = network(seen)
    assert more.shape[1] == 10
    torch.testing.assert_close(more[:, :4], once)
    torch.testing.assert_close(more[:, 4:8], network.following(once))
    network.frames_out = 3
    torch.testing.assert_close(network(seen), once[:, :3])


def test_the_published_sizes_have_the_published_parameters_and_operations():
    network = VideoNetwork(WSFViTVideoParams()).eval()
    seen = torch.rand(1, 10, 1, 64, 64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 37_571_249
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        assert network(seen).shape == seen.shape
    assert counter.get_total_flops() / 2e9 == pytest.approx(13.94, rel=0.005)


def test_windows_divide_the_map():
    assert [window_side(cells) for cells in (16, 8, 12, 9, 10, 13, 6, 1, 64)] == [8, 8, 6, 3, 5, 1, 6, 1, 8]


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generators_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, other, third = (make_network(tiny(seed=seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["dec.readout.weight"], third["dec.readout.weight"])


def test_starting_weights_of_the_frame_convolutions():
    network = make_network(tiny(frame_channels=64, frames_in=1, frames_out=1))
    for layer in (network.enc.enc[1].conv.conv, network.dec.dec[0].conv.conv[0]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert layer.weight.abs().max() < 0.1
        assert not layer.bias.any()


def test_drop_path_grows_from_a_hundredth_to_the_highest():
    def rates(**values):
        hid = make_network(tiny(**values)).hid
        return [{m.drop_prob for m in block.modules() if isinstance(m, DropPath)} for block in hid.enc]

    assert rates(drop_path=0.1) == [{0.01}, {0.1}]
    assert [sorted(each)[0] for each in rates(drop_path=0.3, translator_blocks=3)] == pytest.approx([0.01, 0.155, 0.3])


def test_every_weight_and_the_frames_have_a_gradient():
    params = tiny(drop_path=0)
    network = make_network(params)
    seen = frames(params).requires_grad_()
    network(seen).square().mean().backward()
    assert seen.grad.abs().max() > 0
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 34, "frame_layers": 4}, r"34 pixels cannot be halved 2 times.*multiple of 4, for instance 32"),
        ({"frame_channels": 7}, "frame_channels 7 must be even"),
        ({"frames_in": 5}, r"frames_in x frame_channels is 40.*for instance 32"),
        ({"translator_channels": 100}, r"translator_channels is 100.*for instance 96"),
        ({"wavelet": "harr"}, "did you mean 'haar'"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"mode": "published"}, "mode"),
    ],
)
def test_illegal_params_say_what_would_be_right(values, message):
    with pytest.raises(ParamsError, match=message):
        make_params(get_method("wsfvit-video"), {**tiny().model_dump(), **values})


def test_modes_choose_what_chooses():
    assert (tiny().validation, tiny(mode="reference").validation) == ("holdout", "test")
    assert tiny(mode="reference", validation="holdout").validation == "holdout"
