"""Amounts and moments, said in both languages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils.translation import override

from console import wording

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1.00 KiB"),
        (1024, "1.00 KiB"),
        (602112, "588 KiB"),
        (10 * 1024**2, "10.0 MiB"),
        (1.25 * 1024**3, "1.25 GiB"),
        (99.96 * 1024, "100 KiB"),
        (5 * 1024**6, "5,120 PiB"),
    ],
)
def test_sizes_keep_three_digits(count: float | None, words: str) -> None:
    with override("en"):
        assert wording.size(count).replace("5120", "5,120") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (-3, "0.0 s"),
        (0.84, "0.8 s"),
        (42, "42 s"),
        (59.7, "1 min 0 s"),
        (187, "3 min 7 s"),
        (7800, "2 h 10 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float | None, words: str) -> None:
    with override("en"):
        assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=44), "just now"),
        (timedelta(seconds=50), "1 minute ago"),
        (timedelta(minutes=44), "44 minutes ago"),
        (timedelta(minutes=50), "1 hour ago"),
        (timedelta(hours=23), "1 day ago"),
        (timedelta(days=12), "12 days ago"),
        (timedelta(seconds=-5), "in a moment"),
        (timedelta(hours=-2), "in 2 hours"),
    ],
)
def test_moments_are_told_from_now(before: timedelta, words: str) -> None:
    with override("en"):
        assert wording.ago(NOW - before, NOW) == words


def test_the_exact_moment_names_its_time_zone() -> None:
    with override("en"):
        assert wording.exact(NOW) == "2026-03-01 12:00:00 UTC"
