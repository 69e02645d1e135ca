"""The rules of config.json that look at more than one key (facts §2.4-2.7), and the shapes of its texts.

`check` takes the raw tree, whatever its shape: a value of the wrong type is left to the typed model, which
reports it, and the rules that can still be judged are judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from pydantic_core import PydanticCustomError

from console.problems import Problem
from registry import body_schema
from registry.engines import CATALOGUE, IMAGE, Engine
from registry.strict_json import pointer, shown

CHINESE = "\u4e00-\u9fa5"
REFUSED = "&!'\"<>="
"""The characters that the documents refuse in descriptions, algorithms and package names."""

MODEL_ALGORITHM = re.compile(rf"[A-Za-z][^\x00-\x1f\x7f-\x9f\u2028\u2029{CHINESE}{REFUSED}]{{0,35}}")
PACKAGE_TEXT = re.compile(rf"[^\x00-\x20\x7f-\x9f\u2028\u2029{CHINESE}{REFUSED}]{{1,200}}")
PACKAGE_NAME = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)*\])?", re.ASCII
)
WHEEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.!+-]{0,249}\.whl", re.ASCII)
PACKAGE_VERSION = re.compile(r"[A-Za-z0-9.!+_*-]{1,100}", re.ASCII)
URL = re.compile(r"/(?!/)(?:[A-Za-z0-9._~!$'()*+,;=:@{}-]|%[0-9A-Fa-f]{2}|/(?!/)){0,255}", re.ASCII)
IMAGE_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}", re.ASCII)

OPERATORS = {"EXACT": "==", "ATLEAST": ">=", "ATMOST": "<="}

_Path = tuple[str | int, ...]


def check(tree: dict[str, Any]) -> Iterator[Problem]:
    """Every violation of a rule across keys in the raw `tree`."""
    model_type = tree.get("model_type")
    engine = CATALOGUE.get(model_type) if isinstance(model_type, str) else None
    is_image = model_type == IMAGE
    if engine is not None:
        yield from _by_type(tree, engine)
    for index, api in enumerate(_list(tree.get("apis"))):
        yield from _api(api, ("apis", index), engine)
    if is_image:
        yield from _duplicate_apis(_list(tree.get("apis")))
    for index, block in enumerate(_list(tree.get("dependencies"))):
        yield from _block(block, ("dependencies", index))
    health = tree.get("health")
    if isinstance(health, dict):
        needed = "command" if health.get("check_method") == "EXEC" else "url"
        if not health.get(needed):
            yield _problem("key_missing", ("health", needed))


def check_url(value: Any) -> Any:
    """Used by the typed model: an absolute path without query, spaces or steps upwards."""
    if isinstance(value, str) and (
        not URL.fullmatch(value) or {".", ".."} & set(value.lower().replace("%2e", ".").split("/"))
    ):
        raise PydanticCustomError("url_illegal", "not a path")
    return value


def requirement(package_name: str, package_version: str = "", restraint: str = "") -> str:
    """The requirement for pip: EXACT is ==, ATLEAST is >=, ATMOST is <=; no version means any.

    A wheel is its file name alone: the file has one version.
    """
    if is_wheel(package_name):
        return package_name
    return f"{package_name}{OPERATORS[restraint]}{package_version}" if package_version else package_name


def is_package_name(name: str) -> bool:
    """Whether `name` is a package for pip, perhaps with extras, and nothing else to it."""
    if name.lower().endswith(".whl"):
        return False
    return bool(PACKAGE_TEXT.fullmatch(name) and PACKAGE_NAME.fullmatch(name))


def is_wheel(name: str) -> bool:
    """Whether `name` is the file name of a wheel, which then lies beside the model file (facts §2.1)."""
    if not WHEEL_NAME.fullmatch(name):
        return False
    try:
        parse_wheel_filename(name)
    except InvalidWheelFilename:
        return False
    return True


def is_version(version: str, restraint: str) -> bool:
    """Whether pip can compare with `version`; the rest of a requirement must not hide in it."""
    if not PACKAGE_VERSION.fullmatch(version):
        return False
    try:
        Requirement(f"name{OPERATORS.get(restraint, '==')}{version}")
    except InvalidRequirement:
        return False
    return True


def decimals(text: str | bytes) -> Any:
    """The JSON value of a `text` that was read before, its decimal numbers exact."""
    return json.loads(text, parse_float=_decimal)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond Decimal: reported by strict_json, or next to 0
        return Decimal("Infinity") if "e-" not in text.lower() else Decimal(0)


def _by_type(tree: dict[str, Any], engine: Engine) -> Iterator[Problem]:
    if engine.name == IMAGE:
        if "runtime" in tree:
            yield _problem("runtime_on_image", ("runtime",))
        if tree.get("dependencies"):
            yield _problem("dependencies_on_image", ("dependencies",))
        location = tree.get("swr_location")
        if isinstance(location, str) and not IMAGE_ADDRESS.fullmatch(location):
            yield _problem("swr_location_illegal", ("swr_location",), value=shown(location))
        return
    if "swr_location" in tree:
        yield _problem("swr_location_on_model", ("swr_location",))
    for key in ("health", "protocol", "port"):
        if key in tree:
            yield _problem("only_for_image", (key,))
    runtime = tree.get("runtime")
    if isinstance(runtime, str) and not engine.knows_runtime(runtime):
        facts = {"engine": engine.name, "allowed": ", ".join(engine.runtime_names)}
        yield _problem("runtime_unknown", ("runtime",), value=shown(runtime), **facts)
    apis = tree.get("apis")
    if isinstance(apis, list) and len(apis) != 1:
        yield _problem("api_count", ("apis",), count=len(apis), engine=engine.name)


def _api(api: Any, at: _Path, engine: Engine | None) -> Iterator[Problem]:
    if not isinstance(api, dict):
        return
    url = api.get("url", "/")
    if engine is not None and engine.name != IMAGE and isinstance(url, str) and url != "/":
        yield _problem("api_url_not_root", (*at, "url"), value=shown(url), engine=engine.name)
    for side in ("request", "response"):
        body = api.get(side)
        if not isinstance(body, dict):
            continue
        content_type = body.get("Content-type", "application/json")
        form = content_type == "multipart/form-data"
        if form and engine is not None and engine.json_only:
            place = (*at, side, "Content-type")
            yield _problem("content_type_not_json", place, value=shown(content_type), engine=engine.name)
        if isinstance(body.get("data"), dict):
            yield from body_schema.check(body["data"], (*at, side, "data"), form=form)


def _duplicate_apis(apis: list[Any]) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for index, api in enumerate(apis):
        if not isinstance(api, dict):
            continue
        url, method = api.get("url", "/"), api.get("method", "post")
        if not (isinstance(url, str) and isinstance(method, str)):
            continue
        if (method.lower(), url) in seen:
            yield _problem("api_duplicate", ("apis", index), method=shown(method.upper()), url=shown(url))
        seen.add((method.lower(), url))


def _block(block: Any, at: _Path) -> Iterator[Problem]:
    if not isinstance(block, dict):
        return
    installer = block.get("installer")
    if isinstance(installer, str) and installer != "pip":
        yield _problem("installer_not_offered", (*at, "installer"), value=shown(installer))
    for index, package in enumerate(_list(block.get("packages"))):
        if isinstance(package, dict):
            yield from _package(package, (*at, "packages", index))


def _package(package: dict[str, Any], at: _Path) -> Iterator[Problem]:
    name, version, restraint = (package.get(k, "") for k in ("package_name", "package_version", "restraint"))
    named = isinstance(name, str) and "package_name" in package
    if named and not (is_package_name(name) or is_wheel(name)):
        yield _problem("package_name_illegal", (*at, "package_name"), value=shown(name))
    if not (isinstance(version, str) and isinstance(restraint, str)):
        return
    if version and not restraint:
        yield _problem("restraint_missing", (*at, "restraint"))
    if restraint and not version:
        yield _problem("restraint_without_version", (*at, "restraint"))
    if version and not is_version(version, restraint):
        word = restraint if restraint in OPERATORS else "EXACT"
        yield _problem(
            "package_version_illegal", (*at, "package_version"), value=shown(version), restraint=word
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _problem(reason: str, path: _Path, **params: Any) -> Problem:
    return Problem(f"registry.package.{reason}", {"path": pointer(path), **params})
