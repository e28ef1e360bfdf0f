"""Which form of the chain runs, that all forms give the same maps, and what a change of params recomputes."""

import numpy as np
import pytest

from subband.data import open_dataset
from subband.errors import DataError
from subband.evaluation import CategoryBench
from subband.methods import get_method, make_params
from subband.methods.wepadim import stages
from subband.methods.wepadim.gaussian import primal_spectrum
from subband.methods.wepadim.stages import DIRECT_CHAIN, DUAL_CHAIN, choose_chain
from subband.stages import Runner, Store

METHOD = get_method("wepadim")
URI = "synthetic:?train=6&test=4&size=64&difficulty=0&categories=weave"


def made(**values):
    return make_params(METHOD, {"weights": "random:0", "image_size": 64, "grid": 4, **values})


@pytest.fixture(scope="module")
def category():
    return open_dataset(URI).category("weave")


def maps(bench, chain, params):
    runner = Runner(bench.split, bench.runner.fingerprint, None)
    return runner.run(chain, params.model_dump()).array("maps")


def test_fewer_pictures_than_channels_take_the_dual_form():
    chain, why = choose_chain(made(), 64, 100)
    assert chain is DUAL_CHAIN
    assert why == "dual: 64 training images are fewer than 1344 channels"


def test_more_pictures_than_channels_take_the_primal_form():
    params = made(backbone="efficientnet_b0", subbands="LL")
    assert choose_chain(params, 424, 10)[0] is DUAL_CHAIN
    chain, why = choose_chain(params, 425, 10)
    assert chain is DIRECT_CHAIN
    assert why == "primal: 425 training images are more than 424 channels"


def test_inner_products_that_take_too_much_room_are_not_kept():
    params = make_params(METHOD, {"weights": "random:0", "grid": 64})
    chain, why = choose_chain(params, 391, 132)
    assert chain is DIRECT_CHAIN
    assert why.startswith("dual from vectors: ")


@pytest.mark.parametrize(
    "values", [{}, {"mode": "reference", "resize": 64, "grid": "smallest"}, {"subbands": "LL+HH", "level": 2}]
)
def test_every_form_gives_the_same_maps(category, values):
    params, bench = made(**values), CategoryBench(category, "test", 0, None)
    dual = maps(bench, DUAL_CHAIN, params)
    from_vectors = maps(bench, DIRECT_CHAIN, params)
    assert np.abs(from_vectors - dual).max() <= 1e-6 * np.abs(dual).max()


def test_the_primal_form_gives_the_same_maps(category, monkeypatch):
    params, bench = made(subbands="LL", grid=2), CategoryBench(category, "test", 0, None)
    dual = maps(bench, DUAL_CHAIN, params)
    monkeypatch.setattr(stages, "spectrum", primal_spectrum)
    primal = maps(bench, DIRECT_CHAIN, params)
    assert np.abs(primal - dual).max() <= 1e-6 * np.abs(dual).max()


LATE = [
    ({"sigma": 2.0}, {"maps"}),
    ({"smoothing": "reference"}, {"maps"}),
    ({"cov_reg": 0.1}, {"distances", "maps"}),
    ({"distance": "squared"}, {"distances", "maps"}),
    ({"subbands": "LL"}, {"spectrum", "distances", "maps"}),
    ({"wavelet": "db2"}, {"grams", "spectrum", "distances", "maps"}),
    ({"grid": 2}, {"grams", "spectrum", "distances", "maps"}),
    ({"weights": "random:1"}, {"features", "grams", "spectrum", "distances", "maps"}),
    ({"framing": "crop", "resize": 64}, {"images", "features", "grams", "spectrum", "distances", "maps"}),
]


@pytest.mark.parametrize(("change", "recomputed"), LATE, ids=lambda value: "+".join(value))
def test_a_change_recomputes_only_what_follows_it(category, tmp_path, change, recomputed):
    bench = CategoryBench(category, "test", 0, Store(tmp_path))
    bench.evaluate(METHOD, made())
    first = dict(bench.runner.computed)
    assert set(first.values()) == {1}
    bench.evaluate(METHOD, made(**change))
    again = {name for name, times in bench.runner.computed.items() if times > first.get(name, 0)}
    assert again == recomputed | {"metrics"}


def test_a_sweep_over_late_params_computes_early_stages_once(category, tmp_path):
    bench = CategoryBench(category, "test", 0, Store(tmp_path))
    for subbands in ("LL", "LL+LH", "LL+LH+HL+HH"):
        for cov_reg in (0.01, 0.1):
            for sigma in (2.0, 4.0):
                bench.evaluate(METHOD, made(subbands=subbands, cov_reg=cov_reg, sigma=sigma))
    counts = bench.runner.computed
    assert {name: counts[name] for name in ("images", "features", "grams", "spectrum", "maps", "metrics")} == {
        "images": 1,
        "features": 1,
        "grams": 1,
        "spectrum": 3,
        "maps": 12,
        "metrics": 12,
    }


def test_one_training_picture_is_refused_before_anything_is_read():
    with pytest.raises(DataError, match=r"at least 2 good training images .* there is 1"):
        METHOD.chain(made(), 1, 5)
