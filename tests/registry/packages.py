"""Packages for tests: configs by name, and a folder that is only a mapping."""

from __future__ import annotations

import json
from typing import Any

from registry.package import Inspection, inspect, parse_config
from registry.problems import PackageProblems

TABLE = {"type": "object", "properties": {"data": {"type": "object"}}}
FORM = {"type": "object", "properties": {"images": {"type": "file"}}}

CODE = """
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def _preprocess(self, data):
        return data
"""


def make_config(model_type: str = "XGBoost", **changes: Any) -> dict[str, Any]:
    """The smallest legal config of `model_type`, with `changes`; None takes a key away."""
    config = {"model_type": model_type, "model_algorithm": "predict_analysis", **changes}
    return {key: value for key, value in config.items() if value is not None}


def make_api(**changes: Any) -> dict[str, Any]:
    """One API at `/` with JSON bodies, with `changes`."""
    body = {"Content-type": "application/json", "data": TABLE}
    return {"url": "/", "method": "post", "request": body, "response": body, **changes}


def make_dependencies(*packages: dict[str, Any], installer: str = "pip") -> list[dict[str, Any]]:
    """One block of `packages`."""
    return [{"installer": installer, "packages": list(packages)}]


def refusals(config: Any) -> dict[str, str]:
    """The reasons why `config` (JSON value, text or bytes) is refused, with their paths; empty if fine."""
    text = config if isinstance(config, (str, bytes)) else json.dumps(config)
    try:
        parse_config(text)
    except PackageProblems as error:
        assert error.problems
        return {p.code.removeprefix("registry.package."): p.params.get("path", "") for p in error.problems}
    return {}


def look(files: dict[str, Any]) -> Inspection:
    """Inspect a folder given as path → text, bytes, JSON value, or a size where nothing may be read."""
    contents: dict[str, bytes] = {}
    listing: dict[str, int] = {}
    for path, content in files.items():
        if isinstance(content, int):
            listing[path] = content
            continue
        if isinstance(content, (dict, list)):
            content = json.dumps(content)
        contents[path] = content.encode() if isinstance(content, str) else content
        listing[path] = len(contents[path])
    return inspect(listing, contents.__getitem__)


def reasons(found: Inspection) -> set[str]:
    """The short codes of the problems."""
    return {problem.code.removeprefix("registry.package.") for problem in found.problems}
