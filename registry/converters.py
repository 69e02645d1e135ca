"""What may stand in a URL for a model's name and a version's number: the charset of facts §8.8."""

from __future__ import annotations

from registry.config_rules import CHINESE


class ModelNameConverter:
    """A model name; `+import` and its like are none, so they cannot clash."""

    regex = rf"[A-Za-z0-9{CHINESE}_-]{{1,64}}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class VersionNumberConverter:
    """A version number `n.n.n`."""

    regex = r"(?:0|[1-9][0-9]?)\.(?:0|[1-9][0-9]?)\.(?:0|[1-9][0-9]?)"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value
