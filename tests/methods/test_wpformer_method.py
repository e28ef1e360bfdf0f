"""WPFormer under the training loop's interface, on the embedded surfaces."""

import dataclasses

import numpy as np
import pytest
import torch
from wpformer_subjects import SMALL, pictures, small_params

from subband.data import open_dataset
from subband.errors import DataError, ParamsError
from subband.methods import ExampleKey, Step, get_method, is_trained, trained_method
from subband.methods.wpformer.method import drawn_side

DATA = "synthetic-surface:?size=72&train=10&test=3"
METHOD = get_method("wpformer")


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(DATA)


def batch_of(examples, indices, epoch=0):
    drawn = [examples[ExampleKey(index, epoch)] for index in indices]
    stacked = {name: [example[name] for example in drawn] for name in drawn[0]}
    return {name: torch.stack(each) if name != "truth" else each for name, each in stacked.items()}


def test_it_is_a_trained_method_chosen_by_weighted_f():
    assert is_trained("wpformer")
    assert trained_method("wpformer") is METHOD
    assert METHOD.chosen_by == "weighted_f"
    frame = METHOD.preprocess(small_params())
    assert (frame.framing, frame.image_size, frame.resampling) == ("stretch", 64, "bilinear")


def test_a_held_out_share_of_the_training_pictures_chooses(dataset):
    found = METHOD.examples(small_params(validation_share=0.2), dataset)
    assert (len(found.train), len(found.validation)) == (8, 2)
    names = [{sample.name for sample in part.samples} for part in (found.train, found.validation)]
    assert not names[0] & names[1]
    assert {len(each) for each in found.tests.values()} == {3}
    assert "2 training images, held out by seed 0, chose the checkpoint" in found.notes[0]
    other = METHOD.examples(small_params(validation_share=0.2, seed=1), dataset)
    assert {sample.name for sample in other.validation.samples} != names[1]


def test_as_published_a_test_set_chooses_and_the_notes_say_so(dataset):
    found = METHOD.examples(small_params(mode="reference"), dataset)
    (name,) = found.tests
    assert len(found.train) == 10
    assert found.validation.samples == found.tests[name].samples
    assert f"the test set {name} chose the checkpoint, as published: its figures are optimistic" in found.notes[0]
    with pytest.raises(ParamsError, match="validation_set: 'ECSSD' is not a test set of this data"):
        METHOD.examples(small_params(mode="reference", validation_set="ECSSD"), dataset)


def test_data_without_test_pictures_cannot_choose_by_them(dataset):
    @dataclasses.dataclass
    class Untested:
        uri = "made:"
        name = "made"
        categories = ("one",)

        def category(self, name):
            return dataclasses.replace(dataset.category(dataset.categories[0]), test=())

    assert len(METHOD.examples(small_params(), Untested()).tests) == 0
    with pytest.raises(DataError, match="made: has no test images to choose the checkpoint by; use validation=holdout"):
        METHOD.examples(small_params(mode="reference"), Untested())


def test_only_training_pictures_are_augmented(dataset):
    found = METHOD.examples(small_params(), dataset)
    train = [[found.train[ExampleKey(i, epoch)]["images"] for i in range(len(found.train))] for epoch in (0, 1)]
    assert not all(torch.equal(first, second) for first, second in zip(*train, strict=True))
    first, second = (found.validation[ExampleKey(0, epoch)] for epoch in (0, 1))
    assert torch.equal(first["images"], second["images"])
    assert first["truth"].shape == (72, 72)
    assert first["masks"].shape == (1, 64, 64)
    assert "truth" not in found.train[ExampleKey(0)]


def test_the_rate_is_a_cosine_that_steps_once_an_epoch():
    params = small_params(epochs=10, lr=1e-3)
    rates = [METHOD.rate(params, epoch / 4) for epoch in range(40)]
    assert rates[:4] == [1e-3] * 4
    assert all(len(set(rates[i : i + 4])) == 1 for i in range(0, 40, 4))
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-7)
    for epoch in range(10):
        assert METHOD.rate(params, epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()


def test_the_optimiser_is_adam_of_all_parameters_without_decay():
    params = small_params(lr=3e-4)
    model = METHOD.model(params)
    assert model.training
    (group,) = METHOD.optimizer(params, model).param_groups
    assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (3e-4, 0, (0.9, 0.999), 1e-8)
    assert len(group["params"]) == len(list(model.parameters()))


def test_the_scale_is_drawn_by_the_step_alone():
    params = small_params(image_size=100, multi_scale=(0.1, 0.75, 1.0, 1.5)[1:])
    sides = [drawn_side(params, Step(epoch, update, 7)) for epoch in range(4) for update in range(20)]
    assert set(sides) == {64, 96, 160}, "multiples of 32"
    assert sides == [drawn_side(params, Step(epoch, update, 7)) for epoch in range(4) for update in range(20)]
    assert sides != [drawn_side(params, Step(epoch, update, 8)) for epoch in range(4) for update in range(20)]
    assert drawn_side(small_params(image_size=100), Step(0, 0, 7)) == 100
    assert drawn_side(small_params(image_size=40, multi_scale=(0.25,)), Step(0, 0, 7)) == 64, "the network needs 33"


def test_an_update_sees_pictures_of_the_drawn_scale():
    params = small_params(multi_scale=(1.5,))
    seen = []

    def model(images):
        seen.append(images)
        return torch.zeros(len(images), 5, *images.shape[2:])

    batch = {"images": pictures(2), "masks": (pictures(2)[:, :1] > 0.5).float()}
    loss = METHOD.loss(params, model, batch, Step(0, 0, 0))
    assert seen[0].shape == (2, 3, 96, 96)
    torch.testing.assert_close(seen[0].mean(), batch["images"].mean(), atol=0.01, rtol=0)
    assert loss.shape == ()
    assert loss.dtype == torch.float32


def test_training_learns_and_a_finished_model_gives_what_was_evaluated(dataset):
    params = small_params(lr=2e-3, validation_share=0.2, dropout=0, drop_path=0, augmentation="none")
    data = METHOD.examples(params, dataset)
    model = METHOD.model(params)
    optimizer = METHOD.optimizer(params, model)
    torch.manual_seed(0)
    losses = []
    for update in range(12):
        optimizer.zero_grad()
        loss = METHOD.loss(params, model, batch_of(data.train, range(8)), Step(0, update, params.seed))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]

    model.eval()
    (name, test) = next(iter(data.tests.items()))
    with torch.no_grad():
        results = METHOD.evaluate(params, model, batch_of(test, range(3)))
    assert len(results) == 3
    summary = METHOD.summarise(params, results)
    assert METHOD.chosen_by in summary
    assert {"s_measure", "e_max", "weighted_f", "f_mean", "mae", "iou", "dice"} <= set(summary)

    segmenter = METHOD.finish(params, model, {"selection": name})
    assert segmenter.about == {"selection": name}
    assert not segmenter.training
    batch = batch_of(test, range(3))
    with torch.inference_mode():
        maps, _ = segmenter(batch["images"])
        expected = torch.sigmoid(model(batch["images"])[:, 4])
    np.testing.assert_array_equal(maps, expected)
    with torch.no_grad():
        model.queries.add_(1)
    assert not torch.equal(model.queries, segmenter.network.queries), "it does not share the trainer's weights"


def test_maps_are_compared_at_the_size_of_each_picture(dataset):
    """A model that knows the masks is nearly perfect, whatever the sizes of the images."""
    params = small_params()
    test = next(iter(METHOD.examples(params, dataset).tests.values()))
    batch = batch_of(test, range(3))
    batch["truth"][1] = batch["truth"][1].repeat_interleave(2, dim=1)

    def knowing(images, final_only):
        assert final_only
        return 20 * batch["masks"] - 10

    results = METHOD.evaluate(params, knowing, batch)
    assert min(METHOD.summarise(params, [each])["weighted_f"] for each in results) > 0.8
    assert SMALL["image_size"] != batch["truth"][0].shape[0]
