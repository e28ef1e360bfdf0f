"""Presets have the published points; a search is narrowed by what the user gives."""

import optuna
import pytest

from search_spaces.wepadim import PRESETS, SPACE, suggest
from subband.errors import ParamsError
from subband.spaces import product
from subband.trials import TrialRecord
from subband.tuning.space import NarrowedSearch


def records(points, scores=None):
    """Complete records of points; by default each is better than the one before."""
    scores = scores or [index / 1000 for index in range(len(points))]
    return [
        TrialRecord(
            trial_id=f"t{number}",
            number=number,
            params=point,
            status="complete",
            choose={"image_auroc": score, "pixel_auroc": 1 - score},
        )
        for number, (point, score) in enumerate(zip(points, scores, strict=True))
    ]


def distinct(points):
    return len({tuple(sorted(point.items())) for point in points})


def test_product_varies_the_last_axis_fastest():
    assert product(a=(1, 2), b=("x", "y")) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("demo", 48),
        ("full", 32),
        ("comprehensive", 192),
        ("phase1", 216),
        ("phase2", 10),
        ("ablation", 15),
        ("main_comparison", 2),
    ],
)
def test_exact_grids_have_the_published_sizes(name, size):
    points = [point for points in PRESETS[name].rounds for point in points([], "image_auroc")]
    assert len(points) == distinct(points) == size


def test_sequential_follows_the_winner_of_each_round():
    first, second, third = PRESETS["sequential"].rounds
    done = records(first([], "image_auroc"))
    assert len(done) == 8
    winner = done[-1].params
    points = second(done, "image_auroc")
    assert len(points) == distinct(points) == 9
    assert {(p["wavelet"], p["level"], p["subbands"]) for p in points} == {
        (winner["wavelet"], winner["level"], winner["subbands"])
    }
    done += records(points, [0.5] * 9)
    points = third(done, "image_auroc")
    assert len(points) == distinct(points) == 135
    assert {(p["wavelet"], p["level"]) for p in points} == {(winner["wavelet"], winner["level"])}


def test_probe_repeats_no_point_and_changes_one_thing_at_a_time():
    sample, neighbours = PRESETS["probe"].rounds
    first = sample([], "image_auroc")
    assert len(first) == distinct(first) == 10
    assert first == sample([], "image_auroc")
    further = neighbours(records(first), "image_auroc")
    assert 0 < len(further) <= 72
    assert distinct([*first, *further]) == len(first) + len(further)
    anchors = [first[-1], first[-2], first[0], first[1]]  # best two by image AUROC, best two by pixel AUROC
    for point in further:
        assert any(sum(point[name] != anchor[name] for name in anchor) == 1 for anchor in anchors)


def test_an_unknown_preset_gets_near_matches():
    with pytest.raises(ParamsError, match="did you mean 'phase2' or 'phase1'"):
        SPACE.preset("phase3")


def ask(axes, trials=12):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    search = NarrowedSearch(suggest, axes)
    return [search(study.ask()) for _ in range(trials)]


def test_the_search_varies_all_five_params():
    points = ask({}, 40)
    assert all(set(point) == {"wavelet", "level", "subbands", "sigma", "cov_reg"} for point in points)
    assert all(len({point[name] for point in points}) > 1 for name in points[0])
    assert all(1.5 <= point["sigma"] <= 8 and 1e-4 <= point["cov_reg"] <= 1 for point in points)


def test_one_value_fixes_a_param_and_several_restrict_it():
    points = ask({"wavelet": ("db4",), "sigma": (2.0, 3.0)}, 30)
    assert {point["wavelet"] for point in points} == {"db4"}
    assert {point["sigma"] for point in points} == {2.0, 3.0}
    assert {point["level"] for point in points} == {1, 2}


def test_several_values_of_a_param_outside_the_space_are_searched_too():
    points = ask({"backbone": ("resnet18", "resnet34"), "grid": (8,)}, 30)
    assert {point["backbone"] for point in points} == {"resnet18", "resnet34"}
    assert "grid" not in points[0]


def test_every_branch_of_a_search_is_said_to_be_searched():
    """Wavelet and encoder seed are asked for on one branch alone; a table without them would show unlike trials as alike."""
    from search_spaces.wedgenet import SPACE
    from subband.tuning.plan import _searched

    names = {"ratio", "sigma", "semantic", "gate", "wavelet", "encoder_seed", "scope"}
    assert set(_searched(SPACE, {})) == names
    assert set(_searched(SPACE, {"gate": (False,), "sigma": (2.0, 4.0)})) == {"ratio", "sigma", "semantic", "scope"}
