"""config.json of a package: the typed model and every rule of facts §2.4-2.7.

`parse_config` reports all violations at once, each with the JSON pointer of its place. Shapes (keys, types,
formats) are the pydantic models here; rules across keys are in `registry/config_rules.py` and run on the raw
tree, so that a wrong shape in one place hides nothing in another.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Context, Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from console.problems import Problem
from registry import config_rules
from registry.config_rules import MODEL_ALGORITHM
from registry.engines import CATALOGUE
from registry.problems import PackageProblems
from registry.strict_json import pointer, read, shown

DECIMALS = 17
PROBLEMS = 50
METRICS = ("f1", "recall", "precision", "accuracy")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        """None is our word for a key that is not there; the documents know no null."""
        if value is None:
            raise PydanticCustomError("type_wrong", "null", {"expected": "not null"})
        return value


def _algorithm(value: Any) -> Any:
    if isinstance(value, str) and not MODEL_ALGORITHM.fullmatch(value):
        raise PydanticCustomError("model_algorithm_illegal", "not allowed")
    return value


def _engine(value: Any) -> Any:
    if isinstance(value, str) and value not in CATALOGUE:
        raise PydanticCustomError("engine_unknown", "unknown", {"allowed": ", ".join(CATALOGUE)})
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _metric(value: Any) -> Decimal:
    """A JSON number, cut (not rounded) to 17 decimals as the documents say."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise PydanticCustomError("metric_illegal", "not a number")
    number = Decimal(value)
    if not number:
        return Decimal(0)
    if not number.is_finite() or number.adjusted() > 15:
        raise PydanticCustomError("metric_illegal", "too large")
    if number.adjusted() < -DECIMALS:  # also keeps an exponent of millions from being written out
        return Decimal(0)
    return number.quantize(Decimal(1).scaleb(-DECIMALS), ROUND_DOWN, Context(prec=60)).normalize()


def _seconds(least: int) -> Any:
    def check(value: Any) -> int:
        text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) < 2**31):
            raise PydanticCustomError("health_seconds_illegal", "not a number", {"least": least})
        return int(text)

    return Annotated[int, BeforeValidator(check)]


Url = Annotated[str, BeforeValidator(config_rules.check_url)]
Protocol = Annotated[Literal["http", "https"], BeforeValidator(_lower)]
Metric = Annotated[Decimal, BeforeValidator(_metric)]


class Body(_Part):
    """The request or the response of an API: content type and JSON Schema, both optional."""

    content_type: Literal["application/json", "multipart/form-data"] = Field(
        default="application/json", alias="Content-type"
    )
    data: dict[str, Any] | None = None


class Api(_Part):
    """One declared API; `url` is always `/` unless the type is Image."""

    protocol: Protocol = "http"
    url: Url = "/"
    method: Annotated[Literal["get", "post"], BeforeValidator(_lower)] = "post"
    request: Body = Body()
    response: Body = Body()


class Package(_Part):
    """One package to install; version and restraint come together or not at all, empty text is none."""

    package_name: str
    package_version: str = ""
    restraint: Literal["EXACT", "ATLEAST", "ATMOST", ""] = ""


class Dependencies(_Part):
    """One block of packages; blocks are installed in their order."""

    installer: str
    packages: list[Package]


class Metrics(_Part):
    """The precision that the author measured, cut to 17 decimals."""

    f1: Metric | None = None
    recall: Metric | None = None
    precision: Metric | None = None
    accuracy: Metric | None = None

    def as_text(self) -> dict[str, str]:
        """The given metrics as plain decimal text, which loses no digit: `{"f1": "0.91"}`."""
        return {name: format(getattr(self, name), "f") for name in METRICS if getattr(self, name) is not None}


class Health(_Part):
    """The probe of a container image, facts §2.7."""

    url: Url | None = None
    protocol: Annotated[Literal["http"], BeforeValidator(_lower)] = "http"
    check_method: Literal["HTTP", "EXEC"] = "HTTP"
    command: str = ""
    initial_delay_seconds: _seconds(0) = 12
    timeout_seconds: _seconds(1) = 1
    period_seconds: _seconds(1) = 5
    failure_threshold: _seconds(1) = 12


class PackageConfig(_Part):
    """A whole config.json that follows every rule."""

    model_algorithm: Annotated[str, BeforeValidator(_algorithm)]
    model_type: Annotated[str, BeforeValidator(_engine)]
    runtime: str | None = None
    swr_location: str | None = None
    metrics: Metrics | None = None
    apis: list[Api] | None = None
    dependencies: list[Dependencies] = []
    health: Health | None = None
    protocol: Protocol | None = None
    port: _seconds(1) | None = None
    # Written by the platform itself into the configs that it hands out; read back without effect.
    model_source: Literal["auto", "algos", "custom"] | None = None
    tunable: bool | None = None
    downloadable_flag: bool | None = None
    algorithm: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The config as plain JSON with the documented keys and only what was given; metrics as text."""
        given = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if self.metrics is not None:
            given["metrics"] = self.metrics.as_text()
        return given


def parse_config(text: str | bytes) -> PackageConfig:
    """The config in `text`, which is the content of a config.json.

    Raises PackageProblems with every violation, at most 50 in number, and nothing else for any input.
    """
    tree, problems = read(text)
    tree = _exact_metrics(text, tree)
    config = None
    try:
        config = PackageConfig.model_validate(tree)
    except ValidationError as error:
        problems.extend(_told(details) for details in error.errors(include_url=False))
    problems.extend(config_rules.check(tree))
    if problems or config is None:
        raise PackageProblems(limited(problems))
    return config


def limited(problems: list[Problem]) -> list[Problem]:
    """At most 50 of `problems`, without repetitions, the rest counted by a last one."""
    unique = list({(p.code, repr(sorted(p.params.items()))): p for p in problems}.values())
    if len(unique) > PROBLEMS:
        more = Problem("registry.package.more", {"count": len(unique) - PROBLEMS})
        return [*unique[:PROBLEMS], more]
    return unique


def _exact_metrics(text: str | bytes, tree: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the metrics as Decimal: a float has already lost what the 17 decimals are to keep."""
    metrics = tree.get("metrics")
    if not isinstance(metrics, dict) or not any(isinstance(value, float) for value in metrics.values()):
        return tree
    exact = config_rules.decimals(text)["metrics"]
    return {**tree, "metrics": exact}


_EXPECTED = {
    "string_type": "string",
    "model_type": "object",
    "model_attributes_type": "object",
    "dict_type": "object",
    "list_type": "array",
    "bool_type": "boolean",
    "int_type": "integer",
}


def _told(error: Mapping[str, Any]) -> Problem:
    """pydantic's finding in our words."""
    place, kind = tuple(error["loc"]), error["type"]
    params: dict[str, Any] = {"path": pointer(place)}
    if kind == "extra_forbidden":
        return _problem("key_unknown", **params, allowed=", ".join(_known_keys(place)))
    if kind == "missing":
        return _problem("key_missing", **params)
    params["value"] = shown(error["input"])
    if kind in _EXPECTED:
        return _problem("type_wrong", **params, expected=_EXPECTED[kind])
    if kind == "literal_error":
        allowed = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
        if not isinstance(error["input"], str):
            return _problem("type_wrong", **params, expected="string")
        return _problem("value_illegal", **params, allowed=allowed)
    return _problem(kind, **params, **error.get("ctx", {}))


def _known_keys(place: tuple[str | int, ...]) -> list[str]:
    """The keys that are known where the unknown key at `place` stands."""
    match [part for part in place[:-1] if isinstance(part, str)]:
        case []:
            part = PackageConfig
        case ["apis"]:
            part = Api
        case ["apis", _]:
            part = Body
        case ["dependencies"]:
            part = Dependencies
        case ["dependencies", _]:
            part = Package
        case ["metrics"]:
            part = Metrics
        case _:
            part = Health
    return [field.alias or name for name, field in part.model_fields.items()]


def _problem(reason: str, **params: Any) -> Problem:
    return Problem(f"registry.package.{reason}", params)
