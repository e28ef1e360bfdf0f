"""Top-1, top-5 and cross-entropy beside timm's and torch's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.utils import accuracy
from torch.nn import functional

from subband.errors import UndefinedMetricError
from subband.metrics import OBJECTIVES
from subband.metrics.classification import rank_of, summarise_ranks


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(6, 30), st.integers(0, 2**31))
def test_as_timm_and_torch_count(pictures, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(pictures, classes, generator=generator)
    labels = torch.randint(0, classes, (pictures,), generator=generator)
    found = summarise_ranks(rank_of(logits, labels), classes)
    top1, top5 = (float(each) / 100 for each in accuracy(logits, labels, (1, 5)))
    assert found["top1"] == pytest.approx(top1)
    assert found["top5"] == pytest.approx(top5)
    assert found["cross_entropy"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    assert set(found) <= set(OBJECTIVES)


def test_equal_logits_do_not_flatter_and_undefined_ones_are_wrong():
    constant = torch.zeros(4, 4)
    assert [each.rank for each in rank_of(constant, torch.arange(4))] == [0, 1, 2, 3]
    broken = torch.tensor([[math.nan, 1.0], [math.nan, math.nan]])
    assert [each.rank for each in rank_of(broken, torch.tensor([0, 1]))] == [2, 2]
    assert rank_of(broken, torch.tensor([1, 0]))[0].rank == 0


def test_with_five_classes_or_fewer_there_is_no_top5_and_without_pictures_nothing():
    assert set(summarise_ranks(rank_of(torch.eye(5), torch.arange(5)), 5)) == {"top1", "cross_entropy"}
    with pytest.raises(UndefinedMetricError, match="there are no images to classify"):
        summarise_ranks([], 10)
