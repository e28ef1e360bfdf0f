#!/usr/bin/env python
"""Evaluation table of one method: categories against the values of one param, for every metric.

The values share their work: with `--ratio 1 0.1 0.01` the backbone and the greedy selection run once. All labelled test images
report and nothing is chosen by them; to choose, run a sweep.

- `python jobs/evaluate.py wepadim --data mvtec:/data/MVTec --sigma 2 4 8`
- one configuration: `python jobs/evaluate.py wepadim --data mvtec:/data/MVTec --mode reference --wavelet sym4`
- seconds, no data: `python jobs/evaluate.py --smoke --sigma 2 4`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.job import analysis_job
from subband.analysis.value_table import ValueTableSettings, run

if __name__ == "__main__":
    sys.exit(analysis_job("evaluate", ValueTableSettings, run, __doc__ or "", method="wepadim"))
