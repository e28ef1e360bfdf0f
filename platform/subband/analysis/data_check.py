"""The body of the data check: what a data set holds and what is wrong with it, as text for a person.

It starts no Ray and writes no run; only with `--suspects` does it compute features.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from subband.data import Dataset, TaskData, open_dataset
from subband.data.checks import Survey, survey
from subband.runs.shell import run_job

_KINDS_SHOWN = 6
_NOTES_SHOWN = 40


def data_check_job(description: str, method: str, argv: Sequence[str] | None = None) -> int:
    """Check a data set for a person at a terminal.

    Args:
        description: the job's docstring, shown by ``--help``.
        method: name of the method that compares the good images.
        argv: arguments; by default those of the process.

    Returns:
        Exit status: 0 usable, 1 something must be corrected, 130 interrupted.
    """
    return run_job(
        lambda shell: int(tyro.cli(_check, description=description, args=argv)(shell.console, method)),
        "interrupted; the same command continues with the files that were not yet read",
    )


def _check(
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="URI")],
    /,
    check: Literal["headers", "full"] = "headers",
    suspects: int = 0,
    out: Path | None = None,
) -> Any:
    """Check a data set.

    Args:
        data: Dataset URI, for instance mvtec:PATH, folder:PATH or table:FILE.
        check: headers: read the digest and header of every file, decode masks and files whose end is missing. full: decode
            every image.
        suspects: List this many good images per category that look least like the others, and draw them (needs torch; 0: none).
        out: Folder of the contact sheets of the suspects; by default HOME/data-checks/NAME.
    """
    return lambda console, method: _run(console, data, check == "full", suspects, out, method)


def _run(console: Console, uri: str, decode: bool, suspects: int, out: Path | None, method: str) -> int:
    began = time.monotonic()
    dataset = open_dataset(uri)
    with console.status("reading files") as status:
        found = survey(dataset, decode, lambda done, all_: status.update(f"read {done:,} of {all_:,} files"))
    _show(console, dataset, found, time.monotonic() - began)
    if found.problems:
        console.print(
            f"{len(found.problems)} problems must be corrected before this data set can be used", markup=False
        )
        return 1
    if isinstance(dataset, TaskData) or any(
        s.label for name in dataset.categories for s in dataset.category(name).train
    ):
        if suspects:
            console.print(
                "--suspects compares good images of products; these data have none to learn from", markup=False
            )
        return 0
    if suspects:
        _show_suspects(console, dataset, suspects, out, method)
    console.print("next:", markup=False)
    if not suspects:
        console.print(f"  python jobs/check_data.py '{uri}' --suspects 12", markup=False)
    console.print(f"  python jobs/sweep_{method}.py --data '{uri}'", markup=False)
    return 0


def _show(console: Console, dataset: Dataset, found: Survey, seconds: float) -> None:
    console.print(f"[bold]{escape(dataset.uri)}[/]")
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for index, column in enumerate(found.counts[0] if found.counts else ()):
        table.add_column(
            escape(column), justify="left" if index == 0 or column == "kinds" else "right", overflow="fold"
        )
    for row in found.counts:
        table.add_row(*(escape(str(value)) for value in row.values()))
    if found.counts:
        console.print(table)
    lines = {
        "sizes": found.sizes,
        "pixel formats": found.modes,
        "file formats": found.formats,
        "left out": found.left_out,
    }
    for title, counter in lines.items():
        if counter:
            console.print(f"{title + ':':<15}{_counted(counter)}", markup=False)
    for title, texts, colour in (("note", found.notes, "yellow"), ("problem", found.problems, "bold red")):
        for text in texts[:_NOTES_SHOWN]:
            console.print(f"[{colour}]{title}:[/] {escape(text)}")
        if len(texts) > _NOTES_SHOWN:
            console.print(f"[{colour}]{title}:[/] and {len(texts) - _NOTES_SHOWN} more")
    console.print(f"checked in {seconds:.1f} s", style="dim", markup=False)


def _counted(counter: Counter[str]) -> str:
    shown = [f"{name} ({count:,})" for name, count in counter.most_common(_KINDS_SHOWN)]
    if len(counter) > _KINDS_SHOWN:
        shown.append(f"{len(counter) - _KINDS_SHOWN} more")
    return ", ".join(shown)


def _show_suspects(console: Console, dataset: Dataset, count: int, out: Path | None, method: str) -> None:
    from subband.analysis.suspects import contact_sheets, find_suspects
    from subband.home import home

    found = {}
    for name in dataset.categories:
        with console.status(f"{escape(name)}: comparing good images"):
            found[name] = find_suspects(dataset.category(name), count, method)
        console.print(f"\n[bold]{escape(name)}[/]: good images that look least like the others", highlight=False)
        for suspect in found[name]:
            console.print(f"  {suspect.deviations:6.1f}  {suspect.where}", markup=False)
    folder = (
        (out or home() / "data-checks" / f"{dataset.name}-{time.strftime('%Y%m%d-%H%M%S')}").expanduser().absolute()
    )
    for file in contact_sheets(found, folder, method):
        console.print(f"contact sheet: {file}", markup=False)
    console.print(
        "The first column says how many standard deviations (robust, of the logarithm) a score lies above the median. Look at "
        "those above 3: defects among the good images are the commonest reason for a poor detector.",
        markup=False,
    )
