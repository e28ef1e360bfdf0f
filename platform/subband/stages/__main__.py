"""Look after a stage store: what it holds, whether it is whole, and how to empty it.

python -m subband.stages info
python -m subband.stages verify --store /data/store
python -m subband.stages clear --yes
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from subband.errors import StoreError, SubbandError
from subband.home import home
from subband.stages.store import DEFAULT_BUDGET_GB, Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command-line words; by default those of the process.

    Returns:
        0; 1 where `verify` found damage or `clear` was not confirmed; 2 for a folder that is no store.
    """
    words = _parser().parse_args(arguments)
    out = Console(soft_wrap=True, highlight=False)
    try:
        store = _existing(Path(words.store).expanduser() if words.store else home() / "store", words.budget_gb)
        if words.command == "info":
            return _info(store, out)
        if words.command == "verify":
            return _verify(store, out)
        return _clear(store, out, words.yes)
    except SubbandError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m subband.stages", description=(__doc__ or "").split("\n")[0])
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--store", metavar="DIR", help="folder of the store (default: store/ in SUBBAND_HOME or ~/.subband)"
    )
    common.add_argument(
        "--budget-gb",
        type=float,
        default=DEFAULT_BUDGET_GB,
        metavar="GB",
        help="size that `info` compares with (default: %(default)g)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="info|verify|clear")
    commands.add_parser("info", parents=[common], help="entries, size and last use of every stage")
    commands.add_parser(
        "verify", parents=[common], help="check every checksum; remove damaged entries, and exit with 1"
    )
    clear = commands.add_parser("clear", parents=[common], help="remove every entry; running sweeps recompute them")
    clear.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _existing(folder: Path, budget_gb: float) -> Store:
    if not folder.is_dir():
        raise StoreError(f"there is no store at {folder}; give --store DIR, or run a sweep first")
    if not (folder / "VERSION").is_file():
        raise StoreError(f"{folder} is not a stage store (it has no VERSION file); give the --store of a sweep")
    return Store(folder, budget_gb)


def _info(store: Store, out: Console) -> int:
    table = Table(title=f"stage store {store.folder}", title_justify="left", caption_justify="left")
    table.add_column("stage")
    for name in ("entries", "size", "last use"):
        table.add_column(name, justify="right")
    by_stage: dict[str, list[tuple[int, float]]] = {}
    for row in store.info():
        by_stage.setdefault(str(row.get("stage", "?")), []).append((row["bytes"], row["last_use"]))
    for stage, rows in sorted(by_stage.items(), key=lambda item: -sum(size for size, _ in item[1])):
        table.add_row(stage, str(len(rows)), _size(sum(size for size, _ in rows)), _ago(max(used for _, used in rows)))
    total = sum(size for rows in by_stage.values() for size, _ in rows)
    count = sum(len(rows) for rows in by_stage.values())
    table.add_section()
    table.add_row("total", str(count), _size(total), "")
    table.caption = f"budget {_size(store.budget_bytes)}, {total / max(store.budget_bytes, 1):.0%} used"
    out.print(table)
    return 0


def _verify(store: Store, out: Console) -> int:
    damaged = store.verify()
    for key, reason in damaged:
        out.print(f"damaged, removed: {key[:12]} ({reason})", markup=False)
    whole = len(store.info())
    out.print(
        f"{whole} entries are whole, {len(damaged)} were damaged" + ("; they will be recomputed" if damaged else "")
    )
    return 1 if damaged else 0


def _clear(store: Store, out: Console, confirmed: bool) -> int:
    rows = store.info()
    question = f"remove {len(rows)} entries ({_size(sum(row['bytes'] for row in rows))}) from {store.folder}?"
    if not confirmed:
        if not sys.stdin.isatty():
            raise StoreError(f"{question} Nobody can answer here: add --yes")
        if out.input(f"{question} [y/N] ", markup=False).strip().lower() not in ("y", "yes"):
            out.print("nothing was removed")
            return 1
    out.print(f"removed {store.clear()} entries")
    return 0


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _ago(moment: float) -> str:
    seconds = max(time.time() - moment, 0)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


if __name__ == "__main__":
    sys.exit(main())
