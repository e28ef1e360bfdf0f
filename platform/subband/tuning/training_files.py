"""What a complete trial of the training lane leaves in ``models/TRIAL`` of its sweep's folder."""

from __future__ import annotations

MODELS = "models"
MODEL = "model"
"""Folder of the saved model."""
ANSWERS = "answers.npy"
"""What it answered to some pictures when it was evaluated."""
HISTORY = "history.json"
"""Metrics of every epoch."""
