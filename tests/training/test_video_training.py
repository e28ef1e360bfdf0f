"""A video model through the training loop, and schedules that move more than the rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from subband.analysis.trained_figures import training_figures
from subband.methods import get_method
from subband.training.checkpoint import restore_checkpoint
from subband.training.loop import Training
from tests.methods.video_subjects import sequences, tiny
from tests.training.blobs import BlobMethod, BlobParams, kept

METHOD: Any = get_method("wsfvit-video")


class Scheduled(BlobMethod):
    """Counts its updates, and groups whose rate is scaled."""

    def optimizer(self, params: BlobParams, model: torch.nn.Module) -> torch.optim.Optimizer:
        body, head = list(model.body.parameters()), list(model.head.parameters())
        return torch.optim.Adam([{"params": body}, {"params": head, "lr_scale": 0.5}], lr=params.lr)

    def scheduled(self, params: BlobParams, update: int, updates: int) -> dict[str, Any]:
        return {"lr": (update + 1) * 1e-4, "betas": (update / updates, 0.99)}


def video_training(**values: Any) -> Training:
    params = tiny(**values)
    return Training(METHOD, params, METHOD.examples(params, sequences()))


def test_a_schedule_sets_what_it_names_for_every_update() -> None:
    method = Scheduled()
    params = BlobParams(epochs=2, count=24, batch=8)
    run = Training(method, params, method.examples(params, None))
    seen: list[Any] = []
    step = run._optimizer.step

    def watched(*arguments: Any, **named: Any) -> Any:
        seen.append([(group["lr"], group["betas"]) for group in run._optimizer.param_groups])
        return step(*arguments, **named)

    run._optimizer.step = watched  # type: ignore[method-assign]
    rates = [epoch.metrics["learning_rate"] for epoch in run.run()]
    assert len(seen) == 6
    for update, (body, head) in enumerate(seen):
        assert body == (pytest.approx((update + 1) * 1e-4), (update / 6, 0.99))
        assert head == (pytest.approx((update + 1) * 5e-5), (update / 6, 0.99))
    assert rates == pytest.approx([3e-4, 6e-4])


def test_two_epochs_of_a_tiny_model_end_where_a_resumed_training_ends(tmp_path: Path) -> None:
    whole = video_training(epochs=3)
    epochs = list(whole.run())
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert epochs[-1].metrics["loss"] < epochs[0].metrics["loss"]
    assert epochs[-1].metrics["copy_last_mse"] == epochs[0].metrics["copy_last_mse"] > 0

    first = video_training(epochs=3)
    next(iter(first.run()))
    second = video_training(epochs=3)
    restore_checkpoint(second, kept(first, tmp_path))
    assert [epoch.number for epoch in second.run()] == [2, 3]
    one, other = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert whole.history[-1]["loss"] == second.history[-1]["loss"]
    groups = [run._optimizer.param_groups[0] for run in (whole, second)]
    assert groups[0]["betas"] == groups[1]["betas"] == METHOD.scheduled(whole.params, 5, 6)["betas"]


def test_figures_of_a_trained_predictor(tmp_path: Path) -> None:
    run = video_training(epochs=1)
    list(run.run())
    folder = METHOD.finish(run.params, run.use_best(), {}).save(tmp_path / "model")
    figures = training_figures(METHOD, "moving-digits", run.data, run.history, folder)
    assert set(figures) == {"learning-curves", "strips-test", "frame-errors-test"}
    curves = figures["learning-curves"].axes
    assert [line.get_label() for line in curves[1].lines if line.get_label()[0] != "_"] == ["skill", "ssim"]
    assert [line.get_label() for line in curves[2].lines if line.get_label()[0] != "_"] == [
        "frame_mse",
        "copy_last_mse",
        "frame_mae",
    ]
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
