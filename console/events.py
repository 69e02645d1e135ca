"""The sentences of normal events; abnormal events tell a problem.

Normal events share the register of problems: a code, a sentence, parameters (facts §3.4, §4.11).
"""

from __future__ import annotations

from django.utils.functional import Promise

from console.problems import register


def register_events(sentences: dict[str, str | Promise]) -> None:
    """Give each event code its sentence."""
    for code, sentence in sentences.items():
        register(code, cause=sentence)
