#!/usr/bin/env python
"""Prediction maps of a trained segmenter, as 8-bit PNG files of the images' own sizes, scored where masks are known.

- test images of a dataset: `python jobs/predict.py models:/wpformer-synthetic-surface@champion`
- your own folder: `python jobs/predict.py ~/.subband/trainings/NAME/model --data images:/data/new --out maps`
- published order and contrast: `python jobs/predict.py MODEL --data pairs:/data/COD?preset=cod --order object --stretch on`
- a published checkpoint: `python jobs/predict.py net.pth --recipe cod --data pairs:/data/COD?preset=cod`
- score maps that were made elsewhere: `python jobs/predict.py --maps /data/maps --data pairs:/data/cracks`
- a cluster: `ray job submit --working-dir . -- python jobs/predict.py models:/NAME@champion --data pairs:/shared/cracks`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.job import analysis_job
from subband.analysis.prediction import PredictionSettings, run

if __name__ == "__main__":
    sys.exit(analysis_job("predict", PredictionSettings, run, __doc__ or "", positional=("model",)))
