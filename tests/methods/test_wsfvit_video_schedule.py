"""One cycle, beside PyTorch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subband.methods.wsfvit.video.method import WSFVIT_VIDEO
from subband.methods.wsfvit.video.params import WSFViTVideoParams


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.floats(1e-5, 1))
def test_rate_and_momentum_are_those_of_pytorch(updates, highest):
    params = WSFViTVideoParams(lr=highest)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=highest)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=highest, total_steps=updates)
    for update in range(updates):
        (group,) = optimizer.param_groups
        ours = WSFVIT_VIDEO.scheduled(params, update, updates)
        assert ours["lr"] == pytest.approx(group["lr"], rel=1e-9)
        assert ours["betas"] == pytest.approx(group["betas"], rel=1e-12)
        optimizer.step()
        if update + 1 < updates:
            theirs.step()


def test_between_updates_the_rate_is_that_of_the_published_number_of_them():
    params = WSFViTVideoParams(epochs=200)
    for epoch in (0, 20, 59.9984, 130):
        assert WSFVIT_VIDEO.rate(params, epoch) == pytest.approx(
            WSFVIT_VIDEO.scheduled(params, round(epoch * 625), 125_000)["lr"]
        )
    assert max(WSFVIT_VIDEO.rate(params, epoch) for epoch in range(200)) == pytest.approx(1e-3, rel=1e-4)
