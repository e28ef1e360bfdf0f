#!/usr/bin/env python
"""Serve champions and saved models over HTTP, and say what to type to ask them.

the champions of this machine:   python serve/run.py
a folder of saved models:        python serve/run.py --models-dir ~/.subband/runs/SWEEP/champions
a team's registry:               python serve/run.py --tracking-uri http://mlflow.example:5000 --host 0.0.0.0
a second one on a cluster:       RAY_ADDRESS=10.0.0.1:6379 python serve/run.py --name line3 --models-dir FOLDER

With RAY_ADDRESS set it joins that cluster, whose Serve has one port for all its applications; else it starts a Ray of its
own. New champions are picked up while it runs; Ctrl-C ends it.
"""

import _checkout  # type: ignore[import-not-found]  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.serving.job import serve_job

if __name__ == "__main__":
    sys.exit(serve_job(__doc__ or ""))
