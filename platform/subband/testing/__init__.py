"""The suite that every method of the platform must pass, for use in any test runner."""

from subband.testing.contract import MethodContract
from subband.testing.subject import Subject

__all__ = ["MethodContract", "Subject"]
