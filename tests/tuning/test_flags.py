"""Flags come from the models: all of them, with defaults and help, and with errors for people."""

import re

import pytest

from search_spaces.wepadim import SPACE
from subband.errors import ParamsError
from subband.methods import get_method
from subband.runs.settings import FLAGS
from subband.tuning.job import parse_sweep as parse
from subband.tuning.lanes import STAGES
from subband.tuning.settings import SweepSettings

PARAMS = get_method("wepadim").params_type


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def said(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        parse(SPACE, "What the job does.", arguments)
    output = capsys.readouterr()
    return caught.value.code, " ".join(re.sub(r"[│╭╮╰╯─]", " ", output.out + output.err).split())


def test_help_names_every_flag_with_its_meaning_and_default(capsys):
    status, text = said(capsys, "--help")
    assert status == 0
    assert "What the job does." in text
    for model in (SweepSettings, PARAMS):
        for name, field in model.model_fields.items():
            flag = FLAGS.get(name, name).replace("_", "-")
            if name in STAGES.hidden:
                assert f"--{flag}" not in text, f"--{flag} is refused by this method"
                continue
            assert re.search(rf"--{flag}[ ,]", text), f"--{flag} is not in the help"
            assert " ".join(field.description.split()) in text, f"--{flag} is not explained"
            default = field.default
            if isinstance(default, tuple):
                default = " ".join(default)
            assert re.search(
                rf"{re.escape(' '.join(field.description.split()))}( [^-]*)? \(default: {re.escape(str(default))}\)",
                text,
            )
    for name, preset in SPACE.presets.items():
        assert f"{name}: {preset.about}" in text


def test_params_flags_take_any_number_of_values():
    settings, axes = parse(
        SPACE, "", ["--sigma", "2", "4", "--wavelet", "haar", "--grid", "smallest", "8", "--trials", "5"]
    )
    assert axes == {"sigma": (2.0, 4.0), "wavelet": ("haar",), "grid": ("smallest", 8)}
    assert settings == SweepSettings(trials=5)


def test_several_objectives():
    settings, _ = parse(SPACE, "", ["--objective", "image_auroc", "pixel_auroc"])
    assert settings.objective == ("image_auroc", "pixel_auroc")


@pytest.mark.parametrize(
    ("arguments", "field", "right"),
    [
        (["--trials", "0"], "settings.trials", "greater than or equal to 1"),
        (["--fpr", "2"], "settings.fpr", "less than 1"),
        (["--objective", "image_aurok"], "settings.objective", "did you mean 'image_auroc'"),
        (["--preset", "full", "--search", "gp"], "settings", "leave --search out"),
    ],
)
def test_an_illegal_value_is_told_as_everywhere_else(arguments, field, right):
    with pytest.raises(ParamsError) as caught:
        parse(SPACE, "", arguments)
    assert field in str(caught.value)
    assert right in str(caught.value)


def test_a_misspelt_flag_gets_a_suggestion(capsys):
    status, text = said(capsys, "--sigmma", "3")
    assert status == 2
    assert "Perhaps you meant: --sigma" in text


def test_a_value_of_the_wrong_type_or_choice_names_the_flag(capsys):
    status, text = said(capsys, "--trials", "many")
    assert status == 2
    assert "--trials" in text
    status, text = said(capsys, "--selection", "tst")
    assert status == 2
    assert "'test', 'holdout', 'synthetic'" in text
