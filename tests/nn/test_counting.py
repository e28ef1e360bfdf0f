"""Counts of networks that can be counted by hand."""

import pytest
import torch
from torch import nn

from subband.nn.counting import Operations, count_operations, count_parameters


class Attends(nn.Module):
    def forward(self, tokens):
        return nn.functional.scaled_dot_product_attention(
            tokens, tokens, tokens, attn_mask=tokens @ tokens.transpose(2, 3)
        )


@pytest.mark.parametrize(
    ("network", "shape", "wanted"),
    [
        (nn.Linear(8, 4), (2, 3, 8), Operations(2 * 3 * 8 * 4, 0, 0)),
        (nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=3), (1, 6, 8, 8), Operations(4 * 4 * 12 * 9 * 2, 0, 0)),
        (nn.Sequential(nn.BatchNorm2d(5), nn.LayerNorm(7)), (2, 5, 6, 7), Operations(0, 420, 420)),
        (Attends(), (2, 3, 10, 4), Operations(3 * 2 * 3 * 10 * 10 * 4, 0, 0)),
    ],
    ids=["linear", "convolution", "norms", "attention"],
)
def test_operations_are_those_counted_by_hand(network, shape, wanted):
    assert count_operations(network, shape) == wanted


def test_norms_cost_more_in_training():
    operations = Operations(1000, 10, 20)
    assert operations.with_norms() == 1000 + 20 + 100
    assert operations.with_norms(training=True) == 1000 + 50 + 100


def test_the_network_stays_as_it_is():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    count_operations(network, (1, 1, 5, 5))
    assert count_parameters(network) == 2 * 9 + 2 + 4
    assert not network.training
    assert not network[1].running_mean.is_meta
    assert not network[1]._forward_hooks
    assert network(torch.zeros(1, 1, 5, 5)).shape == (1, 2, 3, 3)
