"""The figures of a training for classification: those of the saved model, on the test images."""

import numpy as np
import pytest
import torch

from subband.analysis.trained_figures import training_figures
from subband.champions.trained import save_finished
from subband.data import open_dataset
from subband.methods import get_method, make_params, settled_params

DATA = "synthetic-shapes:?classes=3&train=6&validation=3&test=9&size=32"


@pytest.fixture
def trained(tmp_path):
    torch.set_num_threads(1)
    method, dataset = get_method("wsfvit"), open_dataset(DATA)
    params = settled_params(method, make_params(method, {"variant": "p0", "image_size": 32}), dataset)
    examples = method.examples(params, dataset)
    classifier = method.finish(params, method.model(params), dict(examples.about))
    parity, _ = save_finished(classifier, examples.validation, tmp_path / "model")
    assert parity < 1e-6
    return method, examples, tmp_path / "model", classifier


def test_confusion_and_gallery_are_drawn_of_the_test_pictures(trained):
    method, examples, model, classifier = trained
    history = [{"loss": 1.0, "learning_rate": 0.1, "top1": 0.3, "cross_entropy": 1.1}]
    figures = training_figures(method, "shapes", examples, history, model)
    assert set(figures) == {"learning-curves", "confusion-test", "gallery-test"}
    test = examples.tests["test"].pictures
    said = [classifier.predict([test.image(i).open()], 1)[0][0].number for i in range(9)]
    drawn = {
        (text.get_position()[1], text.get_position()[0]): int(text.get_text())
        for text in figures["confusion-test"].axes[0].texts
    }
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (test.labels, said), 1)
    assert drawn == {place: counts[place] for place in zip(*map(list, np.nonzero(counts)), strict=True)}
    titles = [axes.get_title() for axes in figures["gallery-test"].axes if axes.get_title()]
    assert len(titles) == 9
    assert sum("shown:" in title for title in titles) == 9 - np.trace(counts)
