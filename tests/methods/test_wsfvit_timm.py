"""WSF-ViT as a model of timm's."""

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.optim import param_groups_layer_decay, param_groups_weight_decay

import subband.methods.wsfvit  # noqa: F401  # registers the models
from subband.errors import ModelError, ParamsError
from subband.methods.wsfvit.published import MODELS
from subband.methods.wsfvit.registration import NAMES


def small(name="wsfvit_p0", **options):
    torch.manual_seed(0)
    return timm.create_model(name, **{"img_size": 64, "window": 2, "num_classes": 5, **options})


def pictures(batch=2, side=64):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_published_and_short_names_are_listed():
    assert set(timm.list_models("wsfvit*")) == set(NAMES)
    assert {name.removesuffix("_224") for name in MODELS if name.endswith("_224")} <= set(NAMES)
    assert not timm.list_pretrained("wsfvit*")


@pytest.mark.parametrize("name", NAMES)
def test_each_name_builds_its_published_model(name):
    model = NAMES[name]
    with torch.device("meta"):
        network = timm.create_model(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == model.counted_parameters
    heads = [stage.blocks[0].attn_inter.attn.heads for stage in network.stages]
    assert (tuple(heads), network.window) == (model.channel_heads, model.window)
    found = resolve_model_data_config(network)
    assert found["input_size"] == (3, model.side, model.side)
    assert found["crop_pct"] == model.crop_pct
    assert found["crop_mode"] == ("squash" if model.side == 384 else "center")
    assert found["interpolation"] == "bicubic"
    assert found["mean"] == ((0.5, 0.5, 0.5) if model.side == 384 else (0.485, 0.456, 0.406))
    assert (network.pretrained_cfg["first_conv"], network.pretrained_cfg["classifier"]) == ("stem.conv1", "head.fc")


def test_window_and_size_go_into_the_data_configuration():
    assert resolve_model_data_config(small(img_size=(64, 192)))["input_size"] == (3, 64, 192)
    with torch.device("meta"):
        other = timm.create_model("wsfvit_p0", window=8)
    assert resolve_model_data_config(other)["input_size"] == (3, 256, 256)
    with pytest.raises(ParamsError, match=r"img_size: 256 x 256 .*nearest: 224 or 448"):
        timm.create_model("wsfvit_p0", img_size=256)


def test_the_classifier_is_reset_and_taken_off():
    network = small().eval()
    assert network.get_classifier().out_features == 5
    pre_logits = network.forward_head(network.forward_features(pictures()), pre_logits=True)
    assert pre_logits.shape == (2, network.head_hidden_size)
    torch.testing.assert_close(network.get_classifier()(pre_logits), network(pictures()))
    network.reset_classifier(7)
    assert (network(pictures()).shape, network.num_classes) == ((2, 7), 7)
    network.reset_classifier(0)
    torch.testing.assert_close(network(pictures()), pre_logits)
    assert small(num_classes=0).eval()(pictures()).shape == (2, 192)


def test_pooling_and_dropout_are_timms():
    network, greatest = small().eval(), small(global_pool="max").eval()
    greatest.load_state_dict(network.state_dict())
    maps = network.forward_features(pictures())
    torch.testing.assert_close(greatest(pictures()), network.forward_head(maps.amax((2, 3), keepdim=True)))
    assert small(drop_rate=0.3).head.drop.p == 0.3


def test_features_are_the_maps_of_the_stages():
    network, features = small().eval(), small(features_only=True).eval()
    features.load_state_dict(
        {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head.")}
    )
    maps = features(pictures())
    assert [tuple(each.shape) for each in maps] == [(2, 24, 16, 16), (2, 48, 8, 8), (2, 96, 4, 4), (2, 192, 2, 2)]
    assert features.feature_info.channels() == [24, 48, 96, 192]
    assert features.feature_info.reduction() == [4, 8, 16, 32]
    torch.testing.assert_close(maps[3], network.forward_features(pictures()))
    assert resolve_model_data_config(features)["input_size"] == (3, 64, 64)


@pytest.mark.parametrize(("indices", "wanted"), [((1, 2), [48, 96]), (2, [96, 192]), ((-4,), [24])])
def test_features_of_some_stages_leave_the_later_ones_out(indices, wanted):
    features = small(features_only=True, out_indices=indices, output_norms=True).eval()
    assert [each.shape[1] for each in features(pictures())] == wanted == features.feature_info.channels()
    assert len(features.stages) == {48: 3, 96: 4, 24: 1}[wanted[0]]
    with pytest.raises(ParamsError, match="the stages are 0 to 3"):
        small(features_only=True, out_indices=(4,))


def test_output_norms_are_seen_by_the_reader_alone():
    plain, normed = (small(features_only=True, output_norms=norms).eval() for norms in (False, True))
    normed.load_state_dict(plain.state_dict(), strict=False)
    for one, other in zip(plain(pictures()), normed(pictures()), strict=True):
        moved = one.permute(0, 2, 3, 1)
        wanted = torch.nn.functional.layer_norm(moved, moved.shape[3:], eps=1e-6).permute(0, 3, 1, 2)
        torch.testing.assert_close(other, wanted)
    with pytest.raises(TypeError, match="output_norms need features_only"):
        small(output_norms=True)


def test_frozen_normalisations_keep_their_statistics_and_train_their_weights():
    features = small(features_only=True, frozen_batch_norm=True, drop_path_rate=0.0).train()
    before = {name: tensor.clone() for name, tensor in features.named_buffers()}
    maps = features(pictures())
    sum(each.square().mean() for each in maps).backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in features.named_buffers())
    norm = features.stages[0].blocks[0].conv.norm1
    assert norm.weight.grad.any()
    assert features.training
    assert not norm.training
    thawed = small(features_only=True).train()
    thawed(pictures())
    assert not torch.equal(thawed.stem.norm1.running_mean, torch.zeros(12))


def test_weights_from_nowhere_are_refused_with_the_choices():
    with pytest.raises(ModelError, match=r"wsfvit_t: .* cannot fetch.*'file': PATH.* pretrained=False"):
        timm.create_model("wsfvit_t", pretrained=True)


def test_weights_from_a_file_are_loaded_and_another_head_is_kept(tmp_path):
    network = small(num_classes=1000).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    overlay = {"file": str(tmp_path / "weights.pth")}
    same = small(num_classes=1000, pretrained=True, pretrained_cfg_overlay=overlay, wavelet="haar").eval()
    assert torch.equal(same(pictures()), network(pictures()))
    torch.manual_seed(7)
    other = timm.create_model(
        "wsfvit_p0", img_size=64, window=2, num_classes=3, pretrained=True, pretrained_cfg_overlay=overlay
    ).eval()
    assert torch.equal(other.forward_features(pictures()), network.forward_features(pictures()))
    assert other(pictures()).shape == (2, 3)
    features = small(features_only=True, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    assert torch.equal(features(pictures())[3], network.forward_features(pictures()))


def test_parameters_that_must_not_decay_and_groups_by_depth():
    network = small()
    decayed = param_groups_weight_decay(network, 0.05, no_weight_decay_list=network.no_weight_decay())[1]["params"]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    kept = set(names.values()) - {names[id(parameter)] for parameter in decayed}
    assert {name for name in names.values() if name.endswith(("bias", "norm1.weight", "bias_table"))} <= kept
    assert all(name.endswith("weight") for name in names.values() if name not in kept)
    # A scale for the stem, one for each of the five blocks and one for the head.
    assert len({group["lr_scale"] for group in param_groups_layer_decay(network)}) == 7
    coarse = timm.models.group_modules(network, network.group_matcher(coarse=True))
    assert len(coarse) == 6
