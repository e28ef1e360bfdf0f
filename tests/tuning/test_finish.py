"""Which data a champion belongs to."""

import pytest

from subband.champions.promote import whole_uri


@pytest.mark.parametrize(
    ("uri", "whole"),
    [
        ("mvtec:/data/pictures", "mvtec:/data/pictures"),
        ("mvtec:/data/pictures?categories=a,b", "mvtec:/data/pictures"),
        ("synthetic:?train=6&categories=weave&size=64", "synthetic:?train=6&size=64"),
        ("synthetic:", "synthetic:"),
    ],
)
def test_a_choice_of_categories_is_of_the_same_data(uri, whole):
    assert whole_uri(uri) == whole
