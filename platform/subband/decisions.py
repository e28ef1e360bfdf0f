"""What a job decides for its user, with the reason: printed before the work starts, and logged with the run."""

from __future__ import annotations

from typing import NamedTuple


class Decision(NamedTuple):
    """One decision.

    Attributes:
        what: what was decided ("weights").
        choice: the outcome ("efficientnet_lite0 packaged").
        reason: why.
    """

    what: str
    choice: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.choice} ({self.reason})"

    @property
    def tag(self) -> tuple[str, str]:
        """Key and value of the MLflow tag."""
        return f"decision.{self.what}", f"{self.choice} ({self.reason})"
