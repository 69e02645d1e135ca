"""What lies in DIR/model: the model file, the declared API, the model's own code (facts §2.1, §2.2, §2.5)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import Unusable

SUFFIXES = {"ONNX": (".onnx",), "XGBoost": (".m",), "Scikit_Learn": (".m",)}
JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"


@dataclass(frozen=True)
class Api:
    """The one declared API of a package; the defaults are the documented ones (facts §2.5)."""

    method: str = "POST"
    request_type: str = JSON_TYPE
    request_schema: dict[str, Any] | None = None
    response_type: str = JSON_TYPE
    response_schema: dict[str, Any] | None = None
    declared: bool = False

    @property
    def file_fields(self) -> tuple[str, ...]:
        """Form keys declared as ``{"type": "file"}``."""
        found = (self.request_schema or {}).get("properties")
        if not isinstance(found, dict):
            return ()
        return tuple(
            key for key, value in found.items() if isinstance(value, dict) and value.get("type") == "file"
        )


@dataclass(frozen=True)
class Package:
    """A package as it lies on disk."""

    folder: Path
    engine: str
    model_file: Path
    code: Path | None
    api: Api
    config: dict[str, Any] = field(default_factory=dict)


def read(directory: Path, engine: str) -> Package:
    """Describe the package in `directory` (the folder that holds ``model/``).

    Raises `Unusable` when the layout is not that of `engine`; the full check with places and fixes was made
    when the version was imported, so the messages here are short.
    """
    folder = directory / "model"
    if engine not in SUFFIXES:
        raise Unusable(f"The engine {engine} is not served here; use one of {', '.join(SUFFIXES)}.")
    if not folder.is_dir():
        raise Unusable(f"There is no folder model/ in {directory}.")
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES[engine] and path.is_file())
    if len(files) != 1:
        wanted = " or ".join(f"*{suffix}" for suffix in SUFFIXES[engine])
        raise Unusable(
            f"The folder model/ must hold exactly one {wanted} file for {engine}; it holds {len(files)}."
        )
    config = _config(folder / "config.json")
    code = folder / "customize_service.py"
    return Package(
        folder=folder,
        engine=engine,
        model_file=files[0],
        code=code if code.is_file() else None,
        api=_api(config),
        config=config,
    )


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise Unusable(f"model/config.json is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise Unusable("model/config.json must hold a JSON object.")
    return config


def _api(config: dict[str, Any]) -> Api:
    apis = config.get("apis") or []
    if not isinstance(apis, list) or not all(isinstance(api, dict) for api in apis):
        raise Unusable("apis in model/config.json must be a list of objects.")
    if not apis:
        return Api()
    if len(apis) > 1 or apis[0].get("url", "/") != "/":
        raise Unusable("model/config.json must declare exactly one API, with the url /.")
    request = apis[0].get("request") or {}
    response = apis[0].get("response") or {}
    return Api(
        method=str(apis[0].get("method", "POST")).upper(),
        request_type=str(request.get("Content-type", JSON_TYPE)).lower(),
        request_schema=request.get("data") or None,
        response_type=str(response.get("Content-type", JSON_TYPE)).lower(),
        response_schema=response.get("data") or None,
        declared=True,
    )
