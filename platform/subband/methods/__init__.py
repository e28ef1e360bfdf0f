"""One room a method, and the registry through which everything else knows them."""

from subband.methods.base import Fitted, Method
from subband.methods.detector import LEAVE_ONE_OUT, UNCALIBRATED, Calibration, Detector, Predictions, set_calibration
from subband.methods.loading import load
from subband.methods.registry import get_method, list_methods, make_params

__all__ = [
    "LEAVE_ONE_OUT",
    "UNCALIBRATED",
    "Calibration",
    "Detector",
    "Fitted",
    "Method",
    "Predictions",
    "get_method",
    "list_methods",
    "load",
    "make_params",
    "set_calibration",
]
