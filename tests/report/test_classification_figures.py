"""Figures of classifiers: the confusion matrix counts, of many classes the worst are named; the gallery tells right from wrong."""

import numpy as np
import pytest
from made_records import words

from subband.errors import DataError
from subband.report import Answer, answers_gallery, confusion_matrix, style

CLASSES = ("disc", "star", "ring")


def cells(figure):
    return {(text.get_position()[1], text.get_position()[0]): int(text.get_text()) for text in figure.axes[0].texts}


def test_cells_count_and_empty_ones_are_empty():
    figure = confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 2], CLASSES, "shapes", "test")
    assert cells(figure) == {(0, 0): 1, (0, 1): 1, (1, 1): 1, (2, 2): 2, (2, 0): 1}
    assert "66.7% of 6 images right; colour: share of the row; test" in words(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(CLASSES)


def test_of_many_classes_the_worst_are_named_and_the_others_joined():
    rng = np.random.default_rng(0)
    truths = np.repeat(np.arange(50), 4)
    answers = truths.copy()
    answers[7 * 4 : 7 * 4 + 3] = 33
    answers[11 * 4] = 12
    order = rng.permutation(len(truths))
    figure = confusion_matrix(truths[order], answers[order], [f"class {i}" for i in range(50)])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 21
    assert labels[-1] == "others"
    assert {"class 7", "class 33", "class 11", "class 12"} <= set(labels)
    found = cells(figure)
    assert sum(found.values()) == 200
    assert found[labels.index("class 7"), labels.index("class 33")] == 3


@pytest.mark.parametrize(
    ("truths", "answers", "message"),
    [
        ([], [], "as many answers as truths"),
        ([0, 1], [0], "as many answers as truths"),
        ([0, 3], [0, 0], "class 3 is none of the 3"),
        ([0, 1], [0, -1], "class -1 is none of the 3"),
    ],
)
def test_what_is_no_confusion(truths, answers, message):
    with pytest.raises(DataError, match=message):
        confusion_matrix(truths, answers, CLASSES)


def test_wrong_answers_say_what_was_shown_and_stand_first():
    picture = np.zeros((8, 8, 3), np.uint8)
    wrong = [Answer(picture, "disc", "star", 0.9)] * 7
    right = [Answer(picture, "ring", "ring", 0.5)]
    figure = answers_gallery(wrong, right, "shapes")
    titles = [axes.title for axes in figure.axes]
    assert len(titles) == 18
    assert titles[0].get_text() == "star 90%\nshown: disc"
    assert titles[0].get_color() == style.DEFECT
    assert titles[7].get_text() == ""
    assert titles[12].get_text() == "ring 50%"
    assert titles[12].get_color() == style.GOOD
    with pytest.raises(DataError, match="at least one answer"):
        answers_gallery([], [])
