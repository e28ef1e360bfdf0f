"""Tables and figures: pure functions over arrays and trial records, returned and never shown or saved."""

from __future__ import annotations

from subband.report.answers import Answer, answers_gallery
from subband.report.categories import champion_per_category
from subband.report.confusion import confusion_matrix
from subband.report.curves import roc_and_pro_curves
from subband.report.detections import detection_gallery
from subband.report.gallery import gallery
from subband.report.importance import Importances, importance, param_importances
from subband.report.learning_curves import learning_curves
from subband.report.names import short_name
from subband.report.parallel import parallel_coordinates
from subband.report.pareto import pareto_front
from subband.report.table import ranking_table
from subband.report.video import frame_errors, prediction_strips
from subband.trials.ranking import non_dominated, regret

__all__ = [
    "Answer",
    "Importances",
    "answers_gallery",
    "champion_per_category",
    "confusion_matrix",
    "detection_gallery",
    "frame_errors",
    "gallery",
    "importance",
    "learning_curves",
    "non_dominated",
    "parallel_coordinates",
    "param_importances",
    "pareto_front",
    "prediction_strips",
    "ranking_table",
    "regret",
    "roc_and_pro_curves",
    "short_name",
]
