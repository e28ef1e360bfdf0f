#!/usr/bin/env python
"""How fast detectors are: the published FPS protocol, and an honest one (latency p50 and p95, throughput by batch size).

One detector at a time, with the whole machine. The table names what each figure times.

- `python jobs/benchmark_fps.py --data mvtec:/data/MVTec?categories=tile`
- on a processor: `python jobs/benchmark_fps.py --device cpu --iterations 30 --data mvtec:/data/MVTec?categories=tile`
- seconds, no data: `python jobs/benchmark_fps.py --smoke`
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.job import analysis_job
from subband.analysis.speed import SpeedSettings, run

if __name__ == "__main__":
    sys.exit(analysis_job("benchmark-fps", SpeedSettings, run, __doc__ or ""))
