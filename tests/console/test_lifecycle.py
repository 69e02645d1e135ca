"""`fire` is the only way a status changes: the table rules, one racer wins, one event tells it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from console.lifecycle import IllegalTransition, Lifecycle, LostRace, Status, advance, fire, note
from console.problems import Problem
from registry import lifecycle
from registry.models import Version
from tests.factories import make_user, make_version, make_workspace


def test_a_table_that_names_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        Lifecycle([Status("here", "Here", "ok")], {"go": {"here": "nowhere"}})


def test_fire_moves_the_row_the_object_and_leaves_one_event(workspace: Any, owner: Any) -> None:
    version = make_version(workspace, status=lifecycle.PUBLISHING)
    event = fire(version, "package_ready", actor=owner, params={"files": 3}, size_bytes=12)
    stored = Version.objects.get(pk=version.pk)
    assert (stored.status, stored.revision, stored.size_bytes) == (lifecycle.BUILDING, 2, 12)
    assert (version.status, version.revision, version.size_bytes) == (lifecycle.BUILDING, 2, 12)
    assert (event.trigger, event.from_status, event.to_status) == ("package_ready", "publishing", "building")
    assert (event.kind, event.actor, event.params) == ("normal", owner, {"files": 3})


def test_a_problem_makes_the_event_abnormal(workspace: Any) -> None:
    version = make_version(workspace, status=lifecycle.PUBLISHING)
    event = fire(version, "fail", problem=Problem("registry.package.config_missing", {"path": "a"}))
    assert event.kind == "abnormal"
    assert event.problem == Problem("registry.package.config_missing", {"path": "a"})


@pytest.mark.parametrize("status", lifecycle.VERSION.values)
@pytest.mark.parametrize("trigger", lifecycle.VERSION.triggers)
def test_every_pair_does_what_the_table_says(workspace: Any, status: str, trigger: str) -> None:
    version = make_version(workspace, status=status)
    version.refresh_from_db()
    to = lifecycle.VERSION.table.get((status, trigger))
    if to is None:
        with pytest.raises(IllegalTransition):
            fire(version, trigger)
        assert Version.objects.get(pk=version.pk).status == status
        assert not version.events.exists()
    else:
        needs = {}
        if to == lifecycle.PUBLISHED and version.environment is None:
            from tests.factories import make_environment

            needs["environment"] = make_environment()
        fire(version, trigger, **needs)
        assert Version.objects.get(pk=version.pk).status == to
        assert version.events.count() == 1


def test_a_stale_object_loses_and_writes_nothing(workspace: Any) -> None:
    version = make_version(workspace, status=lifecycle.PUBLISHING)
    stale = Version.objects.get(pk=version.pk)
    fire(version, "package_ready")
    with pytest.raises(LostRace):
        fire(stale, "fail")
    assert version.events.count() == 1
    assert Version.objects.get(pk=version.pk).status == lifecycle.BUILDING


def test_a_version_cannot_be_normal_without_its_files_and_environment(workspace: Any) -> None:
    version = make_version(workspace, status=lifecycle.BUILDING)
    with pytest.raises(IntegrityError), transaction.atomic():
        fire(version, "environment_ready")
    assert Version.objects.get(pk=version.pk).status == lifecycle.BUILDING
    assert not version.events.exists()


def test_a_note_leaves_the_status_alone(workspace: Any) -> None:
    version = make_version(workspace)
    note(version, "registry.version.described")
    version.refresh_from_db()
    assert (version.revision, version.events.count()) == (1, 1)


def test_progress_of_a_revision_that_is_over_is_not_written(workspace: Any) -> None:
    version = make_version(workspace, status=lifecycle.PUBLISHING)
    stale = Version.objects.get(pk=version.pk)
    assert advance(version, 140)
    assert Version.objects.get(pk=version.pk).progress == 100
    fire(version, "package_ready")
    assert not advance(stale, 50)
    assert Version.objects.get(pk=version.pk).progress == 0


@pytest.mark.django_db(transaction=True)
def test_of_eight_racers_one_wins_every_time() -> None:
    workspace = make_workspace()
    make_user(workspace)
    for _round in range(10):
        version = make_version(workspace, status=lifecycle.PUBLISHING)
        outcomes: list[str] = []
        start = threading.Barrier(8)

        def race(pk: Any = version.pk, start: Any = start, outcomes: Any = outcomes) -> None:
            mine = Version.objects.get(pk=pk)
            start.wait()
            try:
                fire(mine, "package_ready")
                outcomes.append("won")
            except LostRace:
                outcomes.append("lost")
            finally:
                connection.close()

        racers = [threading.Thread(target=race) for _ in range(8)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert sorted(outcomes) == ["lost"] * 7 + ["won"]
        assert version.events.count() == 1
