"""Strips and errors of predicted frames show what they were given."""

import numpy as np
import pytest

from subband.errors import DataError
from subband.report import frame_errors, prediction_strips

RNG = np.random.default_rng(0)


def test_strips_show_every_frame_in_order():
    seen, followed = RNG.random((2, 3, 8, 6)), RNG.random((2, 5, 8, 6))
    predicted = followed + 0.7
    figure = prediction_strips(list(seen), list(followed), list(predicted), ["one", "two"], "title")
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 8
    for sequence in range(2):
        given, truth, guess, difference = (image.get_array() for image in images[4 * sequence : 4 * sequence + 4])
        assert given.shape == (8, 5 * 8 - 2)
        np.testing.assert_array_equal(given[:, 8:14], seen[sequence, 1])
        assert np.ma.getmaskarray(given)[:, 24:].all(), "where fewer were seen than followed"
        np.testing.assert_array_equal(truth[:, 32:38], followed[sequence, 4])
        np.testing.assert_array_equal(guess[:, 32:38], np.minimum(predicted[sequence, 4], 1))
        np.testing.assert_allclose(difference[:, :6], np.minimum(predicted[sequence, 0], 1) - followed[sequence, 0])
    assert [block.get_suptitle() for block in figure.subfigs] == ["one", "two"]


def test_errors_are_means_over_sequences():
    errors, copied = RNG.random((6, 4)) * 50, RNG.random((6, 4)) * 100
    (axes,) = frame_errors(errors, copied, "title", "caption").axes
    copying, predicting = axes.lines
    np.testing.assert_allclose(predicting.get_ydata(), errors.mean(axis=0))
    np.testing.assert_allclose(copying.get_ydata(), copied.mean(axis=0))
    assert predicting.get_xdata().tolist() == [1, 2, 3, 4]
    assert f"{copied.mean():.1f} on average" in copying.get_label()


def test_what_does_not_fit_is_refused():
    frames = [RNG.random((3, 8, 8))]
    with pytest.raises(DataError, match=r"\(2, 8, 8\) were predicted, but \(3, 8, 8\) followed"):
        prediction_strips(frames, frames, [frames[0][:2]], ["one"])
    with pytest.raises(DataError, match="as many of each"):
        prediction_strips([], [], [], [])
    with pytest.raises(DataError, match=r"shape \(N, T\)"):
        frame_errors(np.ones((2, 3)), np.ones((2, 4)))
