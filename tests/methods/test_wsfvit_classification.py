"""WSF-ViT under the training loop's interface: params, schedule, loss, and two epochs on drawn shapes."""

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.scheduler import CosineLRScheduler

from subband.data import open_dataset
from subband.data.classification.examples import seeded
from subband.errors import DataError, ModelError, ParamsError
from subband.methods import ExampleKey, Step, get_method, is_trained, make_params, settled_params
from subband.methods.wsfvit.classify.classifier import make_network
from subband.methods.wsfvit.classify.params import WSFViTParams, fitting_window
from subband.methods.wsfvit.classify.recipes import RECIPES
from subband.methods.wsfvit.published import MODELS
from subband.training.batches import check_division
from subband.training.loop import Training

METHOD = get_method("wsfvit")
DATA = "synthetic-shapes:?classes=3&train=24&validation=6&test=6&size=32"
TINY = {"variant": "p0", "image_size": 32, "batch": 8, "epochs": 2, "warmup_epochs": 1}


def tiny(**values):
    return make_params(METHOD, {**TINY, **values})


@pytest.fixture(scope="module")
def data():
    return open_dataset(DATA)


def batch_of(examples, indices, epoch=0):
    drawn = [examples[ExampleKey(index, epoch)] for index in indices]
    return {name: torch.stack([example[name] for example in drawn]) for name in drawn[0]}


def test_it_is_a_trained_method_chosen_by_top1():
    assert is_trained("wsfvit")
    assert METHOD.chosen_by == "top1"


@pytest.mark.parametrize("name", MODELS)
def test_the_windows_that_fit_are_the_published_ones(name):
    published = MODELS[name]
    params = make_params(METHOD, {"variant": published.variant, "image_size": published.side})
    assert params.window == published.window == fitting_window(published.side)
    assert params.crop_pct == published.crop_pct
    if published.side == 224:
        assert params.heads == published.channel_heads


def test_the_variant_decides_what_is_not_given():
    found = {name: make_params(METHOD, {"variant": name}) for name in ("p0", "T", "s", "m", "b")}
    assert [each.drop_path for each in found.values()] == [0.1, 0.2, 0.35, 0.6, 0.7]
    assert [each.mixup for each in found.values()] == [0.1, 0.5, 0.5, 0.5, 0.5]
    assert [each.randaugment for each in found.values()] == [7, 9, 9, 9, 9]
    assert found["T"].variant == "t"
    given_too = make_params(METHOD, {"variant": "b", "drop_path": 0.0, "window": 1, "channel_heads": "1-1-1-1"})
    assert (given_too.drop_path, given_too.window, given_too.heads) == (0.0, 1, (1, 1, 1, 1))
    assert make_params(METHOD, {"image_size": "384"}).window == 12
    # What is kept has all of them, so that another version's defaults change nothing.
    assert WSFViTParams.model_validate(found["s"].model_dump()) == found["s"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"variant": "tiny"}, "wsfvit.variant: 'tiny' is not a WSF-ViT variant"),
        ({"image_size": 100}, "100 x 100 pixels cannot be divided .* multiples of 32 .nearest: 96 or 128"),
        (
            {"image_size": 256, "window": 7},
            "image_size and window: 256 x 256 .* multiples of 224 .* windows 1, 2, 4, 8 wou",
        ),
        ({"channel_heads": "2-4-8"}, "wsfvit.channel_heads: '2-4-8': give four numbers with - between"),
        ({"channel_heads": "3-4-8-16"}, "channel_heads .3, 4, 8, 16.: give four numbers that divide"),
        ({"wavelet": "harr"}, "wsfvit.wavelet: 'harr' is not a .*wavelet; did you mean 'haar'"),
        ({"weights": "pretrained.pth"}, "wsfvit.weights: weights 'pretrained.pth' is no file"),
        (
            {"weights": "pretrained"},
            "wsfvit.weights: there are no pretrained weights of WSF-ViT to fetch; give the path",
        ),
        ({"num_classes": 1}, "num_classes is 1; a classifier tells at least two apart"),
        ({"epochs": 5, "warmup_epochs": 5}, "the warm-up of 5 epochs .* leaves none of 5"),
        ({"min_lr": 1.0}, "min_lr 1, where the cosine ends, lies above lr 0.0005"),
        ({"batch": 6, "accumulation": 2}, "mix pairs, so a micro-batch is even, not 6 / 2"),
        ({"mixupp": 1}, "'mixupp' is not a parameter; did you mean 'mixup'"),
    ],
)
def test_bad_params_are_told(values, message):
    with pytest.raises(ParamsError, match=message):
        make_params(METHOD, values)


def test_recipes_are_as_published():
    assert {"imagenet-p0", "imagenet-b", "finetune-384", "small", "smoke"} <= set(RECIPES)
    for name, recipe in RECIPES.items():
        params = make_params(METHOD, dict(recipe))
        if name.startswith("imagenet"):
            assert (params.batch, params.lr, params.epochs, params.warmup_epochs) == (2048, 3e-3, 300, 30)
            assert (params.weight_decay, params.clip, params.erasing, params.cutmix) == (0.05, 1.0, 0.25, 1.0)
            assert params.validation == "holdout"
    assert make_params(METHOD, dict(RECIPES["imagenet-n"])).channel_heads == "4-8-16-32"
    finer = make_params(METHOD, {**RECIPES["finetune-384"], "variant": "t"})
    assert (finer.window, finer.channel_heads, finer.crop_mode) == (12, "2-4-8-16", "squash")
    assert finer.framing.mean == finer.framing.std == (0.5, 0.5, 0.5)


def test_the_schedule_is_timms_and_the_specifications():
    params = make_params(METHOD, dict(RECIPES["imagenet-t"]))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-3)
    theirs = CosineLRScheduler(optimizer, t_initial=300, lr_min=1e-5, warmup_t=30, warmup_lr_init=1e-6)
    for epoch in range(300):
        theirs.step(epoch)
        assert METHOD.rate(params, epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert METHOD.rate(params, 0.9) == 1e-6
    assert METHOD.rate(params, 15) == pytest.approx(1e-6 + 15 * (3e-3 - 1e-6) / 30)
    assert METHOD.rate(params, 150.5) == pytest.approx(1e-5 + 0.5 * (3e-3 - 1e-5) * (1 + math.cos(math.pi / 2)))


def test_biases_norms_and_position_tables_do_not_decay():
    params = tiny(num_classes=3, weight_decay=0.07)
    model = METHOD.model(params)
    groups = METHOD.optimizer(params, model).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(each)] for group in groups if group["weight_decay"] for each in group["params"]}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.07}
    assert decayed == {
        name for name, each in model.named_parameters() if each.dim() > 1 and not name.endswith("bias_table")
    }
    assert sum(len(group["params"]) for group in groups) == len(names)


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = torch.nn.Linear(3 * 8 * 8, 3)

    def forward(self, images):
        return self.head(images.flatten(1))


def small_batch(count=6):
    generator = torch.Generator().manual_seed(3)
    return {"images": torch.randn(count, 3, 8, 8, generator=generator), "labels": torch.arange(count) % 3}


def test_the_loss_is_timms_for_the_same_draws():
    params, step, batch = tiny(num_classes=3, mixup=0.3, cutmix=1.0), Step(2, 5, 7), small_batch()
    before = batch["images"].clone()
    found = METHOD.loss(params, Linear(), batch, step)
    assert torch.equal(batch["images"], before)
    mixup = Mixup(0.3, 1.0, prob=1.0, switch_prob=0.5, mode="batch", label_smoothing=0.1, num_classes=3)
    with seeded(zlib.crc32(b"mix"), 7, 2, 5):
        images, targets = mixup(batch["images"].clone(), batch["labels"])
    expected = SoftTargetCrossEntropy()(Linear()(images), targets)
    assert found.item() == pytest.approx(expected.item(), abs=1e-7)
    assert METHOD.loss(params, Linear(), batch, step).item() == found.item()
    others = {METHOD.loss(params, Linear(), batch, Step(2, update, 7)).item() for update in range(6)}
    assert len(others) > 3


def test_without_mixing_it_is_cross_entropy_with_smoothed_labels():
    batch, plain = small_batch(5), {"mixup": 0.0, "cutmix": 0.0, "num_classes": 3}
    logits = Linear()(batch["images"])
    smooth = METHOD.loss(tiny(**plain), Linear(), batch, Step(0, 0, 0))
    assert smooth.item() == pytest.approx(LabelSmoothingCrossEntropy(0.1)(logits, batch["labels"]).item(), abs=1e-7)
    hard = METHOD.loss(tiny(**plain, smoothing=0.0), Linear(), batch, Step(0, 0, 0))
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"])
    assert hard.item() == pytest.approx(expected.item(), abs=1e-7)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 300), st.integers(0, 1000))
def test_mixed_pictures_lie_between_pictures_and_their_mirror_in_the_batch(seed, epoch, update):
    class Keeps(torch.nn.Module):
        def forward(self, images):
            self.images = images
            return torch.zeros(len(images), 3)

    keeps, batch = Keeps(), small_batch()
    loss = METHOD.loss(tiny(num_classes=3, cutmix=0.0, mixup=1.0), keeps, batch, Step(epoch, update, seed))
    low, high = torch.stack([batch["images"], batch["images"].flip(0)]).aminmax(dim=0)
    assert bool(((keeps.images >= low - 1e-5) & (keeps.images <= high + 1e-5)).all())
    assert float(loss) == pytest.approx(math.log(3), abs=1e-6)


def test_an_odd_share_of_a_batch_cannot_be_mixed():
    mixed = tiny(num_classes=3, batch=6, mixup=0.5)
    with pytest.raises(ParamsError, match="3 of a batch of 6 are a worker's micro-batch: give a batch of 8"):
        check_division(60, mixed, world=2)
    check_division(60, mixed, world=1)
    check_division(60, tiny(num_classes=3, batch=6, mixup=0.0, cutmix=0.0), world=2)


def test_the_number_of_classes_is_that_of_the_data(data):
    assert settled_params(METHOD, tiny(), data).num_classes == 3
    assert settled_params(METHOD, tiny(num_classes=3), data).num_classes == 3
    with pytest.raises(ParamsError, match="has 3 classes, the params say 10; leave it out"):
        settled_params(METHOD, tiny(num_classes=10), data)
    with pytest.raises(DataError, match="not images with class labels; give imagefolder:PATH"):
        settled_params(METHOD, tiny(), open_dataset("synthetic:"))
    with pytest.raises(ParamsError, match="num_classes is 0: without data, say how many"):
        make_network(tiny())


def test_examples_say_what_chose_and_carry_the_names_of_classes(data):
    found = METHOD.examples(tiny(), data)
    assert (len(found.train), len(found.validation)) == (24, 6)
    assert {name: len(part) for name, part in found.tests.items()} == {"test": 6}
    assert found.about == {"classes": ["disc", "square", "triangle"]}
    assert found.selection == "holdout"
    published = METHOD.examples(tiny(validation="test"), data)
    assert published.selection == "test"
    METHOD.check(found, lambda done, total: None)


def test_two_epochs_under_the_loop_end_with_a_classifier_that_answers_as_it_was_evaluated(data):
    params = settled_params(METHOD, tiny(), data)
    training = Training(METHOD, params, METHOD.examples(params, data))
    torch.set_num_threads(1)
    epochs = list(training.run())
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert {"top1", "cross_entropy", "loss"} <= set(epochs[-1].metrics)
    assert "top5" not in epochs[-1].metrics  # of three classes
    classifier = METHOD.finish(params, training.use_best(), {**training.data.about, "notes": []})
    assert classifier.classes == ("disc", "square", "triangle")
    test = data.split("test")
    guesses = classifier.predict([test.image(i).open() for i in range(6)], top=1)
    right = np.mean([data.classes[test.labels[i]] == guess[0].label for i, guess in enumerate(guesses)])
    assert training.evaluate(training.data.tests["test"])["top1"] == pytest.approx(right)


def test_the_same_params_give_the_same_starting_weights_and_leave_the_generators_alone():
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    one, again = (make_network(tiny(num_classes=3)) for _ in range(2))
    assert torch.equal(torch.rand(()), expected)
    other = make_network(tiny(num_classes=3, weights="random:1"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(one.head.fc.weight, other.head.fc.weight)
    assert one.training


def test_training_starts_from_a_checkpoint_of_another_size_and_other_classes(tmp_path):
    start = make_network(tiny(num_classes=4, weights="random:3"))
    torch.save({"state_dict": start.state_dict()}, tmp_path / "net.pth")
    from_file = {"weights": str(tmp_path / "net.pth"), "image_size": 64}
    with pytest.raises(ModelError, match=r"net.pth has 4 classes, the network 3: .*replace_head"):
        make_network(tiny(num_classes=3, **from_file))
    with pytest.raises(ModelError, match="has 4 classes, the network 3"):
        settled_params(METHOD, tiny(**from_file), open_dataset(DATA))
    found = make_network(tiny(num_classes=3, replace_head=True, **from_file))
    assert found.window == 2
    name = "stages.0.blocks.0.attn_local.attn.rel_pos.relative_position_bias_table"
    assert found.state_dict()[name].shape == (2, 3, 3)
    assert start.state_dict()[name].shape == (2, 1, 1)
    assert torch.equal(found.stem.conv1.weight, start.stem.conv1.weight)
    assert found.head.fc.weight.shape == (3, 192)
    with pytest.raises(ModelError, match="does not fit this network"):
        make_network(make_params(METHOD, {**TINY, "variant": "p1", "num_classes": 4, "weights": from_file["weights"]}))
