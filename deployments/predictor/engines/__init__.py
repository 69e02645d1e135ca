"""Loaders of model files, one module per engine, each imported only when its engine is served."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..errors import Unusable
from .base import Engine

_MODULES = {"ONNX": "onnx_file", "XGBoost": "xgboost_file", "Scikit_Learn": "sklearn_file"}


def load(engine: str, model_file: Path, threads: int) -> Engine:
    """Load `model_file`; whatever the engine's library raises comes through, `Unusable` where we know
    more.
    """
    if engine not in _MODULES:
        raise Unusable(f"The engine {engine} is not served here; use one of {', '.join(_MODULES)}.")
    return import_module(f".{_MODULES[engine]}", __name__).load(model_file, threads)
