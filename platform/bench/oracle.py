"""WE-PaDiM the straightforward way, every configuration from scratch, in the primal form: what the benches compare with.

Nothing is shared and nothing is clever: images are decoded, the backbone is run, the wavelet transform is applied, a D x D
covariance per grid position is factorised, maps are upsampled and filtered pixel by pixel, and metrics come from scikit-learn and
a plain AU-PRO.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import roc_auc_score

from subband.data import ImageSource, Preprocess, Split, Truth
from subband.methods.wepadim.embedding import embed
from subband.methods.wepadim.params import WEPaDiMParams
from subband.nn.backbones import Backbone


@dataclass(frozen=True)
class OracleResult:
    """Maps (M, S, S), and image AUROC, pixel AUROC and AU-PRO at 0.3."""

    maps: np.ndarray
    image_auroc: float
    pixel_auroc: float
    au_pro: float


@torch.inference_mode()
def evaluate(split: Split, truth: Truth, params: WEPaDiMParams) -> OracleResult:
    """One configuration from images to metrics (test selection)."""
    if params.centred:
        raise ValueError("the oracle knows placement=resized only")
    frame = Preprocess(framing=params.framing, resize=params.resize, image_size=params.image_size)
    backbone = Backbone(params.backbone, params.weights)
    fit = _embedding(split.fit, frame, backbone, params)
    query = _embedding(split.query, frame, backbone, params)
    squared = mahalanobis(fit, query, params.regularisation)
    cells = squared if params.distance == "squared" else squared.sqrt()
    size = (params.image_size, params.image_size)
    maps = torch.nn.functional.interpolate(cells.float().unsqueeze(1), size=size, mode="bilinear", align_corners=False)
    smoothed = np.stack([_smooth(one, params) for one in maps.squeeze(1).numpy()])
    masks = np.stack(
        [
            frame.mask(sample.mask.open()) if sample.mask is not None else np.zeros(size, bool)
            for sample in truth.samples
        ]
    )
    return OracleResult(
        smoothed,
        float(roc_auc_score(truth.labels, smoothed.max(axis=(1, 2)))),
        float(roc_auc_score(masks.ravel(), smoothed.ravel())),
        _au_pro(smoothed, masks, 0.3),
    )


def mahalanobis(fit: torch.Tensor, query: torch.Tensor, regularisation: float) -> torch.Tensor:
    """Squared distances (M, h, w) of (M, D, h, w) embeddings to the Gaussians of (N, D, h, w), one position at a time, float64."""
    count, channels, height, width = fit.shape
    out = torch.empty(len(query), height, width, dtype=torch.float64)
    identity = torch.eye(channels, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            train = fit[:, :, row, column].double()
            mean = train.mean(dim=0)
            centred = train - mean
            factor = torch.linalg.cholesky(centred.T @ centred / count + regularisation * identity)
            test = query[:, :, row, column].double() - mean
            out[:, row, column] = torch.linalg.solve_triangular(factor, test.T, upper=False).square().sum(dim=0)
    return out


def _embedding(
    pictures: tuple[ImageSource, ...], frame: Preprocess, backbone: Backbone, params: WEPaDiMParams
) -> torch.Tensor:
    side = params.grid_side()
    parts = []
    for start in range(0, len(pictures), 16):
        images = np.stack([frame.image(picture.open()) for picture in pictures[start : start + 16]])
        layers = backbone(torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255)
        subbands = params.subbands.split("+")
        parts.append(embed(layers, params.wavelet, params.level, subbands, (side, side), params.antialias))
    return torch.cat(parts)


def _smooth(image: np.ndarray, params: WEPaDiMParams) -> np.ndarray:
    if params.smoothing != "gaussian":
        raise ValueError("the oracle knows the true Gaussian only; the reference filter is held by the golden cases")
    return np.asarray(gaussian_filter(image, params.sigma, mode="reflect", truncate=4.0))


def _au_pro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """The official definition by one argsort (method specification of the metric, section 6)."""
    regions = np.zeros(masks.shape, np.int64)
    total = 0
    for index, mask in enumerate(masks):
        found, count = label(mask, np.ones((3, 3)))
        regions[index] = np.where(found > 0, found + total, 0)
        total += count
    order = np.argsort(-maps.ravel(), kind="stable")
    scores = maps.ravel()[order]
    region = regions.ravel()[order]
    area = np.bincount(regions.ravel(), minlength=total + 1)
    gain = np.where(region > 0, 1 / np.maximum(area[region], 1) / total, 0.0)
    false = (region == 0).astype(np.float64) / area[0]
    last = np.append(np.diff(scores) != 0, True)
    rate = np.concatenate([[0.0], np.cumsum(false)[last]])
    overlap = np.concatenate([[0.0], np.cumsum(gain)[last]])
    inside = rate <= limit
    rates = np.append(rate[inside], limit)
    overlaps = np.append(overlap[inside], np.interp(limit, rate, overlap))
    return float(np.trapezoid(overlaps, rates) / limit)
