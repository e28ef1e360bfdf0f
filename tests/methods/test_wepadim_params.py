"""Validation: every illegal field is named with what would be right; modes give defaults and explicit values win."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.errors import ParamsError
from subband.methods import get_method, list_methods, make_params
from subband.methods.wepadim.params import CORRECTED, REFERENCE, WEPaDiMParams
from subband.nn.backbones import BACKBONES

METHOD = get_method("wepadim")


def made(**values):
    return make_params(METHOD, {"weights": "random:0", **values})


ILLEGAL = [
    ({"mode": "corected"}, "wepadim.mode: .*'corrected' or 'reference'"),
    ({"backbone": "resnet81"}, "wepadim.backbone: 'resnet81' is not a backbone; did you mean"),
    (
        {"weights": "pretraned"},
        "wepadim.weights: weights 'pretraned' is no file; give a path, 'pretrained', 'packaged' or 'random:SEED'",
    ),
    ({"framing": "zoom"}, "wepadim.framing: .*'stretch' or 'crop'"),
    ({"framing": "crop", "resize": 200}, "wepadim: resize 200 is smaller than image_size 224"),
    ({"resize": 15}, "wepadim.resize: .*greater than or equal to 16"),
    ({"image_size": 31}, "wepadim.image_size: .*greater than or equal to 32"),
    ({"image_size": 4096}, "wepadim.image_size: .*less than or equal to 2048"),
    ({"wavelet": "harr"}, "wepadim.wavelet: 'harr' is not a wavelet; did you mean 'haar'"),
    ({"level": 0}, "wepadim.level: .*greater than or equal to 1"),
    ({"level": 5}, "wepadim.level: .*less than or equal to 4"),
    ({"image_size": 64, "level": 3}, "wepadim: level 3 is too high: a map 4 pixels wide .*choose level <= 2"),
    ({"subbands": "LL+LX"}, "wepadim.subbands: 'LX' is not a subband"),
    ({"subbands": ""}, "wepadim.subbands: '' is not a subband"),
    ({"grid": 1}, "wepadim.grid: grid 1 is out of range; choose 'smallest' or a side from 2 to 128"),
    ({"grid": "largest"}, "wepadim.grid: .*'smallest'"),
    ({"placement": "left"}, "wepadim.placement: .*'auto', 'centred' or 'resized'"),
    ({"antialias": "perhaps"}, "wepadim.antialias: .*boolean"),
    ({"cov_reg": 0}, r"wepadim.cov_reg: .*greater than or equal to 0\.00000001"),
    ({"cov_reg": 1e-300}, r"wepadim.cov_reg: .*greater than or equal to 0\.00000001"),
    ({"cov_reg": float("inf")}, "wepadim.cov_reg: .*(finite|less than)"),
    ({"jitter": -1e-9}, "wepadim.jitter: .*greater than or equal to 0"),
    ({"distance": "euclidean"}, "wepadim.distance: .*'mahalanobis' or 'squared'"),
    ({"smoothing": "box"}, "wepadim.smoothing: .*'gaussian' or 'reference'"),
    ({"sigma": 0}, "wepadim.sigma: .*greater than 0"),
    ({"sigma": float("nan")}, "wepadim.sigma: .*finite"),
    ({"sigmma": 4}, "wepadim: 'sigmma' is not a parameter; did you mean 'sigma'"),
]


@pytest.mark.parametrize(("values", "message"), ILLEGAL, ids=lambda value: repr(value)[:60])
def test_an_illegal_field_is_named_with_what_would_be_right(values, message):
    with pytest.raises(ParamsError, match=message):
        made(**values)


def test_several_wrong_fields_are_all_named():
    with pytest.raises(ParamsError) as caught:
        made(wavelet="harr", sigma=-1, level=9)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "wepadim.wavelet",
        "wepadim.level",
        "wepadim.sigma",
    ]


@pytest.mark.parametrize(("mode", "defaults"), [("corrected", CORRECTED), ("reference", REFERENCE)])
def test_a_mode_gives_its_defaults_and_explicit_values_win(mode, defaults):
    params = made(mode=mode)
    assert {name: getattr(params, name) for name in defaults} == defaults
    other = REFERENCE if mode == "corrected" else CORRECTED
    for name, value in other.items():
        overridden = made(mode=mode, **{name: value})
        assert getattr(overridden, name) == value
        assert {n: getattr(overridden, n) for n in defaults if n != name} == {
            n: defaults[n] for n in defaults if n != name
        }


def test_the_fields_own_defaults_are_the_corrected_mode():
    """What --help shows is what runs."""
    for name, value in CORRECTED.items():
        assert WEPaDiMParams.model_fields[name].default == value
    assert CORRECTED.keys() == REFERENCE.keys()


def test_reference_is_the_published_behaviour():
    params = made(mode="reference")
    assert params.regularisation == pytest.approx(0.01 + 1e-6, rel=1e-12)
    assert params.grid_side() == 7
    assert made(mode="reference", backbone="efficientnet-b0").grid_side() == 4


@given(
    st.sampled_from(["corrected", "reference"]),
    st.sampled_from(sorted(BACKBONES)),
    st.sampled_from(["haar", "db4", "sym4", "coif1"]),
    st.integers(1, 2),
    st.sampled_from(["LL", "LL+LH+HL", "HH+ll", "LL+LH+HL+HH"]),
)
@settings(max_examples=40, deadline=None)
def test_params_survive_being_written_and_read(mode, backbone, wavelet, level, subbands):
    params = made(mode=mode, backbone=backbone.replace("_", "-"), wavelet=wavelet, level=level, subbands=subbands)
    assert params.backbone == backbone
    assert make_params(METHOD, params.model_dump(mode="json")) == params
    assert WEPaDiMParams.model_validate_json(params.model_dump_json()) == params


@pytest.mark.parametrize(
    ("values", "channels"),
    [
        ({"subbands": "LL"}, 448),
        ({"subbands": "LL+LH+HL"}, 1344),
        ({"subbands": "LL+LH+HL", "level": 2}, 2240),
        ({"subbands": "LL+LH+HL+HH", "level": 2}, 3136),
        ({"backbone": "efficientnet_b6", "subbands": "LL+LH+HL+HH", "level": 2}, 5320),
    ],
)
def test_channels_are_those_of_the_specification(values, channels):
    assert made(**values).channels() == channels


@pytest.mark.parametrize(
    ("wavelet", "sides"), [("haar", (7, 4)), ("db2", (8, 5)), ("coif1", (9, 7)), ("sym4", (10, 8)), ("coif5", (21, 25))]
)
def test_published_grids_are_those_of_the_specification(wavelet, sides):
    assert tuple(made(mode="reference", wavelet=wavelet, level=level).grid_side() for level in (1, 2)) == sides


def test_an_unknown_method_gets_near_matches():
    assert "wepadim" in list_methods()
    with pytest.raises(ParamsError, match="'wepadin' is not a method; did you mean 'wepadim'"):
        get_method("wepadin")


def test_only_haar_is_spread_evenly_by_default():
    assert [made(wavelet=wavelet).centred for wavelet in ("haar", "db1", "bior1.1", "db2", "sym4")] == [False] * 3 + [
        True
    ] * 2
    assert not made(mode="reference", wavelet="db4").centred
    assert made(placement="centred").centred


def test_a_model_from_before_there_was_a_choice_keeps_its_placement():
    saved = made(wavelet="db4").model_dump()
    del saved["placement"]
    assert make_params(get_method("wepadim"), saved, restoring=True).placement == "resized"
    assert make_params(get_method("wepadim"), {**saved, "placement": "auto"}, restoring=True).centred
