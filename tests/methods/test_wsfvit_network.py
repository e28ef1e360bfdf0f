"""The network of WSF-ViT: sizes, layouts, schedules and what it refuses. Its numbers are held by the golden cases."""

import math

import pytest
import torch
from torch import nn

from subband.errors import DataError, ParamsError
from subband.methods.wsfvit import WSFViT, WSFViTFeatures
from subband.methods.wsfvit.architecture import ARCHITECTURES, architecture, size_problem
from subband.methods.wsfvit.block import VIDEO, Block
from subband.methods.wsfvit.channel_attention import CrossChannelAttention, channel_weights
from subband.methods.wsfvit.mbconv import MBConv, same_conv
from subband.methods.wsfvit.network import drop_path_rates
from subband.methods.wsfvit.published import MODELS
from subband.methods.wsfvit.spatial_attention import PartitionedAttention, RelativePositionBias, joined, partitioned

SMALL = ARCHITECTURES["p0"]


def small_network(**options) -> WSFViT:
    torch.manual_seed(0)
    return WSFViT(SMALL, **{"window": 2, "num_classes": 5, "drop_path_rate": 0.0, **options})


def pictures(batch=2, height=64, width=64) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_counted_as_in_the_published_code(name):
    model = MODELS[name]
    with torch.device("meta"):
        network = WSFViT(ARCHITECTURES[model.variant], model.window, channel_heads=model.channel_heads)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == model.counted_parameters
    assert count / 1e6 == pytest.approx(model.parameters_m, abs=0.11)  # 100.107 M are published as 100.0


@pytest.mark.parametrize(
    ("variant", "parameters"), [("t", 22_497_004), ("s", 40_950_944), ("m", 68_618_600)], ids=["t", "s", "m"]
)
def test_parameters_of_detection_backbones(variant, parameters):
    with torch.device("meta"):
        features = WSFViTFeatures(WSFViT(ARCHITECTURES[variant]), output_norms=True)
    assert sum(parameter.numel() for parameter in features.parameters()) == parameters


def test_drop_path_grows_linearly_over_all_blocks_and_is_the_same_in_a_block():
    network = WSFViT(ARCHITECTURES["t"], drop_path_rate=0.2)
    blocks = [block for stage in network.stages for block in stage.blocks]
    found = [
        [block.conv.drop_path.drop_prob, *(getattr(block, name).drop_path.drop_prob for name in block.part_names)]
        for block in blocks
    ]
    assert [rates[0] for rates in found] == pytest.approx([i * 0.2 / 6 for i in range(7)])
    assert all(len(set(rates)) == 1 for rates in found)
    assert drop_path_rates(0.3, 1) == [0.0]


def test_stochastic_depth_drops_samples_in_training_alone():
    network = small_network(drop_path_rate=0.9)
    images = pictures()
    torch.manual_seed(0)
    assert not torch.allclose(network.train()(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


def test_initial_weights_of_the_stem_have_the_published_spread():
    torch.manual_seed(0)
    stem = WSFViT(ARCHITECTURES["s"]).stem
    for conv in (stem.conv1, stem.conv2):
        assert float(conv.weight.detach().std()) == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.03)
        assert not conv.bias.any()


def test_gradients_reach_the_image_and_every_parameter():
    network = small_network().train()
    images = pictures().requires_grad_()
    network(images).square().sum().backward()
    assert images.grad.abs().min(dim=1).values.max() > 0
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 192), (128, 64)])
def test_sizes_need_not_be_square(height, width):
    maps = small_network().eval().forward_features(pictures(1, height, width))
    assert maps.shape == (1, 192, height // 32, width // 32)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((230, 230), r"230 x 230 pixels .* multiples of 224 \(nearest: 224 or 448\)$"),
        ((256, 256), r"\(nearest: 224 or 448\); the windows 1, 2, 4, 8 would divide it"),
        ((224, 480), r"\(nearest: height 224, width 448 or 672\); the windows 1 would"),
        ((30, 448), r"\(nearest: height 224, width 448\)$"),
        ((0, 224), "0 x 224"),
    ],
)
def test_sizes_that_windows_do_not_divide_are_refused_with_the_nearest_ones(size, message):
    network = WSFViT(SMALL)
    with pytest.raises(DataError, match=message):
        network(torch.zeros(1, 3, *size))
    with pytest.raises(DataError, match=message):
        WSFViTFeatures(network)(torch.zeros(1, 3, *size))
    with pytest.raises(ParamsError, match=f"img_size: .*{message}"):
        WSFViT(SMALL, img_size=size)


def test_legal_sizes_are_multiples_of_32_windows():
    legal = {side for side in range(1, 1200) if size_problem(side, 224, 7) is None}
    assert legal == {224, 448, 672, 896, 1120}
    assert size_problem(256, 512, 8) is None
    assert size_problem(384, 384, 12) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_chans": 1}, "3 channels"),
        ({"channel_heads": (2, 4, 8, 7)}, r"divide the widths \(24, 48, 96, 192\)"),
        ({"channel_heads": (2, 4)}, "four numbers"),
        ({"window": 0}, "at least one cell"),
        ({"wavelet": "haar2"}, "did you mean 'haar'"),
    ],
)
def test_options_that_make_no_network_are_refused(options, message):
    with pytest.raises(ParamsError, match=message):
        small_network(**options)
    with pytest.raises(ParamsError, match="'tt' is not a WSF-ViT variant; did you mean 't'"):
        architecture("tt")
    assert architecture("P0") is SMALL


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64)])
def test_what_is_no_batch_of_coloured_pictures_is_refused(shape):
    with pytest.raises(DataError, match=r"expected images as \(B, 3, H, W\)"):
        small_network()(torch.zeros(shape))


@pytest.mark.parametrize("partition", ["window", "grid"])
@pytest.mark.parametrize("order", ["thirds", "heads"])
def test_partitions_hold_the_cells_they_should_and_are_inverted(partition, order):
    batch, height, width, heads, depth, window = 2, 6, 9, 2, 5, 3
    cells = torch.arange(batch * height * width * 3 * heads * depth).view(batch, height, width, -1)
    thirds = partitioned(cells, heads, window, partition, order)
    assert thirds.shape == (3, batch * 6, heads, window * window, depth)
    split = cells.unflatten(3, (3, heads, depth) if order == "thirds" else (heads, 3, depth))
    split = split if order == "thirds" else split.transpose(3, 4)
    # The group with offset (1, 2) in the second image.
    rows, columns = height // window, width // window
    own = (
        split[1, window : 2 * window, 2 * window : 3 * window]
        if partition == "window"
        else split[1, 1::rows, 2::columns]
    )
    group = thirds[:, 6 + 1 * columns + 2]
    assert torch.equal(group, own.reshape(9, 3, heads, depth).permute(1, 2, 0, 3))
    for third in range(3):
        wanted = split[:, :, :, third].flatten(3)
        assert torch.equal(joined(thirds[third], (height, width), partition), wanted)


def test_position_biases_are_read_at_key_minus_query():
    square = RelativePositionBias(3, 2)
    flat = RelativePositionBias(3, 2, "flat")
    table = torch.arange(50.0).view(2, 5, 5)
    square.relative_position_bias_table.data = table
    # The flat table is read at query minus key: the same biases lie in it the other way round.
    flat.relative_position_bias_table.data = table.flatten(1).flip(1).T.contiguous()
    bias = square()
    assert torch.equal(bias, flat())
    for query in range(9):
        for key in range(9):
            dy, dx = key // 3 - query // 3, key % 3 - query % 3
            assert torch.equal(bias[:, query, key], table[:, dy + 2, dx + 2])


@pytest.mark.parametrize(("partition", "roles"), [("window", (0, 1, 2)), ("grid", (1, 2, 0))])
def test_attention_inside_one_window_is_the_equation(partition, roles):
    torch.manual_seed(0)
    module = PartitionedAttention(8, 2, 3, partition)
    maps = torch.randn(1, 3, 3, 8)
    thirds = module.qkv(maps).view(9, 3, 2, 4).permute(1, 2, 0, 3)
    q, k, v = (thirds[role] for role in roles)
    weights = torch.softmax(q @ k.transpose(1, 2) / 2 + module.rel_pos(), dim=2)
    wanted = module.proj((weights @ v).transpose(0, 1).reshape(1, 3, 3, 8))
    torch.testing.assert_close(module(maps), wanted)


def test_attention_among_channels_is_the_equation():
    torch.manual_seed(0)
    module = CrossChannelAttention(8, 2)
    maps = torch.randn(2, 3, 5, 8)
    out = []
    for q, k, v in zip(*module.qkv(maps).flatten(1, 2).chunk(3, dim=2), strict=True):
        heads = []
        for h in (slice(0, 4), slice(4, 8)):
            weights = torch.softmax(k[:, h].T @ v[:, h] / 2, dim=1)
            heads.append((weights @ q[:, h].T).T)
        out.append(torch.cat(heads, dim=1))
    torch.testing.assert_close(module(maps), module.proj(torch.stack(out).view(2, 3, 5, 8)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_logits_among_channels_do_not_overflow_in_half_precision(dtype):
    k = torch.full((1, 1, 9216, 4), 8.0, dtype=dtype)
    v = k * torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=dtype)  # sums of 589824, beyond float16
    weights = channel_weights(k, v)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5, 0.0, 0.0]).expand(1, 1, 4, 4))


def test_channel_heads_change_the_function_and_no_shape():
    images = pictures()
    few, many = (small_network(channel_heads=heads).eval() for heads in ((2, 4, 8, 16), (4, 8, 16, 32)))
    many.load_state_dict(few.state_dict())
    assert not torch.allclose(few(images), many(images), atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 6), (5, 9), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("gradients", [True, False])
def test_same_padding_is_that_of_tensorflow(height, width, stride, gradients):
    conv = nn.Conv2d(2, 3, 3, stride)
    maps = torch.randn(1, 2, height, width)
    totals = [max((math.ceil(side / stride) - 1) * stride + 3 - side, 0) for side in (height, width)]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    wanted = conv(nn.functional.pad(maps, (left, right, top, bottom)))
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(same_conv(maps, conv.weight, conv.bias, stride), wanted)


def test_training_in_bfloat16_follows_float32():
    network = small_network().train()
    images = pictures(4)
    with torch.no_grad():
        wanted = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(images)
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted).abs().max() < 0.05 * wanted.abs().max() + 0.02


@pytest.mark.parametrize(("stride", "options"), [(1, {}), (2, {}), (2, {"padding": "symmetric", "kind": "none"})])
def test_with_fixed_statistics_the_folded_form_is_the_layers_one_after_the_other(stride, options):
    torch.manual_seed(0)
    module = MBConv(6, 8, stride, **options)
    for norm in (module.pre_norm, module.norm1, module.norm2):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.data.uniform_(0.5, 1.5)
    maps = torch.randn(2, 6, 8, 10)
    kept = maps.clone()

    def layers(x):
        x = nn.functional.gelu(module.norm1(module.conv1_1x1(module.pre_norm(x))), approximate=module.kind)
        pads = (0, 1, 0, 1) if stride == 2 and not options else (1, 1, 1, 1)
        x = nn.functional.conv2d(nn.functional.pad(x, pads), module.conv2_kxk.weight, None, stride, groups=32)
        x = module.conv3_1x1(module.se(nn.functional.gelu(module.norm2(x), approximate=module.kind)))
        return x + module.shortcut(maps)

    module.eval()
    found = []
    for form in (module, layers):
        module.zero_grad()
        out = form(maps)
        out.square().sum().backward()
        found.append((out.detach(), {name: each.grad.clone() for name, each in module.named_parameters()}))
    (one, fast), (other, slow) = found
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    for name, gradient in slow.items():
        torch.testing.assert_close(fast[name], gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()), msg=name)
    with torch.no_grad():
        torch.testing.assert_close(module(maps), other, rtol=1e-4, atol=1e-4)
    assert torch.equal(maps, kept)


@pytest.mark.parametrize("training", [True, False])
def test_without_gradients_the_same_is_computed_and_the_images_stay(training):
    network = small_network().train(training)
    images = pictures()
    kept = images.clone()
    wanted = network(images).detach()
    with torch.inference_mode():
        torch.testing.assert_close(network(images), wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(images, kept)


def test_recomputed_activations_give_the_same_gradients():
    network = small_network().train()
    found = []
    for enable in (False, True):
        network.zero_grad()
        network.set_grad_checkpointing(enable)
        network(pictures()).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in network.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_block_of_the_video_translator_has_its_names_and_shapes():
    block = Block(64, 64, heads=2, channel_heads=4, window=4, options=VIDEO)
    shapes = {name: tuple(tensor.shape) for name, tensor in block.state_dict().items()}
    assert shapes["attn_block.attn.rel_pos.relative_position_bias_table"] == (49, 2)
    assert shapes["attn_channel.mlp.fc1.weight"] == (512, 64)
    assert shapes["attn_grid.mlp.fc1.weight"] == (256, 64)
    assert (block.conv.norm1.eps, block.attn_grid.norm1.eps, block.attn_channel.norm1.eps) == (1e-5, 1e-6, 1e-5)
    assert block(torch.randn(1, 64, 8, 12)).shape == (1, 64, 8, 12)


@pytest.mark.slow
def test_the_network_is_one_graph_to_the_compiler():
    network = small_network().eval()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(pictures()), network(pictures()), rtol=0, atol=1e-4)
