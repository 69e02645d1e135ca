"""``/openapi.json``: the served version described for people's tools, OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from .engines.base import Engine, Tensor
from .package import FORM_TYPE, JSON_TYPE, Api
from .schema import meaning as _meaning
from .served import Served

_ERROR = {
    "type": "object",
    "properties": {"error_code": {"type": "string"}, "error_msg": {"type": "string"}},
    "required": ["error_code", "error_msg"],
}
_NUMBER_TYPES = {"BOOL": "boolean", "BYTES": "string", "FP16": "number", "FP32": "number", "FP64": "number"}


def meaning(schema: Any) -> Any:
    """A declared schema (Draft 7) in the dialect of OpenAPI 3.1 (2020-12), where tuples are
    ``prefixItems``.
    """
    return _tuples(_meaning(schema))


def _tuples(schema: Any) -> Any:
    if isinstance(schema, dict):
        found = {key: _tuples(value) for key, value in schema.items()}
        if isinstance(found.get("items"), list):
            found["prefixItems"] = found.pop("items")
        return found
    return [_tuples(item) for item in schema] if isinstance(schema, list) else schema


def describe(served: Served) -> dict[str, Any]:
    """The document of one version, from its config.json and its model file."""
    api = served.declared.api
    paths: dict[str, Any] = {"/": {api.method.lower(): _declared(served, api)}}
    paths["/health"] = {
        "get": _get("Whether the model is loaded", {"properties": {"health": {"const": "true"}}})
    }
    paths["/metrics"] = {
        "get": {
            "summary": "Counters of this process",
            "responses": {"200": {"description": "Prometheus text", "content": {"text/plain": {}}}},
        }
    }
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        paths[path] = {"get": _get("Open Inference Protocol v2", {"type": "object"})}
    for path in served.protocol.paths:
        paths[path] = {"get": _get("Inputs and outputs of the model", {"type": "object"})}
        paths[f"{path}/ready"] = {"get": _get("Whether the model is ready", {"type": "object"})}
        if served.protocol.inputs:
            paths[f"{path}/infer"] = {"post": _infer(served)}
    return {
        "openapi": "3.1.0",
        "info": {"title": served.name, "version": served.version or "0"},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}},
    }


def _declared(served: Served, api: Api) -> dict[str, Any]:
    request, response = api.request_schema, api.response_schema
    if request is None and served.package.code is None:
        request, response = _built_in(served)
    operation: dict[str, Any] = {
        "summary": "Predict",
        "operationId": "predict",
        "responses": {"200": _content("The prediction", api.response_type, response), **_errors()},
    }
    if api.method == "GET":
        properties = (request or {}).get("properties") or {}
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": meaning(schema)} for name, schema in properties.items()
        ]
    else:
        schema = _with_files(request) if api.request_type == FORM_TYPE else meaning(request or {})
        operation["requestBody"] = {"required": True, "content": {api.request_type: {"schema": schema}}}
    return operation


def _built_in(served: Served) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schemas of a version whose config.json declares none and which has no code of its own."""
    protocol = served.protocol
    if served.package.engine == "ONNX":
        inputs = {name: _nested(tensor) for name, tensor in protocol.inputs.items()}
        outputs = {name: _nested(tensor) for name, tensor in protocol.outputs.items()}
        return (
            _object({"inputs": {**_object(inputs), "required": list(inputs)}}, ["inputs"]),
            _object({"outputs": _object(outputs)}, ["outputs"]),
        )
    row: dict[str, Any] = {"type": "object"}
    columns = _columns(protocol.engine)
    if columns:
        row = _object({name: {} for name in columns}, list(columns))
    answer = _object({"predict_result": {}, "probabilities": {"type": "array", "items": {"type": "number"}}})
    return (
        _object(
            {"data": _object({"req_data": {"type": "array", "minItems": 1, "items": row}}, ["req_data"])},
            ["data"],
        ),
        _object({"data": _object({"resp_data": {"type": "array", "items": answer}})}),
    )


def _columns(engine: Engine | None) -> tuple[str, ...] | None:
    return engine.columns if engine else None


def _infer(served: Served) -> dict[str, Any]:
    tensor = _object(
        {
            "name": {"enum": list(served.protocol.inputs)},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
        ["name", "datatype", "shape"],
    )
    schema = _object({"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor}}, ["inputs"])
    return {
        "summary": "Infer on tensors, as JSON or with binary tensor data",
        "parameters": [
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "description": "Length of the JSON head when raw tensor data follows it.",
                "schema": {"type": "integer"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": schema}, "application/octet-stream": {}},
        },
        "responses": {
            "200": {"description": "The outputs", "content": {JSON_TYPE: {}, "application/octet-stream": {}}},
            **_errors(),
        },
    }


def _nested(tensor: Tensor) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _NUMBER_TYPES.get(tensor.datatype, "integer")}
    for size in reversed(tensor.shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _with_files(request: dict[str, Any] | None) -> dict[str, Any]:
    schema = meaning(request or {"type": "object"})
    properties = schema.get("properties") or {}
    files = {
        name: {"type": "string", "format": "binary"} for name, value in properties.items() if _is_file(value)
    }
    return {**schema, "properties": {**properties, **files}, "required": list(files)}


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "file"


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def _get(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _content("The answer", JSON_TYPE, schema)}}


def _content(description: str, media_type: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": meaning(schema or {})}}}


def _errors() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    texts = {
        "400": "The request does not match the declared schema.",
        "413": "The body is too large.",
        "429": "Too many calls at once.",
        "500": "The model failed (MR.0105).",
    }
    return {
        code: {"description": text, "content": {JSON_TYPE: {"schema": schema}}}
        for code, text in texts.items()
    }
