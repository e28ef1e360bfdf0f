"""Defect regions: the 8-connected components of each mask, labelled once per category and reused by every trial.

Shape suffixes: N images, H height, W width, P defect pixels (C order over N, H, W), R regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from subband.metrics.checks import as_masks

# Neighbours in the plane of one image only: regions never join across images.
_EIGHT_CONNECTED = np.zeros((3, 3, 3), dtype=bool)
_EIGHT_CONNECTED[1] = True


@dataclass(frozen=True, eq=False)
class Regions:
    """The defect regions of a category's test masks.

    Attributes:
        mask_NHW: True inside a region.
        region_P: index in [0, R) of the region that each defect pixel belongs to.
        area_R: pixels per region.
    """

    mask_NHW: npt.NDArray[np.bool_]
    region_P: npt.NDArray[np.int64]
    area_R: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.area_R)

    @property
    def weight_P(self) -> npt.NDArray[np.float64]:
        """What each defect pixel adds to the mean per-region overlap: 1 / (regions x area of its region); sums to 1."""
        return 1.0 / (len(self) * self.area_R[self.region_P])


def label_regions(masks_NHW: npt.ArrayLike) -> Regions:
    """Label the 8-connected components of every mask, image by image.

    Args:
        masks_NHW: (N, H, W) bool, or integers where non-zero is defective. Empty masks (good images) are welcome: their
            pixels are negatives.

    Raises:
        DataError: not a mask array.
    """
    mask_NHW = as_masks(masks_NHW)
    labels_NHW, _ = ndimage.label(mask_NHW, structure=_EIGHT_CONNECTED)
    region_P = labels_NHW[mask_NHW].astype(np.int64) - 1
    return Regions(mask_NHW, region_P, np.bincount(region_P).astype(np.int64))
