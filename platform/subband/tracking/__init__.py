"""The only room that imports MLflow: runs of a sweep, figures, the model registry. A server that is down loses nothing.

MLflow itself (seconds to import) is loaded when it is first needed, so importing this package costs nothing.
"""

from subband.tracking.download import download_model, read_model_file
from subband.tracking.live_report import LiveReport
from subband.tracking.naming import registry_name
from subband.tracking.push import Pushed, push
from subband.tracking.registry import Champion, Registered, list_champions, register_champion
from subband.tracking.report_run import ReportFile, log_report
from subband.tracking.sweep_file import DatasetInfo, SweepInfo
from subband.tracking.sweep_log import SweepLog
from subband.tracking.uri import TrackingTarget, comparison_url, experiment_url, resolve_tracking, ui_command, ui_url

__all__ = [
    "Champion",
    "DatasetInfo",
    "LiveReport",
    "Pushed",
    "Registered",
    "ReportFile",
    "SweepInfo",
    "SweepLog",
    "TrackingTarget",
    "comparison_url",
    "download_model",
    "experiment_url",
    "list_champions",
    "log_report",
    "push",
    "read_model_file",
    "register_champion",
    "registry_name",
    "resolve_tracking",
    "ui_command",
    "ui_url",
]
