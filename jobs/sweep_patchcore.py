#!/usr/bin/env python
"""Search PatchCore's coreset ratio, sigma, re-weighting and vector width; refit, check and register the winner.

- this machine: `python jobs/sweep_patchcore.py --data mvtec:/data/MVTec --trials 200`
- a cluster: `ray job submit --working-dir . -- python jobs/sweep_patchcore.py --data mvtec:/shared/MVTec`
- seconds, no data: `python jobs/sweep_patchcore.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from search_spaces.patchcore import SPACE
from subband.tuning.job import sweep_job

if __name__ == "__main__":
    sys.exit(sweep_job(SPACE, __doc__ or ""))
