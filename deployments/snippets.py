"""The Usage Guides tab: what can be pasted into a terminal or a program and works as it stands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any
from urllib.parse import quote

from deployments.prediction import FORM_TYPE, example_of
from registry import storage
from registry.models import Version

SAMPLE_FILE = "model/sample.json"
SAMPLE_BYTES = 64 * 1024
KEY_HEADER = "X-Apig-AppCode"


@dataclass(frozen=True)
class Snippet:
    """One piece of code: a name for its tab, and the text."""

    label: str
    text: str


def sample_of(version: Version) -> Any:
    """The sample request that the version's package carries; None without one, or when it is large."""
    if not version.files.filter(path=SAMPLE_FILE, size_bytes__lte=SAMPLE_BYTES).exists():
        return None
    try:
        return json.loads(storage.read(version.artifact_prefix, SAMPLE_FILE, SAMPLE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def body_for(version: Version, api: Mapping[str, Any]) -> Any:
    """An example body for `api`: the package's sample for its first API, else one in the declared shape."""
    if version.apis and api == version.apis[0]:
        sample = sample_of(version)
        if sample is not None:
            return sample
    return example_of(api.get("request_schema"))


def snippets_of(version: Version, api: Mapping[str, Any], address: str, key: str, body: Any) -> list[Snippet]:
    """curl and Python for one API of the version, and Open Inference where the version speaks it."""
    url = address + ("" if api["url"] == "/" else api["url"])
    if api.get("request_type") == FORM_TYPE:
        made = [Snippet("curl", _curl_form(url, key, api)), Snippet("Python", _python_form(url, key, api))]
    else:
        method = api["method"]
        made = [
            Snippet("curl", _curl(url, key, method, body)),
            Snippet("Python", _python(url, key, method, body)),
        ]
    if not version.has_inference_code:
        made.append(Snippet("Open Inference Protocol v2", _open_inference(address, key, version, body)))
    return made


def _curl(url: str, key: str, method: str, body: Any) -> str:
    lines = [f"curl -sS -X {method} {shlex.quote(url)}", f"  -H {shlex.quote(f'{KEY_HEADER}: {key}')}"]
    if method != "GET":
        lines += ["  -H 'Content-Type: application/json'", f"  -d {shlex.quote(_compact(body))}"]
    return " \\\n".join(lines)


def _curl_form(url: str, key: str, api: Mapping[str, Any]) -> str:
    lines = [f"curl -sS -X {api['method']} {shlex.quote(url)}", f"  -H {shlex.quote(f'{KEY_HEADER}: {key}')}"]
    for name, is_file in _parts(api):
        lines.append(f"  -F {shlex.quote(f'{name}=@{name}.png' if is_file else f'{name}=')}")
    return " \\\n".join(lines)


def _python(url: str, key: str, method: str, body: Any) -> str:
    sent = ", json=body" if method != "GET" else ""
    made = f"body = {pformat(body, sort_dicts=False, width=96, compact=True)}\n" if sent else ""
    return (
        "import requests\n\n"
        f"{made}"
        f"response = requests.request({method!r}, {url!r},\n"
        f"                            headers={{{KEY_HEADER!r}: {key!r}}}{sent}, timeout=70)\n"
        "response.raise_for_status()\n"
        "print(response.json())\n"
    )


def _python_form(url: str, key: str, api: Mapping[str, Any]) -> str:
    files = ", ".join(f"{name!r}: open({f'{name}.png'!r}, 'rb')" for name, is_file in _parts(api) if is_file)
    return (
        "import requests\n\n"
        f"files = {{{files}}}\n"
        f"response = requests.request({api['method']!r}, {url!r},\n"
        f"                            headers={{{KEY_HEADER!r}: {key!r}}}, files=files, timeout=70)\n"
        "response.raise_for_status()\n"
        "print(response.json())\n"
    )


def _open_inference(address: str, key: str, version: Version, body: Any) -> str:
    """Asks the model for its tensors, so it works for any; takes the sample's values where they fit."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    known = inputs if isinstance(inputs, dict) else {}
    return (
        "import requests\n\n"
        f"model = {f'{address}/v2/models/{quote(version.model.name)}'!r}\n"
        f"headers = {{{KEY_HEADER!r}: {key!r}}}\n"
        f"known = {pformat(known, sort_dicts=False, width=96, compact=True)}\n"
        "\n"
        "def tensor(name, datatype, shape):\n"
        '    """One input: the known values, or zeros in the shape that the model asks for."""\n'
        "    if name in known:\n"
        "        data, sizes, inner = known[name], [], known[name]\n"
        "        while isinstance(inner, list):\n"
        "            sizes, inner = sizes + [len(inner)], inner[0]\n"
        '        return {"name": name, "datatype": datatype, "shape": sizes, "data": data}\n'
        "    sizes, count = [max(size, 1) for size in shape], 1\n"
        "    for size in sizes:\n"
        "        count *= size\n"
        '    zero = {"BYTES": "", "BOOL": False}.get(datatype, 0)\n'
        '    return {"name": name, "datatype": datatype, "shape": sizes, "data": [zero] * count}\n'
        "\n"
        "metadata = requests.get(model, headers=headers, timeout=70).json()\n"
        'inputs = [tensor(each["name"], each["datatype"], each["shape"]) for each in metadata["inputs"]]\n'
        'response = requests.post(model + "/infer", headers=headers, json={"inputs": inputs}, timeout=70)\n'
        "response.raise_for_status()\n"
        "print(response.json())\n"
    )


def _parts(api: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The parts of a form-data request: name, and whether it is a file."""
    properties = (api.get("request_schema") or {}).get("properties") or {}
    return [
        (name, isinstance(part, dict) and part.get("type") == "file") for name, part in properties.items()
    ]


def _compact(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
