"""Operations survive whatever delivery does to them: doubled, lost, late, half-done."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from console import operations
from console.models import Operation
from console.operations import Again, Cancelled, Kind, LeaseLost, Retry
from console.problems import Problem, ProblemError
from tests.factories import make_model, make_user, make_workspace

KIND = "tests.work"


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """What the kind's `failed` callback was told."""
    heard: list[tuple[Any, str]] = []
    kind = Kind(
        KIND, "Work", failed=lambda op, problem: heard.append((op.pk, problem.code)), is_cancellable=True
    )
    monkeypatch.setitem(operations.kinds, KIND, kind)
    return heard


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    messages: list[tuple[str, float]] = []
    monkeypatch.setattr(operations, "_send", lambda pk, kind, delay=0: messages.append((str(pk), delay)))
    return messages


@pytest.fixture
def operation(workspace: Any, sent: Any) -> Operation:
    return operations.open(KIND, make_model(workspace))


def expire(operation: Operation) -> None:
    Operation.objects.filter(pk=operation.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def now(operation: Operation) -> Operation:
    return Operation.objects.get(pk=operation.pk)


def test_the_message_goes_out_on_commit_only(
    workspace: Any, sent: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        operation = operations.open(KIND, make_model(workspace))
        assert sent == []
    assert sent == [(str(operation.pk), 0)]


def test_opening_twice_gives_the_live_one_and_nudges_it(workspace: Any, sent: Any) -> None:
    model = make_model(workspace)
    first, second = operations.open(KIND, model), operations.open(KIND, model)
    assert first.pk == second.pk
    assert now(first).nudges == 1


def test_after_the_end_a_new_one_is_opened(workspace: Any, operation: Operation) -> None:
    operations.run(operation.pk, lambda lease: None)
    again = operations.open(KIND, workspace.models.get())
    assert again.pk != operation.pk


def test_work_done_is_succeeded(operation: Operation) -> None:
    assert (
        operations.run(operation.pk, lambda lease: lease.beat(done=5, total=5, unit="bytes")) == "succeeded"
    )
    row = now(operation)
    assert (row.state, row.done, row.total, row.attempt) == ("succeeded", 5, 5, 1)
    assert row.finished_at is not None and row.lease_owner == ""


def test_a_second_delivery_claims_nothing(operation: Operation) -> None:
    outcomes = []

    def work(lease: Any) -> None:
        outcomes.append(operations.run(operation.pk, lambda inner: outcomes.append("doubled")))

    operations.run(operation.pk, work)
    assert outcomes == ["not ours"]
    assert operations.run(operation.pk, lambda lease: outcomes.append("after the end")) == "not ours"


def test_a_stale_worker_stops_at_its_next_beat_and_writes_nothing(operation: Operation) -> None:
    def work(lease: Any) -> None:
        expire(operation)
        rival = operations.claim(operation.pk)
        assert rival is not None
        with pytest.raises(LeaseLost):
            lease.beat(done=99, force=True)
        assert not lease.still_held()
        raise LeaseLost

    assert operations.run(operation.pk, work) == "lease lost"
    assert (now(operation).state, now(operation).done) == ("running", 0)


def test_a_stale_worker_that_finishes_changes_nothing(operation: Operation) -> None:
    def work(lease: Any) -> None:
        expire(operation)
        assert operations.claim(operation.pk) is not None

    assert operations.run(operation.pk, work) == "lease lost"
    assert now(operation).state == "running"


def test_a_slice_that_is_over_goes_on_at_once(
    operation: Operation, sent: Any, django_capture_on_commit_callbacks: Any
) -> None:
    def work(lease: Any) -> None:
        raise Again

    sent.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert operations.run(operation.pk, work) == "queued again"
    assert sent == [(str(operation.pk), 0)]
    assert (now(operation).state, now(operation).attempt) == ("queued", 0)


def test_a_passing_failure_waits_and_tells_why(operation: Operation, told: list[Any]) -> None:
    def work(lease: Any) -> None:
        raise Retry(30, Problem("registry.source.unreachable", {"connection": "c"}))

    assert operations.run(operation.pk, work) == "queued again"
    row = now(operation)
    assert row.problem is not None and row.problem.code == "registry.source.unreachable"
    assert row.not_before is not None and row.not_before > timezone.now() + timedelta(seconds=20)
    assert operations.run(operation.pk, work) == "not ours", "it is not due yet"
    assert told == []


def test_a_failure_that_never_passes_ends_after_five_attempts(operation: Operation, told: list[Any]) -> None:
    def work(lease: Any) -> None:
        raise Retry(0, Problem("registry.source.unreachable"))

    outcomes = [operations.run(operation.pk, work) for _ in range(6)]
    assert outcomes == ["queued again"] * 4 + ["failed", "not ours"]
    assert told == [(operation.pk, "registry.source.unreachable")]


def test_a_refusal_fails_at_once_with_its_problem(operation: Operation, told: list[Any]) -> None:
    def work(lease: Any) -> None:
        raise ProblemError("registry.package.config_missing", path="x")

    assert operations.run(operation.pk, work) == "failed"
    assert now(operation).problem == Problem("registry.package.config_missing", {"path": "x"})
    assert told == [(operation.pk, "registry.package.config_missing")]


def test_a_bug_is_shown_with_its_number_and_not_its_words(operation: Operation, told: list[Any]) -> None:
    def work(lease: Any) -> None:
        raise ZeroDivisionError("secret inside")

    assert operations.run(operation.pk, work) == "failed"
    problem = now(operation).problem
    assert problem is not None and problem.code == "worker.internal"
    assert str(operation.pk) in problem.cause and "secret" not in str(problem.params)
    assert told == [(operation.pk, "worker.internal")]


def test_a_nudge_during_the_work_makes_it_look_again(workspace: Any, operation: Operation) -> None:
    rounds = []

    def work(lease: Any) -> None:
        rounds.append(lease.nudges)
        if len(rounds) == 1:
            operations.open(KIND, workspace.models.get())

    assert operations.run(operation.pk, work) == "queued again"
    assert operations.run(operation.pk, work) == "succeeded"
    assert rounds == [0, 1]


def test_a_nudge_that_was_looked_at_needs_no_second_round(workspace: Any, operation: Operation) -> None:
    def work(lease: Any) -> None:
        operations.open(KIND, workspace.models.get())
        lease.look_again()

    assert operations.run(operation.pk, work) == "succeeded"


def test_cancelling_a_queued_one_ends_it_at_once(operation: Operation, told: list[Any]) -> None:
    assert operations.request_cancel(operation)
    assert now(operation).state == "cancelled"
    assert told == [(operation.pk, "worker.cancelled")]
    assert operations.run(operation.pk, lambda lease: None) == "not ours"


def test_cancelling_a_running_one_stops_it_at_its_next_beat(operation: Operation, told: list[Any]) -> None:
    def work(lease: Any) -> None:
        assert operations.request_cancel(operation)
        with pytest.raises(Cancelled):
            lease.beat(force=True)
        raise Cancelled

    assert operations.run(operation.pk, work) == "cancelled"
    assert told == [(operation.pk, "worker.cancelled")]
    assert not operations.request_cancel(operation)


def test_beats_in_quick_succession_cost_one_write(
    operation: Operation, django_assert_num_queries: Any
) -> None:
    lease = operations.claim(operation.pk)
    assert lease is not None
    lease.beat(done=1, total=100, unit="bytes", stage="copy")
    with django_assert_num_queries(0):
        for done in range(2, 50):
            lease.beat(done=done)
    lease.beat(done=50, force=True)
    assert now(operation).done == 50


def test_the_sweep_sends_again_what_was_never_claimed(operation: Operation, sent: list[Any]) -> None:
    old = timezone.now() - timedelta(seconds=61)
    Operation.objects.filter(pk=operation.pk).update(sent_at=timezone.now())
    sent.clear()
    assert operations.sweep()["sent"] == 0
    Operation.objects.filter(pk=operation.pk).update(sent_at=old)
    assert operations.sweep()["sent"] == 1
    assert sent == [(str(operation.pk), 0)]


def test_the_sweep_takes_back_what_a_dead_worker_held(operation: Operation, sent: list[Any]) -> None:
    operations.claim(operation.pk)
    assert operations.sweep()["taken_back"] == 0, "its lease still runs"
    expire(operation)
    assert operations.sweep()["taken_back"] == 1
    assert now(operation).state == "queued"
    assert operations.run(operation.pk, lambda lease: None) == "succeeded"


def test_the_sweep_gives_up_after_five_lost_workers(operation: Operation, told: list[Any], sent: Any) -> None:
    for _ in range(operations.MOST_ATTEMPTS):
        assert operations.claim(operation.pk) is not None
        expire(operation)
        last = operations.sweep()
    assert last["given_up"] == 1
    problem = now(operation).problem
    assert problem is not None and (problem.code, problem.params) == ("worker.lost", {"attempts": 5})
    assert told == [(operation.pk, "worker.lost")]


def test_a_broker_that_is_away_loses_nothing(
    workspace: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("redis is away")

    monkeypatch.setattr(operations.current_app, "send_task", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        operation = operations.open(KIND, make_model(workspace))
    assert now(operation).sent_at is None
    monkeypatch.setattr(operations.current_app, "send_task", lambda *args, **kwargs: None)
    operations.sweep()
    assert now(operation).sent_at is not None


@pytest.mark.django_db(transaction=True)
def test_of_six_claimers_one_wins_every_time(sent: Any) -> None:
    workspace = make_workspace()
    make_user(workspace)
    for _round in range(10):
        operation = operations.open(KIND, make_model(workspace))
        won: list[Any] = []
        start = threading.Barrier(6)

        def race(pk: Any = operation.pk, start: Any = start, won: Any = won) -> None:
            start.wait()
            lease = operations.claim(pk)
            if lease is not None:
                won.append(lease.owner)
            connection.close()

        racers = [threading.Thread(target=race) for _ in range(6)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(won) == 1
        assert now(operation).lease_owner == won[0]


@pytest.mark.django_db(transaction=True)
def test_of_six_openers_one_makes_it_and_the_others_nudge(sent: Any) -> None:
    workspace = make_workspace()
    for _round in range(5):
        model = make_model(workspace)
        opened: list[Any] = []
        start = threading.Barrier(6)

        def race(model: Any = model, start: Any = start, opened: Any = opened) -> None:
            start.wait()
            opened.append(operations.open(KIND, model).pk)
            connection.close()

        racers = [threading.Thread(target=race) for _ in range(6)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(opened) == 6 and len(set(opened)) == 1
        assert Operation.objects.get(pk=opened[0]).nudges == 5
