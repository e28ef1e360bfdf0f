"""The network: its parts against the published formulas written out, scopes, ablations, sizes and refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from subband.errors import DataError, ModelError, ParamsError
from subband.methods.wedgenet.encoder import FrequencyEncoder, Gates, make_encoder
from subband.methods.wedgenet.network import (
    WedgeNetwork,
    gated_features,
    pooled,
    saliency,
    semantic_block,
    semantic_map,
)
from subband.methods.wedgenet.scope import EPSILON, Extremes
from subband.nn.backbones import Backbone
from subband.nn.levels import feature_levels, level_channels

C2, C3 = 128, 256  # of resnet18


@pytest.fixture(scope="module")
def backbone():
    return Backbone("resnet18", "random:0")


@pytest.fixture(scope="module")
def encoder():
    return make_encoder(0, C2, C3)


def images(seed, count, size):
    noise = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))
    return noise * torch.linspace(0.3, 1, count).view(-1, 1, 1, 1)


def levels(seed, count=3, grid=(6, 5)):
    made = torch.Generator().manual_seed(seed)
    half = tuple((side + 1) // 2 for side in grid)
    scale = torch.linspace(0.2, 2, count).view(-1, 1, 1, 1)
    return (
        torch.randn(count, 12, *grid, generator=made).relu() * scale,
        torch.randn(count, 20, *half, generator=made).relu() * scale,
        Gates(1.5 + torch.rand(count, 12, *grid, generator=made) / 2, 1 + torch.rand(count, 20, *grid, generator=made)),
    )


def mean_by_nine(maps):
    padded = functional.pad(maps, (1, 1, 1, 1))
    height, width = maps.shape[2:]
    return sum(padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)) / 9


class Published(nn.Module):
    """The published constructor, as far as it draws random numbers."""

    def __init__(self):
        from torchvision.models import resnet50

        super().__init__()
        self.to_gray = nn.Conv2d(3, 1, kernel_size=1, bias=False)
        self.resnet = resnet50()
        self.freq_encoder = nn.Sequential(
            nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 512, 3, padding=1), nn.ReLU()
        )
        self.proj_to_f3 = nn.Conv2d(512, 1024, 1, bias=False)


def test_the_reference_encoder_has_the_bits_of_the_published_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        published = Published().state_dict()
    own = make_encoder(7, reference=True).state_dict()
    assert len(own) == 5
    assert all(torch.equal(published[name], tensor) for name, tensor in own.items())


def test_an_encoder_is_a_function_of_its_seed_and_leaves_the_global_generator():
    before = torch.get_rng_state()
    first, again, other = make_encoder(3, C2, C3), make_encoder(3, C2, C3), make_encoder(4, C2, C3)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [encoder.proj_to_f3.weight for encoder in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(make_encoder(3).proj_to_f3.weight, make_encoder(3, reference=True).proj_to_f3.weight)


def test_gates_lie_in_their_ranges(encoder):
    gates = encoder(torch.rand(2, 1, 9, 7))
    assert gates.layer2.shape == (2, C2, 9, 7)
    assert gates.layer3.shape == (2, C3, 9, 7)
    assert 1.5 <= float(gates.layer2.min()) <= float(gates.layer2.max()) < 2
    assert 1 < float(gates.layer3.min()) <= float(gates.layer3.max()) < 2


@pytest.mark.parametrize("gated", [True, False])
def test_the_gated_block_is_the_published_formula(gated):
    layer2, layer3, gates = levels(0)
    raised = functional.interpolate(layer3, size=layer2.shape[2:], mode="bilinear", align_corners=False)
    first, second = (layer2 * gates.layer2, raised * gates.layer3) if gated else (layer2, raised)
    joined = torch.cat([functional.normalize(first, dim=1), functional.normalize(second, dim=1)], dim=1)
    got = gated_features(layer2, layer3, gates if gated else None, "zero")
    torch.testing.assert_close(got, mean_by_nine(joined), atol=1e-6, rtol=0)


def test_inputs_are_left_as_they_were():
    layer2, layer3, gates = levels(5)
    copies = [tensor.clone() for tensor in (layer2, layer3, *gates)]
    gated_features(layer2, layer3, gates, "zero")
    gated_features(
        layer2.contiguous(memory_format=torch.channels_last),
        layer3.contiguous(memory_format=torch.channels_last),
        None,
        "zero",
    )
    semantic_block(layer2, "zero")
    assert all(torch.equal(one, other) for one, other in zip((layer2, layer3, *gates), copies, strict=True))


def test_the_mask_scope_is_an_affine_combination():
    """Specification 11.6, an independent form: block = 2 (P - min A Q) / (max A - min A + 1e-6)."""
    layer2, _, _ = levels(1)
    strength = layer2.abs().mean(dim=1)
    unit = functional.normalize(layer2, dim=1)
    weighted, plain = mean_by_nine(unit * strength[:, None]), mean_by_nine(unit)
    lowest, highest = strength.min(), strength.max()
    shared = Extremes.of(saliency(layer2)).scoped("batch")
    wanted = 2 * (weighted - lowest * plain) / (highest - lowest + EPSILON)
    torch.testing.assert_close(semantic_block(layer2, "zero", shared), wanted, atol=1e-6, rtol=0)
    alone = torch.cat([semantic_block(image[None], "zero") for image in layer2])
    torch.testing.assert_close(semantic_block(layer2, "zero"), alone, atol=1e-6, rtol=0)
    assert float((alone - wanted).abs().max()) > 0.1


def test_the_displayed_semantic_map_is_of_squares():
    layer2, _, _ = levels(2)
    squares = layer2.square().mean(dim=1)
    wanted = (squares - squares.min()) / (squares.max() - squares.min() + EPSILON)
    torch.testing.assert_close(semantic_map(layer2, "batch"), wanted, atol=1e-6, rtol=0)
    assert float(semantic_map(layer2).amax(dim=(1, 2)).min()) > 0.999


def test_a_mean_by_the_count_inside_leaves_border_vectors_their_length():
    same = torch.ones(1, 4, 5, 5) / 2  # unit vectors
    lengths = {border: pooled(same, border).norm(dim=1)[0] for border in ("zero", "inside")}
    torch.testing.assert_close(lengths["inside"], torch.ones(5, 5))
    corner, edge, centre = lengths["zero"][0, 0], lengths["zero"][0, 2], lengths["zero"][2, 2]
    torch.testing.assert_close(torch.stack([corner, edge, centre]), torch.tensor([4 / 9, 2 / 3, 1.0]))


@torch.inference_mode()
def test_semantic_off_is_the_first_channels_of_semantic_on(backbone, encoder):
    pair = [WedgeNetwork(backbone, encoder, semantic=semantic, scope="batch") for semantic in (True, False)]
    on, off = (network(images(0, 3, (64, 64))) for network in pair)
    assert on.shape == (3, 2 * C2 + C3, 8, 8)
    assert torch.equal(on[:, : C2 + C3], off)
    assert [network.width for network in pair] == [2 * C2 + C3, C2 + C3]


@pytest.mark.parametrize("wavelet", ["haar", "bior2.2"])
@torch.inference_mode()
def test_an_image_alone_has_the_features_it_has_in_a_batch(backbone, encoder, wavelet):
    """With extremes of the batch it has others: the published network, and the reason why this test can fail."""
    batch = images(1, 3, (64, 64))
    network = WedgeNetwork(backbone, encoder, wavelet)
    together, alone = network(batch), torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=0)
    published = WedgeNetwork(backbone, encoder, wavelet, scope="batch")
    assert float((published(batch) - alone).abs().max()) > 1e-2


@given(st.tuples(st.integers(16, 70), st.integers(16, 70)), st.booleans())
@settings(max_examples=12, deadline=None)
@torch.inference_mode()
def test_any_size_from_the_smallest_gives_one_vector_a_cell_of_layer2(backbone, encoder, size, gated):
    features = WedgeNetwork(backbone, encoder if gated else None)(images(2, 1, size))
    assert features.shape == (1, 2 * C2 + C3, -(-size[0] // 8), -(-size[1] // 8))
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("value", [0.0, 0.45, 1.0])
@torch.inference_mode()
def test_constant_images_give_numbers(backbone, encoder, value):
    features = WedgeNetwork(backbone, encoder)(torch.full((2, 3, 64, 64), value))
    assert torch.isfinite(features).all()


@torch.inference_mode()
def test_constant_features_lose_their_semantic_block_and_nothing_else():
    block = semantic_block(torch.ones(1, 6, 4, 4), "inside")
    assert torch.equal(block, torch.zeros_like(block))
    assert torch.isfinite(gated_features(torch.zeros(1, 6, 4, 4), torch.zeros(1, 8, 2, 2), None, "inside")).all()


@torch.inference_mode()
def test_the_gate_changes_features(backbone, encoder):
    batch = images(3, 1, (64, 64))
    off, on, other = (WedgeNetwork(backbone, gate)(batch) for gate in (None, encoder, make_encoder(1, C2, C3)))
    assert float((on - off).abs().max()) > 1e-4
    assert float((on - other).abs().max()) > 1e-4


@pytest.mark.parametrize("scope", ["image", "batch"])
@torch.inference_mode()
def test_no_images_give_no_features(backbone, encoder, scope):
    assert WedgeNetwork(backbone, encoder, scope=scope)(torch.zeros(0, 3, 32, 24)).shape == (0, 2 * C2 + C3, 4, 3)


def test_images_smaller_than_a_cell_of_layer3_are_refused(backbone, encoder):
    with pytest.raises(DataError, match="images are 15 x 64 pixels; the network needs at least 16 x 16"):
        WedgeNetwork(backbone, encoder)(torch.zeros(1, 3, 15, 64))


@pytest.mark.parametrize(("level", "value"), [(0, float("nan")), (1, float("inf"))])
def test_features_that_are_no_numbers_are_refused(level, value):
    layer2, layer3, gates = levels(3)
    (layer2, layer3)[level][1, 2, 1, 1] = value
    with pytest.raises(ModelError, match=rf"1 of \d+ layer{level + 2} features are NaN or infinite"):
        gated_features(layer2, layer3, gates, "zero")


def test_an_encoder_of_another_width_is_refused(backbone):
    with pytest.raises(ModelError, match=r"gates 512 \+ 1024 channels, but resnet18 has 128 \+ 256"):
        WedgeNetwork(backbone, FrequencyEncoder())


def test_the_levels_of_an_efficientnet_are_the_end_of_stride_8_and_the_last_end_at_stride_16():
    network = Backbone("efficientnet_lite0", "random:0")
    assert level_channels(network) == (40, 112)
    levels = feature_levels(network, torch.zeros(1, 3, 64, 64))
    assert [tuple(maps.shape) for maps in levels] == [(1, 40, 8, 8), (1, 112, 4, 4)]


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ParamsError, match="encoder seed is"):
        make_encoder(seed, C2, C3)
