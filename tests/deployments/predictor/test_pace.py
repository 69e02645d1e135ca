"""When calls are computed on the event loop itself."""

from __future__ import annotations

from deployments.predictor.pace import Pace


def learned(pace: Pace, *seconds: float, size: int = 100) -> Pace:
    for one in seconds:
        pace.took(one, size)
    return pace


def test_only_a_model_that_was_brief_many_times_is_trusted():
    assert not learned(Pace(possible=True), *[0.0001] * 63).brief(100)
    assert learned(Pace(possible=True), *[0.0001] * 64).brief(100)


def test_own_code_is_never_trusted():
    assert not learned(Pace(possible=False), *[0.0001] * 1000).brief(100)


def test_a_long_call_ends_the_trust_at_once_and_slower_ones_soon():
    pace = learned(Pace(possible=True), *[0.0001] * 100)
    assert not learned(pace, 0.05).brief(100)
    pace = learned(Pace(possible=True), *[0.0001] * 1000, 0.004)
    assert pace.brief(100)
    assert not learned(pace, *[0.004] * 16).brief(100)


def test_other_sizes_are_judged_by_themselves():
    pace = learned(Pace(possible=True), *[0.0001] * 100, size=100)
    assert pace.brief(127)
    assert not pace.brief(128)
    assert not pace.brief(5_000_000)
