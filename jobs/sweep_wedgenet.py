#!/usr/bin/env python
"""Search WEDGE-Net's coreset ratio, sigma, semantic block, gates, wavelet and encoder seed; refit, check and register the winner.

- this machine: `python jobs/sweep_wedgenet.py --data mvtec:/data/MVTec --trials 200`
- a cluster: `ray job submit --working-dir . -- python jobs/sweep_wedgenet.py --data mvtec:/shared/MVTec`
- seconds, no data: `python jobs/sweep_wedgenet.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from search_spaces.wedgenet import SPACE
from subband.tuning.job import sweep_job

if __name__ == "__main__":
    sys.exit(sweep_job(SPACE, __doc__ or ""))
