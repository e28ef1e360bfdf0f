"""Fusion of members by min-max scaling."""

import pytest
import torch

from subband.errors import ParamsError
from subband.methods.patchcore.ensemble import fused


def test_each_member_counts_alike_whatever_its_units():
    scores = torch.rand(9, generator=torch.Generator().manual_seed(0))
    other = torch.rand(9, generator=torch.Generator().manual_seed(1))
    wanted = fused([scores, other])
    torch.testing.assert_close(fused([scores, 1000 * other - 7]), wanted)
    assert float(wanted.min()) >= 0
    assert float(wanted.max()) <= 1


def test_a_calibrated_score_does_not_depend_on_the_other_images():
    members = [torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0.0, 30.0, 10.0])]
    good = [torch.tensor([0.0, 2.0]), torch.tensor([0.0, 20.0])]
    together = fused(members, good)
    torch.testing.assert_close(together, torch.tensor([0.25, 1.25, 1.5]))
    alone = torch.cat([fused([member[one : one + 1] for member in members], good) for one in range(3)])
    assert torch.equal(together, alone)
    assert not torch.equal(fused(members)[:2], fused([member[:2] for member in members]))


def test_a_constant_member_adds_nothing():
    maps = torch.arange(8.0).reshape(2, 2, 2)
    torch.testing.assert_close(fused([maps, torch.full_like(maps, 3)]), maps / 14)


@pytest.mark.parametrize(
    ("members", "calibration", "message"),
    [
        ([], None, "not none"),
        ([torch.zeros(2), torch.zeros(3)], None, r"not \(2,\), \(3,\)"),
        ([torch.zeros(2)], [], "1 members need as many calibrations, not 0"),
    ],
)
def test_members_that_do_not_fit_are_refused(members, calibration, message):
    with pytest.raises(ParamsError, match=message):
        fused(members, calibration)
