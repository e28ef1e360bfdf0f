#!/usr/bin/env python
"""Search WSF-ViT's rate, variant, size, window, heads, drop path and wavelet; every trial is a training, the winner is registered.

- this machine, embedded data: `python jobs/sweep_wsfvit.py --variant p0 --image-size 64 --epochs 9 --trials 6`
- your own folders of classes: `python jobs/sweep_wsfvit.py --data imagefolder:/data/parts --recipe small --trials 24`
- what the wavelet of the stem gives: `python jobs/sweep_wsfvit.py --preset wavelets --epochs 9`
- rates that change on the way: `python jobs/sweep_wsfvit.py --search pbt --trials 4`
- a cluster: `ray job submit --working-dir . -- python jobs/sweep_wsfvit.py --workers-per-trial 4 --data imagefolder:/shared/parts`
- a minute, no data: `python jobs/sweep_wsfvit.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from search_spaces.wsfvit import SPACE
from subband.tuning.job import sweep_job

if __name__ == "__main__":
    sys.exit(sweep_job(SPACE, __doc__ or ""))
