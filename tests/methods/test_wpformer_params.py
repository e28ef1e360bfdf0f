"""Params: the two modes, what is refused, and the presets."""

import pytest
from pydantic import ValidationError
from wpformer_subjects import small_params

from subband.errors import ParamsError
from subband.methods import get_method, make_params
from subband.methods.wpformer.params import WPFormerParams
from subband.methods.wpformer.recipes import RECIPES, recipe


def made(**values):
    return make_params(get_method("wpformer"), values)


def test_the_mode_chooses_defaults_and_explicit_values_win():
    corrected, reference = made(), made(mode="reference")
    differing = {name for name in WPFormerParams.model_fields if getattr(corrected, name) != getattr(reference, name)}
    assert differing == {"mode", "loss_form", "iou_smoothing", "validation", "map_stretching"}
    assert (reference.loss_form, reference.iou_smoothing, reference.validation) == ("probabilities", 0.0, "test")
    assert (corrected.loss_form, corrected.validation, corrected.map_stretching) == ("logits", "holdout", False)
    assert corrected.iou_smoothing > 0
    mixed = made(mode="reference", loss_form="logits")
    assert (mixed.loss_form, mixed.map_stretching) == ("logits", True)


def test_defaults_are_those_of_esdis_sod():
    recipe_values = made(**recipe("esdis-sod"))
    assert made(validate_from=100) == recipe_values


@pytest.mark.parametrize(
    ("name", "values", "legal"),
    [
        ("backbone", {"backbone": "pvt_v2_b7"}, "'pvt_v2_b7' is not a PVTv2 backbone; did you mean"),
        ("channels", {"channels": 60}, "60 channels cannot be shared by 8 attention heads; .* for instance 64"),
        ("weights", {"weights": "no/such.pth"}, "is no file"),
        ("image_size", {"image_size": 32}, "greater than or equal to 33"),
        ("multi_scale", {"multi_scale": (0.75, 9)}, "between 0.25 and 4"),
        ("augmentation", {"augmentation": "mixup"}, "'none', 'flip-rotate-turn', 'crop'"),
        ("dropout", {"dropout": 1}, "less than 1"),
        ("drop_path", {"drop_path": -0.1}, "greater than or equal to 0"),
        ("loss_form", {"loss_form": "dice"}, "'probabilities' or 'logits'"),
        ("iou_smoothing", {"iou_smoothing": -1}, "greater than or equal to 0"),
        ("validation", {"validation": "train"}, "'holdout' or 'test'"),
        ("validation_share", {"validation_share": 1}, "less than 1"),
        ("map_order", {"map_order": "cod"}, "'defect' or 'object'"),
        ("mode", {"mode": "published"}, "'corrected' or 'reference'"),
    ],
)
def test_illegal_values_are_named_with_what_would_be_right(name, values, legal):
    with pytest.raises(ParamsError, match=rf"wpformer\.{name}: .*{legal}"):
        made(**values)


def test_misspelt_names_get_near_matches():
    with pytest.raises(ParamsError, match="'map_streching' is not a parameter; did you mean 'map_stretching'"):
        made(map_streching=True)
    assert made(backbone="pvt-v2-b4").backbone == "pvt_v2_b4"
    with pytest.raises(ValidationError):
        small_params().seed = 3


# Specification 2: variant, width, size, batch, rate, epochs, first validated epoch, augmentation (A to D there).
PUBLISHED = {
    "esdis-sod": ("pvt_v2_b2", 64, 384, 8, 8e-5, 150, 100, "flip-rotate-turn"),
    "crackseg9k": ("pvt_v2_b2", 64, 384, 4, 8e-5, 60, 50, "crop"),
    "zju-leaper": ("pvt_v2_b2", 64, 384, 4, 8e-5, 24, 20, "none"),
    "sod": ("pvt_v2_b4", 128, 384, 6, 4e-5, 60, 30, "flip-rotate"),
    "cod": ("pvt_v2_b4", 128, 384, 16, 4e-5, 150, 100, "crop-jitter"),
    "cod-512": ("pvt_v2_b4", 128, 512, 8, 4e-5, 150, 100, "crop-jitter"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_presets_are_the_published_settings(name):
    for mode in ("corrected", "reference"):
        params = made(**recipe(name), mode=mode)
        assert params.mode == mode
        if name in PUBLISHED:
            assert PUBLISHED[name] == (
                params.backbone,
                params.channels,
                params.image_size,
                params.batch,
                params.lr,
                params.epochs,
                params.validate_from,
                params.augmentation,
            )
            assert params.map_order == ("object" if params.channels == 128 else "defect")
            assert (params.precision, params.ema, params.clip, params.accumulation) == ("float32", 0, 0, 1)
            assert (params.dropout, params.drop_path) == (0.1, 0.1)


def test_a_preset_is_the_callers_own_and_unknown_ones_get_near_matches():
    recipe("small")["lr"] = 1.0
    assert recipe("small")["lr"] != 1.0
    assert made(**recipe("small")).weights == "random:0"
    with pytest.raises(ParamsError, match="'esdi-sod' is not a WPFormer recipe; did you mean 'esdis-sod'"):
        recipe("esdi-sod")
