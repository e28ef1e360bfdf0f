"""A toy method passes the whole contract; each broken copy of it fails exactly the check that is made for its fault."""

from typing import ClassVar

import pytest
import toy_method

from subband.methods import registry
from subband.testing import MethodContract


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(registry._METHODS, "toy", "toy_method:TOY")


class TestToy(MethodContract):
    name = "toy"
    variations: ClassVar = {"image_size": 24, "power": 2.0, "gain": 3.0}
    bad_params: ClassVar = {"image_size": 4, "power": 0, "gain": "high"}


BROKEN = {
    toy_method.Forgetful: (
        "test_every_dependency_is_declared",
        r"maps after gain became 3\.0, from the store: differs",
    ),
    toy_method.Peeking: ("test_labels_never_reach_stages", "maps after the labels were exchanged: differs"),
    toy_method.Dicing: ("test_same_seed_same_result", "maps of a second run: differs"),
    toy_method.Drifting: ("test_fit_and_score", "maps of the fitted detector, against the evaluated ones: differs"),
    toy_method.Flattering: ("test_build", "the detector stores .* bytes"),
    toy_method.Crowded: ("test_batch_size_does_not_matter", "maps in batches of 1: differs"),
    toy_method.Careless: ("test_saving_is_all_or_nothing", "a failed save touched the folder"),
    toy_method.Online: ("test_no_network", "the network was used"),
    toy_method.Lax: ("test_bad_params", "expected ParamsError"),
    toy_method.Silent: ("test_bad_pictures", "expected DataError"),
    toy_method.Sociable: ("test_divided_pictures", "rows 'fit' of the stage 'images', joined: differs"),
    toy_method.Private: ("test_two_workers", "two workers computed the stage '.*' 2 times"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_method_fails(broken, tmp_path):
    check, message = BROKEN[broken]
    run_check(broken, check, message, tmp_path)


def run_check(broken, check, message, tmp_path):
    class Contract(TestToy):
        def method(self):
            return broken()

    bound = getattr(Contract(), check)
    wanted = [tmp_path] if "tmp_path" in bound.__func__.__code__.co_varnames else []
    with pytest.raises(AssertionError, match=message):
        bound(*wanted)


def test_a_method_that_forgets_what_it_learnt_fails(tmp_path, monkeypatch):
    monkeypatch.setitem(registry._METHODS, "toy", "toy_method:AMNESIC")
    run_check(toy_method.Amnesic, "test_save_and_load", "maps after loading: differs", tmp_path)


@pytest.mark.parametrize(
    ("check", "message"), [("test_every_dependency_is_declared", "variation"), ("test_bad_params", "illegal")]
)
def test_a_contract_without_values_to_try_fails(check, message, tmp_path):
    class Empty(MethodContract):
        name = "toy"

    bound = getattr(Empty(), check)
    with pytest.raises(AssertionError, match=f"give at least one {message}"):
        bound(*([tmp_path] if check != "test_bad_params" else []))
