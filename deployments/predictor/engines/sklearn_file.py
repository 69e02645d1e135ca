"""Scikit_Learn: one ``*.m`` that holds an estimator as a joblib or pickle dump (facts §2.2)."""

from __future__ import annotations

from pathlib import Path

from .base import Engine
from .estimators import load_estimator, unpickle


def load(model_file: Path, threads: int) -> Engine:
    """Load the estimator; `threads` reaches the numeric libraries through their environment variables."""
    return load_estimator(unpickle(model_file), "sklearn", "FP64")
