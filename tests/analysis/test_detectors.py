"""What an analysis may work on, and what it refuses."""

import numpy as np
import pytest

from subband.analysis.detectors import obtain, parse_detectors
from subband.data import load_images, open_dataset
from subband.errors import ModelError, ParamsError
from subband.methods import list_staged_methods
from tests.analysis.conftest import SMALL, TINY


@pytest.fixture(scope="module")
def weave():
    return open_dataset(TINY).category("weave")


@pytest.fixture(scope="module")
def obtained(weave, source):
    (spec,) = parse_detectors([SMALL], TINY)
    return obtain(spec, weave, source)


@pytest.fixture
def saved(obtained, tmp_path):
    detector = obtained.detector
    before = detector.about
    detector.about = {"category": "weave", "training_fingerprint": "of other images"}
    yield detector.save(tmp_path / "champions" / "weave")
    detector.about = before


def test_every_method_is_analysed_when_none_is_named():
    assert [spec.method for spec in parse_detectors([], TINY)] == list(list_staged_methods())


def test_labels_say_what_sets_a_detector_apart():
    specs = parse_detectors([f"{SMALL},sigma=2", f"{SMALL},sigma=3,wavelet=sym4", "models:/m@champion"], TINY)
    assert [spec.label for spec in specs] == ["wepadim sigma=2", "wepadim sigma=3 wavelet=sym4", "m@champion"]
    assert parse_detectors(["wepadim:sigma=2"], TINY)[0].label == "wepadim sigma=2"


def test_two_folders_of_one_name_are_told_apart(tmp_path):
    texts = []
    for place in ("a", "b"):
        (tmp_path / place / "weave").mkdir(parents=True)
        texts.append(str(tmp_path / place / "weave"))
    assert [spec.label for spec in parse_detectors(texts, TINY)] == texts


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["wepadin"], "'wepadin' is not a method; did you mean 'wepadim'.*folder of a saved detector"),
        (["no/such/folder"], "'no/such/folder': there is no such folder"),
        (["wepadim:sigma"], "'sigma' is not NAME=VALUE"),
        (["wepadim:sigm=2"], "did you mean 'sigma'"),
        (["wepadim:sigma=-2"], r"wepadim\.sigma: .*greater than 0"),
        (["wepadim", "wepadim"], "'wepadim' is given twice"),
    ],
)
def test_what_is_refused(texts, message):
    with pytest.raises(ParamsError, match=message):
        parse_detectors(texts, TINY)


def test_a_method_is_fitted_as_the_sweep_would(obtained, weave):
    detector = obtained.detector
    assert not detector.training
    assert detector.about["category"] == "weave"
    assert detector.params.sigma == 4
    assert detector.params.weights == "packaged"
    (note,) = obtained.notes
    assert note.startswith("wepadim weights: efficientnet_lite0 packaged (ImageNet weights of a pip package; ")


def test_weights_that_were_given_are_kept(weave, source):
    (spec,) = parse_detectors([f"{SMALL},weights=random:3"], TINY)
    found = obtain(spec, weave, source)
    assert found.detector.params.weights == "random:3"
    assert found.notes == ()


def test_a_saved_detector_gives_its_own_scores(obtained, saved, weave, source):
    template = str(saved.parent / "{category}")
    for text in (str(saved), template):
        (spec,) = parse_detectors([text], TINY)
        found = obtain(spec, weave, source)
        images = load_images([sample.image for sample in weave.test], found.detector.preprocess)
        np.testing.assert_allclose(found.detector.score(images)[1], obtained.detector.score(images)[1], rtol=1e-5)
        assert "fitted to other training images" in found.notes[0]


def test_a_detector_of_another_category_is_refused(saved, source):
    (spec,) = parse_detectors([str(saved)], TINY)
    with pytest.raises(ModelError, match=r"fitted to the category 'weave' and cannot judge 'nut'.*\?categories=weave"):
        obtain(spec, open_dataset(TINY).category("nut"), source)


def test_a_folder_without_a_detector_is_refused(tmp_path, weave, source):
    (spec,) = parse_detectors([str(tmp_path)], TINY)
    with pytest.raises(ModelError, match="holds no saved model"):
        obtain(spec, weave, source)


def test_the_embedded_data_gets_packaged_weights_by_itself():
    (spec,) = parse_detectors(["wepadim"], TINY)
    assert (spec.settled["backbone"], spec.settled["weights"]) == ("efficientnet_lite0", "packaged")
