"""What the corrected loss teaches that the published one does not, and the maps that are written."""

import numpy as np
import pytest
import torch
from PIL import Image

from subband.methods.wpformer.loss import segmentation_loss
from subband.methods.wpformer.maps import prediction_map


def slope(logit: float, mask: float, form: str) -> float:
    """Gradient of the cross-entropy of one pixel."""
    logits = torch.full((1, 1, 1, 1), logit, requires_grad=True)
    segmentation_loss(logits, torch.full((1, 1, 1, 1), mask), form, 1.0).cross_entropy.sum().backward()
    return logits.grad.item()


@pytest.mark.parametrize(("logit", "mask"), [(20.0, 0.0), (90.0, 0.0), (-40.0, 1.0)])
def test_confident_errors_teach_only_the_logits_form(logit, mask):
    assert abs(slope(logit, mask, "logits")) == pytest.approx(1)
    assert abs(slope(logit, mask, "probabilities")) < 1e-4
    assert slope(2.0, mask, "logits") == pytest.approx(slope(2.0, mask, "probabilities"), rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_an_empty_mask_teaches_the_iou_term_only_where_it_is_smoothed(smoothing):
    logits = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = segmentation_loss(logits, torch.zeros(2, 1, 8, 8), iou_smoothing=smoothing)
    loss.iou.sum().backward()
    if smoothing:
        assert (logits.grad > 0).all()
    else:
        assert torch.equal(loss.iou, torch.ones(5))
        assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_probabilities_that_underflow_are_no_number_only_as_published():
    logits = torch.full((1, 1, 4, 4), -200.0)
    masks = torch.zeros(1, 1, 4, 4)
    assert segmentation_loss(logits, masks, iou_smoothing=0.0).total.isnan()
    assert segmentation_loss(logits, masks, iou_smoothing=1.0).total == 0


def test_the_loss_of_a_batch_is_the_mean_of_its_parts():
    generator = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(6, 5, 9, 7, generator=generator), torch.rand(6, 1, 9, 7, generator=generator)
    whole = segmentation_loss(logits, masks).total
    parts = [segmentation_loss(logits[i : i + 2], masks[i : i + 2]).total for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_the_loss_is_float32_under_autocast():
    logits = torch.randn(1, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    for form in ("logits", "probabilities"):
        with torch.autocast("cpu", torch.bfloat16):
            found = segmentation_loss(logits.bfloat16(), torch.ones(1, 1, 8, 8), form)
        assert found.total.dtype == torch.float32
        torch.testing.assert_close(
            found.total, segmentation_loss(logits.bfloat16().float(), torch.ones(1, 1, 8, 8), form).total
        )


LOGITS = torch.linspace(-6, 2, 40 * 40).view(40, 40)


@pytest.mark.parametrize("order", ["defect", "object"])
def test_an_unstretched_map_is_the_probability(order):
    found = prediction_map(LOGITS, (40, 40), order)
    np.testing.assert_array_equal(found, (255 * torch.sigmoid(LOGITS)).to(torch.uint8).numpy())
    assert 220 < found.max() < 226, "not full contrast"
    assert prediction_map(LOGITS, (40, 40), order, stretch=True).max() == 255


def test_orders_differ_in_what_is_resized():
    defect, object_ = (prediction_map(LOGITS, (13, 90), order) for order in ("defect", "object"))
    assert defect.shape == object_.shape == (13, 90)
    by_pillow = Image.fromarray(prediction_map(LOGITS, (40, 40))).resize((90, 13), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(defect, np.asarray(by_pillow))
    assert 0 < np.abs(defect.astype(int) - object_).max() < 40


def test_a_picture_without_defects_keeps_a_dark_map_unless_stretched():
    quiet = -8 + 0.01 * torch.randn(20, 20, generator=torch.Generator().manual_seed(0))
    assert prediction_map(quiet, (20, 20)).max() == 0
    assert prediction_map(quiet, (20, 20), stretch=True).max() >= 254
