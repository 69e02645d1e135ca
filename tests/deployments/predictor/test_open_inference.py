"""Open Inference Protocol v2: every datatype, JSON and binary, and requests that nobody should send."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.predictor.engines.base import Tensor
from deployments.predictor.errors import CallError
from deployments.predictor.openinference import datatypes
from deployments.predictor.openinference.messages import decode, encode

from .conftest import Running, make_package, predictor

VALUES = {
    "BOOL": [True, False], "UINT8": [0, 255], "UINT16": [0, 65535], "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127], "INT16": [-(2**15), 2**15 - 1], "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -65504.0], "FP32": [0.1, -3.4e38], "FP64": [0.1, -1.7e308], "BYTES": ["", "汉字 and text"],
}  # fmt: skip


@pytest.fixture(scope="module")
def identity(identity_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    package = make_package(tmp_path_factory.mktemp("identity"), "ONNX", model=identity_onnx)
    with predictor(package, "ONNX", "--name", "identity", "--version", "1.0.0") as running:
        yield running


def raw(datatype: str, values: list) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in values)
    return np.array(values, dtype=datatypes.NUMPY[datatype]).tobytes()


def split(answer) -> tuple[dict, bytes]:
    length = int(answer.headers["inference-header-content-length"])
    return json.loads(answer.content[:length]), answer.content[length:]


def tensors(**changes: dict) -> list[dict]:
    """An input for every datatype, with changes to some."""
    return [
        {"name": f"i_{kind}", "datatype": kind, "shape": [2], "data": values, **changes.get(kind, {})}
        for kind, values in VALUES.items()
    ]


def test_metadata_names_every_tensor_with_its_datatype(identity):
    found = identity.client.get("/v2/models/identity").json()
    assert found["name"] == "identity"
    assert found["versions"] == ["1.0.0"]
    assert {one["name"]: (one["datatype"], one["shape"]) for one in found["inputs"]} == {
        f"i_{kind}": (kind, [-1]) for kind in VALUES
    }
    assert identity.client.get("/v2").json()["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize("path", ["/v2/models/identity/infer", "/v2/models/identity/versions/1.0.0/infer"])
def test_every_datatype_goes_through_json_unchanged(identity, path):
    answer = identity.client.post(path, json={"id": "42", "inputs": tensors()})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["id"], found["model_name"], found["model_version"]) == ("42", "identity", "1.0.0")
    for one in found["outputs"]:
        kind = one["datatype"]
        expected = VALUES[kind] if kind == "BYTES" else np.array(VALUES[kind], datatypes.NUMPY[kind]).tolist()
        got = one["data"] if kind == "BYTES" else np.array(one["data"], datatypes.NUMPY[kind]).tolist()
        assert got == expected, kind


def test_every_datatype_goes_through_binary_unchanged(identity):
    inputs, body = [], b""
    for kind, values in VALUES.items():
        data = raw(kind, values)
        inputs.append(
            {
                "name": f"i_{kind}",
                "datatype": kind,
                "shape": [2],
                "parameters": {"binary_data_size": len(data)},
            }
        )
        body += data
    # One output asks for JSON although all others are binary.
    outputs = [
        {"name": f"o_{kind}", **({"parameters": {"binary_data": False}} if kind == "INT8" else {})}
        for kind in VALUES
    ]
    head = json.dumps(
        {"inputs": inputs, "outputs": outputs, "parameters": {"binary_data_output": True}}
    ).encode()
    answer = identity.client.post(
        "/v2/models/identity/infer",
        content=head + body,
        headers={
            "inference-header-content-length": str(len(head)),
            "content-type": "application/octet-stream",
        },
    )
    assert answer.status_code == 200, answer.text
    described, tail = split(answer)
    at = 0
    for one in described["outputs"]:
        kind = one["datatype"]
        if kind == "INT8":
            assert one["data"] == VALUES["INT8"]
            continue
        size = one["parameters"]["binary_data_size"]
        assert tail[at : at + size] == raw(kind, VALUES[kind]), kind
        at += size
    assert at == len(tail)


def test_a_large_binary_tensor_goes_through_whatever_the_length_of_the_head(identity):
    values = np.random.default_rng(0).random(150_528, dtype=np.float32)
    small = [one for one in tensors() if one["datatype"] != "FP32"]
    for padding in range(4):
        described = {
            "name": "i_FP32",
            "datatype": "FP32",
            "shape": [len(values)],
            "parameters": {"binary_data_size": values.nbytes},
        }
        outputs = [{"name": "o_FP32", "parameters": {"binary_data": True}}]
        head = json.dumps({"id": "x" * padding, "inputs": [*small, described], "outputs": outputs}).encode()
        answer = identity.client.post(
            "/v2/models/identity/infer",
            content=head + values.tobytes(),
            headers={"inference-header-content-length": str(len(head))},
        )
        assert answer.status_code == 200, answer.text
        assert split(answer)[1] == values.tobytes()


def test_a_nan_is_refused_in_json_and_carried_in_binary(identity):
    data = np.array([np.nan, np.inf], np.float32).tobytes()
    others = [one for one in tensors() if one["datatype"] != "FP32"]
    fp32 = {"name": "i_FP32", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": len(data)}}
    for binary in (True, False):
        request = {
            "inputs": [*others, fp32],
            "outputs": [{"name": "o_FP32", "parameters": {"binary_data": binary}}],
        }
        head = json.dumps(request).encode()
        answer = identity.client.post(
            "/v2/models/identity/infer",
            content=head + data,
            headers={"inference-header-content-length": str(len(head))},
        )
        if binary:
            assert split(answer)[1] == data
        else:
            assert answer.status_code == 500
            assert "$.outputs[0].data[0]" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"datatype": "FP64"}, "takes datatype INT32, not FP64"),
        ({"datatype": "COMPLEX"}, "no datatype that can be served"),
        ({"datatype": 5}, "no datatype"),
        ({"shape": [3]}, "needs 3 values, but data has 2"),
        ({"shape": [1, 2]}, "takes shape [-1]"),
        ({"shape": [-1]}, "whole numbers"),
        ({"shape": [2**31]}, "whole numbers"),
        ({"shape": "2"}, "whole numbers"),
        ({"data": [1, 2.5]}, "does not fit datatype INT32"),
        ({"data": [1, 2**31]}, "does not fit datatype INT32"),
        ({"data": [1, "2"]}, "does not fit datatype INT32"),
        ({"data": 5}, "data must be an array"),
        ({"name": "other"}, "has no input “other”"),
        ({"parameters": {"binary_data_size": 8}}, "needs the header"),
        ({"parameters": []}, "must be an object"),
    ],
)
def test_a_wrong_tensor_is_400_and_named(identity, change, told):
    answer = identity.client.post("/v2/models/identity/infer", json={"inputs": tensors(INT32=change)})
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert answer.json()["error_msg"] == answer.json()["error"]


@pytest.mark.parametrize(
    ("length", "size", "tail", "told"),
    [
        ("head", 8, b"1234567", "only 7 bytes of the body are left"),
        ("head", 8, b"123456789", "1 bytes after the last tensor"),
        ("head", 4, b"1234", "needs 8 bytes"),
        ("head", -1, b"", "must be a number of bytes"),
        ("head", "8", b"12345678", "must be a number of bytes"),
        ("99999", 8, b"12345678", "the body has"),
        ("0", 8, b"12345678", "the body has"),
        ("5", 8, b"12345678", "not JSON"),
        ("five", 8, b"12345678", "must be a number of bytes"),
        ("-5", 8, b"12345678", "must be a number of bytes"),
    ],
)
def test_a_wrong_binary_frame_is_400(identity, length, size, tail, told):
    others = [one for one in tensors() if one["datatype"] != "INT32"]
    wrong = {"name": "i_INT32", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [*others, wrong]}).encode()
    answer = identity.client.post(
        "/v2/models/identity/infer",
        content=head + tail,
        headers={"inference-header-content-length": str(len(head)) if length == "head" else length},
    )
    assert answer.status_code == 400
    assert told in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "JSON object"),
        ({}, "“inputs” must be an array"),
        ({"inputs": [5]}, "Every input must be an object"),
        ({"inputs": tensors()[:-1]}, "i_BYTES are missing"),
        ({"inputs": [*tensors(), tensors()[0]]}, "“i_BOOL” is sent twice"),
        ({"inputs": tensors(), "outputs": [{"name": "o_none"}]}, "has no output"),
        ({"inputs": tensors(), "outputs": 5}, "“outputs” must be an array"),
        ({"inputs": tensors(), "id": 5}, "“id” must be a string"),
        ({"inputs": tensors(), "parameters": {"binary_data_output": 1}}, "must be true or false"),
        ({"inputs": tensors(BOOL={"data": [1, 0]})}, "only true and false"),
        ({"inputs": tensors(BYTES={"data": [1, 0]})}, "only strings"),
        ({"inputs": tensors(FP16={"data": [1e6, 0]})}, "too large for datatype FP16"),
    ],
)
def test_a_wrong_request_is_400(identity, body, told):
    answer = identity.client.post("/v2/models/identity/infer", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


INPUTS = {
    "a": Tensor("a", "FP32", (-1, 3)),
    "b": Tensor("b", "BYTES", (-1,)),
    "c": Tensor("c", "BOOL", (2,)),
}
OUTPUTS = {"y": Tensor("y", "FP32", (-1,))}

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
one_input = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "c", "d"]) | anything,
        "datatype": st.sampled_from([*VALUES, "FP8"]) | anything,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | anything,
        "data": anything,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 64) | anything})
        | anything,
    },
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(one_input, max_size=4) | anything,
        "outputs": st.lists(st.fixed_dictionaries({}, optional={"name": anything, "parameters": anything}))
        | anything,
        "parameters": anything,
        "id": anything,
    },
)


@settings(max_examples=400, deadline=None)
@given(
    request=requests | anything, tail=st.binary(max_size=64), cut=st.integers(-2, 2) | st.just(0) | st.none()
)
def test_no_request_whatever_fails_other_than_with_400(request, tail, cut):
    head = json.dumps(request).encode()
    length = None if cut is None else len(head) + cut
    try:
        found = decode(head + tail, length, INPUTS, OUTPUTS, ("y",))
    except CallError as error:
        assert error.status == 400
    else:
        assert found.feeds.keys() == INPUTS.keys()


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=200), length=st.integers(0, 300) | st.none())
def test_no_bytes_whatever_fail_other_than_with_400(body, length):
    with pytest.raises(CallError) as caught:
        decode(body, length, INPUTS, OUTPUTS, ("y",))
    assert caught.value.status == 400


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=20),
    texts=st.lists(st.text(max_size=9), max_size=5),
)
def test_what_is_encoded_as_binary_decodes_to_the_same(values, texts):
    request = decode(
        json.dumps(
            {
                "inputs": [
                    {"name": "a", "datatype": "FP32", "shape": [0, 3], "data": []},
                    {"name": "b", "datatype": "BYTES", "shape": [0], "data": []},
                    {"name": "c", "datatype": "BOOL", "shape": [2], "data": [True, False]},
                ],
                "outputs": [{"name": "y"}, {"name": "y"}],
                "parameters": {"binary_data_output": True},
            }
        ).encode(),
        None,
        INPUTS,
        OUTPUTS,
        ("y",),
    )
    numbers = np.array(values, np.float32)
    words = np.empty(len(texts), object)
    words[:] = texts
    parts, head = encode(request, [numbers, words], "m", "1")
    body = b"".join(parts)
    first, second = json.loads(body[:head])["outputs"]
    middle = head + first["parameters"]["binary_data_size"]
    assert body[head:middle] == numbers.tobytes()
    size = second["parameters"]["binary_data_size"]
    found = datatypes.from_bytes(body, middle, size, "BYTES", (len(texts),), "b")
    assert found.tolist() == texts
