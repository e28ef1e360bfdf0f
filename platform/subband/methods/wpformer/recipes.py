"""The published settings as named presets, and a small one for the embedded data.

A preset holds what depends on the data: network, size, batch, rate, epochs and augmentation. The mode is chosen beside it:
``reference`` trains and selects as published, ``corrected`` (default) with the defects mended. Source of the published ones: Yan et
al., CVPR 2025, and the settings released with it (specification 2). None of their results was measured again here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from subband.errors import ParamsError, unknown_name

_DEFECTS: Mapping[str, Any] = {"backbone": "pvt_v2_b2", "channels": 64, "image_size": 384, "lr": 8e-5}
_OBJECTS: Mapping[str, Any] = {
    "backbone": "pvt_v2_b4",
    "channels": 128,
    "image_size": 384,
    "lr": 4e-5,
    "map_order": "object",
}

# Steel surface defects (ESDIs-SOD). Result: in the paper's tables; the released files give none.
ESDIS_SOD = {**_DEFECTS, "batch": 8, "epochs": 150, "validate_from": 100, "augmentation": "flip-rotate-turn"}

# Cracks of nine collections (CrackSeg9k). Result: in the paper's tables; the released files give none.
CRACKSEG9K = {**_DEFECTS, "batch": 4, "epochs": 60, "validate_from": 50, "augmentation": "crop"}

# Fabric defects (ZJU-Leaper). Result: in the paper's tables; the released files give none.
ZJU_LEAPER = {**_DEFECTS, "batch": 4, "epochs": 24, "validate_from": 20, "augmentation": "none"}

# Salient objects; training images are customarily DUTS-TR, ECSSD chooses the checkpoint in reference mode.
# Published, MAE / max E / S / weighted F: DUT-O .042 .913 .875 .825, DUTS-TE .021 .963 .925 .909, ECSSD .019 .975 .948 .951,
# HKU-IS .019 .974 .934 .938, PASCAL-S .048 .930 .884 .863, SOD .076 .887 .833 .824.
SOD = {
    **_OBJECTS,
    "batch": 6,
    "epochs": 60,
    "validate_from": 30,
    "augmentation": "flip-rotate",
    "validation_set": "ECSSD",
}

# Camouflaged objects; training images are customarily CAMO's and COD10K's.
# Published, S / mean E / weighted F / MAE: COD10K .880 .948 .819 .019, CAMO .880 .942 .853 .040, NC4K .893 .946 .863 .028.
COD = {**_OBJECTS, "batch": 16, "epochs": 150, "validate_from": 100, "augmentation": "crop-jitter"}

# The same at 512 pixels.
# Published, S / mean E / weighted F / MAE: COD10K .892 .954 .842 .017, CAMO .885 .944 .860 .040, NC4K .899 .948 .873 .027.
COD_512 = {**COD, "image_size": 512, "batch": 8}

# Minutes on two processor cores, from random weights: for the embedded data, synthetic-surface:?size=128&train=192.
SMALL = {
    "backbone": "pvt_v2_b0",
    "weights": "random:0",
    "channels": 32,
    "image_size": 128,
    "batch": 8,
    "epochs": 120,
    "lr": 5e-4,
    "augmentation": "flip-rotate-turn",
}

# Seconds: goes through every step and learns next to nothing.
SMOKE = {**SMALL, "channels": 16, "image_size": 64, "batch": 4, "epochs": 2}

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "esdis-sod": ESDIS_SOD,
    "crackseg9k": CRACKSEG9K,
    "zju-leaper": ZJU_LEAPER,
    "sod": SOD,
    "cod": COD,
    "cod-512": COD_512,
    "small": SMALL,
    "smoke": SMOKE,
}


def recipe(name: str) -> dict[str, Any]:
    """The values of a preset, to be completed or overridden and validated as `WPFormerParams`.

    Raises:
        ParamsError: there is none of that name; near matches are given.
    """
    if name not in RECIPES:
        raise ParamsError(unknown_name("WPFormer recipe", name, RECIPES))
    return dict(RECIPES[name])
