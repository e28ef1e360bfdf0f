#!/usr/bin/env python
"""What a data set holds and what is wrong with it: the first command for images of your own.

- `python jobs/check_data.py folder:/data/line3`
- `python jobs/check_data.py "folder:/data/line3?good=ok&bad=ng,scratch&masks=masks" --check full`
- good images that look least like the others: `python jobs/check_data.py mvtec:/data/MVTec --suspects 12`

It lists counts, sizes, pixel formats, copies, masks, orientation tags and files that are left out, and ends with status 1 if
something must be corrected. What it reads is remembered by content, so that the second look takes a moment.
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import sys

from subband.analysis.data_check import data_check_job

if __name__ == "__main__":
    sys.exit(data_check_job(__doc__ or "", method="wepadim"))
