#!/usr/bin/env python
"""Parameters and multiply-adds of the thirteen WSF-ViT models, counted here, beside the published ones.

- `python jobs/count_wsfvit.py`
- `python jobs/count_wsfvit.py --models wsfvit_t_224 wsfvit_b_256 --csv-file counts.csv`

Nothing is computed or downloaded: the networks are built without memory, and one pass of one image is counted (about 30 s for
all). How each column is obtained stands below the table.
"""

import _checkout  # noqa: F401  # isort: skip  # first: it makes the next imports possible

import csv
import io
import sys
from pathlib import Path

import tyro

from subband.errors import ParamsError
from subband.files import write_atomically
from subband.methods.wsfvit.counting import Count, count_models
from subband.methods.wsfvit.published import MODELS
from subband.runs.shell import DONE, run_job

HEAD = (
    f"{'model':<14}{'input':>6}{'parameters':>13}{'published':>11}"
    f"{'products':>11}{'their code':>12}{'inference':>11}{'training':>10}{'published':>11}"
)
EXPLAINED = """
parameters   all trained numbers, counted; published in millions
products     1e9 multiply-adds of matrix products and convolutions (torch.utils.flop_counter, halved; attention included), with the
             one-hot lookups of position biases that the published code does and this one does by index
their code   the same counter on the published code
inference    products, and 2 for an element of a batch normalisation, 5 for one of a layer normalisation (fvcore's convention)
training     the same with 5 for an element of a batch normalisation, which is how most published figures were made
published    1e9 multiply-adds ("FLOPs") in the paper's table; in brackets, how far the training column is from it"""


def line(count: Count) -> str:
    row = count.row()
    return (
        f"{count.name:<14}{row['input']:>6}{count.parameters:>13,}{row['published_parameters_m']:>9.1f} M"
        f"{count.products:>11.3f}{row['gmacs_products_of_published_code']:>12.3f}{count.inference:>11.3f}"
        f"{count.training:>10.3f}{row['published_gmacs']:>11.2f} ({row['difference_from_published_percent']:+.1f} %)"
    )


def count_wsfvit(models: tuple[str, ...] = tuple(MODELS), csv_file: Path | None = None) -> int:
    """Count, print, write.

    Args:
        models: names of published models.
        csv_file: also write every figure there.
    """
    print(HEAD)
    counts = []
    for count in count_models(models):
        print(line(count), flush=True)
        counts.append(count)
    print(EXPLAINED)
    if csv_file is not None and counts:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, counts[0].row())
        writer.writeheader()
        writer.writerows(count.row() for count in counts)
        try:
            write_atomically(csv_file, text.getvalue().encode())
        except OSError as error:
            raise ParamsError(f"--csv-file {csv_file} cannot be written: {error.strerror}") from error
        print(f"\nwritten to {csv_file}")
    return DONE


if __name__ == "__main__":
    sys.exit(run_job(lambda shell: tyro.cli(count_wsfvit, description=__doc__)))
