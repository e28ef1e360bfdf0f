"""Fits on several real workers: the same detector as one worker's, a whole store whatever happens, errors that name their cause."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from subband.data import Split, open_dataset, split_category
from subband.errors import DataError, ParamsError, StoreError
from subband.evaluation import split_runner
from subband.methods import divided_chains, make_params, staged_method
from subband.stages import Store

pytest.importorskip("ray")

SMALL = {"weights": "random:0", "backbone": "resnet18", "image_size": 32}
PARAMS = {
    "wepadim": {"grid": 4},
    "wedgenet": {"ratio": 0.1},
    "patchcore": {"ratio": 0.1, "pooled": 160, "target": 144},
}


def asked(name, **more):
    method = staged_method(name)
    return method, make_params(method, {**SMALL, **PARAMS[name], **more})


def small_split(train=20):
    dataset = open_dataset(f"synthetic:?train={train}&test=4&size=64&difficulty=0&categories=weave")
    return split_category(dataset.category("weave"), "test", 0)[0]


def whole(store):
    assert not store.verify()
    assert not list((store.folder / "partial").iterdir())
    assert not list((store.folder / "groups").iterdir())
    return sorted(row["stage"] for row in store.info())


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("wedgenet", ["gated", "semantic"]),
        pytest.param("wepadim", ["features"], marks=pytest.mark.slow),
        pytest.param("patchcore", ["patches"], marks=pytest.mark.slow),
    ],
)
def test_two_workers_fit_what_one_fits(tmp_path, name, kept):
    from subband.training.share_features import fit_on_workers

    (method, params), split, heard = asked(name), small_split(), []
    one = fit_on_workers(method, params, split, Store(tmp_path / "one"), workers=1)
    store = Store(tmp_path / "two")
    two = fit_on_workers(method, params, split, store, workers=2, on_message=heard.append)
    assert [message["split"] for message in heard] == [""]
    assert set(kept) == set(whole(store)) & {"images", "levels", "features", *kept}, "shares are joined and removed"
    np.testing.assert_allclose(two.good_scores, one.good_scores, rtol=1e-6)
    stored = one.detector.state_dict()
    for key, tensor in two.detector.state_dict().items():
        torch.testing.assert_close(tensor, stored[key], rtol=1e-6, atol=1e-6 * float(stored[key].abs().max()))
    again = fit_on_workers(method, params, split, store, workers=2, on_message=heard.append)
    assert len(heard) == 1, "what is in the store is not computed again"
    np.testing.assert_array_equal(again.good_scores, two.good_scores)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_damaged_picture_is_named_and_finished_shares_are_used_when_it_is_mended(tmp_path):
    from PIL import Image

    from subband.data.images import FileSource
    from subband.training.share_features import fit_on_workers, share_of

    rng = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).save(tmp_path / f"{number:02d}.png")
    pictures = tuple(FileSource(path) for path in sorted(tmp_path.glob("*.png")))
    split = Split(pictures, pictures[:2], tuple("" for _ in pictures), ("", ""))
    victim = tmp_path / "19.png"
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    (method, params), store = asked("wepadim"), Store(tmp_path / "store")
    with pytest.raises(DataError, match=r"19\.png"):
        fit_on_workers(method, params, split, store, workers=2, max_failures=0)
    assert whole(store) == ["features", "images"], "the share of the worker that met no damage"
    ((chain, values),) = divided_chains(method, params)
    assert split_runner(share_of(split, 0, 2), store).stored(chain, values)
    victim.write_bytes(content)
    fitted = fit_on_workers(method, params, split, store, workers=2)
    wanted = fit_on_workers(method, params, split, Store(tmp_path / "other"), workers=1)
    np.testing.assert_allclose(fitted.good_scores, wanted.good_scores, rtol=1e-6)
    assert whole(store) == ["features"]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_workers_that_see_another_folder_as_the_store_are_told_so(tmp_path):
    from subband.compute.group import run_on_workers
    from subband.training.share_features import _work

    method, params = asked("wepadim")
    config = {
        "method": method.name,
        "params": params.model_dump(mode="json"),
        "splits": {"": small_split()},
        "store": str(tmp_path / "local"),
        "store_gb": 1.0,
        "marker": tmp_path / "of another machine",
    }
    with pytest.raises(StoreError, match=r"worker 1 sees another folder as the store .*local"):
        run_on_workers(_work, config, name="apart", workers=1, storage=tmp_path / "runs", use_gpu=False)


@pytest.mark.usefixtures("local_ray")
def test_too_many_workers_are_refused_and_leave_nothing(tmp_path):
    from subband.training.share_features import fit_on_workers

    (method, params), store = asked("wepadim"), Store(tmp_path)
    with pytest.raises(ParamsError, match="999 workers of 1 CPUs do not fit"):
        fit_on_workers(method, params, small_split(), store, workers=999)
    assert whole(store) == []


def parts(split, count, store):
    from subband.training.share_features import share_of

    return [split_runner(share_of(split, rank, count), store) for rank in range(count)]


@given(st.integers(0, 300), st.integers(0, 40), st.integers(1, 9))
def test_shares_are_the_pictures_in_order_and_in_whole_batches(fitted, scored, workers):
    from subband.training.share_features import share_of

    split = Split(
        *(tuple(range(count)) for count in (fitted, scored)),
        *(tuple(map(str, range(count))) for count in (fitted, scored)),
    )
    shares = [share_of(split, rank, workers) for rank in range(workers)]
    for role in ("fit", "query", "fit_names", "query_names"):
        assert sum((getattr(share, role) for share in shares), ()) == getattr(split, role)
    sizes = [len(share.fit) for share in shares]
    if fitted > 16 * (workers - 1):
        assert not any(size % 16 for size in sizes[:-1])
        assert max(sizes) - min(sizes) <= 31
    else:
        assert max(sizes) - min(sizes) <= 1


def test_a_share_that_the_budget_has_pushed_out_is_said(tmp_path):
    (method, params), split, store = asked("wepadim"), small_split(), Store(tmp_path)
    shares = parts(split, 2, store)
    ((chain, values),) = divided_chains(method, params)
    for share in shares:
        share.run(chain, values)
    shares[1].discard(chain, values)
    with pytest.raises(StoreError, match=r"part 2 of 2 of features is not in .*--store-gb"):
        split_runner(split, store).join(chain, values, shares)


def test_only_rows_of_their_own_picture_are_joined(tmp_path):
    """Under the published scope, an image's vectors depend on its batch."""
    (method, params), split, store = asked("wedgenet", scope="batch"), small_split(), Store(tmp_path)
    bank, *_ = (chain for chain, given in method.fit_inputs(params) if given.scope == "batch")
    with pytest.raises(ValueError, match="gated cannot be joined"):
        split_runner(split, store).join(bank, params.model_dump(), parts(split, 2, store))
    divided = {chain[-1].name: values["scope"] for chain, values in divided_chains(method, params)}
    assert divided == {"images": "batch", "levels": "batch", "gated": "image", "semantic": "image"}
    chain, values = next(iter(divided_chains(*asked("wepadim"))))
    with pytest.raises(ValueError, match="features cannot be joined: it needs a store"):
        split_runner(split, None).join(chain, values, [])
