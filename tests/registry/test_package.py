"""What a folder holds: layout, engine, and what the pages show of a package (facts §2.1, §2.2, §3.4)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.problems import ProblemError, registered
from registry.engines import CATALOGUE, ENGINES
from registry.listing import FILES
from registry.package import CODE_FILE, CONFIG_FILE, READ_BYTES, SAMPLE_FILE, api_rows, inspect
from tests.registry.packages import CODE, FORM, look, make_api, make_config, make_dependencies, reasons
from tests.registry.samples import SAMPLES


@pytest.mark.facts(58, 59)
def test_a_bare_onnx_file_needs_no_config() -> None:
    found = look({"model/digits.onnx": 10, "model/labels.txt": 3, "README.md": 99})
    assert reasons(found) == set()
    assert (found.engine, found.model_file, found.config) == ("ONNX", "model/digits.onnx", None)
    assert found.runtime == ENGINES["ONNX"].default.name
    assert found.requirements == list(ENGINES["ONNX"].default.requirements)
    assert found.config_json == {}
    (row,) = api_rows(found.apis)
    assert (row.method, row.path) == ("POST", "/")
    assert [parameter.path for parameter in row.inputs] == ["inputs"]
    assert [parameter.path for parameter in row.outputs] == ["outputs"]


@pytest.mark.facts(59)
@pytest.mark.parametrize("engine", ["XGBoost", "Scikit_Learn"])
def test_the_engine_comes_from_config_json(engine: str) -> None:
    found = look({"model/a.m": 10, "model/config.json": make_config(engine)})
    assert reasons(found) == set()
    assert (found.engine, found.model_file, found.inference_code) == (engine, "model/a.m", False)
    assert found.config is not None
    assert found.config.model_type == engine


def test_only_what_lies_in_the_folder_model_is_the_package() -> None:
    found = look({"model/a.onnx": 10, "model/x/y.bin": 5, "notes/big.csv": 10**9, "models/b.onnx": 7, "": 0})
    assert found.files == {"model/a.onnx": 10, "model/x/y.bin": 5}
    assert found.size_bytes == 15


def test_an_onnx_package_may_have_config_and_code() -> None:
    api = make_api(request={"Content-type": "multipart/form-data", "data": FORM})
    found = look({"model/a.onnx": 10, CONFIG_FILE: make_config("ONNX", apis=[api]), CODE_FILE: CODE})
    assert reasons(found) == set()
    assert found.inference_code
    assert found.apis[0]["request_type"] == "multipart/form-data"
    assert found.apis[0]["declared"]


@pytest.mark.facts(60)
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {"subpath_missing"}),
        ({"a.txt": 1}, {"subpath_missing"}),
        ({"Model/a.onnx": 1}, {"subpath_missing"}),
        ({"x/model/a.onnx": 1}, {"subpath_missing"}),
        ({"a.onnx": 1}, {"model_chosen"}),
        ({"config.json": 1, "a.m": 1}, {"model_chosen"}),
        ({"model/": 0}, {"subpath_missing"}),
        ({"model/readme.txt": 1}, {"config_missing"}),
        ({"model/a.m": 1}, {"config_missing"}),
        ({"model/saved_model.pb": 1}, {"config_missing"}),
        ({"model/a.m": 1, "config.json": make_config()}, {"config_misplaced"}),
        ({"model/a.m": 1, "model/sub/config.json": make_config()}, {"config_misplaced"}),
        ({"model/a.m": 1, "model/Config.json": make_config()}, {"config_misplaced"}),
        ({"model/a.onnx": 1, "config.json": make_config("ONNX")}, {"config_misplaced"}),
        ({"model/a.m": 1, CONFIG_FILE: make_config(), "model/x/config.json": 5}, {"config_more_than_one"}),
        ({CONFIG_FILE: make_config()}, {"model_file_missing"}),
        ({"model/a.onnx": 1, CONFIG_FILE: make_config()}, {"model_file_missing"}),
        ({"a.m": 1, CONFIG_FILE: make_config()}, {"model_file_missing"}),
        ({"model/a.M": 1, CONFIG_FILE: make_config()}, {"model_file_missing"}),
        ({"model/a.m": 1, "model/b.m": 1, CONFIG_FILE: make_config()}, {"model_file_more_than_one"}),
        ({"model/a.m": 1, "model/x/b.m": 1, CONFIG_FILE: make_config()}, {"model_file_more_than_one"}),
        ({"model/a.onnx": 1, "model/b.onnx": 1}, {"model_file_more_than_one"}),
        ({"model/x/a.m": 1, CONFIG_FILE: make_config()}, {"model_file_misplaced"}),
        ({"model/x/a.onnx": 1}, {"model_file_misplaced"}),
        ({"model/a.m": 0, CONFIG_FILE: make_config()}, {"model_file_empty"}),
        ({"model/a.m": 1, CONFIG_FILE: make_config(), "model/x/customize_service.py": 5}, {"code_misplaced"}),
        (
            {"model/a.m": 1, CONFIG_FILE: make_config(), CODE_FILE: CODE, "model/x/customize_service.py": 5},
            {"code_more_than_one"},
        ),
        ({"model/a.m": 1, CONFIG_FILE: make_config(), CODE_FILE: "x ="}, {"code_not_python"}),
        ({"model/a.m": 1, CONFIG_FILE: READ_BYTES + 1}, {"config_too_large"}),
        ({"model/a.m": 1, CONFIG_FILE: make_config(), CODE_FILE: READ_BYTES + 1}, {"code_too_large"}),
        ({"model/a.m": 1, CONFIG_FILE: "{"}, {"config_not_json"}),
        ({"model/a.m": 1, CONFIG_FILE: make_config("Keras")}, {"engine_unknown"}),
        ({"model/a.onnx": 1, "model/../../etc/passwd": 1}, {"path_climbs"}),
    ],
)
def test_a_folder_that_breaks_the_layout_has_its_documented_reason(files: Any, expected: set[str]) -> None:
    found = look(files)
    assert reasons(found) == expected
    for problem in found.problems:
        assert registered()[problem.code].documented in ("ModelArts.3015", "ModelArts.3016", "ModelArts.3017")
        assert problem.cause
        assert problem.fix
        assert "<" not in problem.cause + problem.fix.replace("& ! ' \" < > =", "")


@pytest.mark.facts(60)
@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in ENGINES])
def test_a_documented_engine_that_is_not_offered_is_told_apart_from_an_unknown_one(name: str) -> None:
    sample = next((sample for sample in SAMPLES.values() if sample["model_type"] == name), None)
    assert sample is not None
    found = look({CONFIG_FILE: sample, "model/whatever.bin": 5})
    assert found.engine == name
    assert "engine_not_offered" in reasons(found)
    assert reasons(found) <= {"engine_not_offered", "swr_location_missing"}
    told = next(p for p in found.problems if p.code.endswith("engine_not_offered"))
    assert name in told.cause
    assert f"model/{CATALOGUE[name].layout[0]}" in told.cause
    assert "ONNX, XGBoost, Scikit_Learn" in told.fix


def test_an_image_from_object_storage_needs_the_address_of_the_image() -> None:
    assert reasons(look({CONFIG_FILE: SAMPLES["i"]})) == {"engine_not_offered", "swr_location_missing"}
    assert reasons(look({CONFIG_FILE: SAMPLES["j"]})) == {"engine_not_offered"}


def test_faults_of_files_config_and_code_are_told_together() -> None:
    found = look(
        {
            "model/a.m": 1,
            "model/b.m": 1,
            CONFIG_FILE: make_config(model_algorithm=None, extra=1),
            CODE_FILE: "import os",
            "/etc/passwd": 1,
        }
    )
    assert reasons(found) == {
        "path_absolute", "key_missing", "key_unknown", "model_file_more_than_one", "code_class_missing",
    }  # fmt: skip
    assert found.config is None
    assert found.engine == "XGBoost"


def test_too_many_files_are_refused() -> None:
    listing = {f"model/{number}": 1 for number in range(FILES)}
    assert "too_many_files" not in reasons(inspect(listing, lambda path: b""))
    listing |= {"model/one": 1, "model/more": 1}
    assert "too_many_files" in reasons(inspect(listing, lambda path: b""))


def test_nothing_but_config_and_code_is_ever_read() -> None:
    asked: list[str] = []
    contents = {CONFIG_FILE: json.dumps(make_config()).encode(), CODE_FILE: CODE.encode()}

    def read(path: str) -> bytes:
        asked.append(path)
        return contents[path]

    listing = {path: len(content) for path, content in contents.items()}
    found = inspect({**listing, "model/a.m": 10**12, SAMPLE_FILE: 3, "model/helper.py": 9}, read)
    assert reasons(found) == set()
    assert sorted(asked) == [CONFIG_FILE, CODE_FILE]


def test_a_storage_that_fails_is_not_hidden() -> None:
    def read(path: str) -> bytes:
        raise ProblemError("registry.source.vanished", bucket="b", path=path)

    with pytest.raises(ProblemError) as caught:
        inspect({CONFIG_FILE: 10, "model/a.m": 1}, read)
    assert caught.value.problem.code == "registry.source.vanished"


def test_a_file_longer_than_its_listing_is_still_bounded() -> None:
    found = inspect({CONFIG_FILE: 10, "model/a.m": 1}, lambda path: b" " * (READ_BYTES + 1))
    assert reasons(found) == {"config_too_large"}


def test_the_sample_request_is_found_but_not_read() -> None:
    assert look({"model/a.onnx": 1, SAMPLE_FILE: 5}).sample
    assert not look({"model/a.onnx": 1}).sample


@pytest.mark.facts(61)
def test_a_legacy_runtime_is_replaced_with_a_note_that_names_both() -> None:
    found = look({"model/a.m": 1, CONFIG_FILE: make_config(runtime="python3.6")})
    assert reasons(found) == set()
    assert found.runtime == ENGINES["XGBoost"].default.name
    assert found.aliased_from == "python3.6"
    (note,) = found.warnings
    assert note.code == "registry.package.runtime_aliased"
    assert "python3.6" in note.cause
    assert found.runtime in note.cause
    assert look({"model/a.m": 1, CONFIG_FILE: make_config()}).warnings == []


@pytest.mark.facts(67)
def test_requirements_keep_the_order_of_the_blocks_after_the_runtimes_own() -> None:
    first = make_dependencies({"package_name": "zlib-ng", "package_version": "0.5", "restraint": "EXACT"})
    second = make_dependencies(
        {"package_name": "attrs", "package_version": "25.1", "restraint": "ATLEAST"},
        {"package_name": "numpy", "package_version": "3", "restraint": "ATMOST"},
        {"package_name": "Pillow", "package_version": "", "restraint": ""},
    )
    config = make_config("Scikit_Learn", dependencies=first + second)
    found = look({"model/a.m": 1, CONFIG_FILE: config})
    own = list(ENGINES["Scikit_Learn"].default.requirements)
    assert found.requirements == [*own, "zlib-ng==0.5", "attrs>=25.1", "numpy<=3", "Pillow"]
    assert [tuple(row.values()) for row in found.dependencies] == [
        ("pip", "zlib-ng", "0.5", "EXACT"),
        ("pip", "attrs", "25.1", "ATLEAST"),
        ("pip", "numpy", "3", "ATMOST"),
        ("pip", "Pillow", "", ""),
    ]


def test_a_second_copy_of_the_engine_is_not_installed() -> None:
    package = {"package_name": "XGBoost", "package_version": "3.2.0", "restraint": "EXACT"}
    found = look({"model/a.m": 1, CONFIG_FILE: make_config(dependencies=make_dependencies(package))})
    assert found.requirements == [*ENGINES["XGBoost"].default.requirements, "xgboost-cpu==3.2.0"]
    assert found.dependencies[0]["name"] == "XGBoost"
    assert [note.code for note in found.warnings] == ["registry.package.distribution_replaced"]


def test_a_wheel_lies_beside_the_model_file() -> None:
    wheel = "tool-1.0-py3-none-any.whl"
    config = make_config(dependencies=make_dependencies({"package_name": wheel}))
    files = {"model/a.m": 1, CONFIG_FILE: config}
    assert reasons(look(files)) == {"wheel_missing"}
    found = look({**files, f"model/{wheel}": 10})
    assert reasons(found) == set()
    assert found.requirements[-1] == wheel


def test_the_panel_shows_every_declared_api() -> None:
    found = look({"model/a.m": 1, CONFIG_FILE: SAMPLES["e"]})
    (row,) = api_rows(found.apis)
    assert (row.method, row.path) == ("POST", "/")
    assert [(p.path, p.type) for p in row.inputs] == [
        ("data", "object"),
        ("data.req_data", "array"),
        ("data.req_data[].petal_len", "number"),
        ("data.req_data[].petal_wid", "number"),
    ]
    assert row.outputs[-1].path == "data.resp_data[].predict_result"
    stored = found.apis[0]["input_params"]
    assert stored["type"] == "object"
    assert list(stored["properties"]) == ["data"]


def test_without_a_declaration_the_panel_has_nothing_to_show() -> None:
    found = look({"model/a.m": 1, CONFIG_FILE: make_config()})
    (row,) = api_rows(found.apis)
    assert (row.inputs, row.outputs) == ([], [])
    assert not found.apis[0]["declared"]


@pytest.mark.facts(68)
def test_metrics_are_kept_as_exact_text() -> None:
    text = json.dumps(make_config()).replace("}", ', "metrics": {"f1": 0.123456789012345678}}')
    found = look({"model/a.m": 1, CONFIG_FILE: text})
    assert found.metrics == {"f1": "0.12345678901234567"}


def test_everything_that_rows_store_is_plain_json() -> None:
    found = look({"model/a.m": 1, CONFIG_FILE: {**SAMPLES["e"], "metrics": {"f1": 0.5}}, CODE_FILE: CODE})
    stored = [found.apis, found.dependencies, found.metrics, found.config_json, found.requirements]
    assert json.loads(json.dumps(stored)) == stored
    json.dumps([problem.as_dict() for problem in [*found.problems, *found.warnings]])


names = st.sampled_from(
    ["model/config.json", "model/customize_service.py", "model/a.onnx", "model/a.m", "model/sub/a.m",
     "config.json", "model", "model/", "model/../x", "/a", "model\\a", "model/sample.json"]
)  # fmt: skip


@settings(deadline=None)
@given(
    st.dictionaries(names | st.text(max_size=12), st.integers(min_value=0, max_value=2**63), max_size=6),
    st.binary(max_size=60) | st.sampled_from([json.dumps(sample).encode() for sample in SAMPLES.values()]),
)
def test_no_folder_raises(listing: dict[str, int], content: bytes) -> None:
    found = inspect(listing, lambda path: content)
    for problem in [*found.problems, *found.warnings]:
        json.dumps(problem.as_dict()).encode()
        problem.cause.encode()
        assert problem.code in registered()


def test_every_reason_that_the_code_gives_has_its_sentences_and_every_sentence_its_reason() -> None:
    package = Path(__file__).resolve().parents[2] / "registry"
    sources = [
        "package",
        "listing",
        "config_json",
        "config_rules",
        "body_schema",
        "strict_json",
        "inference_code",
    ]
    text = "\n".join((package / f"{name}.py").read_text(encoding="utf-8") for name in sources)
    quoted = set(re.findall(r'"(?:registry\.package\.)?([a-z_0-9]+)"', text))
    told = {
        code.removeprefix("registry.package.")
        for code in registered()
        if code.startswith("registry.package.")
    }
    given = set(re.findall(r'(?:_problem|_refuse|PydanticCustomError)\(\s*"([a-z_0-9]+)"', text))
    assert given <= told
    assert told <= quoted
