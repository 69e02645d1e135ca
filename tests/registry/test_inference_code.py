"""customize_service.py is judged by reading alone (facts §2.9)."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.engines import CATALOGUE
from registry.inference_code import CODE_BYTES, check_inference_code

REPOSITORY = Path(__file__).resolve().parents[2]

CLASSIC = "from model_service.python_model_service import XgSklServingBaseService\n"
SERVICE = CLASSIC + "class A(XgSklServingBaseService):\n    "
PYTORCH = "from model_service.pytorch_model_service import PTServingBaseService\n"


def faults(source: str | bytes, engine: str = "XGBoost") -> list[str]:
    return [p.code.removeprefix("registry.package.") for p in check_inference_code(source, engine)]


@pytest.mark.parametrize("engine", [e for e in CATALOGUE.values() if e.base_class], ids=lambda e: e.name)
def test_the_documented_base_class_of_every_engine_is_accepted(engine: object) -> None:
    source = f"""
from {engine.import_path} import {engine.base_class}
class AnyName({engine.base_class}):
    def __init__(self, {", ".join(engine.constructor)}):
        pass
    def _preprocess(self, data):
        return data
    def _inference(self, data):
        return data
    def _postprocess(self, data):
        return data
"""
    assert check_inference_code(source, engine) == []


@pytest.mark.parametrize(
    "source",
    [
        "from model_service.python_model_service import XgSklServingBaseService as Base\nclass A(Base): pass",
        "import model_service.python_model_service\n"
        "class A(model_service.python_model_service.XgSklServingBaseService): pass",
        "import model_service.python_model_service as m\nclass A(m.XgSklServingBaseService): pass",
        "from model_service import python_model_service\n"
        "class A(python_model_service.XgSklServingBaseService): pass",
        "from model_service import python_model_service as p\nclass A(p.XgSklServingBaseService): pass",
        "from model_service.python_model_service import *\nclass A(XgSklServingBaseService): pass",
        "try:\n    " + CLASSIC + "except ImportError:\n    raise\nclass A(XgSklServingBaseService): pass",
        CLASSIC + "if True:\n    class A(XgSklServingBaseService): pass",
        CLASSIC + "class Mixin: pass\nclass A(Mixin, XgSklServingBaseService, metaclass=type): pass",
        CLASSIC + "class Parent(XgSklServingBaseService): pass\nclass A(Parent): pass",
        SERVICE + "def _preprocess(self, data, extra=None): ...",
        SERVICE + "def _preprocess(self, *data): ...",
        SERVICE + "@staticmethod\n    def _preprocess(data): ...",
        SERVICE + "def __init__(self, model_name, model_path): ...",
        SERVICE + "def helper(self, a, b, c): ...",
        "# -*- coding: utf-8 -*-\n" + CLASSIC + "class A(XgSklServingBaseService):\n    '数字'",
        "from .measures import features\n" + CLASSIC + "class 服务(XgSklServingBaseService): pass",
    ],
)
def test_every_spelling_of_one_service_class_is_accepted(source: str) -> None:
    assert faults(source) == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "code_class_missing"),
        ("x = 1", "code_class_missing"),
        ("class XgSklServingBaseService: pass\nclass A(XgSklServingBaseService): pass", "code_class_missing"),
        ("class A(XgSklServingBaseService): pass", "code_class_missing"),
        ("from other import XgSklServingBaseService as B\nclass A(B): pass", "code_class_missing"),
        (PYTORCH + "class A(PTServingBaseService): pass", "code_class_missing"),
        (CLASSIC + "def f():\n    class A(XgSklServingBaseService): pass", "code_class_missing"),
        (CLASSIC + "class A(A): pass", "code_class_missing"),
        (CLASSIC + "class A(XgSklServingBaseService): pass\nclass B(XgSklServingBaseService): pass",
         "code_class_more_than_one"),
        (CLASSIC + "class P(XgSklServingBaseService): pass\nclass A(P): pass\nclass B(P): pass",
         "code_class_more_than_one"),
        (SERVICE + "def _preprocess(self): ...", "code_signature"),
        (SERVICE + "def _postprocess(self, a, b): ...", "code_signature"),
        (SERVICE + "def _inference(self, data, *, k): ...", "code_signature"),
        (SERVICE + "def __init__(self): ...", "code_signature"),
        (CLASSIC + "class P(XgSklServingBaseService):\n    def _preprocess(): ...\nclass A(P): pass",
         "code_signature"),
    ],
)  # fmt: skip
def test_a_broken_contract_is_refused(source: str, reason: str) -> None:
    assert faults(source) == [reason]


@pytest.mark.parametrize("engine", ["PyTorch", "Caffe"])
def test_engines_that_must_load_by_themselves_need_a_constructor(engine: str) -> None:
    facts = CATALOGUE[engine]
    head = f"from {facts.import_path} import {facts.base_class}\n"
    assert faults(head + f"class A({facts.base_class}): pass", engine) == ["code_override_missing"]
    inherited = (
        f"class P({facts.base_class}):\n    def __init__(self, model_name, model_path): ...\nclass A(P): pass"
    )
    assert faults(head + inherited, engine) == []


def test_an_engine_without_code_refuses_any() -> None:
    assert faults("", "Image") == ["code_not_supported"]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def f(:\n", 1),
        ("x = 1\nif x\n    y", 2),
        ("  x = 1", 1),
        ("x = '\n", 1),
        ("\n\nreturn = 3", 3),
        ("a\x00b", 1),
    ],
)
def test_a_syntax_error_is_told_with_its_line(source: str, line: int) -> None:
    (problem,) = check_inference_code(source, "XGBoost")
    if problem.code.endswith("code_not_utf8"):  # how some releases of Python see NUL bytes
        assert "\x00" in source
        return
    assert problem.code == "registry.package.code_not_python"
    assert problem.params["line"] == line


@pytest.mark.parametrize("source", [b"x = '\xff'", b"# coding: no-such\n", b"\xff\xfea\x00", "x = '\ud800'"])
def test_code_in_an_unreadable_encoding_is_told_so(source: bytes | str) -> None:
    assert faults(source)[0] in ("code_not_utf8", "code_not_python")


@pytest.mark.parametrize(
    "source",
    ["-" * 100_000 + "1", "a" + ".b" * 100_000, "1" + "+1" * 100_000, "f" + "()" * 100_000,
     "not " * 60_000 + "1", "if 1: pass\n" + "elif 1: pass\n" * 20_000, "(" * 5_000],
    ids=["minus", "attributes", "sum", "calls", "not", "elif", "parentheses"],
)  # fmt: skip
def test_code_made_to_break_the_parser_is_refused(source: str) -> None:
    assert faults(source)[0] in ("code_too_complex", "code_not_python")


def test_code_of_more_than_a_quarter_megabyte_is_refused_unread() -> None:
    assert faults("#" * (CODE_BYTES + 1)) == ["code_too_large"]


def test_thousands_of_classes_are_checked_in_seconds() -> None:
    chain = CLASSIC + "class A0(XgSklServingBaseService):0\n"
    chain += "".join(f"class A{n}(A{n - 1}):0\n" for n in range(1, 10_000))
    assert len(chain) < CODE_BYTES
    started = time.monotonic()
    assert faults(chain) == []
    assert time.monotonic() - started < 20


def test_the_code_is_never_run(tmp_path: object) -> None:
    mark = tmp_path / "ran"
    faults(f"open({str(mark)!r}, 'w')\n" + CLASSIC + "class A(XgSklServingBaseService): pass")
    assert not mark.exists()


def test_remarks_about_foreign_code_do_not_reach_our_log() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert faults(CLASSIC + "x = '\\d'\nclass A(XgSklServingBaseService): pass") == []
    assert told == []


def test_checking_imports_no_model_library() -> None:
    program = "import registry.package, sys; print({'numpy', 'sklearn', 'pickle5'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "set()"


@settings(deadline=None)
@given(st.text(max_size=80) | st.binary(max_size=80))
def test_no_text_raises(source: str | bytes) -> None:
    for problem in check_inference_code(source, "XGBoost"):
        problem.cause.encode()
