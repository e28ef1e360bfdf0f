"""The key of a stage changes exactly when something it declared changes; each distinct stage is computed once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.stages import WAITING, Runner, Stage, Store

NAMES = ("backbone", "wavelet", "level", "sigma")
PLAIN = st.one_of(st.integers(-5, 5), st.floats(-5, 5), st.text(max_size=4), st.booleans(), st.none())


def adding(name, reads, keep=True):
    """A stage that adds up what it reads and what came before."""

    def compute(upstream, params, source):
        before = source if name == "first" else upstream().array("total")
        return {"total": before + sum(getattr(params, read) for read in reads)}

    return Stage(name, 1, reads, compute, keep=keep)


CHAIN = (adding("first", ("a",)), adding("second", ("b",)), adding("third", ("c",)))


def runner(store=None, **changes):
    return Runner(np.zeros(3), changes.pop("fingerprint", "root"), store, **changes)


@given(
    st.fixed_dictionaries(dict.fromkeys(NAMES, PLAIN)),
    st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=3),
    st.sampled_from(NAMES),
    PLAIN,
)
@settings(max_examples=150, deadline=None)
def test_a_key_changes_exactly_when_a_declared_param_does(params, reads, changed, value):
    chain = tuple(Stage(f"s{number}", 1, tuple(sorted(names)), None) for number, names in enumerate(reads))
    other = {**params, changed: value}
    run = runner()
    for length in range(1, len(chain) + 1):
        declared = set().union(*reads[:length])
        same = {n: repr(params[n]) for n in declared} == {n: repr(other[n]) for n in declared}
        assert (run.key(chain[:length], params) == run.key(chain[:length], other)) == same


def test_a_key_changes_with_everything_else_the_result_depends_on():
    run, params = runner(), {"a": 1}
    stage = Stage("s", 1, ("a",), None, content=lambda view: "weights-1")
    others = [
        (run, (Stage("s", 2, ("a",), None, content=lambda view: "weights-1"),)),
        (run, (Stage("t", 1, ("a",), None, content=lambda view: "weights-1"),)),
        (run, (Stage("s", 1, ("a",), None, content=lambda view: "weights-2"),)),
        (run, (Stage("s", 1, ("a",), None),)),
        (run, (stage, stage)),
        (runner(fingerprint="another category"), (stage,)),
    ]
    keys = {run.key((stage,), params)} | {other.key(chain, params) for other, chain in others}
    assert len(keys) == 1 + len(others)


def test_each_distinct_stage_is_computed_once(tmp_path):
    run = runner(Store(tmp_path))
    totals = {
        (b, c): run.run(CHAIN, {"a": 1, "b": b, "c": c}).array("total")[0] for b in (10, 20) for c in (100, 200, 300)
    }
    assert totals == {(b, c): 1 + b + c for b in (10, 20) for c in (100, 200, 300)}
    assert run.computed == {"first": 1, "second": 2, "third": 6}


def test_a_second_runner_finds_everything(tmp_path):
    params = {"a": 1, "b": 2, "c": 3}
    wanted = runner(Store(tmp_path)).run(CHAIN, params).array("total")
    later = runner(Store(tmp_path))
    np.testing.assert_array_equal(later.run(CHAIN, params).array("total"), wanted)
    assert later.computed == {}
    assert set(later.seconds) <= {WAITING}


def test_a_late_stage_that_is_stored_does_not_open_the_earlier_ones(tmp_path):
    store = Store(tmp_path)
    params = {"a": 1, "b": 2, "c": 3}
    runner(store).run(CHAIN, params)
    for row in store.info():
        if row["stage"] != "third":
            store._remove(row["key"])
    later = runner(Store(tmp_path))
    assert later.run(CHAIN, params).array("total").tolist() == [6, 6, 6]
    assert later.computed == {}


def test_without_a_store_recent_results_are_held(tmp_path):
    run = runner(memory_entries=3)
    for c in (1, 2, 3, 2):
        run.run(CHAIN, {"a": 1, "b": 1, "c": c})
    assert run.computed == {"first": 1, "second": 1, "third": 3}


def test_a_stage_that_is_not_kept_leaves_no_entry(tmp_path):
    store = Store(tmp_path)
    chain = (*CHAIN[:2], adding("third", ("c",), keep=False))
    runner(store).run(chain, {"a": 1, "b": 2, "c": 3})
    assert sorted(row["stage"] for row in store.info()) == ["first", "second"]


def test_reading_an_undeclared_param_is_an_error_that_names_both(tmp_path):
    store = Store(tmp_path)
    hasty = Stage("hasty", 1, ("a",), lambda upstream, params, source: {"total": np.zeros(1) + params.sigma})
    with pytest.raises(AttributeError, match="stage 'hasty' reads parameter 'sigma' without declaring it"):
        runner(store).run((hasty,), {"a": 1, "sigma": 2})
    assert store.info() == []
    assert list((tmp_path / "partial").iterdir()) == []


def test_content_sees_only_declared_params_too():
    nosy = Stage("nosy", 1, (), None, content=lambda params: params.weights)
    with pytest.raises(AttributeError, match="'weights' without declaring it"):
        runner().key((nosy,), {"weights": "random:0"})


def test_a_failing_stage_leaves_nothing_and_is_tried_again(tmp_path):
    attempts = []

    def compute(upstream, params, source):
        yield {"total": np.zeros((2, 2))}
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("the first attempt fails after one chunk")
        yield {"total": np.ones((1, 2))}

    store = Store(tmp_path)
    run = runner(store)
    stage = Stage("shaky", 1, (), compute)
    with pytest.raises(RuntimeError, match="first attempt"):
        run.run((stage,), {})
    assert store.info() == []
    assert list((tmp_path / "partial").iterdir()) == []
    assert run.computed == {}
    assert run.run((stage,), {}).array("total").tolist() == [[0, 0], [0, 0], [1, 1]]


def test_an_earlier_stage_is_asked_for_by_name():
    def total(value):
        return lambda upstream, params, source: {"total": np.full(1, value)}

    def both(upstream, params, source):
        return {"total": upstream("first").array("total") + upstream().array("total")}

    chain = (Stage("first", 1, (), total(1.0)), Stage("second", 1, (), total(10.0)), Stage("sum", 1, (), both))
    runner = Runner(None, "f", None)
    assert runner.run(chain, {}).array("total").tolist() == [11.0]
    assert runner.computed == {"first": 1, "second": 1, "sum": 1}

    def lost(upstream, params, source):
        return dict(upstream("third").values)

    with pytest.raises(ValueError, match="no stage 'third' comes before; there are first, second"):
        runner.run((*chain[:2], Stage("lost", 1, (), lost)), {})
