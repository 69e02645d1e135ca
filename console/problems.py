"""Problems: what went wrong, stored as a code with parameters, told in the reader's language.

A problem names its cause and its fix. Packages register their sentences in their own `problems.py`;
rows store only code and parameters, so a Chinese operator reads what an English user's job met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True)
class Sentence:
    """The registered wording of one code; `documented` is the code that the documents give it."""

    cause: Text
    fix: Text = ""
    title: Text = ""
    documented: str = ""
    http: int = 400


_sentences: dict[str, Sentence] = {}


def register(
    code: str, *, cause: Text, fix: Text = "", title: Text = "", documented: str = "", http: int = 400
) -> str:
    """Give `code` its sentences; `%(name)s` in them is filled from a problem's parameters."""
    if code in _sentences:
        raise ValueError(f"problem {code} is registered twice")
    _sentences[code] = Sentence(cause, fix, title, documented, http)
    return code


def registered() -> Mapping[str, Sentence]:
    """Every registered code with its sentences."""
    return _sentences


def fill(template: Text, params: Mapping[str, Any]) -> str:
    """`template` in the active language with its placeholders filled; never raises.

    A missing parameter shows as its name: an event written by an older release must stay readable.
    """
    return str(template) % _Lenient(params) if template else ""


class _Lenient(dict):
    def __missing__(self, name: str) -> str:
        return f"<{name}>"


@dataclass(frozen=True)
class Problem:
    """One thing that went wrong: `code` and the JSON-able `params` of its sentences."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _sentence(self) -> Sentence:
        return _sentences.get(self.code) or Sentence(cause=self.code.replace("%", "%%"))

    @property
    def title(self) -> str:
        """The problem in a few words, in the reader's language."""
        return fill(self._sentence.title, self.params) or str(_("Something went wrong"))

    @property
    def cause(self) -> str:
        """What happened, in the reader's language."""
        return fill(self._sentence.cause, self.params)

    @property
    def fix(self) -> str:
        """What the reader can do, in the reader's language; may be empty."""
        return fill(self._sentence.fix, self.params)

    @property
    def documented(self) -> str:
        """The documented error code, such as `ModelArts.3002`; empty when the documents have none."""
        return self._sentence.documented

    @property
    def http(self) -> int:
        """The HTTP status that the problem answers with."""
        return self._sentence.http

    def as_dict(self) -> dict[str, Any]:
        """What rows store."""
        return {"code": self.code, "params": dict(self.params)}

    def __str__(self) -> str:
        return f"{self.cause} {self.fix}".strip()


class ProblemError(Exception):
    """Refuses a request or fails a job with a `problem`, at a form `field` where one is named."""

    def __init__(self, problem: Problem | str, field: str | None = None, **params: Any) -> None:
        self.problem = Problem(problem, params) if isinstance(problem, str) else problem
        self.field = field
        super().__init__(self.problem.code, dict(self.problem.params))

    def __str__(self) -> str:
        return f"{self.problem.code}: {self.problem.cause}"
