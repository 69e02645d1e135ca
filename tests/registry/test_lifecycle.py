"""The table of a version's life: every status against every trigger."""

from __future__ import annotations

from typing import Any

import pytest

from console.lifecycle import IllegalTransition, LostRace, fire
from console.models import Workspace
from registry import lifecycle
from registry.models import Version, VersionEvent
from tests.factories import make_environment, make_version

WAYS = {
    ("publishing", "package_ready"): "building",
    ("publishing", "fail"): "failed",
    ("publishing", "cancel"): "failed",
    ("building", "environment_ready"): "published",
    ("building", "build_failed"): "building_failed",
    ("building", "cancel"): "building_failed",
    ("published", "edit_dependencies"): "building",
    ("published", "replace_files"): "publishing",
    ("published", "delete"): "deleting",
    ("failed", "retry"): "publishing",
    ("failed", "delete"): "deleting",
    ("building_failed", "edit_dependencies"): "building",
    ("building_failed", "retry"): "publishing",
    ("building_failed", "delete"): "deleting",
}
STATUSES = ["publishing", "building", "published", "failed", "building_failed", "deleting"]
TRIGGERS = sorted({trigger for _status, trigger in WAYS})


def test_the_table_is_the_documented_one() -> None:
    assert {(source, trigger): to for source, trigger, to in lifecycle.VERSION} == WAYS
    assert lifecycle.VERSION.values == STATUSES


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("status", STATUSES)
def test_every_trigger_from_every_status(status: str, trigger: str, workspace: Workspace) -> None:
    version = make_version(workspace, status=status, environment=make_environment())
    wanted = WAYS.get((status, trigger))
    if wanted is None:
        with pytest.raises(IllegalTransition):
            fire(version, trigger)
        assert Version.objects.get(pk=version.pk).status == status
        assert not version.events.exists()
        return
    event = fire(version, trigger)
    kept = Version.objects.get(pk=version.pk)
    assert (kept.status, kept.revision, version.status) == (wanted, 2, wanted)
    assert (event.from_status, event.to_status, event.revision) == (status, wanted, 2)


def test_only_normal_is_deployable(workspace: Workspace) -> None:
    for status in STATUSES:
        version = make_version(workspace, status=status, environment=make_environment())
        assert version.is_deployable is (status == "published")


def test_of_two_that_fire_at_once_one_loses_and_leaves_nothing(workspace: Workspace) -> None:
    version = make_version(workspace, status="failed")
    rival = Version.objects.get(pk=version.pk)
    fire(version, "retry")
    with pytest.raises(LostRace):
        fire(rival, "delete")
    assert VersionEvent.objects.filter(subject=version).count() == 1


def test_every_event_of_the_lifecycle_has_a_sentence(workspace: Workspace) -> None:
    from console.problems import registered

    spoken: set[Any] = {"package_ready", "environment_ready", "retry", "delete"}
    assert not {f"registry.version.{trigger}" for trigger in spoken} - set(registered())
