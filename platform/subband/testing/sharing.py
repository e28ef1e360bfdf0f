"""Checks of what stages share: same seed, store on or off, two workers, labels kept away, every dependency declared."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from subband.data import Category, ImageSource, Sample, Split
from subband.evaluation import Evaluation, split_runner
from subband.methods import divided_chains
from subband.stages import Chain, Store
from subband.testing.subject import Subject, require, require_equal

_WORKER_LIMIT = 240.0
_LABEL_WORDS = ("label", "mask", "truth", "defect", "anomal")


def check_same_seed_same_result(subject: Subject) -> None:
    """Two fresh workers without a store agree."""
    (maps, scores), (again, scores_again) = subject.maps(), subject.maps()
    require_equal(again, maps, "maps of a second run")
    require_equal(scores_again, scores, "scores of a second run")
    first, second = subject.fitted(), subject.fitted()
    require_equal(second.good_scores, first.good_scores, "good scores of a second fit")
    images = subject.queries()
    require_equal(second.detector.score(images)[1], first.detector.score(images)[1], "scores of a second fit")


def check_store_changes_nothing(subject: Subject, folder: Path) -> None:
    """Without a store, with an empty one and with a full one, maps, metrics and detectors are the same."""
    wanted = subject.bench().evaluate(subject.method, subject.params)
    wanted_maps, _ = subject.maps()
    wanted_good = subject.fitted().good_scores
    for state in ("empty", "full"):
        store = Store(folder / "store")
        require_equal(subject.maps(store)[0], wanted_maps, f"maps with an {state} store")
        bench = subject.bench(store)
        _require_same_metrics(bench.evaluate(subject.method, subject.params), wanted, f"with an {state} store")
        require_equal(subject.fitted(store).good_scores, wanted_good, f"good scores with an {state} store")
        if state == "full":
            kept = _kept(_chain(subject, bench.split.fit, bench.split.query))
            again = sorted(kept & bench.runner.computed.keys())
            require(not again, f"a full store computed again: {again}")


def check_two_workers(subject: Subject, folder: Path) -> None:
    """Two processes on one store at once give the metrics of one, and compute each kept stage once between them."""
    wanted = subject.bench().evaluate(subject.method, subject.params)
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    other = context.Process(target=_worker, args=(subject, folder / "store", ready, answers), daemon=True)
    other.start()
    try:
        bench = subject.bench(Store(folder / "store"))
        ready.wait(_WORKER_LIMIT)
        mine = bench.evaluate(subject.method, subject.params)
        theirs, their_computed = answers.get(timeout=_WORKER_LIMIT)
    except threading.BrokenBarrierError:
        raise AssertionError(f"the second worker did not start (exit status {other.exitcode})") from None
    finally:
        other.join(10)
        other.kill()
    _require_same_metrics(mine, wanted, "of the first of two workers")
    _require_same_metrics(theirs, wanted, "of the second of two workers")
    for stage in sorted(_kept(_chain(subject, bench.split.fit, bench.split.query)) | {"metrics"}):
        times = bench.runner.computed.get(stage, 0) + their_computed.get(stage, 0)
        require(times == 1, f"two workers computed the stage {stage!r} {times} times")


def _worker(subject: Subject, folder: Path, ready: Any, answers: Any) -> None:
    bench = subject.bench(Store(folder))
    ready.wait(_WORKER_LIMIT)
    answers.put((bench.evaluate(subject.method, subject.params), bench.runner.computed))


def check_divided_pictures(subject: Subject, folder: Path) -> None:
    """Three workers compute what a fit starts from, each for some images; a fit that joins their rows is the fit of one worker.

    The second of them has no image to score. What one worker has stored is what they have.
    """
    wanted = subject.fitted()
    alone, store = subject.bench(Store(folder / "alone")).runner, Store(folder / "divided")
    runner, count = subject.bench(store).runner, len(subject.category.train)
    fit, query = runner.source.fit, runner.source.query
    edges = [(0, 1, 0, 1), (1, count - 1, 1, 1), (count - 1, count, 1, len(query))]
    parts = [
        split_runner(Split(fit[first:stop], query[start:end], ("",) * (stop - first), ("",) * (end - start)), store)
        for first, stop, start, end in edges
    ]
    divided = list(divided_chains(subject.method, subject.params))
    require(bool(divided), "a fit starts from stages that are per_picture: workers could divide nothing")
    for chain, values in divided:
        for part in parts:
            part.run(chain, values)
        runner.join(chain, values, parts)
        whole, joined = alone.run(chain, values), runner.stored(chain, values)
        require(joined is not None, f"the joined stage {chain[-1].name!r} is not found under the key of the whole")
        assert joined is not None
        require(list(joined.arrays) == list(whole.arrays), f"{list(joined.arrays)}, not {list(whole.arrays)}")
        for name in whole.arrays:
            what = f"rows {name!r} of the stage {chain[-1].name!r}, joined"
            require_equal(joined.array(name), whole.array(name), what, tolerance=1e-6)
    fitted = subject.method.fit(subject.params, runner)
    require_equal(fitted.good_scores, wanted.good_scores, "good scores of a fit on three workers", tolerance=1e-6)
    # Behind a divided part, its fit is free to compute what workers cannot divide.
    behind = {
        stage.name for chain, _ in subject.method.fit_inputs(subject.params) for stage in chain if not stage.per_picture
    }
    again = sorted(({chain[-1].name for chain, _ in divided} & runner.computed.keys()) - behind)
    require(not again, f"the fit computed again what was joined: {again}")
    images = subject.queries()
    require_equal(
        fitted.detector.score(images)[1], wanted.detector.score(images)[1], "scores by three workers", tolerance=1e-6
    )


def check_labels_never_reach_stages(subject: Subject, folder: Path) -> None:
    """With every label, defect name, mask and sample name exchanged, maps stay and only the metrics are computed anew."""
    store = Store(folder / "store")
    maps, _ = subject.maps(store)
    exchanged = _exchanged(subject.category)
    require_equal(subject.maps(None, exchanged)[0], maps, "maps after the labels were exchanged", tolerance=0.0)
    bench = subject.bench(store, exchanged)
    bench.evaluate(subject.method, subject.params)
    again = sorted(_kept(_chain(subject, bench.split.fit, bench.split.query)) & bench.runner.computed.keys())
    require(not again, f"these stages depend on labels, since other labels computed them again: {again}")
    seen = [name for name in dir(bench.runner.source) if any(word in name.lower() for word in _LABEL_WORDS)]
    require(not seen, f"the source that stages receive offers {seen}")


@dataclass(frozen=True)
class _WholePicture:
    """A mask that calls every pixel of an image but its first one defective."""

    picture: ImageSource

    def open(self) -> Image.Image:
        mask = Image.new("L", self.picture.open().size, 255)
        mask.putpixel((0, 0), 0)
        return mask

    def digest(self) -> str:
        return f"all of {self.picture.digest()}"


def _exchanged(category: Category) -> Category:
    def exchange(number: int, sample: Sample) -> Sample:
        good = sample.label == 1
        kind = "good" if good else "exchanged"
        mask = None if good else _WholePicture(sample.image)
        return replace(sample, name=f"test/{kind}/{number:03d}", label=int(not good), defect=kind, mask=mask)

    return replace(category, test=tuple(exchange(number, sample) for number, sample in enumerate(category.test)))


def check_every_dependency_is_declared(subject: Subject, variations: Mapping[str, Any], folder: Path) -> None:
    """After each change of one param, a store that holds the other results gives what no store gives.

    A stage that gets at a param in another way than by declaring it would be served its stale result here.

    Args:
        subject: under contract.
        variations: for some params another legal value, or a mapping of several params that must change together.
        folder: for the store.
    """
    require(bool(variations), "give at least one variation: without one, nothing is checked")
    fields = set(subject.method.params_type.model_fields)
    bench = subject.bench()
    for stage in _chain(subject, bench.split.fit, bench.split.query):
        unknown = sorted(set(stage.reads) - fields)
        require(not unknown, f"the stage {stage.name!r} reads {unknown}, which are no params of {subject.method.name}")
    store = Store(folder / "store")
    subject.maps(store)
    for name, value in variations.items():
        changed = replace(
            subject, values={**subject.values, **(value if isinstance(value, Mapping) else {name: value})}
        )
        require(changed.params != subject.params, f"the variation {name}={value!r} is what the params have anyway")
        require_equal(changed.maps(store)[0], changed.maps()[0], f"maps after {name} became {value!r}, from the store")


def _chain(subject: Subject, fit: tuple[Any, ...], query: tuple[Any, ...]) -> Chain:
    return subject.method.chain(subject.params, len(fit), len(query))[0]


def _kept(chain: Chain) -> set[str]:
    return {stage.name for stage in chain if stage.keep}


def _require_same_metrics(got: Evaluation, wanted: Evaluation, what: str) -> None:
    for role in ("choose", "report"):
        found, expected = getattr(got, role), getattr(wanted, role)
        require(found.keys() == expected.keys(), f"metrics {what}: {sorted(found)}, not {sorted(expected)}")
        for name in expected:
            difference = abs(found[name] - expected[name])
            require(difference <= 1e-6, f"{name} {what} differs by {difference:.2e}")
    require_equal(np.asarray(got.scores), np.asarray(wanted.scores), f"scores {what}")
