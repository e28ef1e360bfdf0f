#!/usr/bin/env python
"""Select a coreset of the rows of a feature file; its indices, radii and rows are written beside the file.

- this machine: `python jobs/coreset.py --features features.npy --ratio 0.1 --workers 2`
- a cluster: `ray job submit --working-dir . -- python jobs/coreset.py --features /shared/features.npy --ratio 0.1 --workers 16`

The picks are the same for every number of workers. On a cluster all machines must see the file.
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.coreset_job import coreset_job

if __name__ == "__main__":
    sys.exit(coreset_job(__doc__ or ""))
