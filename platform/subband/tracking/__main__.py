"""Commands about tracking.

Give MLflow what it missed while it was down, or copy a run to another server::

    python -m subband.tracking push ~/.subband/runs/my-sweep
    python -m subband.tracking push ~/.subband/runs/my-sweep --tracking-uri http://mlflow.example:5000

Show what is registered::

    python -m subband.tracking champions

Give a champion another threshold, by hand or by the share of good images that may be called defective::

    python -m subband.tracking threshold wepadim-mvtec-images-bottle 3.2
    python -m subband.tracking threshold wepadim-mvtec-images-bottle --fpr 0.01
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from subband.errors import SubbandError
from subband.home import home
from subband.tracking.push import push
from subband.tracking.registry import list_champions
from subband.tracking.uri import comparison_url, resolve_tracking, ui_command, ui_url


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for an error that is the user's to mend)."""
    parser = argparse.ArgumentParser(prog="python -m subband.tracking", description="Commands about MLflow tracking.")
    commands = parser.add_subparsers(dest="command", required=True)
    pushing = commands.add_parser("push", help="write a run's folder to MLflow, as far as it is missing")
    pushing.add_argument("folder", type=Path, metavar="DIR", help="folder of a sweep, a training, a fit or an analysis")
    pushing.add_argument("--tracking-uri", metavar="URI", help="where to (default: where the run logs)")
    listing = commands.add_parser("champions", help="list the registered champions")
    changing = commands.add_parser("threshold", help="register a champion once more with another threshold")
    changing.add_argument("model", metavar="MODEL", help="the registered model's name")
    changing.add_argument("value", metavar="VALUE", nargs="?", type=float, help="scores above it are defects")
    changing.add_argument("--fpr", type=float, help="instead: share of good images that may be called defective")
    for reading in (listing, changing):
        reading.add_argument(
            "--tracking-uri", metavar="URI", help="the registry (default: MLFLOW_TRACKING_URI, else sqlite)"
        )
        reading.add_argument(
            "--folder", type=Path, default=home(), help="where the default database lies (default: %(default)s)"
        )
    flags = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    run = {"push": _push, "champions": _champions, "threshold": _threshold}[flags.command]
    try:
        lines = run(flags)
    except SubbandError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _push(flags: argparse.Namespace) -> list[str]:
    done = push(flags.folder, flags.tracking_uri)
    what = f"all {done.trials} trials ({done.new_trials} new) and " if done.trials else ""
    lines = [
        f"{done.target.uri} has {what}{done.files} files of run {done.run_id}",
        *(f"champion {name}: version {version}" for name, version in done.champions.items()),
    ]
    if command := ui_command(done.target):
        lines.append(f"open: {command}")
    if len(done.best_runs) > 1:
        lines.append(f"compare: {comparison_url(ui_url(done.target), done.best_runs, done.experiment_id)}")
    return lines


def _champions(flags: argparse.Namespace) -> list[str]:
    target = resolve_tracking(flags.tracking_uri, flags.folder)
    found = list_champions(target)
    return [f"{champion.uri}  version {champion.version}" for champion in found] or [f"no champions in {target.uri}"]


def _threshold(flags: argparse.Namespace) -> list[str]:
    from subband.tracking.threshold import set_threshold  # brings torch, which no other command needs

    target = resolve_tracking(flags.tracking_uri, flags.folder)
    champion = set_threshold(flags.model, target, flags.value, flags.fpr)
    tags = champion.tags
    return [
        f"{champion.uri}  version {champion.version}: threshold {tags['threshold']}, {tags['threshold_rule']}; "
        f"before: {tags['threshold_before']}"
    ]


if __name__ == "__main__":
    sys.exit(main())
