"""The search space of WSF-ViT: every configuration that it proposes is legal, and what the user gives holds."""

import optuna
import pytest

from search_spaces.wsfvit import PRESETS, SPACE, WINDOWS
from subband.methods import get_method, make_params
from subband.tuning.space import NarrowedSearch

METHOD = get_method("wsfvit")


def proposed(axes=None, count=40):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    search = NarrowedSearch(SPACE.suggest, axes or {})
    return [search(study.ask()) for _ in range(count)]


def test_everything_proposed_is_legal_and_windows_vary():
    points = proposed()
    for point in points:
        params = make_params(METHOD, {**METHOD.recipes["small"], **point})
        assert params.window == point["window"]
        assert point["window"] in WINDOWS[point["image_size"]]
    assert {(point["image_size"], point["window"]) for point in points} == {
        (size, window) for size in (64, 96, 128) for window in WINDOWS[size]
    }
    assert set(points[0]) == {name.strip() for name in SPACE.about.split(",")}


def test_what_the_user_gives_holds():
    points = proposed({"window": (1,), "variant": ("p0",), "image_size": (32, 64)})
    assert {point["window"] for point in points} == {1}
    assert {point["variant"] for point in points} == {"p0"}
    assert {point["image_size"] for point in points} == {32, 64}
    # Of a size that the space does not know the window is left to the params.
    sized = proposed({"image_size": (160,)}, 2)
    assert {make_params(METHOD, {**METHOD.recipes["small"], **point}).window for point in sized} == {5}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_legal(name):
    points = [point for each in PRESETS[name].rounds for point in each([], "top1")]
    assert len({str(point) for point in points}) == len(points) > 1
    for point in points:
        make_params(METHOD, {**METHOD.recipes["small"], **point})
