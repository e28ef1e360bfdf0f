"""MethodContract: the suite that every method of the platform passes, as a class to inherit.

    from subband.testing import MethodContract

    class TestMyMethod(MethodContract):
        name = "mymethod"
        params = {"weights": "random:0", "image_size": 64}
        variations = {"sigma": 2.0}
        bad_params = {"sigma": -1}

pytest collects the inherited tests; it is not imported here, and every check is also a plain function of this package that raises
AssertionError, for any other test runner.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from subband.methods import StagedMethod, staged_method
from subband.testing import detecting, refusing, sharing
from subband.testing.subject import Subject


class MethodContract:
    """Inherit, name the method, and give small params; pytest runs the rest.

    Attributes:
        name: of the method in the registry.
        params: params that make the method small and fast, without fetched weights.
        dataset: URI of a small dataset; its first category is used. It needs good and defective test images.
        variations: for some params another legal value (or a mapping of params that must change together). The more, the surer
            is the proof that no stage depends on what it did not declare.
        bad_params: for some params an illegal value.
    """

    name: ClassVar[str]
    params: ClassVar[Mapping[str, Any]] = {}
    dataset: ClassVar[str] = "synthetic:?train=5&test=4&size=64&difficulty=0&categories=weave"
    variations: ClassVar[Mapping[str, Any]] = {}
    bad_params: ClassVar[Mapping[str, Any]] = {}

    def method(self) -> StagedMethod:
        """The method under contract; by default the registered one."""
        return staged_method(self.name)

    def subject(self) -> Subject:
        """What every check receives."""
        return Subject.of(self.method(), self.params, self.dataset)

    def test_fit_and_score(self) -> None:
        """Well-formed maps and scores; the detector gives the evaluated ones."""
        detecting.check_fit_and_score(self.subject())

    def test_build(self) -> None:
        """What a sweep measures is what it would serve."""
        detecting.check_build(self.subject())

    def test_predict(self) -> None:
        """Images of any size and mode are decided by their score."""
        detecting.check_predict(self.subject())

    def test_save_and_load(self, tmp_path: Path) -> None:
        """Saved, loaded and moved, a detector gives the same scores."""
        detecting.check_save_and_load(self.subject(), tmp_path)

    def test_saving_is_all_or_nothing(self, tmp_path: Path) -> None:
        """Nothing half-written, nothing overwritten, damage named."""
        detecting.check_saving_is_all_or_nothing(self.subject(), tmp_path)

    def test_batch_size_does_not_matter(self) -> None:
        """An image's score does not depend on its neighbours."""
        detecting.check_batch_size_does_not_matter(self.subject())

    def test_no_network(self, tmp_path: Path) -> None:
        """Nothing opens a connection."""
        detecting.check_no_network(self.subject(), tmp_path)

    def test_no_queries(self) -> None:
        """Nothing to score is no error."""
        detecting.check_no_queries(self.subject())

    def test_same_seed_same_result(self) -> None:
        """Two runs agree."""
        sharing.check_same_seed_same_result(self.subject())

    def test_store_changes_nothing(self, tmp_path: Path) -> None:
        """The store saves time and changes nothing."""
        sharing.check_store_changes_nothing(self.subject(), tmp_path)

    def test_two_workers(self, tmp_path: Path) -> None:
        """Two processes share one store: same metrics, each stage once."""
        sharing.check_two_workers(self.subject(), tmp_path)

    def test_divided_pictures(self, tmp_path: Path) -> None:
        """Workers may divide the images that a fit starts from."""
        sharing.check_divided_pictures(self.subject(), tmp_path)

    def test_labels_never_reach_stages(self, tmp_path: Path) -> None:
        """Other labels and names, same maps."""
        sharing.check_labels_never_reach_stages(self.subject(), tmp_path)

    def test_every_dependency_is_declared(self, tmp_path: Path) -> None:
        """No stage is served a stale result after a param changed."""
        sharing.check_every_dependency_is_declared(self.subject(), self.variations, tmp_path)

    def test_bad_params(self) -> None:
        """Illegal values and misspelt names are named."""
        refusing.check_bad_params(self.subject(), self.bad_params)

    def test_bad_pictures(self, tmp_path: Path) -> None:
        """Broken files are named and leave nothing half-written."""
        refusing.check_bad_pictures(self.subject(), tmp_path)

    def test_one_training_picture(self, tmp_path: Path) -> None:
        """One training image works or is refused."""
        refusing.check_one_training_picture(self.subject(), tmp_path)
