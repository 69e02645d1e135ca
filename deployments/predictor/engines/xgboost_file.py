"""XGBoost: one ``*.m`` that holds a Booster (native JSON or UBJSON) or a pickled Booster or wrapper.

What ``predict_result`` is: for a pickled scikit-learn wrapper, its ``predict``. For a Booster with a
classification objective (``binary:logistic``, ``multi:softprob``, ``multi:softmax``) the class, with the
probabilities beside it; for every other objective exactly what ``Booster.predict`` gives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .base import Engine, Predicted, Tensor, numbers
from .estimators import INPUT_NAME, load_estimator, unpickle


def load(model_file: Path, threads: int) -> Engine:
    """Load whichever of the accepted contents the file has, told apart by its first byte."""
    import xgboost

    with model_file.open("rb") as handle:
        native = handle.read(1) == b"{"  # both native formats are one object; no pickle starts like this
    if native:
        model: Any = xgboost.Booster()
        # From memory, because the library guesses the format from the file name, which is always *.m here.
        model.load_model(bytearray(model_file.read_bytes()))
    else:
        model = unpickle(model_file)
    if isinstance(model, xgboost.Booster):
        model.set_param({"nthread": threads})
        return BoosterEngine(model)
    if isinstance(model, xgboost.XGBModel):
        model.set_params(n_jobs=threads)
    return load_estimator(model, "xgboost", "FP32")


class BoosterEngine(Engine):
    """A bare Booster."""

    platform = "xgboost"

    def __init__(self, model: Any) -> None:
        import xgboost

        self.model = model
        self._matrix = xgboost.DMatrix
        self._objective = _objective(model)
        self._in_place = _booster_kind(model) != "gblinear"
        self.columns = tuple(model.feature_names) if model.feature_names else None
        self.width = int(model.num_features())
        self.has_scores = self._objective in ("binary:logistic", "multi:softprob")
        self.inputs = (Tensor(INPUT_NAME, "FP32", (-1, self.width), any_number=True),)
        wide = self._objective == "multi:softprob"
        self.outputs = (Tensor("predict", "FP32", (-1, -1) if wide else (-1,)),)
        self.default_outputs = ("predict",)

    def run(self, feeds: dict[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        return [self._raw(feeds[INPUT_NAME]) for _ in wanted]

    def predict(self, data: Any) -> Any:
        if not isinstance(data, self._matrix):
            data = self._matrix(np.asarray(data), feature_names=list(self.columns) if self.columns else None)
        return self.model.predict(data)

    def predict_table(self, rows: list[list], columns: Sequence[str] | None, with_scores: bool) -> Predicted:
        raw = self._raw(numbers(rows, columns, np.float32))
        if self._objective == "multi:softmax":
            return Predicted(raw.astype(np.int64))
        if self._objective == "multi:softprob":
            return Predicted(raw.argmax(axis=1), raw if with_scores else None, range(raw.shape[1]))
        if self._objective == "binary:logistic":
            scores = np.column_stack([1 - raw, raw]) if with_scores else None
            return Predicted((raw > 0.5).astype(np.int64), scores, (0, 1))
        return Predicted(raw)

    def _raw(self, table: np.ndarray) -> np.ndarray:
        if self._in_place:  # thread-safe, and spares building a DMatrix for every call
            return self.model.inplace_predict(table, validate_features=False)
        names = list(self.columns) if self.columns else None
        return self.model.predict(self._matrix(table, feature_names=names))


def _objective(model: Any) -> str:
    return json.loads(model.save_config())["learner"]["objective"]["name"]


def _booster_kind(model: Any) -> str:
    return json.loads(model.save_config())["learner"]["gradient_booster"]["name"]
