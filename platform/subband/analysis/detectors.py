"""What an analysis works on: a saved detector, a registered one, or a method that is fitted now.

=============================================  ================================================================
written as                                     meaning
=============================================  ================================================================
``models:/NAME@champion``, ``runs:/RUN/NAME``  a registered detector
``runs/my-sweep/champions/weave``              the folder of a saved detector
``METHOD``, ``METHOD:sigma=2,wavelet=haar``    fitted now to the category's good training images, through the stages
=============================================  ================================================================

A saved detector belongs to one category; with several, ``{category}`` in its name or folder stands for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from subband.analysis.settings import Source
from subband.data import Category, fingerprint, is_embedded
from subband.data.ruled import category_as_taught, rule_of
from subband.decisions import Decision
from subband.errors import ModelError, ParamsError, unknown_name
from subband.evaluation import fit_split, split_runner
from subband.methods import Detector, list_methods, list_staged_methods, load, make_params, staged_method
from subband.methods.weights_rule import settled_for_job
from subband.stages import Runner, Store

REGISTRY = ("models:/", "runs:/")
PLACE = "{category}"


@dataclass(frozen=True)
class DetectorSpec:
    """One detector as the user named it.

    Attributes:
        text: as written.
        label: short and unique among the analysis's detectors.
        method: to be fitted now; None for a saved detector.
        values: the params given for it.
        settled: they, with its network and weights.
        decision: which weights, and why, as a job prints it.
    """

    text: str
    label: str
    method: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    settled: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision | None = None


@dataclass(frozen=True)
class DetectorTask:
    """One detector on one category: base of what an analysis sends to a worker."""

    spec: DetectorSpec
    category: str
    source: Source

    def __str__(self) -> str:
        return f"{self.category}, {self.spec.label}"


@dataclass(frozen=True)
class Obtained:
    """A detector that is ready, what a reader must know about it, and the category's images read as those that it was taught."""

    detector: Detector
    notes: tuple[str, ...]
    category: Category


def parse_detectors(texts: Sequence[str], data: str) -> tuple[DetectorSpec, ...]:
    """The detectors that the user named; every method that is fitted stage by stage, with its defaults, if none was named.

    Args:
        texts: as in the table of this module.
        data: the dataset's URI; it decides which weights ``auto`` means.

    Raises:
        ParamsError: no such method or folder, an illegal param, or a detector given twice.
    """
    texts = tuple(texts) or list_staged_methods()
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise ParamsError(f"the detector {twice!r} is given twice")
    specs = [_parse(text, data) for text in texts]
    labels = [_label(spec, specs) for spec in specs]
    # Two folders of one name are told apart by all that was written.
    return tuple(
        replace(spec, label=label if labels.count(label) == 1 else spec.text)
        for spec, label in zip(specs, labels, strict=True)
    )


def _label(spec: DetectorSpec, specs: Sequence[DetectorSpec]) -> str:
    """The method and what sets it apart: params that all fitted detectors share are left out."""
    fitted = [each for each in specs if each.method is not None]
    if spec.method is None or len(fitted) == 1:
        return spec.label
    own = {n: v for n, v in spec.values.items() if any(other.values.get(n) != v for other in fitted)}
    return _worded(spec.method, own)


def _worded(method: str, values: Mapping[str, Any]) -> str:
    return " ".join([method, *(f"{name}={value}" for name, value in values.items())])


def _parse(text: str, data: str) -> DetectorSpec:
    if text.startswith(REGISTRY):
        return DetectorSpec(text, text.split("/", 1)[1])
    name, colon, rest = text.partition(":")
    if name in list_methods():
        values = dict(_pair(text, part) for part in rest.split(",") if colon)
        method = staged_method(name)
        settled, decision = settled_for_job(method, values, embedded=is_embedded(data))
        make_params(method, settled)
        return DetectorSpec(text, _worded(name, values), name, values, settled, decision)
    folder = Path(text).expanduser()
    if PLACE not in text and not folder.is_dir():
        if "/" in text:
            raise ParamsError(f"detector {text!r}: there is no such folder")
        raise ParamsError(
            f"detector {unknown_name('method', name, list_methods())}; "
            "or give the folder of a saved detector, or models:/NAME@champion"
        )
    # Absolute, because workers may have another current folder.
    return DetectorSpec(str(folder.absolute()), folder.name if folder.name != PLACE else text)


def _pair(text: str, part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals or not name.strip():
        raise ParamsError(f"detector {text!r}: {part!r} is not NAME=VALUE; write METHOD:sigma=2,wavelet=haar")
    return name.strip(), value.strip()


def category_runner(category: Category, store: Store | None) -> Runner:
    """The runner of a sweep under selection=test or holdout on this category: their stages are found in the store."""
    return split_runner(fit_split(category, category.test), store)


def obtain(spec: DetectorSpec, category: Category, source: Source) -> Obtained:
    """The detector of one category, in eval mode on the CPU.

    Args:
        spec: from `parse_detectors`.
        category: its samples; a method is fitted to the good training images.
        source: the dataset, the stages and the registry.

    Raises:
        ModelError: nothing usable is saved there, or it was fitted to another category.
        TrackingError: the registry has no such model.
        DataError: the category cannot be learnt from.
    """
    if spec.method is not None:
        method = staged_method(spec.method)
        params = make_params(method, dict(spec.settled))
        detector = method.fit(params, category_runner(category, source.store())).detector
        detector.about = {**detector.about, "category": category.name}
        detector.reading = rule_of(sample.image for sample in category.train)
        if spec.decision is None or "weights" in spec.values:
            return Obtained(detector.eval(), (), category)
        return Obtained(detector.eval(), (f"{spec.method} weights: {spec.decision[1]} ({spec.decision[2]})",), category)
    place = spec.text.replace(PLACE, category.name)
    detector = load(place, source.tracking_uri)
    if not isinstance(detector, Detector):
        raise ModelError(f"{place} is for {detector.task}; give a detector, which scores images for defects")
    belongs = detector.about.get("category")
    if belongs is not None and belongs != category.name:
        raise ModelError(
            f"{place} was fitted to the category {belongs!r} and cannot judge {category.name!r}; give a detector of "
            f"{category.name!r}, write {PLACE} where its name stands, or add ?categories={belongs} to the dataset"
        )
    notes = []
    own, category = rule_of(s.image for s in category.train), category_as_taught(category, detector.reading)
    if detector.reading.bits is not None and own.bits not in (None, detector.reading.bits):
        notes.append(
            f"{spec.label} was taught {detector.reading.bits}-bit samples, and the images of {category.name} are read as such: the "
            f"data set by itself would be read as {own.bits} bits"
        )
    learnt = detector.about.get("training_fingerprint")
    other = learnt is not None and learnt != fingerprint(category.train, include_labels=True)
    if other:
        notes.append(f"{spec.label} was fitted to other training images than those of this dataset's {category.name}")
    return Obtained(detector.eval(), tuple(notes), category)
