"""The training loop: what it learns, how it goes on, and that dividing its work changes nothing."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from hypothesis import given
from hypothesis import strategies as st

from subband.errors import ModelError, ParamsError
from subband.training.batches import WorkerContext, micro_batches
from subband.training.checkpoint import (
    read_best,
    read_description,
    restore_checkpoint,
)
from subband.training.loop import Training
from tests.training.blobs import BlobMethod, BlobParams, kept

METHOD = BlobMethod()


def training(place: WorkerContext | None = None, **values: Any) -> Training:
    params = BlobParams(**values)
    return Training(METHOD, params, METHOD.examples(params, None), place)


def weights(run: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 0.0) -> bool:
    return all(torch.allclose(one[name].float(), other[name].float(), atol=tolerance, rtol=0) for name in one)


def test_it_learns() -> None:
    run = training(epochs=8, count=64)
    epochs = list(run.run())
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].metrics["loss"] < 0.6 * epochs[0].metrics["loss"]
    assert epochs[-1].metrics["accuracy"] == 1.0
    assert epochs[-1].metrics["examples"] == 15
    assert epochs[0].metrics["learning_rate"] > epochs[-1].metrics["learning_rate"]


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    runs = [training(dropout=0.3, seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        torch.manual_seed(99)  # what ran before must not matter
        list(run.run())
    assert equal(weights(runs[0]), weights(runs[1]))
    assert not equal(weights(runs[0]), weights(runs[2]))


@pytest.mark.parametrize("values", [{}, {"ema": 0.9}, {"precision": "bfloat16"}, {"accumulation": 2, "clip": 0.1}])
@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_training_that_goes_on_ends_with_the_same_weights(
    tmp_path: Path, values: dict[str, Any], killed_after: int
) -> None:
    values = {"dropout": 0.3, "epochs": 4, **values}
    whole = training(**values)
    list(whole.run())

    first = training(**values)
    for epoch in first.run():
        kept(first, tmp_path)
        if epoch.number == killed_after:
            break
    second = training(**values)
    restore_checkpoint(second, tmp_path / "kept")
    assert second.epoch == killed_after
    rest = list(second.run())

    assert [epoch.number for epoch in rest] == list(range(killed_after + 1, 5))
    assert equal(weights(whole), weights(second))
    assert equal(whole.best_weights, second.best_weights)
    assert [h["loss"] for h in whole.history] == [h["loss"] for h in second.history]


def test_a_checkpoint_says_what_it_is(tmp_path: Path) -> None:
    run = training()
    list(run.run())
    about = read_description(kept(run, tmp_path))
    assert (about["method"], about["epoch"]) == ("blobs", 3)
    assert about["metrics"]["accuracy"] == run.history[-1]["accuracy"]
    assert equal(read_best(tmp_path / "kept"), run.best_weights)


def test_the_best_weights_are_those_of_the_best_epoch() -> None:
    run = training(epochs=6)
    kept: dict[str, torch.Tensor] = {}
    for epoch in run.run():
        if epoch.best:
            kept = weights(run)
    assert equal(kept, run.best_weights)
    run.use_best()
    assert equal(kept, weights(run))


def test_the_moving_average_is_evaluated_and_kept() -> None:
    run = training(ema=0.5)
    list(run.run())
    assert run.average is not None
    assert not equal(weights(run), run.average.module.state_dict())
    score = run.evaluate(run.data.validation)
    run.model.load_state_dict(run.average.module.state_dict())
    run.average = None
    assert run.evaluate(run.data.validation) == score


def test_accumulation_gives_the_gradient_of_the_whole_batch() -> None:
    runs = [training(accumulation=parts, epochs=1, clip=1.0) for parts in (1, 2)]
    for run in runs:
        run.model.body[1] = torch.nn.Identity()  # batch normalisation sees micro-batches, by nature
        list(run.run())
    assert equal(weights(runs[0]), weights(runs[1]), 1e-5)


def test_early_stopping_waits_for_its_patience() -> None:
    epochs = list(training(epochs=50, patience=2, count=64).run())
    assert len(epochs) < 50
    assert epochs[-1].stop == "accuracy was not better for 2 evaluations"
    assert [epoch.best for epoch in epochs[-3:]] == [True, False, False]


def test_a_training_that_was_stopped_early_has_nothing_left_to_do() -> None:
    values: dict[str, Any] = {"epochs": 50, "patience": 2, "count": 64}
    stopped = training(**values)
    done = len(list(stopped.run()))
    again = training(**values)
    again.restore(stopped.state(), stopped.best_weights)
    assert list(again.run()) == []
    assert equal(weights(stopped), weights(again))
    patient = training(**{**values, "patience": 4, "epochs": done + 1})
    patient.restore(stopped.state(), stopped.best_weights)
    assert [epoch.number for epoch in patient.run()] == [done + 1]


class Overflowing(BlobMethod):
    """The gradients of some updates of the first epoch are no numbers; the loss is."""

    def __init__(self, *updates: int) -> None:
        self.updates = updates

    def loss(self, params: BlobParams, model: torch.nn.Module, batch: Any, step: Any) -> torch.Tensor:
        loss = super().loss(params, model, batch, step)
        parameter = next(model.parameters())
        return loss + (parameter - parameter.detach()).abs().sum().sqrt() if step.update in self.updates else loss


def test_half_precision_skips_what_overflows_and_averages_only_steps_that_were_taken() -> None:
    params = BlobParams(precision="float16", epochs=1, count=16, ema=0.5)
    run = Training(Overflowing(1), params, METHOD.examples(params, None))
    before = weights(run)
    (epoch,) = run.run()
    assert not epoch.diverged
    assert math.isfinite(epoch.metrics["gradient_norm"])
    assert run.average is not None
    for name, parameter in run.model.named_parameters():
        expected = (before[name] + parameter.detach()) / 2
        assert torch.allclose(run.average.module.get_parameter(name), expected, atol=1e-6), name
    assert not equal(before, weights(run))


def test_an_epoch_without_one_step_in_half_precision_is_a_divergence() -> None:
    params = BlobParams(precision="float16", count=16)
    run = Training(Overflowing(0, 1), params, METHOD.examples(params, None))
    (epoch,) = run.run()
    assert epoch.diverged
    assert "no update of epoch 1 was taken" in (epoch.stop or "")


def test_a_training_may_go_on_in_another_precision() -> None:
    first = training(epochs=2)
    next(first.run())
    second = training(epochs=2, precision="float16")
    second.restore(first.state(), first.best_weights)
    (epoch,) = second.run()
    assert (epoch.number, epoch.diverged) == (2, False)


def test_a_loss_that_is_no_number_ends_the_training_and_spares_the_checkpoint(tmp_path: Path) -> None:
    run = training(epochs=4, break_at=2)
    epochs = []
    for epoch in run.run():
        epochs.append(epoch)
        if not epoch.diverged:
            kept(run, tmp_path)
    assert [epoch.diverged for epoch in epochs] == [False, False, True]
    assert "epoch 3 at update 2 of 3" in (epochs[-1].stop or "")
    found = tmp_path / "kept"
    assert read_description(found)["epoch"] == 2
    fresh = training(epochs=4)
    restore_checkpoint(fresh, _as_of(found, break_at=-1))
    assert all(torch.isfinite(value).all() for value in weights(fresh).values())


def _as_of(folder: Path, **values: Any) -> Path:
    text = (folder / "training.json").read_text()
    for name, value in values.items():
        text = text.replace(f'"{name}": 2', f'"{name}": {value}')
    (folder / "training.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 5}, "5 training examples do not fill one batch of 8"),
        ({"gradient_checkpointing": True}, "no gradient checkpointing"),
    ],
)
def test_what_cannot_be_trained_is_told_at_once(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        training(**values)


def test_a_batch_that_workers_cannot_share_is_told_with_one_that_they_can() -> None:
    with pytest.raises(ParamsError, match="give a batch of 6"):
        training(WorkerContext(rank=0, world=3))


def test_other_params_and_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    run = training()
    list(run.run())
    place = kept(run, tmp_path)
    with pytest.raises(ModelError, match=r"other params: seed=0 \(now 7\)"):
        restore_checkpoint(training(seed=7), place)
    restore_checkpoint(training(epochs=9, lr=0.5), place)  # what only steers what is left may change
    (place / "state.pt").write_bytes(b"half a file")
    with pytest.raises(ModelError, match="cannot be read"):
        restore_checkpoint(training(), place)
    with pytest.raises(ModelError, match="no checkpoint"):
        restore_checkpoint(training(), tmp_path)


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 30), st.integers(0, 5), st.integers(0, 3)
)
def test_the_order_is_the_same_for_any_number_of_workers(
    world: int, accumulation: int, share: int, more: int, seed: int, epoch: int
) -> None:
    batch = world * accumulation * share
    count = batch + more
    whole = micro_batches(count, batch, accumulation, seed, epoch)
    parts = [micro_batches(count, batch, accumulation, seed, epoch, rank, world) for rank in range(world)]
    for number, micro in enumerate(whole):
        assert [draw for part in parts for draw in part[number]] == micro
    seen = [draw.index for micro in whole for draw in micro]
    assert len(set(seen)) == len(seen) == count // batch * batch
    assert set(seen) <= set(range(count))


def test_the_order_is_not_the_stream_of_an_example() -> None:
    """NumPy's seeds [s, e] and [s, e, 0] are the same: each purpose mixes in a word of its own."""
    order = [draw.index for draw in micro_batches(40, 40, 1, 3, 5)[0]]
    assert order != np.random.default_rng([3, 5, 0]).permutation(40).tolist()


def _worker(rank: int, world: int, port: int, folder: str, values: dict[str, Any]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    run = training(WorkerContext(rank, world), **values)
    list(run.run())
    torch.save({"history": run.history, "weights": weights(run)}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_workers_learn_what_one_does(tmp_path: Path) -> None:
    values: dict[str, Any] = {"epochs": 3, "accumulation": 2}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_worker, (2, port, str(tmp_path), values), nprocs=2)
    alone = training(**values)
    list(alone.run())
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert equal(first["weights"], second["weights"])
    assert np.allclose([h["loss"] for h in first["history"]], [h["loss"] for h in alone.history], atol=1e-5)
    assert [h["accuracy"] for h in first["history"]] == [h["accuracy"] for h in alone.history]
    assert equal(first["weights"], weights(alone), 1e-4)
