"""Objects with ``predict`` (scikit-learn, the XGBoost wrappers, pipelines), as an `Engine`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Unusable
from .base import Engine, Predicted, Tensor, numbers

INPUT_NAME = "input-0"


def unpickle(model_file: Path) -> Any:
    """The object in a pickle or joblib dump. This runs the file's code: only ever inside the sandbox."""
    try:
        import joblib
    except ImportError:
        import pickle

        with model_file.open("rb") as handle:
            return pickle.load(handle)  # noqa: S301 - what the sandbox is for
    try:
        return joblib.load(model_file)
    except AttributeError as error:
        if "__main__" not in str(error):
            raise
        raise Unusable(
            f"{error}. The model was dumped from a script that defines this name itself. Move the definition "
            "into a module, put that module into model/, import it in the training script, and dump again."
        ) from error


class Estimator(Engine):
    """An object with ``predict`` and perhaps ``predict_proba``; input and output names as MLServer uses
    them.
    """

    def __init__(self, model: Any, platform: str, datatype: str) -> None:
        self.model = model
        self.platform = platform
        self.columns, self._frame = _columns(model)
        self.width = _width(model)
        self.has_scores = hasattr(model, "predict_proba")
        self.inputs = (Tensor(INPUT_NAME, datatype, (-1, self.width or -1), any_number=True),)
        # The datatype of `predict` is only known with the first result; labels may be numbers or strings.
        classes = _classes(model)
        outputs = [Tensor("predict", _datatype(classes), (-1,))]
        if self.has_scores:
            count = len(classes) if classes is not None else -1
            outputs.append(Tensor("predict_proba", "FP64" if datatype == "FP64" else "FP32", (-1, count)))
        self.outputs = tuple(outputs)
        self.default_outputs = ("predict",)

    def run(self, feeds: dict[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        data = feeds[INPUT_NAME]
        if (
            self._frame is not None
            and len(data)
            and data.ndim == 2
            and data.shape[1] == len(self.columns or ())
        ):
            data = self._frame(data, columns=self.columns)
        return [np.asarray(getattr(self.model, name)(data)) for name in wanted]

    def predict(self, data: Any) -> Any:
        return self.model.predict(data)

    def predict_table(self, rows: list[list], columns: Sequence[str] | None, with_scores: bool) -> Predicted:
        if self._frame is not None:
            # Trained on a data frame: its columns may be text, and pipelines choose them by name.
            data = self._frame(rows, columns=list(self.columns or columns or ()))
        else:
            data = numbers(rows, columns)
        results = np.asarray(self.model.predict(data))
        if not (with_scores and self.has_scores):
            return Predicted(results)
        return Predicted(results, np.asarray(self.model.predict_proba(data)), _classes(self.model))


def load_estimator(model: Any, platform: str, datatype: str) -> Estimator:
    """Wrap `model`, or explain why it is no model."""
    if not callable(getattr(model, "predict", None)):
        raise Unusable(
            f"The model file holds an object of type {type(model).__name__}, which has no method predict. "
            "Dump the trained estimator itself, or add a customize_service.py that uses what is in the file."
        )
    return Estimator(model, platform, datatype)


def _columns(model: Any) -> tuple[tuple[str, ...] | None, Any]:
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return None, None
    columns = tuple(map(str, names))
    try:
        import pandas
    except ImportError:
        # Without pandas the columns go in by position; the library's warning about names would fill the log.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        return columns, None
    return columns, pandas.DataFrame


def _width(model: Any) -> int | None:
    try:
        return int(model.n_features_in_)
    except (AttributeError, TypeError, ValueError):
        return None


def _classes(model: Any) -> Any:
    try:
        classes = model.classes_
    except Exception:  # noqa: BLE001 - a property of foreign code; absent is the usual case
        return None
    return classes if getattr(classes, "ndim", 1) == 1 else None


def _datatype(classes: Any) -> str:
    if classes is None:
        return "FP64"
    kind = np.asarray(classes).dtype.kind
    return {"i": "INT64", "u": "UINT64", "b": "BOOL", "f": "FP64"}.get(kind, "BYTES")
