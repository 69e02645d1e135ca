"""A model package as documented (facts §2): what it holds, what is wrong with it, what the pages show of it.

Pure: no database, no storage. `inspect` sees a listing and reads two small texts through the function that it
is given; model bytes are never fetched, nothing of the package is ever run or unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.utils import canonicalize_name

from console.problems import Problem
from registry.body_schema import Parameter, parameters, params
from registry.config_json import PackageConfig, limited, parse_config
from registry.config_rules import is_wheel, requirement
from registry.engines import CATALOGUE, ENGINES, IMAGE, Engine, Runtime
from registry.inference_code import CODE_BYTES, check_inference_code
from registry.listing import FILES, check_paths, without_folder_markers
from registry.problems import PackageProblems
from registry.strict_json import CONFIG_BYTES, shown
from registry.strict_json import read as read_json

__all__ = [
    "CODE_FILE", "CONFIG_FILE", "FOLDER", "READ_BYTES", "SAMPLE_FILE", "ApiRow", "DependencyRow",
    "Inspection", "PackageConfig", "PackageProblems", "Parameter", "api_rows", "check_inference_code",
    "dependency_rows", "inspect", "parse_config",
]  # fmt: skip

FOLDER = "model/"
CONFIG_FILE = "model/config.json"
CODE_FILE = "model/customize_service.py"
SAMPLE_FILE = "model/sample.json"
"""Optional, ours: the body of one request to the first API, which the load test sends once."""

READ_BYTES = max(CONFIG_BYTES, CODE_BYTES)
"""`inspect` never reads a file of more bytes than this."""

_TENSORS_IN = {"type": "object", "properties": {"inputs": {"type": ["object", "array"]}}}
_TENSORS_OUT = {"type": "object", "properties": {"outputs": {"type": "object"}}}


@dataclass(frozen=True)
class ApiRow:
    """One API as the parameter panel shows it: method and path, then input and output rows."""

    method: str
    path: str
    inputs: list[Parameter]
    outputs: list[Parameter]


@dataclass(frozen=True)
class DependencyRow:
    """One package as the dependency panel shows it; version and restraint may be empty."""

    installer: str
    name: str
    version: str
    restraint: str

    def as_dict(self) -> dict[str, str]:
        """The row as plain JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Inspection:
    """What a folder holds. Everything but `config`, `problems` and `warnings` is plain JSON.

    `engine` is a name of the catalogue or empty, `runtime` the name of the runtime that will be used;
    `aliased_from` the one that config.json asked for, when it is another. `model_file` is relative to the
    chosen folder. `files` are the paths below `model/`, with sizes in bytes: the package, nothing beside it.
    `requirements` are for pip, the runtime's own first. `problems` forbid the import; `warnings` do not.
    """

    engine: str = ""
    runtime: str = ""
    aliased_from: str = ""
    model_file: str = ""
    config: PackageConfig | None = None
    inference_code: bool = False
    sample: bool = False
    files: dict[str, int] = field(default_factory=dict)
    apis: list[dict[str, Any]] = field(default_factory=list)
    dependencies: list[dict[str, str]] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """The size of the whole package in bytes."""
        return sum(self.files.values())

    @property
    def config_json(self) -> dict[str, Any]:
        """config.json as plain JSON; empty where the package has none."""
        return self.config.as_json() if self.config else {}


def inspect(listing: Mapping[str, int], read: Callable[[str], bytes]) -> Inspection:
    """Look at the folder whose objects `listing` names (path below the folder → size in bytes).

    `read(path)` gives the bytes of config.json or customize_service.py and is called for nothing else; what
    it raises comes through. Every problem is in the answer, nothing of our own is raised.
    """
    listing = without_folder_markers(listing)
    problems = check_paths(listing)
    files = {path: size for path, size in listing.items() if path.startswith(FOLDER)}
    if not files:
        return Inspection(problems=limited([*problems, _no_folder(listing)]))
    if len(files) > FILES:
        problems.append(_problem("too_many_files", count=len(files), limit=FILES))
    config, engine, config_problems = _config(files, listing, read)
    problems += config_problems
    found: dict[str, Any] = {"files": files, "config": config, "inference_code": CODE_FILE in files}
    if engine is not None:
        found["engine"] = engine.name
        problems += _offered(engine, config)
    if engine is not None and engine.offered:
        model_file, file_problems = _model_file(files, engine)
        problems += file_problems + _code(files, engine, read)
        found |= _needs(config, engine) | {"model_file": model_file, "apis": _apis(config, engine)}
    rows = dependency_rows(config)
    problems += [
        _problem("wheel_missing", found=shown(row.name))
        for row in rows
        if is_wheel(row.name) and not files.get(FOLDER + row.name)
    ]
    found["dependencies"] = [row.as_dict() for row in rows]
    found["metrics"] = config.metrics.as_text() if config and config.metrics else {}
    found["sample"] = SAMPLE_FILE in files
    return Inspection(**found, problems=limited(problems))


def api_rows(apis: Iterable[Mapping[str, Any]]) -> list[ApiRow]:
    """The parameter panel for stored `apis` (those of an Inspection): method, path, inputs, outputs."""
    return [
        ApiRow(
            method=api["method"],
            path=api["url"],
            inputs=parameters(api["request_schema"]),
            outputs=parameters(api["response_schema"]),
        )
        for api in apis
    ]


def dependency_rows(config: PackageConfig | None) -> list[DependencyRow]:
    """The dependency panel: every declared package in its order, blocks one after the other."""
    return [
        DependencyRow(block.installer, package.package_name, package.package_version, package.restraint)
        for block in (config.dependencies if config else ())
        for package in block.packages
    ]


def _no_folder(listing: Mapping[str, int]) -> Problem:
    suffixes = tuple(suffix for engine in CATALOGUE.values() for suffix in engine.suffixes)
    inside = [p for p in listing if "/" not in p and (p == "config.json" or p.endswith(suffixes))]
    if inside:
        return _problem("model_chosen", found=_names(inside))
    return _problem("subpath_missing")


def _config(
    files: Mapping[str, int], listing: Mapping[str, int], read: Callable[[str], bytes]
) -> tuple[PackageConfig | None, Engine | None, list[Problem]]:
    """The config, the engine as far as it can be told, and what is wrong with file and content."""
    exact = [path for path in files if path.rpartition("/")[2] == "config.json"]
    if CONFIG_FILE not in files:
        near = [path for path in listing if path in files or "/" not in path]
        misplaced = [path for path in near if path.rpartition("/")[2].casefold() == "config.json"]
        if misplaced:
            return None, None, [_problem("config_misplaced", found=_names(misplaced))]
        if any(path.endswith(".onnx") for path in files):
            return None, ENGINES["ONNX"], []
        return None, None, [_problem("config_missing")]
    problems = []
    if len(exact) > 1:
        problems.append(_problem("config_more_than_one", files=_names(exact)))
    if files[CONFIG_FILE] > CONFIG_BYTES:
        size = files[CONFIG_FILE]
        return None, None, [*problems, _problem("config_too_large", size=size, limit=CONFIG_BYTES)]
    text = read(CONFIG_FILE)
    try:
        config = parse_config(text)
    except PackageProblems as error:
        return None, _declared_engine(text), problems + error.problems
    return config, CATALOGUE[config.model_type], problems


def _declared_engine(text: bytes) -> Engine | None:
    """The engine that a faulty config names, so that the files can be judged at the same time."""
    try:
        tree, _problems = read_json(text)
    except PackageProblems:
        return None
    name = tree.get("model_type")
    return CATALOGUE.get(name) if isinstance(name, str) else None


def _offered(engine: Engine, config: PackageConfig | None) -> list[Problem]:
    problems = []
    if engine.name == IMAGE and config is not None and not config.swr_location:
        problems.append(_problem("swr_location_missing", path="/swr_location"))
    if not engine.offered:
        layout = ", ".join(f"model/{name}" for name in engine.layout)
        offered = ", ".join(ENGINES)
        problems.append(_problem("engine_not_offered", engine=engine.name, layout=layout, offered=offered))
    return problems


def _model_file(files: Mapping[str, int], engine: Engine) -> tuple[str, list[Problem]]:
    """The one model file, or what stands in its place."""
    found = [path for path in files if path.endswith(engine.suffixes)]
    facts = {"engine": engine.name, "suffix": ", ".join(engine.suffixes)}
    if not found:
        return "", [_problem("model_file_missing", **facts)]
    if len(found) > 1:
        return "", [_problem("model_file_more_than_one", files=_names(found), **facts)]
    path = found[0]
    if "/" in path.removeprefix(FOLDER):
        return path, [_problem("model_file_misplaced", found=shown(path))]
    if files[path] <= 0:
        return path, [_problem("model_file_empty", found=shown(path))]
    return path, []


def _code(files: Mapping[str, int], engine: Engine, read: Callable[[str], bytes]) -> list[Problem]:
    found = [path for path in files if path.rpartition("/")[2] == "customize_service.py"]
    if not found:
        if engine.code_required:
            return [_problem("code_required", engine=engine.name, base=engine.base_class)]
        return []
    problems = []
    if len(found) > 1:
        problems.append(_problem("code_more_than_one", files=_names(found)))
    elif CODE_FILE not in files:
        return [_problem("code_misplaced", found=_names(found))]
    if CODE_FILE in files:
        if not engine.base_class:
            return [*problems, _problem("code_not_supported", engine=engine.name)]
        if files[CODE_FILE] > CODE_BYTES:
            size = files[CODE_FILE]
            return [*problems, _problem("code_too_large", size=size, limit=CODE_BYTES)]
        problems += check_inference_code(read(CODE_FILE), engine)
    return problems


def _needs(config: PackageConfig | None, engine: Engine) -> dict[str, Any]:
    """The runtime and the requirements, with a note for every name that is met by another one."""
    asked = config.runtime if config else None
    runtime, aliased_from = engine.runtime(asked)
    notes = []
    if aliased_from:
        facts = {"runtime": aliased_from, "used": runtime.name, "engine": engine.name}
        notes.append(_problem("runtime_aliased", **facts))
    requirements = _requirements(config, engine, runtime, notes)
    return {
        "runtime": runtime.name,
        "aliased_from": aliased_from or "",
        "requirements": requirements,
        "warnings": notes,
    }


def _requirements(
    config: PackageConfig | None, engine: Engine, runtime: Runtime, notes: list[Problem]
) -> list[str]:
    wanted = list(runtime.requirements)
    for row in dependency_rows(config):
        name = row.name
        used = engine.distributions.get(canonicalize_name(name.partition("[")[0]))
        if used:
            notes.append(_problem("distribution_replaced", name=shown(name), used=used))
            name = used
        wanted.append(requirement(name, row.version, row.restraint))
    return wanted


def _apis(config: PackageConfig | None, engine: Engine) -> list[dict[str, Any]]:
    """The APIs in their stored form (facts §2.5); without a declaration the one that every engine has.

    The model server's own API for ONNX is known without looking into the file; the others' is not shown.
    """
    if config is None or config.apis is None:
        request, response = (_TENSORS_IN, _TENSORS_OUT) if engine.name == "ONNX" else (None, None)
        return [_api("http", "POST", "/", request, response, declared=False)]
    return [
        _api(
            api.protocol, api.method.upper(), api.url, api.request.data, api.response.data,
            declared=True, request_type=api.request.content_type, response_type=api.response.content_type,
        )
        for api in config.apis
    ]  # fmt: skip


def _api(
    protocol: str,
    method: str,
    url: str,
    request: dict[str, Any] | None,
    response: dict[str, Any] | None,
    *,
    declared: bool,
    request_type: str = "application/json",
    response_type: str = "application/json",
) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "method": method,
        "url": url,
        "declared": declared,
        "request_type": request_type,
        "response_type": response_type,
        "request_schema": request,
        "response_schema": response,
        "input_params": params(request),
        "output_params": params(response),
    }


def _names(paths: Iterable[str]) -> str:
    """Up to five paths in a row for a sentence."""
    listed = sorted(paths)
    return ", ".join(shown(path)[1:-1] for path in listed[:5]) + (", …" if len(listed) > 5 else "")


def _problem(reason: str, **facts: Any) -> Problem:
    return Problem(f"registry.package.{reason}", facts)
