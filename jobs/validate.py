#!/usr/bin/env python
"""Top-1, top-5 and loss of a classifier on labelled images, under any crop, interpolation, size and precision.

- the champion on the embedded data: `python jobs/validate.py models:/wsfvit-synthetic-shapes@champion`
- your own folders: `python jobs/validate.py ~/.subband/trainings/NAME/model --data imagefolder:/data/parts --split test`
- a published checkpoint on ImageNet: `python jobs/validate.py wsfvit_t.pth --data imagefolder:/data/imagenet --loaders 8`
- its other channel heads, which a file does not tell: `... --channel-heads 4-8-16-32`
- another crop: `... --image-size 448 --crop-pct 1.0 --crop-mode squash --interpolation bilinear`
- some classes, and ReaL labels: `... --classes n01440764,n01443537` and `... --real real.json`
- a cluster: `ray job submit --working-dir . -- python jobs/validate.py models:/NAME@champion --data imagefolder:/shared/parts`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.job import analysis_job
from subband.analysis.validation import ValidationSettings, run

if __name__ == "__main__":
    sys.exit(analysis_job("validate", ValidationSettings, run, __doc__ or "", positional=("model",)))
