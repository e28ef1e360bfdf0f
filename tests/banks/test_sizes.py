import pytest

from subband.banks import coreset_size
from subband.errors import ParamsError


@pytest.mark.parametrize(
    ("rows", "ratio", "size"),
    [(800, 0.29, 231), (180320, 0.1, 18032), (180320, 0.01, 1803), (180320, 0.001, 180), (7, 1, 7)],
)
def test_a_ratio_is_truncated_in_double_precision(rows, ratio, size):
    assert coreset_size(rows, ratio) == size


def test_a_count_is_itself():
    assert coreset_size(10, count=10) == 10


def test_the_published_wedgenet_keeps_at_least_one():
    assert coreset_size(500, 0.001, at_least_one=True) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": 0.0}, "ratio: 0 .* above 0 and at most 1"),
        ({"ratio": -0.1}, "above 0"),
        ({"ratio": 1.01}, "ratio: 1.01 .* at most 1"),
        ({"ratio": float("nan")}, "ratio: nan"),
        ({"ratio": 0.001}, "ratio: 0.001 of 500 rows leaves none; about 0.002002 keeps one, as does count=1"),
        ({"count": 0}, "count: 0 of 500 rows cannot be kept; 1 to 500 can"),
        ({"count": 501}, "1 to 500 can"),
        ({}, "either as a ratio or as a count"),
        ({"ratio": 0.1, "count": 5}, "either as a ratio or as a count"),
    ],
)
def test_sizes_that_cannot_be_say_what_could(arguments, message):
    with pytest.raises(ParamsError, match=message):
        coreset_size(500, **arguments)


def test_the_ratio_a_message_proposes_keeps_one():
    for rows in (3, 49, 500, 180320):
        with pytest.raises(ParamsError) as caught:
            coreset_size(rows, 1e-9)
        proposed = float(str(caught.value).split("about ")[1].split(" ")[0])
        assert coreset_size(rows, proposed) == 1
