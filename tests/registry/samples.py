"""The minimal valid examples of facts §2.8, (a) to (j)."""

from __future__ import annotations

from typing import Any

_IMAGES = {
    "Content-type": "multipart/form-data",
    "data": {"type": "object", "properties": {"images": {"type": "file"}}},
}


def _answer(**properties: Any) -> dict[str, Any]:
    return {"Content-type": "application/json", "data": {"type": "object", "properties": properties}}


def _table(key: str, **properties: Any) -> dict[str, Any]:
    rows = {"type": "array", "items": [{"type": "object", "properties": properties}]}
    return _answer(data={"type": "object", "properties": {key: rows}})


_STRING, _NUMBER = {"type": "string"}, {"type": "number"}
_PAIR = {"type": "array", "minItems": 2, "maxItems": 2, "items": [_STRING, _NUMBER]}
_BOX = {"type": "array", "minItems": 4, "maxItems": 4, "items": _NUMBER}

SAMPLES: dict[str, dict[str, Any]] = {
    "a": {
        "model_type": "TensorFlow",
        "model_algorithm": "image_classification",
        "runtime": "python3.6",
        "metrics": {"f1": 0.91, "recall": 0.9, "precision": 0.92, "accuracy": 0.93},
        "apis": [
            {
                "protocol": "https",
                "url": "/",
                "method": "post",
                "request": _IMAGES,
                "response": _answer(predicted_label=_STRING, scores={"type": "array", "items": _PAIR}),
            }
        ],
        "dependencies": [
            {
                "installer": "pip",
                "packages": [
                    {"package_name": "numpy", "package_version": "1.16.4", "restraint": "EXACT"},
                    {"package_name": "Pillow"},
                ],
            }
        ],
    },
    "b": {
        "model_type": "PyTorch",
        "model_algorithm": "object_detection",
        "runtime": "python3.6",
        "apis": [
            {
                "url": "/",
                "method": "post",
                "request": _IMAGES,
                "response": _answer(
                    detection_classes={"type": "array", "items": _STRING},
                    detection_boxes={"type": "array", "items": _BOX},
                    detection_scores={"type": "array", "items": _NUMBER},
                ),
            }
        ],
    },
    "c": {
        "model_type": "MXNet",
        "model_algorithm": "image_classification",
        "runtime": "python3.6",
        "apis": [
            {"url": "/", "method": "post", "request": _IMAGES, "response": _answer(predicted_label=_STRING)}
        ],
    },
    "d": {
        "model_type": "Caffe",
        "model_algorithm": "image_classification",
        "runtime": "python3.6-cpu",
        "apis": [
            {
                "url": "/",
                "method": "post",
                "request": _IMAGES,
                "response": _answer(scores={"type": "array", "items": _NUMBER}),
            }
        ],
    },
    "e": {
        "model_type": "XGBoost",
        "model_algorithm": "predict_analysis",
        "runtime": "python3.6",
        "apis": [
            {
                "url": "/",
                "method": "post",
                "request": _table("req_data", petal_len=_NUMBER, petal_wid=_NUMBER),
                "response": _table("resp_data", predict_result=_STRING),
            }
        ],
    },
    "f": {"model_type": "Scikit_Learn", "model_algorithm": "predict_analysis"},
    "g": {"model_type": "Spark_MLlib", "model_algorithm": "predict_analysis", "runtime": "python3.6"},
    "h": {
        "model_type": "MindSpore",
        "model_algorithm": "image_classification",
        "runtime": "ms1.1-python3.7-c76",
        "apis": [{"url": "/", "method": "post"}],
    },
    "i": {
        "model_type": "Image",
        "model_algorithm": "text_echo",
        "apis": [
            {
                "protocol": "http",
                "url": "/",
                "method": "post",
                "request": _answer(input=_STRING),
                "response": _answer(output=_STRING),
            },
            {"protocol": "http", "url": "/greet", "method": "post"},
            {"protocol": "http", "url": "/goodbye", "method": "get"},
        ],
        "health": {
            "url": "/health", "protocol": "http", "initial_delay_seconds": "10", "timeout_seconds": "3",
        },
    },
    "j": {
        "model_type": "Image",
        "model_algorithm": "image_classification",
        "swr_location": "registry.example/org/img:1.0",
        "apis": [{"protocol": "http", "url": "/", "method": "post", "request": _IMAGES}],
        "health": {"url": "/health"},
    },
}  # fmt: skip
