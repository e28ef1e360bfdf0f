import functools

import numpy as np
import pytest

from subband.banks import GreedyKCenter, Rows, shard_edges
from subband.errors import ClusterError, DataError, ParamsError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("local_ray")


def made(kind, count=1200, width=24, seed=0):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(count, width))
    found = {
        "clustered": lambda: rng.normal(size=(9, width))[rng.integers(0, 9, count)] + 0.1 * normal,
        "copies": lambda: rng.normal(size=(50, width))[rng.integers(0, 50, count)],
        "tiny": lambda: 1 + 1e-3 * normal,
    }[kind]()
    return found.astype(np.float32)


def workers(features, count, **options):
    from subband.compute.kcenter import DistributedKCenter

    openers = [functools.partial(Rows.of, features[first:stop]) for first, stop in shard_edges(len(features), count)]
    return DistributedKCenter(openers, cpus_per_worker=0.25, **options)


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("clustered", (3,)),
        pytest.param("clustered", (1, 2, 4), marks=pytest.mark.slow),
        pytest.param("copies", (1, 2, 4), marks=pytest.mark.slow),
        pytest.param("tiny", (1, 2, 4), marks=pytest.mark.slow),
    ],
)
def test_any_number_of_workers_picks_as_one_machine_does(kind, counts):
    features = made(kind)
    alone = GreedyKCenter(Rows.of(features), start=700)
    alone.extend(150)
    for count in counts:
        told = []
        with workers(features, count, start=700) as greedy:
            greedy.extend(60)
            assert greedy.extend(150, lambda *news, told=told: told.append(news)).tolist() == alone.picks.tolist()
            np.testing.assert_array_equal(greedy.radii, alone.radii)
            np.testing.assert_array_equal(greedy.distances, alone.distances)
        assert told[-1] == (150, 150, alone.radii[-1])


def test_a_worker_that_dies_is_started_again():
    features = made("clustered")
    wanted = GreedyKCenter(Rows.of(features)).extend(150)
    with workers(features, 2) as greedy:
        greedy.extend(60)
        ray.kill(greedy._workers._actors[1])
        assert greedy.extend(150).tolist() == wanted.tolist()


def test_a_worker_that_dies_once_too_often_is_an_error_that_names_it():
    with workers(made("clustered"), 2, restarts=0) as greedy:
        greedy.extend(20)
        ray.kill(greedy._workers._actors[1])
        with pytest.raises(ClusterError, match="worker 2 of 2 died, and no restart is left"):
            greedy.extend(150)


@pytest.mark.slow
def test_a_stored_selection_goes_on_with_another_number_of_workers():
    features = made("clustered")
    with workers(features, 1) as greedy:
        greedy.extend(70)
        state = greedy.state()
    with workers(features, 3, resume=state) as greedy:
        found = greedy.extend(150)
    assert found.tolist() == GreedyKCenter(Rows.of(features)).extend(150).tolist()


@pytest.mark.slow
def test_a_row_that_is_not_finite_has_its_number_in_the_whole():
    features = made("clustered")
    features[[900, 1100], 3] = np.nan
    with pytest.raises(DataError, match="row 900 of the features is not finite"):
        workers(features, 4)


def test_more_workers_than_processors_is_an_error_at_once():
    from subband.compute.kcenter import DistributedKCenter

    opener = functools.partial(Rows.of, made("clustered"))
    with pytest.raises(ClusterError, match="take fewer workers"):
        DistributedKCenter([opener] * 999)


@pytest.mark.slow
def test_shards_that_do_not_fit_together_are_refused():
    from subband.compute.kcenter import DistributedKCenter

    openers = [functools.partial(Rows.of, made("clustered", width=width)) for width in (8, 9)]
    with pytest.raises(ParamsError, match=r"different widths: \[8, 9\]"):
        DistributedKCenter(openers, cpus_per_worker=0.25)
    with pytest.raises(ParamsError, match="row 1200 does not exist; 0 to 1199 do"):
        workers(made("clustered"), 2, start=1200)
