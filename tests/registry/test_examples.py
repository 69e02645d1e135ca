"""The example packages that the repository carries follow our own rules."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from registry.engines import ENGINES
from registry.package import CODE_FILE, SAMPLE_FILE, Inspection, inspect

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENGINE_OF = {"onnx-digits": "ONNX", "xgboost-iris": "XGBoost", "sklearn-wine": "Scikit_Learn"}


def look_at(name: str) -> Inspection:
    folder = EXAMPLES / name
    files = [path for path in folder.rglob("*") if path.is_file()]
    listing = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    return inspect(listing, lambda path: (folder / path).read_bytes())


def test_every_example_is_listed() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(ENGINE_OF)
    for name in ENGINE_OF:
        assert f"`{name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ENGINE_OF)
def test_every_example_can_be_imported_as_it_is(name: str) -> None:
    found = look_at(name)
    assert found.problems == []
    assert found.warnings == []
    assert found.engine == ENGINE_OF[name]
    assert found.sample
    assert found.inference_code == (name == "sklearn-wine")


@pytest.mark.parametrize("name", ["xgboost-iris", "sklearn-wine"])
def test_the_documented_packages_show_metrics_parameters_and_dependencies(name: str) -> None:
    found = look_at(name)
    assert set(found.metrics) == {"f1", "recall", "precision", "accuracy"}
    assert all(0.9 < float(value) <= 1 for value in found.metrics.values())
    assert found.dependencies
    assert found.apis[0]["declared"]


@pytest.mark.parametrize("name", ENGINE_OF)
def test_the_files_are_small_and_plain(name: str) -> None:
    for path in (EXAMPLES / name).rglob("*"):
        assert path.name != "__pycache__"
        assert not path.is_symlink()
        assert not path.is_file() or path.stat().st_size < 300_000


def test_the_xgboost_model_is_no_pickle() -> None:
    content = (EXAMPLES / "xgboost-iris" / "model" / "iris.m").read_bytes()
    names = json.loads(content)["learner"]["feature_names"]
    assert names == ["sepal_len", "sepal_wid", "petal_len", "petal_wid"]


@pytest.mark.parametrize("name", ENGINE_OF)
def test_the_readme_shows_the_sample_and_its_answer(name: str) -> None:
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    request, answer = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", readme, re.DOTALL))
    sample = json.loads((EXAMPLES / name / SAMPLE_FILE).read_text(encoding="utf-8"))
    expected = json.loads((EXAMPLES / name / "expected.json").read_text(encoding="utf-8"))
    if name == "onnx-digits":
        assert request == sample
        assert answer == expected
    else:
        assert request["data"]["req_data"] == sample["data"]["req_data"][:1]
        assert answer["data"]["resp_data"] == expected["data"]["resp_data"][:1]


def test_the_training_script_uses_what_the_catalogue_offers() -> None:
    lines = (EXAMPLES / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0]: line.partition("==")[2] for line in lines if "==" in line}
    for engine in ENGINES.values():
        for text in engine.default.requirements:
            wanted = Requirement(text)
            assert wanted.specifier.contains(pinned[wanted.name]), text


def test_the_inference_code_of_the_example_runs_on_every_supported_python() -> None:
    for path in [EXAMPLES / "sklearn-wine" / CODE_FILE, EXAMPLES / "sklearn-wine" / "model" / "measures.py"]:
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 11))
