"""Checkpoints of WSF-ViT by their names: the published manifests, wrappers, other windows, other heads, other networks."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.layers import resize_rel_pos_bias_table

from subband.errors import ModelError
from subband.methods.wsfvit import WSFViT, WSFViTFeatures
from subband.methods.wsfvit.architecture import ARCHITECTURES
from subband.methods.wsfvit.checkpoint import OLD_PARTS, compare, load_checkpoint, own_names, variant_of
from subband.methods.wsfvit.published import MODELS

MANIFESTS = Path(__file__).parents[1] / "golden" / "wsfvit"
NAMES = ("p0", "p1", "p2", "n", "t", "s", "m", "b", "b_256", "t_384", "t_backbone")
SMALL = ARCHITECTURES["p0"]
TABLE = "stages.0.blocks.0.attn_local.attn.rel_pos.relative_position_bias_table"


def small_network(architecture=SMALL, seed=0, **options) -> WSFViT:
    torch.manual_seed(seed)
    return WSFViT(architecture, **{"window": 2, "num_classes": 5, "drop_path_rate": 0.0, **options}).eval()


def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def old_names(state):
    new_parts = {new: old for old, new in OLD_PARTS.items()}
    return {".".join(new_parts.get(part, part) for part in name.split(".")): tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def state(network):
    return network.state_dict()


def same(one, other) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_kinds_are_those_of_the_published_code(name):
    described = json.loads((MANIFESTS / f"manifest_{name}.json").read_text())
    variant, _, kind = name.partition("_")
    model = MODELS[f"wsfvit_{variant}_{kind if kind.isdecimal() else 224}"]
    with torch.device("meta"):
        network = WSFViT(ARCHITECTURES[variant], model.window)
        network = WSFViTFeatures(network, output_norms=True) if kind == "backbone" else network
    parameters = dict(network.named_parameters())
    own = [
        [name, list(tensor.shape), "param" if name in parameters else "buffer"]
        for name, tensor in network.state_dict().items()
    ]
    assert own == described["state_dict"]
    assert sum(parameter.numel() for parameter in parameters.values()) == described["num_parameters"]


@pytest.mark.parametrize("variant", ARCHITECTURES)
def test_a_state_dict_tells_its_variant(variant):
    with torch.device("meta"):
        assert variant_of(WSFViT(ARCHITECTURES[variant]).state_dict()) == variant
    assert variant_of({"head.fc.weight": torch.zeros(1)}) is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        old_names,
        lambda state: {"state_dict": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {f"backbone.{name}": tensor for name, tensor in old_names(state).items()}},
        lambda state: {
            "state_dict": {n: t + 1 for n, t in state.items()},
            "state_dict_ema": {f"module._orig_mod.{n}": t for n, t in state.items()},
        },
        lambda state: {"model_ema": {"module." + n: t for n, t in state.items()}, "model": {}, "state_dict_ema": None},
    ],
    ids=["bare", "old names", "training script", "module", "detector", "averaged first", "model_ema"],
)
def test_files_are_read_through_their_wrappers(tmp_path, network, state, wrap):
    torch.save(wrap(state), tmp_path / "weights.pth")
    other = small_network(seed=1)
    loaded = load_checkpoint(other, tmp_path / "weights.pth")
    assert same(network, other)
    assert torch.equal(other(pictures()), network(pictures()))
    assert str(loaded) == f"{len(state)} tensors of {tmp_path / 'weights.pth'}"


def test_safetensors_are_read(tmp_path, network, state):
    save_file(state, tmp_path / "weights.safetensors")
    other = small_network(seed=1)
    load_checkpoint(other, str(tmp_path / "weights.safetensors"))
    assert same(network, other)


def test_files_with_code_in_them_are_refused(tmp_path):
    torch.save({"state_dict": {}, "model": Path}, tmp_path / "code.pth")
    with pytest.raises(ModelError, match=r"code\.pth cannot be read as a state dict"):
        load_checkpoint(small_network(), tmp_path / "code.pth")
    with pytest.raises(ModelError, match=r"none\.pth cannot be read"):
        load_checkpoint(small_network(), tmp_path / "none.pth")


def test_a_backbone_leaves_the_head_out_and_keeps_its_norms(network, state):
    features = WSFViTFeatures(small_network(seed=1), output_norms=True).eval()
    features.norm2.norm.bias.data.fill_(3.0)
    loaded = load_checkpoint(features, old_names(state))
    assert loaded.left_out == ("head.norm", "head.pre_logits", "head.fc")
    assert loaded.kept == tuple(f"norm{i}.norm.{kind}" for i in range(4) for kind in ("weight", "bias"))
    assert "left out: head.norm" in str(loaded)
    assert "as initialised: norm0.norm.weight" in str(loaded)
    maps = features(pictures())
    torch.testing.assert_close(maps[2].mean(dim=1), torch.full((2, 4, 4), 3.0))
    plain = WSFViTFeatures(small_network(seed=1), out_indices=(1,)).eval()
    assert {"stages.2", "stages.3", "head.fc"} < set(load_checkpoint(plain, state).left_out)
    wanted = network.stages[1](network.stages[0](network.stem(pictures())))
    assert torch.equal(plain(pictures())[0], wanted)


def test_a_backbone_takes_the_norms_that_its_file_has():
    source = WSFViTFeatures(small_network(), output_norms=True)
    source.norm1.norm.weight.data.fill_(2.0)
    target = WSFViTFeatures(small_network(seed=1), output_norms=True)
    assert load_checkpoint(target, source.state_dict()).kept == ()
    assert same(source, target)
    torn = {name: tensor for name, tensor in source.state_dict().items() if name != "norm1.norm.weight"}
    with pytest.raises(ModelError, match=r"1 missing \(norm1\.norm\.weight\)"):
        load_checkpoint(target, torn)


def test_of_a_whole_detector_the_backbone_is_taken():
    source = WSFViTFeatures(small_network(), output_norms=True)
    detector = {f"backbone.{name}": tensor for name, tensor in old_names(source.state_dict()).items()}
    detector |= {"neck.fpn.weight": torch.zeros(1), "rpn_head.bias": torch.zeros(1), "neck.fpn.bias": torch.zeros(1)}
    target = WSFViTFeatures(small_network(seed=1), output_norms=True)
    assert load_checkpoint(target, detector).left_out == ("neck", "rpn_head")
    assert same(source, target)
    with pytest.raises(ModelError, match=r"missing \(head\.norm\.weight.* without a place in it"):
        load_checkpoint(small_network(), detector)


@pytest.mark.parametrize(("old", "new"), [(7, 12), (7, 8), (7, 2), (2, 7), (12, 7), (7, 1)])
def test_position_tables_are_resized_to_another_window(old, new):
    source, target = small_network(window=old), small_network(seed=1, window=new)
    loaded = load_checkpoint(target, source.state_dict())
    assert loaded.resized == (10, old, new)
    assert f"10 position bias tables resized from window {old} to {new}" in str(loaded)
    table = target.state_dict()[TABLE]
    assert table.shape == (2, 2 * new - 1, 2 * new - 1)
    wanted = resize_rel_pos_bias_table(source.state_dict()[TABLE], (new, new), tuple(table.shape))
    assert torch.equal(table, wanted)
    assert torch.isfinite(table).all()
    middle = table[:, new - 1, new - 1]
    torch.testing.assert_close(middle, source.state_dict()[TABLE][:, old - 1, old - 1], atol=1e-5, rtol=0)
    others = {name: tensor for name, tensor in source.state_dict().items() if not name.endswith("table")}
    assert all(torch.equal(tensor, target.state_dict()[name]) for name, tensor in others.items())


def test_another_number_of_classes_is_named_and_the_last_layer_replaced_on_request(network, state):
    other = small_network(seed=1, num_classes=7)
    with pytest.raises(ModelError, match=r"has 5 classes, the network 7: .*num_classes=5.*replace_head"):
        load_checkpoint(other, state)
    own = other.head.fc.weight.clone()
    loaded = load_checkpoint(other, state, replace_head=True)
    assert (loaded.left_out, loaded.kept) == (("head.fc",), ("head.fc.weight", "head.fc.bias"))
    assert torch.equal(other.head.fc.weight, own)
    assert torch.equal(other.head.pre_logits.fc.weight, network.head.pre_logits.fc.weight)
    with pytest.raises(ModelError, match="has 5 classes, the network 0"):
        load_checkpoint(small_network(num_classes=0), state)


def test_of_another_variant_the_file_and_the_first_differences_are_named(state):
    other = small_network(ARCHITECTURES["p1"])
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(
        ModelError,
        match=r"file\.pth does not fit this network: \d+ of another shape \(stem\.conv1\.weight is \(24, 12, 3, 3\) instead of "
        r"\(32, 12, 3, 3\), .*, \.\.\.\)\. The file is of WSF-ViT-P0",
    ):
        load_checkpoint(other, state, origin="file.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    with pytest.raises(ModelError, match=r"\d+ missing \(stages\.1\.blocks\.1\..* The file is of WSF-ViT-P1"):
        load_checkpoint(small_network(ARCHITECTURES["p2"]), small_network(ARCHITECTURES["p1"]).state_dict())


def test_one_tensor_more_or_less_is_not_overlooked(network, state):
    with pytest.raises(ModelError, match=r"1 missing \(stem\.norm1\.bias\)$"):
        load_checkpoint(small_network(), {name: tensor for name, tensor in state.items() if name != "stem.norm1.bias"})
    with pytest.raises(ModelError, match=r"1 without a place in it \(neck\.weight\)$"):
        load_checkpoint(small_network(), {**state, "neck.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"two tensors for stages\.0\.blocks\.0\.attn_local"):
        own_names({**state, **old_names(state)})


def test_the_report_lists_every_difference(network, state):
    assert not compare(network, state)
    assert compare(network, state).report() == "no differences"
    changed = {**state, "neck.weight": torch.zeros(1), "head.fc.bias": torch.zeros(9)}
    del changed["head.norm.bias"], changed["head.norm.weight"]
    assert compare(network, changed).report() == (
        "2 missing:\n  head.norm.weight\n  head.norm.bias\n"
        "1 without a place in it:\n  neck.weight\n"
        "1 of another shape:\n  head.fc.bias is (9,) instead of (5,)"
    )


def test_weights_of_another_wavelet_are_refused_and_absent_filters_are_not_missed(network, state):
    other = small_network(wavelet="db2")
    with pytest.raises(ModelError, match=r"made with another wavelet: stem\.dwt_l2\.w_l is \[0\.707"):
        load_checkpoint(other, state)
    flipped = {**state, "stem.dwt_l2.w_h": -state["stem.dwt_l2.w_h"]}
    with pytest.raises(ModelError, match=r"another wavelet: stem\.dwt_l2\.w_h"):
        load_checkpoint(small_network(seed=1), flipped)
    bare = {name: tensor for name, tensor in state.items() if "dwt_l2" not in name}
    target = small_network(seed=1)
    load_checkpoint(target, bare)
    assert same(network, target)
