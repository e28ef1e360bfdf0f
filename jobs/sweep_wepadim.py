#!/usr/bin/env python
"""Search WE-PaDiM's wavelet, level, subbands, sigma and regularisation; refit, check and register the winner.

- this machine: `python jobs/sweep_wepadim.py --data mvtec:/data/MVTec --trials 200`
- a cluster: `ray job submit --working-dir . -- python jobs/sweep_wepadim.py --data mvtec:/shared/MVTec`
- seconds, no data: `python jobs/sweep_wepadim.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from search_spaces.wepadim import SPACE
from subband.tuning.job import sweep_job

if __name__ == "__main__":
    sys.exit(sweep_job(SPACE, __doc__ or ""))
