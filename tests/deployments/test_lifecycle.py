from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from console.lifecycle import IllegalTransition, LostRace, fire
from deployments import lifecycle
from deployments.models import Instance, Service
from tests.deployments.making import make_service

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("specification")]


@pytest.fixture
def service(owner, workspace) -> Service:
    return make_service(owner, workspace)


@pytest.fixture
def instance(service) -> Instance:
    target = service.revisions.get().targets.get()
    return Instance.objects.create(service=service, target=target, status="starting")


@pytest.mark.parametrize("status", lifecycle.SERVICE.values)
@pytest.mark.parametrize("trigger", lifecycle.SERVICE.triggers)
def test_a_service_moves_by_the_table_alone(service, status, trigger):
    _check(service, lifecycle.SERVICE, status, trigger)


@pytest.mark.parametrize("status", lifecycle.INSTANCE.values)
@pytest.mark.parametrize("trigger", lifecycle.INSTANCE.triggers)
def test_an_instance_moves_by_the_table_alone(instance, status, trigger):
    _check(instance, lifecycle.INSTANCE, status, trigger)


def _check(obj, table, status: str, trigger: str) -> None:
    type(obj).objects.filter(pk=obj.pk).update(status=status)
    obj.refresh_from_db()
    revision, events = obj.revision, obj.events.count()
    if table.can(status, trigger):
        event = fire(obj, trigger)
        obj.refresh_from_db()
        assert obj.status == table.table[status, trigger]
        assert (event.from_status, event.to_status) == (status, obj.status)
        assert event.sentence != event.code, "an event without a sentence"
        assert obj.revision == revision + 1
    else:
        with pytest.raises(IllegalTransition):
            fire(obj, trigger)
        obj.refresh_from_db()
        assert (obj.status, obj.revision, obj.events.count()) == (status, revision, events)


@pytest.mark.facts(127, 128, 129, 130, 131)
def test_the_table_says_what_the_documents_say():
    table = lifecycle.SERVICE
    assert table.sources("start") == ["failed", "stopped", "finished"]
    assert set(table.sources("delete")) == set(table.values) - {"deploying", "stopping", "deleting"}
    for trigger in ("start", "revise", "delete"):
        assert not table.can("deploying", trigger)
    labels = {value: str(status.label) for value, status in table.statuses.items()}
    assert labels["concerning"] == "Alarm" and labels["failed"] == "Abnormal"


def test_an_unknown_status_is_refused_by_the_database(service):
    with pytest.raises(IntegrityError), transaction.atomic():
        Service.objects.filter(pk=service.pk).update(status="perfect")


def test_of_two_who_read_the_same_row_one_moves_it(service):
    mine, yours = Service.objects.get(pk=service.pk), Service.objects.get(pk=service.pk)
    fire(mine, "stop")
    with pytest.raises(LostRace):
        fire(yours, "stop")
    assert service.events.filter(trigger="stop").count() == 1
