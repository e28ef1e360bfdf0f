"""Illegal settings name the field and what would be right."""

import pytest

from subband.errors import ParamsError
from subband.tuning.settings import SweepSettings
from subband.validating import validated


def settings(**values):
    return validated(SweepSettings, values, "settings")


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("search", "tpee", "'tpe', 'random', 'gp', 'nsga2', 'qmc', 'grid' or 'pbt'"),
        ("trials", 0, "greater than or equal to 1"),
        ("minutes", 0, "greater than 0"),
        ("objective", ("image_aurok",), "did you mean 'image_auroc'"),
        ("objective", (), "at least 1"),
        ("objective", ("image_auroc", "image_auroc"), "names a metric or cost twice"),
        ("objective", ("image_auroc", "latency"), "did you mean 'latency_ms'"),
        ("objective", ("fps", "image_auroc"), "fps is a cost"),
        ("objective", ("latency_ms", "bank_mb"), "--objective image_auroc latency_ms bank_mb"),
        ("selection", "tst", "'auto', 'test', 'holdout' or 'synthetic'"),
        ("racing", "maybe", "'auto', 'on' or 'off'"),
        ("fpr", 0, "greater than 0"),
        ("fpr", 1, "less than 1"),
        ("seed", -1, "greater than or equal to 0"),
        ("workers", 0, "greater than or equal to 1"),
        ("store_gb", 0, "greater than 0"),
        ("top", 0, "greater than or equal to 1"),
    ],
)
def test_an_illegal_value_names_its_field_and_what_is_legal(field, value, right):
    with pytest.raises(ParamsError) as caught:
        settings(**{field: value})
    assert f"settings.{field}" in str(caught.value)
    assert right in str(caught.value)


def test_a_misspelt_setting_gets_near_matches():
    with pytest.raises(ParamsError, match="did you mean 'trials'"):
        settings(trails=5)


def test_a_preset_excludes_a_search():
    with pytest.raises(ParamsError, match="'full' is an exact grid: leave --search out"):
        settings(preset="full", search="random")


def test_racing_excludes_several_objectives():
    with pytest.raises(ParamsError, match="racing compares one objective"):
        settings(racing="on", objective=("image_auroc", "pixel_auroc"))


def test_the_defaults_are_legal():
    assert settings().selection == "auto"


def test_costs_stand_beside_a_metric():
    assert settings(objective=("image_auroc", "bank_mb", "fps")).objective == ("image_auroc", "bank_mb", "fps")
