"""Trains the example packages from data that scikit-learn ships, and writes them beside this file.

    python -m venv /tmp/train && /tmp/train/bin/pip install -r examples/requirements.txt
    /tmp/train/bin/python examples/train.py

Deterministic: the same requirements give the same files. Every package is the folder `model/` of its example
(facts of the layout: one model file, config.json, perhaps customize_service.py); `expected.json` beside it is
what the library itself answers to `model/sample.json`, its numbers rounded to six decimals.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import xgboost
from onnxruntime import InferenceSession
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
IRIS = ("sepal_len", "sepal_wid", "petal_len", "petal_wid")
GROWERS = ("grower A", "grower B", "grower C")


def digits() -> None:
    """ONNX, a bare .onnx: handwritten digits of 8x8 pixels, each 0-16 → the digit and ten probabilities."""
    folder = HERE / "onnx-digits"
    data = load_digits()
    split = train_test_split(data.data, data.target, test_size=0.25, random_state=7, stratify=data.target)
    train, test, train_y, test_y = split
    scaler = StandardScaler(with_mean=False).fit(train)
    scaler.scale_ = np.full(64, 16.0)  # the division by 16 becomes a part of the model
    network = MLPClassifier((48,), random_state=7, max_iter=400, alpha=0.01)
    network.fit(scaler.transform(train), train_y)
    model = to_onnx(
        make_pipeline(scaler, network),
        initial_types=[("pixels", FloatTensorType([None, 64]))],
        options={"zipmap": False},
        target_opset=17,
    )
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)  # the converter's order is accidental
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    model.doc_string = "Handwritten digits: pixels is [n, 64], values 0 to 16, row by row."
    path = folder / "model" / "digits.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(onnx.load(path))

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    label, _probabilities = session.run(None, {"pixels": test.astype(np.float32)})
    print("onnx-digits", _metrics(test_y, label))
    image = data.images[-1].reshape(1, 64).astype(np.float32)
    label, probabilities = session.run(None, {"pixels": image})
    _write(folder / "model" / "sample.json", {"inputs": {"pixels": image.tolist()}})
    outputs = {"label": label.tolist(), "probabilities": [_rounded(probabilities[0])]}
    _write(folder / "expected.json", {"outputs": outputs})


def iris() -> None:
    """XGBoost in the documented layout, without code: four measures of a flower → its species as 0, 1, 2."""
    folder = HERE / "xgboost-iris"
    data = load_iris()
    split = train_test_split(data.data, data.target, test_size=0.3, random_state=7, stratify=data.target)
    train, test, train_y, test_y = split
    settings = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1, "seed": 7}
    booster = xgboost.train(settings, xgboost.DMatrix(train, train_y, feature_names=list(IRIS)), 20)
    (folder / "model" / "iris.m").write_bytes(booster.save_raw("json"))  # the library's own format, no pickle

    predicted = booster.predict(xgboost.DMatrix(test, feature_names=list(IRIS)))
    metrics = _metrics(test_y, predicted.argmax(axis=1))
    print("xgboost-iris", metrics)
    numbers = {"properties": {name: {"type": "number"} for name in IRIS}, "required": list(IRIS)}
    scores = {"type": "array", "items": {"type": "number"}}
    answer = {"properties": {"predict_result": {"type": "integer"}, "probabilities": scores}}
    config = {
        "model_type": "XGBoost",
        "model_algorithm": "predict_analysis",
        "metrics": metrics,
        "apis": [_api(numbers, answer)],
        "dependencies": [
            {
                "installer": "pip",
                "packages": [{"package_name": "numpy", "package_version": "2.0", "restraint": "ATLEAST"}],
            }
        ],
    }
    _write(folder / "model" / "config.json", config)
    rows = data.data[[0, 75, 140]]
    sample = [dict(zip(IRIS, map(float, row), strict=True)) for row in rows]
    _write(folder / "model" / "sample.json", _request(sample))
    scores = booster.predict(xgboost.DMatrix(rows, feature_names=list(IRIS)))
    answers = [{"predict_result": int(row.argmax()), "probabilities": _rounded(row)} for row in scores]
    _write(folder / "expected.json", {"data": {"resp_data": answers}})


def wine() -> None:
    """Scikit_Learn with inference code, a module and a data file of its own: 13 measures → the grower."""
    folder = HERE / "sklearn-wine"
    sys.path.insert(0, str(folder / "model"))
    sys.dont_write_bytecode = True  # nothing but the package belongs into its folder
    from measures import MEASURES, features

    data = load_wine()
    records = [dict(zip(MEASURES, map(float, row), strict=True)) for row in data.data]
    rows = np.array([features(record) for record in records])
    train, test, train_y, test_y = train_test_split(
        rows, data.target, test_size=0.3, random_state=7, stratify=data.target
    )
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(random_state=7, max_iter=500))
    model.fit(train, train_y)
    joblib.dump(model, folder / "model" / "wine.m", compress=0)
    _write(folder / "model" / "growers.json", list(GROWERS))

    metrics = _metrics(test_y, model.predict(test))
    print("sklearn-wine", metrics)
    config = {
        "model_type": "Scikit_Learn",
        "model_algorithm": "predict_analysis",
        "metrics": metrics,
        "apis": [
            _api(
                {"properties": {name: {"type": ["number", "null"]} for name in MEASURES}},
                {"properties": {"predict_result": {"type": "string"}}},
            )
        ],
        "dependencies": [
            {
                "installer": "pip",
                "packages": [{"package_name": "numpy", "package_version": "2.0", "restraint": "ATLEAST"}],
            }
        ],
    }
    _write(folder / "model" / "config.json", config)
    sample = [records[3], {**records[100], "magnesium": None}, records[170]]
    _write(folder / "model" / "sample.json", _request(sample))
    numbers = model.predict(np.array([features(record) for record in sample]))
    answers = [{"predict_result": GROWERS[number]} for number in numbers]
    _write(folder / "expected.json", {"data": {"resp_data": answers}})


def _api(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """The documented table: data.req_data rows in, data.resp_data rows out."""
    request, response = (_table("req_data", inputs), _table("resp_data", outputs))
    return {
        "url": "/",
        "method": "post",
        "request": {"Content-type": "application/json", "data": request},
        "response": {"Content-type": "application/json", "data": response},
    }


def _table(key: str, row: dict[str, Any]) -> dict[str, Any]:
    rows = {"type": "array", "items": [{"type": "object", **row}]}
    data = {"type": "object", "properties": {key: rows}}
    return {"type": "object", "properties": {"data": data}}


def _request(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"req_data": rows}}


def _metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """On flowers, wines and digits that the model has not seen; averaged over the classes."""
    precision, recall, f1, _support = precision_recall_fscore_support(truth, predicted, average="macro")
    accuracy = accuracy_score(truth, predicted)
    figures = {"f1": f1, "recall": recall, "precision": precision, "accuracy": accuracy}
    return {name: round(float(value), 4) for name, value in figures.items()}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]


def _write(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    # Rows of numbers on one line: an image as 64 lines helps nobody.
    text = re.sub(r"\[\s+([-\d.eE,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    digits()
    iris()
    wine()
