#!/usr/bin/env python
"""Where classifiers look: Grad-CAM figures, a row an image, several models side by side.

- the champion on the embedded data: `python jobs/explain.py models:/wsfvit-synthetic-shapes@champion`
- beside timm's models, on your own folder: `python jobs/explain.py MODEL resnet50 davit_tiny --data images:/data/new`
- a published checkpoint: `python jobs/explain.py wsfvit_t.pth maxvit_tiny_tf_224.in1k --data imagefolder:/data/imagenet`
- without a network: `python jobs/explain.py MODEL resnet50=/data/resnet50.pth`
- a cluster: `ray job submit --working-dir . -- python jobs/explain.py models:/NAME@champion --data imagefolder:/shared/parts`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.explanation import ExplanationSettings, run
from subband.analysis.job import analysis_job

if __name__ == "__main__":
    sys.exit(analysis_job("explain", ExplanationSettings, run, __doc__ or "", positional=("models",)))
