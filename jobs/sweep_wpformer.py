#!/usr/bin/env python
"""Search WPFormer's learning rate, channels, attentions and input size; every trial is a training, the winner is registered.

- this machine, embedded data: `python jobs/sweep_wpformer.py --epochs 9 --image-size 64 96 --trials 6`
- your own images and masks: `python jobs/sweep_wpformer.py --data pairs:/data/cracks --recipe crackseg9k --trials 24`
- what the two attentions give: `python jobs/sweep_wpformer.py --data pairs:/data/cracks --preset ablation`
- rates that change on the way: `python jobs/sweep_wpformer.py --search pbt --trials 4`
- a cluster: `ray job submit --working-dir . -- python jobs/sweep_wpformer.py --workers-per-trial 4 --data pairs:/shared/cracks`
- a minute, no data: `python jobs/sweep_wpformer.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from search_spaces.wpformer import SPACE
from subband.tuning.job import sweep_job

if __name__ == "__main__":
    sys.exit(sweep_job(SPACE, __doc__ or ""))
