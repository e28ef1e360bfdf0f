"""The method as the training loop sees it."""

import numpy as np
import pytest
import torch

from subband.data import ExampleKey, open_dataset
from subband.errors import DataError
from subband.methods import Step, get_method
from subband.methods.trained_base import ImportsCheckpoint, Scheduling
from subband.metrics import score_sequence
from tests.methods.video_subjects import sequences, tiny

METHOD = get_method("wsfvit-video")


def batch_of(examples, indices, epoch=0):
    drawn = [examples[ExampleKey(index, epoch)] for index in indices]
    return {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}


def test_held_out_digits_choose_unless_the_test_does_as_published():
    found = METHOD.examples(tiny(), sequences())
    assert (len(found.train), len(found.validation), len(found.tests["test"])) == (8, 3, 5)
    assert (found.selection, "set aside chose" in found.notes[0]) == ("holdout", True)
    published = METHOD.examples(tiny(mode="reference"), sequences())
    assert published.validation is published.tests["test"]
    assert (published.selection, "optimistic" in published.notes[0]) == ("test", True)
    assert len(published.train.sequences.digits) > len(found.train.sequences.digits)


def test_training_sequences_are_drawn_by_the_seed_of_the_training():
    one, other = (METHOD.examples(tiny(seed=seed), sequences()) for seed in (0, 1))
    assert not torch.equal(one.train[ExampleKey(0)]["frames"], other.train[ExampleKey(0)]["frames"])
    assert torch.equal(one.validation[ExampleKey(0)]["frames"], other.validation[ExampleKey(0)]["frames"])


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("moving-digits:?train=4", r"frames of 64 pixels, the params image_size=32; open the data with size=32"),
        ("moving-digits:?train=4&size=32&length=7", "sequences of 7 frames are too short for 4 seen and 4 predicted"),
        ("synthetic-surface:", "holds no sequences; wsfvit-video learns from moving-mnist:PATH or moving-digits:"),
    ],
)
def test_other_data_are_refused(uri, message):
    with pytest.raises(DataError, match=message):
        METHOD.examples(tiny(), open_dataset(uri))


def test_the_loss_is_the_mean_squared_error():
    params = tiny()
    batch = batch_of(METHOD.examples(params, sequences()).train, range(3))
    loss = METHOD.loss(params, lambda frames: frames + 0.5, batch, Step(0, 0, 0))
    torch.testing.assert_close(loss, ((batch["frames"] + 0.5 - batch["following"]) ** 2).mean())


@torch.inference_mode()
def test_evaluation_gives_the_scores_of_each_sequence():
    params = tiny()
    test = METHOD.examples(params, sequences()).tests["test"]
    batch = batch_of(test, range(5))
    model = METHOD.model(params).eval()
    results = METHOD.evaluate(params, model, batch)
    predictor = METHOD.finish(params, model, {})
    for index, result in enumerate(results):
        example = test[ExampleKey(index)]
        predicted = predictor.replay([example]).reshape(4, 32, 32)
        expected = score_sequence(predicted, example["following"][:, 0], example["frames"][-1, 0])
        np.testing.assert_allclose(result.frame_mse_T, expected.frame_mse_T, rtol=1e-4)
        np.testing.assert_allclose(result.copy_last_mse_T, expected.copy_last_mse_T)
    summary = METHOD.summarise(params, results)
    assert METHOD.chosen_by in summary
    copied = METHOD.evaluate(params, lambda frames: frames[:, -1:].expand(-1, 4, -1, -1, -1), batch)
    assert METHOD.summarise(params, copied)["skill"] == pytest.approx(0, abs=1e-12)


def test_a_finished_predictor_has_weights_of_its_own():
    params = tiny()
    model = METHOD.model(params)
    assert model.training
    predictor = METHOD.finish(params, model, {"dataset": "digits"})
    with torch.no_grad():
        model.dec.readout.bias.add_(1)
    assert not torch.equal(model.dec.readout.bias, predictor.network.dec.readout.bias)
    assert not predictor.training


def test_the_method_adopts_and_schedules():
    assert isinstance(METHOD, ImportsCheckpoint)
    assert isinstance(METHOD, Scheduling)
    assert not isinstance(get_method("wpformer"), Scheduling)
    (group,) = METHOD.optimizer(tiny(lr=0.5), METHOD.model(tiny())).param_groups
    assert (group["lr"], group["weight_decay"], group["eps"], group["betas"]) == (0.5, 0, 1e-8, (0.95, 0.999))


def test_every_recipe_is_legal():
    for recipe in METHOD.recipes.values():
        METHOD.params_type(**recipe)
    published = METHOD.params_type(**METHOD.recipes["mmnist-2000"])
    assert (published.epochs, published.batch, published.lr, published.seed) == (2000, 16, 1e-3, 42)
    METHOD.examples(METHOD.params_type(**METHOD.recipes["smoke"]), open_dataset(METHOD.embedded_smoke))
