"""Version numbers `n.n.n` of one or two digits a part, and their rank: the order and what comes next.

Pure; the shape of a typed number is the business of `registry.validators`.
"""

from __future__ import annotations

LARGEST_RANK = 99_99_99


def rank_of(number: str) -> int:
    """The place of a valid `number` among all: 0.0.1 is 1, 1.0.0 is 10000."""
    major, minor, patch = (int(part) for part in number.split("."))
    return (major * 100 + minor) * 100 + patch


def number_of(rank: int) -> str:
    """The number at `rank`; empty when there is none (after 99.99.99)."""
    if not 0 <= rank <= LARGEST_RANK:
        return ""
    rest, patch = divmod(rank, 100)
    major, minor = divmod(rest, 100)
    return f"{major}.{minor}.{patch}"
