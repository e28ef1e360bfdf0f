#!/usr/bin/env python
"""Images of what detectors see: input, ground truth, further maps (frequency, semantic), anomaly map, overlay.

- `python jobs/figures.py --data mvtec:/data/MVTec --detectors "models:/wepadim-MVTec-{category}@champion"`
- stretched image by image, as published: `python jobs/figures.py --data mvtec:/data/MVTec --scale image --good 0`
- seconds, no data: `python jobs/figures.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.job import analysis_job
from subband.analysis.qualitative import QualitativeSettings, run

if __name__ == "__main__":
    sys.exit(analysis_job("figures", QualitativeSettings, run, __doc__ or ""))
