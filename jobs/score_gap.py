#!/usr/bin/env python
"""Score gap of two detectors: how far defective images score above good ones, as published and on a common footing.

- WEDGE-Net without and with its semantic stream: `python jobs/score_gap.py --data mvtec:/data/MVTec`
- any two detectors: `python jobs/score_gap.py --data mvtec:/data/MVTec --detectors wepadim:subbands=LL wepadim`
- seconds, no data: `python jobs/score_gap.py --smoke --detectors wepadim:subbands=LL wepadim`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.gap import GapSettings, run
from subband.analysis.job import analysis_job

if __name__ == "__main__":
    sys.exit(analysis_job("score-gap", GapSettings, run, __doc__ or ""))
