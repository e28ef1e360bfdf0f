"""Fitting methods without training on several workers, which divide the images and meet in the store.

The stages that `StagedMethod.fit_inputs` names have a row an image. Each worker of a Ray Train group computes them for its share
of the images, as the stages of a split of its own; rank 0 joins the shares into the entries that one worker would have written;
the rest of the fit, statistics or a bank, starts from those in the caller's process. So there is one store for all workers: on a
cluster, a folder that every machine sees.

Shares are whole batches of the network, wherever there are as many batches as workers: then no row knows how images were divided.
What a killed run has finished is found by the next one with as many workers; joined shares are removed.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from ray import train
from ray.train.collective import barrier, broadcast_from_rank_zero

from subband.banks.shards import shard_edges
from subband.compute.group import run_on_workers, send
from subband.compute.messages import Message
from subband.data import Split
from subband.errors import StoreError
from subband.evaluation import split_runner
from subband.methods import Fitted, StagedMethod, divided_chains, make_params, staged_method
from subband.methods.features import FEATURE_BATCH
from subband.stages import Runner, Store

RUNS = "groups"
"""Folder in the store for what Ray Train keeps of a run while it lasts."""


def fit_on_workers(
    method: StagedMethod, params: BaseModel, split: Split, store: Store, *, workers: int, **options: Any
) -> Fitted:
    """The detector that `method.fit` gives, with the images divided among workers.

    Args:
        method: registered under its name.
        params: of the method.
        split: what is fitted to; images to score, if there are any, are divided too.
        store: shared by all workers.
        workers: how many; with one, all is done in this process.
        options: of `share_pictures`.

    Raises:
        SubbandError: see `share_pictures`, and the method's own.
    """
    share_pictures(method, params, {"": split}, store, workers=workers, **options)
    return method.fit(params, split_runner(split, store))


def share_pictures(
    method: StagedMethod,
    params: BaseModel,
    splits: Mapping[str, Split],
    store: Store,
    *,
    workers: int,
    use_gpu: bool = False,
    cpus_per_worker: int = 1,
    max_failures: int = 2,
    on_message: Callable[[Message], None] | None = None,
) -> None:
    """Compute into the store what fits of these splits start from, as far as it is not there; one group serves all splits.

    One worker works in this process, without Ray.

    Args:
        method: registered under its name.
        params: of the method.
        splits: images by a name, for instance of the category.
        store: shared by all workers.
        workers: how many.
        use_gpu: whether each worker has a GPU for itself.
        cpus_per_worker: processors of each.
        max_failures: how often workers that died are started again.
        on_message: called with ``split`` and the ``seconds`` that it took, whenever one is done.

    Raises:
        ParamsError: more workers than the cluster has room for.
        DataError: an image cannot be read.
        StoreError: the workers do not see one folder as the store, or it is too small.
        ClusterError: see `run_on_workers`.
    """
    wanted = {
        name: split for name, split in splits.items() if not _is_stored(method, params, split_runner(split, store))
    }
    if workers == 1:
        for name, split in wanted.items():
            started = time.perf_counter()
            _compute(method, params, split, store)
            if on_message:
                on_message({"split": name, "seconds": time.perf_counter() - started})
    if workers == 1 or not wanted:
        return
    run = f"fit-{uuid.uuid4().hex[:12]}"
    marker = store.folder / RUNS / f"{run}.seen-by-all"
    try:
        marker.parent.mkdir(exist_ok=True)
        marker.touch()
        run_on_workers(
            _work,
            {
                "method": method.name,
                "params": params.model_dump(mode="json"),
                "splits": wanted,
                "store": str(store.folder),
                "store_gb": store.budget_bytes / 1e9,
                "marker": marker,
            },
            name=run,
            workers=workers,
            storage=store.folder / RUNS,
            use_gpu=use_gpu,
            cpus_per_worker=cpus_per_worker,
            max_failures=max_failures,
            on_message=on_message,
        )
    finally:
        marker.unlink(missing_ok=True)
        shutil.rmtree(store.folder / RUNS / run, ignore_errors=True)


def share_of(split: Split, rank: int, workers: int) -> Split:
    """One worker's images: consecutive ones of both roles, in whole batches of the network if there are enough of them."""
    fit, query = (_edges(len(pictures), workers)[rank] for pictures in (split.fit, split.query))
    return Split(
        split.fit[slice(*fit)],
        split.query[slice(*query)],
        split.fit_names[slice(*fit)],
        split.query_names[slice(*query)],
    )


def _edges(count: int, workers: int) -> list[tuple[int, int]]:
    unit = FEATURE_BATCH if count > FEATURE_BATCH * (workers - 1) else 1
    return [(unit * first, min(unit * stop, count)) for first, stop in shard_edges(-(-count // unit), workers)]


def _is_stored(method: StagedMethod, params: BaseModel, runner: Runner) -> bool:
    return all(runner.stored(chain, values) is not None for chain, values in divided_chains(method, params))


def _compute(method: StagedMethod, params: BaseModel, split: Split, store: Store) -> None:
    runner = split_runner(split, store)
    for chain, values in divided_chains(method, params):
        runner.run(chain, values)


def _work(config: dict[str, Any]) -> None:
    """What each worker does, split after split."""
    rank, workers = train.get_context().get_world_rank(), train.get_context().get_world_size()
    if not config["marker"].exists():
        raise StoreError(
            f"worker {rank + 1} sees another folder as the store {config['store']} than the machine that started it: on a cluster, "
            "give a --store folder that all machines share"
        )
    method, store = staged_method(config["method"]), Store(config["store"], config["store_gb"])
    params = make_params(method, config["params"])
    splits: dict[str, Split] = config["splits"]
    runners = {name: split_runner(split, store) for name, split in splits.items()}
    # A group that was started again has finished some. One worker looks, so that all agree.
    found = [_is_stored(method, params, runner) for runner in runners.values()] if rank == 0 else None
    done: list[bool] = broadcast_from_rank_zero(found)
    for is_done, (name, split) in zip(done, splits.items(), strict=True):
        if is_done:
            continue
        started = time.perf_counter()
        _compute(method, params, share_of(split, rank, workers), store)
        barrier()
        if rank == 0:
            parts = [split_runner(share_of(split, other, workers), store) for other in range(workers)]
            for chain, values in divided_chains(method, params):
                runners[name].join(chain, values, parts)
            for part in parts:
                for chain, values in divided_chains(method, params):
                    part.discard(chain, values)
            send({"split": name, "seconds": time.perf_counter() - started})
