"""One room a method, and the registry through which everything else knows them."""

from subband.methods.base import Fitted, Method, StagedMethod, divided_chains
from subband.methods.deployable import Deployable, Task
from subband.methods.detector import LEAVE_ONE_OUT, UNCALIBRATED, Calibration, Detector, Predictions, set_calibration
from subband.methods.loading import adopt, load
from subband.methods.registry import (
    get_method,
    is_trained,
    list_methods,
    list_staged_methods,
    make_params,
    space_of,
    staged_method,
    trained_method,
)
from subband.methods.trained_base import (
    Batch,
    ExampleKey,
    Examples,
    Step,
    TrainedMethod,
    TrainingSet,
    recipe_params,
    settled_params,
)
from subband.methods.training_params import TrainingParams

__all__ = [
    "LEAVE_ONE_OUT",
    "UNCALIBRATED",
    "Batch",
    "Calibration",
    "Deployable",
    "Detector",
    "ExampleKey",
    "Examples",
    "Fitted",
    "Method",
    "Predictions",
    "StagedMethod",
    "Step",
    "Task",
    "TrainedMethod",
    "TrainingParams",
    "TrainingSet",
    "adopt",
    "divided_chains",
    "get_method",
    "is_trained",
    "list_methods",
    "list_staged_methods",
    "load",
    "make_params",
    "recipe_params",
    "set_calibration",
    "settled_params",
    "space_of",
    "staged_method",
    "trained_method",
]
