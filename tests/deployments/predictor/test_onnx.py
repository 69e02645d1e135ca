"""ONNX without own code: named inputs, the declared table, both equal to ONNX Runtime itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from .conftest import Running, make_package, predictor, rows_of, table_api

PIXELS = tuple(f"p{number}" for number in range(64))


@pytest.fixture(scope="module")
def digits(digits_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    package = make_package(tmp_path_factory.mktemp("bare"), "ONNX", model=digits_onnx)
    with predictor(package, "ONNX", "--name", "digits", "--version", "0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 17, size=(5, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(digits_onnx: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple(onnxruntime.InferenceSession(str(digits_onnx)).run(None, {"X": images}))


@pytest.mark.parametrize("shape", ["named", "bare", "single"])
def test_a_bare_model_answers_named_outputs_equal_to_onnxruntime(digits, images, expected, shape):
    rows = images.tolist()
    body = {"named": {"inputs": {"X": rows}}, "bare": {"X": rows}, "single": {"inputs": rows}}[shape]
    answer = digits.client.post("/", json=body)
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["outputs"]
    assert outputs["label"] == expected[0].tolist()
    assert np.array_equal(np.array(outputs["probabilities"], dtype=np.float32), expected[1])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"inputs": {"Y": [[1]]}}, "has no input “Y”"),
        ({"inputs": {}}, "“X” is missing"),
        ({"inputs": {"X": [[1, 2]]}}, "takes shape [-1, 64]"),
        ({"inputs": {"X": [["a"] * 64]}}, "does not fit datatype FP32"),
        ({"inputs": {"X": [[None] * 64]}}, "does not fit datatype FP32"),
        ({"inputs": {"X": [[1e300] * 64]}}, "too large for datatype FP32"),
        ({"inputs": {"X": [[1.0] * 64, [1.0]]}}, "do not match shape"),
        ([1, 2], "takes shape"),
        ("text", "The body must be"),
    ],
)
def test_a_wrong_body_is_explained_with_400(digits, body, told):
    answer = digits.client.post("/", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error_msg"]
    assert answer.json()["error_code"] == "APIG.0201"


def test_a_declared_table_is_served_from_the_columns_of_the_one_input(
    digits_onnx, images, expected, tmp_path
):
    api = table_api({"predict_result": {"type": "string"}, "scores": {"type": "array"}}, PIXELS)
    package = make_package(tmp_path / "table", "ONNX", model=digits_onnx, api=api)
    with predictor(package, "ONNX") as running:
        answer = running.client.post("/", json=rows_of(images, PIXELS))
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]["resp_data"]
    assert [row["predict_result"] for row in rows] == [str(label) for label in expected[0]]
    best = [row["scores"][0] for row in rows]
    assert [label for label, _ in best] == [str(label) for label in expected[0]]
    assert [score for _, score in best] == pytest.approx(expected[1].max(axis=1).tolist())
    assert all(len(row["scores"]) == 5 for row in rows)


def test_a_file_that_is_no_model_ends_the_start_with_a_reason(tmp_path):
    package = make_package(tmp_path / "broken", "ONNX", model=b"not a model")
    with predictor(package, "ONNX", wait=False) as running:
        assert running.process.wait(60) == 65
        assert "failed: the model does not load" in running.log
        assert not running.socket.exists()
