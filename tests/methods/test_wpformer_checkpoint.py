"""Published checkpoints in and out by name, and what is said of files that are something else."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from wpformer_subjects import awake, pictures, small_network, small_params

from subband.errors import ModelError, ParamsError
from subband.methods.wpformer import checkpoint
from subband.methods.wpformer.backbone import published_name, timm_name
from subband.methods.wpformer.segmenter import adopt_checkpoint, make_network


def published(network, **changes):
    """The state dict that the released code would write for this network, its dead modules included."""
    channels = network.queries.shape[1]
    state = {checkpoint.reference_name(name): tensor.clone() for name, tensor in network.state_dict().items()}
    for i in range(3):
        cross = f"transformer_cross_attention_layers.{i}"
        for band, filters in checkpoint.HAAR.items():
            state[f"{cross}.multihead_attn.pool.{band}.weight"] = torch.tensor(filters).repeat(channels, 1, 1, 1)
        dead = [
            f"{cross}.norm",
            *(f"{cross}.multihead_attn.mscw{k}.{part}" for k in (1, 2) for part in ("conv.0", "linear")),
        ]
        state |= {f"{module}.{kind}": torch.ones(channels) for module in dead for kind in ("weight", "bias")}
    for norm, convolution in (("latlayer4.bn", "latlayer4.conv"), ("outconv4.conv.1", "outconv4.conv.0")):
        state[f"{convolution}.weight"] = torch.ones(channels, channels, 1, 1)
        kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        state |= {f"{norm}.{kind}": torch.ones(channels) for kind in kinds}
    return state | changes


def written(folder, state, name="model.pth"):
    torch.save(state, folder / name)
    return folder / name


@pytest.fixture(scope="module")
def network():
    return awake(small_network()).eval()


def test_every_name_has_a_published_one_and_comes_back(network):
    names = list(network.state_dict())
    theirs = [checkpoint.reference_name(name) for name in names]
    assert len(set(theirs)) == len(names)
    assert [checkpoint.own_name(name) for name in theirs] == names
    assert not any(checkpoint.is_dead(name) for name in theirs)
    with pytest.raises(ModelError, match=r"neck\.weight is no tensor of this network"):
        checkpoint.reference_name("neck.weight")
    assert checkpoint.own_name("neck.weight") is None


def test_names_of_the_backbone_are_those_that_timm_itself_converts():
    timms = timm.create_model("pvt_v2_b0", num_classes=0).state_dict()
    theirs = {published_name(name): name for name in timms}
    converted = timm.models.pvt_v2.checkpoint_filter_fn(theirs, None)
    assert converted == {name: name for name in timms}
    assert [timm_name(name) for name in theirs] == list(timms)


def test_a_published_checkpoint_gives_the_same_maps(tmp_path, network):
    state = published(network)
    assert sum(checkpoint.is_dead(name) for name in state) == 42
    segmenter = adopt_checkpoint(written(tmp_path, state), image_size=64, map_order="object")
    assert (segmenter.params.backbone, segmenter.params.channels) == ("pvt_v2_b0", 16)
    with torch.inference_mode():
        assert torch.equal(segmenter.network(pictures()), network(pictures()))
    assert "model.pth" in segmenter.about["weights"]


def test_dead_tensors_and_filters_may_be_left_out(tmp_path, network):
    state = {name: tensor for name, tensor in published(network).items() if checkpoint.own_name(name) is not None}
    assert len(state) == len(network.state_dict())
    loaded = make_network(small_params(weights=str(written(tmp_path, state))))
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items())


FILTER = "transformer_cross_attention_layers.1.multihead_attn.pool.LH.weight"


@pytest.mark.parametrize("filters", [torch.full((16, 1, 2, 2), 0.5), torch.tensor(checkpoint.HAAR["LH"])])
def test_other_filters_than_haars_are_refused(tmp_path, network, filters):
    path = written(tmp_path, published(network, **{FILTER: filters}))
    with pytest.raises(
        ModelError, match=r"model\.pth: .*1\.multihead_attn\.pool\.LH\.weight is not the Haar filter LH"
    ):
        make_network(small_params(weights=str(path)))


def test_a_checkpoint_of_another_variant_says_which_keys_differ(tmp_path, network):
    path = str(written(tmp_path, published(network)))
    with pytest.raises(
        ModelError,
        match=r"model\.pth is not a state dict of WPFormer of pvt_v2_b0 with 24 channels: \d+ are of another shape "
        r"\(query_embed\.weight is \(16, 16\) instead of \(16, 24\), .*\)\. The file is of pvt_v2_b0 with 16 channels",
    ):
        make_network(small_params(weights=path, channels=24))
    with pytest.raises(
        ModelError,
        match=r"of pvt_v2_b2 with 16 channels: \d+ of 655 tensors are missing \(backbone\.block1\.2\.\S+, .*\.\.\.\); "
        r"\d+ are of another shape .*The file is of pvt_v2_b0 with 16 channels",
    ):
        make_network(small_params(weights=path, backbone="pvt_v2_b2"))
    with pytest.raises(ModelError, match=r"24 channels: .* of another shape"):
        adopt_checkpoint(path, channels=24)


def test_a_network_without_wavelet_attention_has_no_place_for_its_weights(tmp_path, network):
    path = written(tmp_path, published(network))
    with pytest.raises(
        ModelError,
        match=r"16 channels without wavelet attention: \d+ have no place in it \(transformer_cross_attention_layers\.0\.",
    ):
        make_network(small_params(weights=str(path), wavelet=False))


def test_one_tensor_more_or_less_is_not_overlooked(tmp_path, network):
    more = written(tmp_path, published(network, **{"latlayer5.weight": torch.ones(2)}))
    with pytest.raises(ModelError, match=r"channels: 1 have no place in it \(latlayer5\.weight\)\. The file"):
        make_network(small_params(weights=str(more)))
    state = published(network)
    del state["SegHeads.2.mask_embed.layers.1.bias"]
    with pytest.raises(ModelError, match=r"1 of \d+ tensors are missing \(SegHeads\.2\.mask_embed\.layers\.1\.bias\)"):
        make_network(small_params(weights=str(written(tmp_path, state))))


def test_a_checkpoint_of_another_method_is_told_apart(tmp_path):
    resnet = timm.create_model("resnet18", num_classes=3).state_dict()
    path = written(tmp_path, resnet)
    with pytest.raises(ModelError, match=r"no checkpoint of a whole WPFormer: it has no queries"):
        adopt_checkpoint(path)
    with pytest.raises(
        ModelError,
        match=r"is not a state dict of the backbone pvt_v2_b0: .* missing .*; 122 have no place in it \(conv1\.weight",
    ):
        make_network(small_params(weights=str(path)))


@pytest.mark.parametrize("form", ["published", "timm", "feature extractor", "safetensors"])
def test_a_backbone_is_read_by_any_of_its_names(tmp_path, network, form):
    state = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    if form == "published":
        state = {published_name(name): tensor for name, tensor in state.items()}
        state |= {"head.weight": torch.ones(1000, 256), "head.bias": torch.ones(1000)}
    if form == "feature extractor":
        state = {name.replace("stages.", "stages_"): tensor for name, tensor in state.items()}
    path = tmp_path / "pvt.safetensors"
    if form == "safetensors":
        save_file(state, path)
    else:
        path = written(tmp_path, {"state_dict": state})
    loaded = make_network(small_params(weights=str(path)))
    expected = network.backbone.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.backbone.state_dict().items())
    assert torch.equal(loaded.queries, small_network().queries), "the rest starts as it always does"


def test_a_backbone_of_another_size_is_refused(tmp_path, network):
    path = written(tmp_path, network.backbone.state_dict())
    with pytest.raises(ModelError, match=r"is not a state dict of the backbone pvt_v2_b1: \d+ are of another shape"):
        make_network(small_params(weights=str(path), backbone="pvt_v2_b1"))


class Code:
    def __reduce__(self):
        return (print, ("run",))


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    path = written(tmp_path, {"query_embed.weight": Code()})
    with pytest.raises(ModelError, match=r"model\.pth cannot be read as a state dict"):
        adopt_checkpoint(path)
    assert capsys.readouterr().out == ""


def test_unknown_params_of_an_adopted_checkpoint_are_refused(tmp_path, network):
    path = written(tmp_path, published(network))
    with pytest.raises(ParamsError, match="chanels"):
        adopt_checkpoint(path, chanels=16)
    with pytest.raises(ModelError, match="cannot be read"):
        adopt_checkpoint(tmp_path / "none.pth")


def test_weights_that_cannot_be_fetched_name_the_other_choices(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match=r"pvt_v2_b0 could not be fetched .*weights=PATH of a state dict, or weights=random:0"
    ):
        small_network(weights="pretrained")
