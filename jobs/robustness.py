#!/usr/bin/env python
"""How detectors withstand worse images: AUROC over Gaussian noise or colour jitter, and a tile of what they see.

- every method with its defaults: `python jobs/robustness.py noise --data mvtec:/data/MVTec?categories=tile`
- champions of a sweep: `python jobs/robustness.py colour --data mvtec:/data/MVTec --detectors
  "models:/wepadim-MVTec-{category}@champion"`
- two settings: `python jobs/robustness.py noise --data mvtec:/data/MVTec --detectors wepadim:sigma=2 wepadim:sigma=4`
- as published: `python jobs/robustness.py noise --draw reference`
- seconds, no data: `python jobs/robustness.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.job import analysis_job
from subband.analysis.robustness import RobustnessSettings, run

if __name__ == "__main__":
    sys.exit(analysis_job("robustness", RobustnessSettings, run, __doc__ or "", positional=("kind",)))
