"""The catalogue: what is offered, what is documented, and which names stand for which runtime."""

from __future__ import annotations

import sys

import pytest
from packaging.requirements import Requirement

from console.problems import ProblemError
from registry.engines import CATALOGUE, ENGINES, IMAGE


def test_three_engines_are_offered_and_every_documented_one_is_known() -> None:
    assert list(ENGINES) == ["ONNX", "XGBoost", "Scikit_Learn"]
    documented = {"TensorFlow", "MXNet", "Caffe", "Spark_MLlib", "Scikit_Learn", "XGBoost", "PyTorch"}
    assert set(CATALOGUE) == documented | {"MindSpore", "Image", "ONNX"}


@pytest.mark.facts(61)
@pytest.mark.parametrize("name", ENGINES)
def test_no_name_means_the_newest_runtime_on_the_interpreter_of_the_console(name: str) -> None:
    runtime, aliased_from = ENGINES[name].runtime()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert aliased_from is None
    assert runtime is ENGINES[name].runtimes[0]
    assert runtime.python == python
    assert runtime.name.endswith(f"-python{python}")
    assert ENGINES[name].runtime("") == (runtime, None)


@pytest.mark.parametrize("name", ENGINES)
def test_an_offered_name_is_itself_and_a_documented_one_names_both(name: str) -> None:
    engine = ENGINES[name]
    for runtime in engine.runtimes:
        assert engine.runtime(runtime.name) == (runtime, None)
    for legacy in engine.documented_runtimes:
        assert engine.runtime(legacy) == (engine.default, legacy)


def test_a_runtime_of_another_python_is_met_by_the_same_engine_version() -> None:
    engine = ENGINES["XGBoost"]
    other = engine.default.name.rpartition("-python")[0] + "-python3.99"
    assert engine.runtime(other) == (engine.default, other)
    with pytest.raises(ProblemError):
        engine.runtime(other + "x")


def test_the_newer_documented_style_belongs_to_its_engine() -> None:
    name = "tensorflow_1.15.0-cann_6.3.0-py_3.7-euler_2.8.3-aarch64"
    assert CATALOGUE["TensorFlow"].knows_runtime(name)
    assert not CATALOGUE["PyTorch"].knows_runtime(name)
    assert not CATALOGUE["TensorFlow"].knows_runtime(name + "\n")


@pytest.mark.parametrize("name", ["python9.9", "xgboost", "python3.6\n", "PYTHON3.6"])
def test_an_unknown_runtime_is_refused_with_the_names_that_are_known(name: str) -> None:
    with pytest.raises(ProblemError) as caught:
        ENGINES["XGBoost"].runtime(name)
    assert caught.value.problem.code == "registry.runtime.not_offered"
    assert ENGINES["XGBoost"].default.name in caught.value.problem.fix


def test_an_engine_that_is_not_offered_has_no_runtime_but_its_documented_layout() -> None:
    for engine in CATALOGUE.values():
        assert engine.layout
        if engine.offered:
            continue
        with pytest.raises(ProblemError) as caught:
            engine.runtime()
        assert caught.value.problem.code == "registry.runtime.not_offered"


@pytest.mark.facts(61)
def test_the_documented_table_of_runtimes_is_complete() -> None:
    counts = {name: len(engine.documented_runtimes) for name, engine in CATALOGUE.items()}
    assert counts == {
        "ONNX": 1, "XGBoost": 2, "Scikit_Learn": 2, "TensorFlow": 10, "PyTorch": 4, "MXNet": 3, "Caffe": 9,
        "Spark_MLlib": 2, "MindSpore": 1, IMAGE: 0,
    }  # fmt: skip


def test_requirements_are_bounded_on_both_sides() -> None:
    for engine in ENGINES.values():
        for runtime in engine.runtimes:
            for text in runtime.requirements:
                operators = {specifier.operator for specifier in Requirement(text).specifier}
                assert operators == {">=", "<"}, text


def test_classic_engines_and_mandatory_code_are_the_documented_ones() -> None:
    assert {e.name for e in CATALOGUE.values() if e.json_only} == {"XGBoost", "Scikit_Learn", "Spark_MLlib"}
    assert {e.name for e in CATALOGUE.values() if e.code_required} == {"PyTorch"}
    assert {e.name for e in CATALOGUE.values() if e.overrides} == {"PyTorch", "Caffe"}
    assert {e.name for e in CATALOGUE.values() if not e.config_required} == {"ONNX"}
