"""The only room that imports MLflow: runs, trials, figures, the model registry. A server that is down loses nothing.

MLflow itself (seconds to import) is loaded when it is first needed, so importing this package costs nothing.
"""

from subband.runs.description import DatasetInfo, ReportFile, SweepInfo
from subband.tracking.download import download_model, read_model_file
from subband.tracking.log import LiveReport, RunLog, SweepLog
from subband.tracking.naming import registry_name
from subband.tracking.push import Pushed, push
from subband.tracking.registry import Champion, Registered, list_champions, register_champion
from subband.tracking.uri import TrackingTarget, comparison_url, experiment_url, resolve_tracking, ui_command, ui_url

__all__ = [
    "Champion",
    "DatasetInfo",
    "LiveReport",
    "Pushed",
    "Registered",
    "ReportFile",
    "RunLog",
    "SweepInfo",
    "SweepLog",
    "TrackingTarget",
    "comparison_url",
    "download_model",
    "experiment_url",
    "list_champions",
    "push",
    "read_model_file",
    "register_champion",
    "registry_name",
    "resolve_tracking",
    "ui_command",
    "ui_url",
]
