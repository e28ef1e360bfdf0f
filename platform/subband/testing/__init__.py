"""The suites that every method of the platform must pass, for use in any test runner."""

from subband.testing.contract import MethodContract
from subband.testing.subject import Subject
from subband.testing.trained_contract import TrainedMethodContract
from subband.testing.training import TrainedSubject

__all__ = ["MethodContract", "Subject", "TrainedMethodContract", "TrainedSubject"]
