#!/usr/bin/env python
"""Train or fit one method: `train.py METHOD [flags]`. Trained methods learn on Ray Train; the others are fitted by it.

- this machine, embedded data: `python jobs/train.py wpformer --recipe small --workers 2`
- your own images and masks: `python jobs/train.py wpformer --data pairs:/data/cracks --weights pretrained`
- folders of classes: `python jobs/train.py wsfvit --recipe small --data imagefolder:/data/parts`
- a cluster: `ray job submit --working-dir . -- python jobs/train.py wpformer --data pairs:/shared/cracks --workers 8`
- a method without training, fitted on two workers: `python jobs/train.py wepadim --data mvtec:/data/MVTec --workers 2`
- a minute, no data: `python jobs/train.py wpformer --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.training.job import training_job

if __name__ == "__main__":
    sys.exit(training_job(__doc__ or ""))
