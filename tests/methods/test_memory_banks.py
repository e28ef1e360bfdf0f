"""WEDGE-Net and PatchCore under the platform's contract, and what variants of them share."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from subband.banks.served import NearestNeighbours
from subband.data import Split, load_images, open_dataset
from subband.errors import DataError, ModelError, ParamsError
from subband.evaluation import CategoryBench, split_runner
from subband.methods import get_method, make_params
from subband.methods.memorybank.stages import bank_chain, climb
from subband.stages import Store
from subband.testing import MethodContract

SMALL = {"weights": "random:0", "backbone": "resnet18", "image_size": 32, "ratio": 0.2}
URI = "synthetic:?train=5&test=4&size=64&difficulty=0&categories=weave"

COMMON: dict = {
    "backbone": "resnet34",
    "weights": "random:1",
    "normalisation": {"normalisation": "imagenet", "backbone": "efficientnet_lite0"},
    "blocks": {"blocks": "2", "backbone": "timm:test_vit"},
    "framing": {"framing": "crop", "resize": 72},
    "image_size": 48,
    "resampling": "lanczos",
    "coreset": "random",
    "ratio": 0.4,
    "coreset_seed": 1,
    "neighbours": 2,
    "distance": "squared",
    "reweight": {"reweight": 3, "image_score": "cell", "distance": "euclidean"},
    "sigma": 2.0,
}
BAD: dict = {
    "mode": "corected",
    "backbone": "efficientnet_b9",
    "weights": "random:",
    "normalisation": "none",
    "blocks": "0",
    "framing": "zoom",
    "resize": 8,
    "image_size": 16,
    "resampling": "nearest",
    "coreset": "greedly",
    "ratio": 0,
    "coreset_start": "last",
    "coreset_seed": -1,
    "projection": "pca",
    "neighbours": 0,
    "distance": "cosine",
    "image_score": "mean",
    "reweight": 1,
    "sigma": 0,
}


class TestWedgeNet(MethodContract):
    name = "wedgenet"
    params = SMALL
    variations: ClassVar = {
        **COMMON,
        "mode": {"mode": "reference", "resize": 64},
        "coreset_start": "approximate",
        "projection": "linear128",
        "image_score": "cell",
        "wavelet": "bior2.2",
        "gate": False,
        "semantic": False,
        "encoder_seed": 1,
        "encoder_init": "published",
        "scope": "batch",
        "scope_batch": {"scope": "batch", "scope_batch": 2},
        "border": "zero",
    }
    bad_params: ClassVar = {
        **BAD,
        "wavelet": "db2",
        "gate": "perhaps",
        "semantic": "perhaps",
        "encoder_seed": -1,
        "encoder_init": "other",
        "scope": "category",
        "scope_batch": 0,
        "border": "mirror",
    }


class TestWedgeNetReference(MethodContract):
    name = "wedgenet"
    params: ClassVar = {**SMALL, "mode": "reference", "resize": 72, "scope_batch": 3}
    variations: ClassVar = {"scope_batch": 2, "ratio": 0.4}
    bad_params: ClassVar = {"ratio": 2}

    @pytest.mark.slow
    def test_two_workers(self, tmp_path):
        super().test_two_workers(tmp_path)


class TestPatchCore(MethodContract):
    name = "patchcore"
    params: ClassVar = {**SMALL, "pooled": 160, "target": 144}
    variations: ClassVar = {
        **COMMON,
        "mode": {"mode": "reference", "resize": 64},
        "coreset_start": "first",
        "projection": "none",
        "image_score": "map",
        "features": "averages",
        "patch": 5,
        "pooled": 64,
        "target": 130,
    }
    bad_params: ClassVar = {**BAD, "features": "pixels", "patch": 2, "pooled": 0, "target": 0}


class TestPatchCoreReweightedFromNorms(MethodContract):
    name = "patchcore"
    params: ClassVar = {
        **SMALL,
        "ratio": 0.3,  # a rung
        "features": "averages",
        "coreset_start": "norms",
        "projection": "sparse_jl",
        "reweight": 9,
    }
    variations: ClassVar = {"reweight": 3, "ratio": 0.4}
    bad_params: ClassVar = {"reweight": 1}

    @pytest.mark.slow
    def test_two_workers(self, tmp_path):
        super().test_two_workers(tmp_path)


def made(name="wedgenet", **values):
    return make_params(get_method(name), {**SMALL, **values})


@pytest.fixture(scope="module")
def category():
    return open_dataset(URI).category("weave")


@pytest.fixture
def bench(category, tmp_path):
    return CategoryBench(category, "test", 0, Store(tmp_path))


def evaluated(bench, name="wedgenet", **values):
    return bench.evaluate(get_method(name), made(name, **values))


@pytest.mark.parametrize("name", ["wedgenet", "patchcore"])
def test_every_variant_is_varied_and_refused(name):
    contract = {"wedgenet": TestWedgeNet, "patchcore": TestPatchCore}[name]
    fields = set(get_method(name).params_type.model_fields)
    assert fields - {"resize"} <= set(contract.variations) | {"pooled", "target", "patch"}
    assert fields == set(contract.bad_params)


def test_a_whole_grid_makes_one_backbone_pass(bench):
    """The sweep of 4 ratios x 3 sigmas x 2 wavelets x semantic on and off x 2 encoder seeds."""
    for wavelet in ("haar", "bior2.2"):
        for seed in (0, 1):
            for semantic in (True, False):
                for ratio in (1.0, 0.3, 0.1, 0.03):
                    for sigma in (2.0, 4.0, 8.0):
                        evaluated(
                            bench, wavelet=wavelet, encoder_seed=seed, semantic=semantic, ratio=ratio, sigma=sigma
                        )
    computed = bench.runner.computed
    assert computed["levels"] == 1
    assert computed["semantic"] == 1
    assert computed["gated"] == 4  # wavelets x seeds; semantic on and off share them
    assert computed["picks@0.3"] == computed["nearest@0.3"] == 8  # variants; ratios and sigmas share them
    assert computed["nearest"] == 8  # every vector


def test_methods_on_one_backbone_share_its_pass(bench):
    evaluated(bench)
    evaluated(bench, "patchcore", features="averages")
    assert bench.runner.computed["levels"] == 1


def test_controls_are_cheap(bench):
    """Without gates neither wavelet nor seed is read; without the semantic block it is not computed."""
    evaluated(bench, gate=False, semantic=False)
    evaluated(bench, gate=False, semantic=False, wavelet="bior2.2", encoder_seed=5)
    assert "semantic" not in bench.runner.computed
    assert "gated" not in bench.runner.computed
    assert bench.runner.computed["ungated"] == 1


@pytest.mark.parametrize("name", ["wedgenet", "patchcore"])
@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.45])
def test_a_climb_in_rungs_selects_what_one_selection_does(category, name, ratio, monkeypatch):
    """The bank of a ratio is the same whether the selection climbed there, or was made at once."""
    climbed = fitted_bank(category, name, ratio)
    monkeypatch.setattr("subband.methods.memorybank.stages.RATIOS", ())
    assert len(climb(ratio)) == 1
    torch.testing.assert_close(climbed, fitted_bank(category, name, ratio), rtol=0, atol=0)


@pytest.mark.parametrize("features", ["patches", "averages"])
def test_a_detector_has_the_scores_of_the_stages_on_every_backbone(category, bench, features):
    method, params = get_method("patchcore"), made("patchcore", backbone="efficientnet_lite0", features=features)
    maps, scores = bench.maps(method, params)
    images = load_images([sample.image for sample in category.test], params.preprocess())
    with torch.inference_mode():
        own_maps, own_scores = method.build(params, bench.runner)(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(own_maps, maps, rtol=1e-4, atol=1e-5 * maps.max())
    np.testing.assert_allclose(own_scores, scores, rtol=1e-4)


def fitted_bank(category, name, ratio):
    bench = CategoryBench(category, "test", 0, None)
    return get_method(name).fit(made(name, ratio=ratio), bench.runner).detector.bank


def test_smaller_banks_are_prefixes_of_larger_ones(category):
    small, large = (fitted_bank(category, "wedgenet", ratio) for ratio in (0.1, 0.5))
    torch.testing.assert_close(small, large[: len(small)], rtol=0, atol=0)


def test_the_semantic_block_is_appended(category):
    bank = fitted_bank(category, "wedgenet", 1.0)
    params = made(ratio=1.0, semantic=False)
    off = get_method("wedgenet").fit(params, CategoryBench(category, "test", 0, None).runner).detector.bank
    torch.testing.assert_close(bank[:, : off.shape[1]], off, rtol=0, atol=0)


def test_good_scores_are_of_banks_without_the_pictures_own_vectors(category):
    """The whole bank scores its own images 0; left out, they have the scores of the others' bank."""
    method, params = get_method("wedgenet"), made(ratio=1.0)
    bench = CategoryBench(category, "test", 0, None)
    fitted = method.fit(params, bench.runner)
    images = bench.runner.run((bench_stage(method, params, "images"),), params.model_dump()).array("fit")
    detector = fitted.detector
    _, own = detector.score(images)
    np.testing.assert_allclose(own, 0, atol=1e-5)
    cells = params.grid_side() ** 2
    whole = detector.bank.clone()
    for picture in range(len(images)):
        rows = torch.arange(len(whole)) // cells
        detector.search = NearestNeighbours(whole[rows != picture])
        _, expected = detector.score(images[picture : picture + 1])
        assert fitted.good_scores[picture] == pytest.approx(expected[0], rel=1e-5)


def bench_stage(method, params, name):
    (found,) = [stage for stage in bank_chain(method.embedding(params), params) if stage.name == name]
    return found


def test_a_bank_made_in_batches_is_calibrated_on_pictures_as_they_are_scored(category):
    """The threshold's scores are those of scoring each training image alone, though the bank was scaled by batches."""
    method, params = get_method("wedgenet"), made(ratio=1.0, scope="batch", scope_batch=3)
    bench = CategoryBench(category, "test", 0, None)
    fitted = method.fit(params, bench.runner)
    images = bench.runner.run((bench_stage(method, params, "images"),), params.model_dump()).array("fit")
    cells, whole = params.grid_side() ** 2, fitted.detector.bank
    for picture in range(len(images)):
        fitted.detector.search = NearestNeighbours(whole[torch.arange(len(whole)) // cells != picture])
        _, expected = fitted.detector.score(images[picture : picture + 1])
        assert fitted.good_scores[picture] == pytest.approx(expected[0], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("wedgenet", {}),
        ("wedgenet", {"coreset": "random"}),
        ("patchcore", {"features": "averages"}),
    ],
)
def test_a_detector_tells_its_covering_radius(category, name, values):
    bench = CategoryBench(category, "test", 0, None)
    method = get_method(name)
    detector = method.fit(made(name, **values), bench.runner).detector
    whole = method.fit(made(name, **values, ratio=1.0), bench.runner).detector.bank
    expected = torch.cdist(whole.double(), detector.bank.double()).amin(dim=1).amax()
    assert detector.about["covering_radius"] == pytest.approx(float(expected), rel=1e-5)
    assert detector.about["bank_rows"] == len(detector.bank)


def test_more_neighbours_than_the_bank_has_is_an_error(bench):
    with pytest.raises(ParamsError, match="neighbours 4 is more than the 1 vectors in the bank"):
        evaluated(bench, ratio=0.02, neighbours=4)  # 80 vectors, one kept


def test_a_bank_of_another_width_is_refused(category, tmp_path):
    """Another backbone or semantic flag gives other vectors; the saved bank must not be searched with them."""
    method = get_method("wedgenet")
    bench = CategoryBench(category, "test", 0, None)
    detector = method.fit(made(), bench.runner).detector
    tensors = dict(detector.state_dict())
    with pytest.raises(ModelError, match="saved bank is 512-dimensional, but these params give 384 dimensions"):
        method.restore(made(semantic=False), tensors, {"about": {}, **detector.kept()})
    with pytest.raises(ModelError, match="hold no bank"):
        method.restore(
            made(), {name: t for name, t in tensors.items() if name != "search.bank"}, {"about": {}, **detector.kept()}
        )


def test_one_training_picture_is_refused():
    with pytest.raises(DataError, match="wedgenet needs at least 2 good training images"):
        get_method("wedgenet").chain(made(), 1, 4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ratio": 1.5}, "wedgenet.ratio: .*less than or equal to 1"),
        ({"ratio": 0}, "wedgenet.ratio: .*greater than 0"),
        ({"ratio": 1e-4}, "ratio: 0.0001 of 80 rows leaves none"),
        ({"reweight": 9}, "needs image_score=cell"),
        ({"framing": "crop", "resize": 24}, "nothing to crop"),
    ],
)
def test_illegal_params_are_named(values, says):
    with pytest.raises(ParamsError, match=says):
        get_method("wedgenet").chain(made(**values), 5, 4)


def test_a_projection_that_narrows_nothing_is_refused_before_anything_runs():
    params = made("patchcore", target=96)
    with pytest.raises(ParamsError, match="maps to 128 numbers, but the vectors have only 96"):
        get_method("patchcore").chain(params, 5, 4)


def test_the_published_code_keeps_at_least_one_vector(bench):
    assert "bank of 1 of 80" in evaluated(bench, mode="reference", resize=64, ratio=1e-4).form


@pytest.mark.parametrize("name", ["patchcore", "wedgenet"])
def test_a_copy_is_not_scored_by_its_twin(category, name):
    twins = replace(category, train=(*category.train, *category.train[:2]))
    groups = (*range(len(category.train)), 0, 1)
    images = tuple(tuple(sample.image for sample in part) for part in (twins.train, twins.test))
    names = tuple(tuple(sample.name for sample in part) for part in (twins.train, twins.test))
    method, params = get_method(name), made(name, ratio=1.0)
    alone = method.fit(params, split_runner(Split(*images, *names), None))
    together = method.fit(params, split_runner(Split(*images, *names, groups), None))
    assert alone.good_scores[:2].max() < 1e-3 * alone.good_scores[2:-2].min()
    assert together.good_scores[:2].min() > 0.1 * together.good_scores[2:-2].min()
    np.testing.assert_array_equal(together.good_scores[2:-2], alone.good_scores[2:-2])
    assert len(together.threshold_scores) == len(category.train)
    assert together.detector.calibration.rule.endswith(f"({len(groups)} images, {len(category.train)} distinct)")
