"""The network: its sizes, its fast form against the equations, its switches, and what it refuses."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from wpformer_subjects import QUIET, awake, pictures, plain_form, small_network, small_params

from subband.errors import DataError
from subband.methods.wpformer.backbone import VARIANTS, build_backbone
from subband.methods.wpformer.loss import segmentation_loss
from subband.methods.wpformer.network import WPFormer
from subband.methods.wpformer.positions import position_encoding
from subband.methods.wpformer.segmenter import make_network

# Specification 1.7: parameters that are trainable and used; of the backbone; entries of the published state dict without the 42
# dead ones and the 12 filters; FLOPs at 384 and 512 pixels, of the backbone at 384.
PUBLISHED = [
    ("pvt_v2_b2", 64, 25_976_900, 24_849_856, 709 - 54, 28.056e9, 53.265e9, 25.289e9),
    ("pvt_v2_b4", 128, 65_325_252, 62_043_072, 1209 - 54, 73.304e9, 137.700e9, 62.911e9),
]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module", params=PUBLISHED, ids=["b2", "b4"])
def published(request):
    backbone, channels, *sizes = request.param
    with torch.device("meta"):
        network = WPFormer(build_backbone(backbone, drop_path=0.1, seed=0), channels).eval().requires_grad_(False)
    return network, sizes


def flops(network: nn.Module, inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(inputs)
    return counter.get_total_flops()


def test_sizes_are_the_published_ones_without_what_is_dead(published):
    network, (used, backbone, entries, *_) = published
    assert (count(network), count(network.backbone), len(network.state_dict())) == (used, backbone, entries)


def test_work_is_the_published_one_without_what_is_folded(published):
    network, (_, _, _, at_384, at_512, backbone) = published
    picture = torch.empty(1, 3, 384, 384, device="meta")
    assert flops(network.backbone, picture) == pytest.approx(backbone, rel=2e-5)
    # Folded: three detail bands, sixteen mask maps a head, keys and values of one map projected twice.
    assert 0.97 * at_384 < flops(network, picture) < at_384
    assert 0.97 * at_512 < flops(network, torch.empty(1, 3, 512, 512, device="meta")) < at_512


def test_layer_norms_of_the_backbone_have_two_epsilons(published):
    network, _ = published
    found = {name: each.eps for name, each in network.backbone.named_modules() if isinstance(each, nn.LayerNorm)}
    loose = {name for name, eps in found.items() if eps == 1e-5}
    assert loose == {
        name for name in found if name.endswith((".attn.norm", "downsample.norm")) or name == "patch_embed.norm"
    }
    assert {found[name] for name in set(found) - loose} == {1e-6}
    others = [each.eps for each in network.modules() if isinstance(each, nn.LayerNorm)]
    assert set(others) == {1e-5, 1e-6}
    assert {each.eps for each in network.modules() if isinstance(each, nn.BatchNorm2d)} == {1e-5}


def test_stochastic_depth_grows_to_its_rate(published):
    network, _ = published
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for stage in network.backbone.stages for block in stage.blocks]
    assert rates == pytest.approx([0.1 * i / (len(rates) - 1) for i in range(len(rates))])


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_described_as_timm_builds_them(name):
    with torch.device("meta"):
        backbone = build_backbone(name, drop_path=0.0, seed=0)
    assert tuple(len(stage.blocks) for stage in backbone.stages) == VARIANTS[name].depths
    assert tuple(stage["num_chs"] for stage in backbone.feature_info) == VARIANTS[name].widths


@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 100), (33, 130), (64, 256), (95, 47)])
def test_the_fast_form_gives_what_the_equations_say_for_any_size(height, width):
    """64 x 256: every level has a square number of tokens, where the published code is silently wrong."""
    network = awake(small_network()).eval()
    normalised = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, plain = network.logits(normalised), plain_form(network)(normalised)
        final = network.logits(normalised, final_only=True)
    assert found.shape == (2, 5, height, width)
    assert found.std() > 0.05
    torch.testing.assert_close(found, plain, rtol=0, atol=2e-5)
    assert torch.equal(final, found[:, 4:])


def gradients(network, predictions, masks):
    network.zero_grad()
    segmentation_loss(predictions, masks).total.backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def assert_same_gradients(found, wanted):
    for name, gradient in found.items():
        scale = wanted[name].abs().max().clamp_min(1e-4)
        assert ((gradient - wanted[name]).abs().max() / scale) < 2e-3, name


def test_the_fast_form_has_the_gradients_of_the_equations():
    network = awake(small_network(**QUIET)).train()
    images = torch.randn(2, 3, 72, 100, generator=torch.Generator().manual_seed(1))
    masks = (pictures(2, 72, 100)[:, :1] > 0.6).float()
    found = gradients(network, network.logits(images), masks)
    assert_same_gradients(found, gradients(network, plain_form(network)(images), masks))


def test_a_picture_does_not_depend_on_its_neighbours():
    network = awake(small_network()).eval()
    images = pictures(3)
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("wavelet", "prototypes"), [(True, False), (False, True), (False, False)])
def test_an_ablation_leaves_the_other_attention_and_no_dead_parameters(wavelet, prototypes):
    full, ablated = (awake(small_network(**QUIET, **on)) for on in ({}, {"wavelet": wavelet, "prototypes": prototypes}))
    names = set(full.state_dict()) - set(ablated.state_dict())
    assert any(".wavelet." in name for name in names) is not wavelet
    assert any(".prototypes." in name for name in names) is not prototypes
    ablated.load_state_dict({name: tensor for name, tensor in full.state_dict().items() if name not in names})
    found = gradients(ablated, ablated(pictures()), torch.ones(2, 1, 64, 64))
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    with torch.inference_mode():
        assert not torch.allclose(full.eval()(pictures()), ablated.eval()(pictures()), atol=1e-4)


def test_an_ablated_stage_is_the_remaining_branch():
    stage = awake(small_network()).eval().stages[0]
    queries, embedding, level = torch.randn(1, 16, 16), torch.randn(16, 16), torch.randn(1, 16, 4, 6)
    level_embedding = torch.randn(16)
    with torch.inference_mode():
        seen = []
        stage.self_attention.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        wavelet, prototypes = stage.wavelet, stage.prototypes
        stage(queries, embedding, level, level_embedding)
        stage.prototypes = None
        stage(queries, embedding, level, level_embedding)
        stage.prototypes, stage.wavelet = prototypes, None
        stage(queries, embedding, level, level_embedding)
        stage.wavelet = wavelet
    both, first, second = seen
    torch.testing.assert_close(first + second, both)


@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32), (1, 1)])
def test_pictures_below_two_coarse_cells_are_refused(height, width):
    with pytest.raises(DataError, match=rf"images of {height} x {width} pixels are too small: .* at least 33"):
        small_network().eval()(pictures(1, height, width))


def test_the_same_params_give_the_same_weights_and_disturb_nobody():
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first, second = small_network().state_dict(), small_network().state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    seeded = small_network(seed=1).state_dict()
    other = small_network(weights="random:4").state_dict()
    for name in ("queries", "heads.0.weigh.weight", "decoder.layers.1.cross_attention.in_proj_weight"):
        assert not torch.equal(first[name], seeded[name])
        assert torch.equal(first[name], other[name])
    name = "backbone.stages.3.blocks.1.mlp.fc1.weight"
    assert torch.equal(first[name], seeded[name])
    assert not torch.equal(first[name], other[name])


def test_starting_weights_are_drawn_as_published():
    network = make_network(small_params(channels=64)).requires_grad_(False)
    assert network.queries.std() == pytest.approx(1, abs=0.1)
    linear = network.decoder.layers[0].feed_forward[0].weight
    assert linear.abs().max() == pytest.approx((6 / (64 + 2048)) ** 0.5, rel=1e-2), "Xavier-uniform"
    assert network.backbone.stages[2].blocks[0].mlp.fc1.weight.std() == pytest.approx(0.02, rel=0.05)
    depthwise = network.backbone.stages[2].blocks[0].mlp.dwconv.weight
    assert depthwise.std() == pytest.approx((2 / 9) ** 0.5, rel=0.1)


def test_recomputed_activations_give_equal_gradients():
    images, masks = pictures(), torch.ones(2, 1, 64, 64)
    kept = small_network(dropout=0).train()
    recomputed = small_network(dropout=0).train()
    recomputed.set_grad_checkpointing()
    found = []
    for network in (kept, recomputed):
        torch.manual_seed(0)  # stochastic depth
        found.append(gradients(network, network(images), masks))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)
    assert torch.equal(kept.pyramid.pixels[1].running_mean, recomputed.pyramid.pixels[1].running_mean)


@pytest.mark.parametrize("form", ["logits", "probabilities"])
def test_bfloat16_autocast_stays_finite_and_near_float32(form):
    network = awake(small_network(**QUIET)).train()
    masks = (pictures()[:, :1] > 0.6).float()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(pictures())
        loss = segmentation_loss(logits, masks, form).total
    assert (logits.dtype, loss.dtype) == (torch.float32, torch.float32)
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    assert (logits - network(pictures())).abs().max() < 0.1 * logits.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_whole_network_is_one_graph_to_the_compiler(mode):
    network = awake(small_network(**QUIET)).train(mode == "train")
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(pictures()), network(pictures()), rtol=0, atol=1e-4)


def test_positions_remembered_in_inference_serve_training():
    maps = torch.randn(1, 8, 5, 9)
    with torch.inference_mode():
        seen = position_encoding(maps)
    assert position_encoding(maps) is seen
    weights = torch.ones(8, 5, 9, requires_grad=True)
    (weights * position_encoding(maps)).sum().backward()
    assert torch.equal(weights.grad, seen)
    assert position_encoding(maps.to(torch.bfloat16)).dtype == torch.bfloat16
