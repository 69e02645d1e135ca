"""Problems are stored as codes and told in the reader's language."""

from __future__ import annotations

import pytest
from django.utils.translation import override

from console.problems import Problem, ProblemError, register, registered


def test_an_unknown_code_reads_as_itself() -> None:
    assert Problem("no.such.code").cause == "no.such.code"
    assert Problem("odd.100%.code").cause == "odd.100%.code"
    assert Problem("no.such.code").fix == ""


def test_a_missing_parameter_does_not_hide_the_sentence() -> None:
    assert "<attempts>" in Problem("worker.lost").cause


def test_a_code_has_one_meaning() -> None:
    with pytest.raises(ValueError, match="twice"):
        register("worker.lost", cause="something else")


def test_every_problem_names_cause_and_fix_in_whole_sentences() -> None:
    for code, sentence in registered().items():
        if not sentence.fix:
            continue
        assert str(sentence.cause).rstrip().endswith((".", ")s", "?", ":")), code
        assert str(sentence.fix).rstrip().endswith((".", ")s")), code


def test_the_reader_chooses_the_language() -> None:
    problem = ProblemError("console.access.denied").problem
    with override("en"):
        english = problem.cause
    with override("zh-hans"):
        chinese = problem.cause
    assert english != chinese and english.isascii() and not chinese.isascii()
