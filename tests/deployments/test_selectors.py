from __future__ import annotations

import pytest

from console import history
from deployments import selectors, services
from deployments.models import Service
from tests.deployments.making import make_running, make_service, names_of, work_on
from tests.factories import make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("specification")]


def test_only_members_see_services(owner, workspace, viewer, stranger, admin_user):
    service = make_service(owner, workspace)
    for actor in (owner, viewer, admin_user):
        assert list(selectors.services_of(actor, workspace)) == [service]
    assert not selectors.services_of(stranger, workspace).exists()
    assert not selectors.services_of(None, workspace).exists()
    assert not selectors.services_of(owner, make_workspace()).exists()


def test_the_list_counts_ready_and_wanted_instances(owner, workspace, runtime, gateway):
    make_service(owner, workspace, name="new", instance_count=3)
    running = make_running(owner, workspace, name="old", instance_count=2)
    services.scale(actor=owner, service=running, instance_count=5)
    rows = {row.name: (row.ready_count, row.wanted_count) for row in selectors.service_list(owner, workspace)}
    assert rows == {"new": (0, 3), "old": (2, 5)}


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("name", ["a", "B", "c"]),
        ("-name", ["c", "B", "a"]),
        ("created", ["B", "c", "a"]),
        ("x'", ["a", "c", "B"]),
    ],
)
def test_the_list_is_sorted_as_asked_and_newest_first_otherwise(owner, workspace, sort, names):
    for name in ("B", "c", "a"):
        make_service(owner, workspace, name=name)
    assert [row.name for row in selectors.service_list(owner, workspace, sort=sort)] == names


def test_the_list_is_narrowed_by_name_and_status(owner, workspace):
    make_service(owner, workspace, name="iris")
    stopped = make_service(owner, workspace, name="digits")
    Service.objects.filter(pk=stopped.pk).update(status="stopped")
    assert [row.name for row in selectors.service_list(owner, workspace, search="IRI")] == ["iris"]
    assert [row.name for row in selectors.service_list(owner, workspace, status="stopped")] == ["digits"]
    assert list(selectors.service_list(owner, workspace, search="%")) == []


def test_targets_are_those_of_the_wanted_configuration(
    owner, workspace, runtime, gateway, django_assert_num_queries
):
    rows = [make_running(owner, workspace) for _ in range(3)]
    services.scale(actor=owner, service=rows[0], instance_count=4)
    with django_assert_num_queries(1):
        selectors.attach_targets(rows)
        counts = [[(t.instance_count, t.version.model.name != "") for t in row.targets_now] for row in rows]
    assert counts == [[(4, True)], [(1, True)], [(1, True)]]


def test_events_are_newest_first_and_narrowed_by_kind(owner, workspace, runtime, gateway):
    service = work_on(make_service(owner, workspace, envs={"BEHAVIOUR": "crash"}))
    codes = [event.code for event in history.events_of(service)]
    assert codes[-1] == "deployments.service.deploy"
    assert {event.kind for event in history.events_of(service, "abnormal")} == {"abnormal"}
    assert {event.kind for event in history.events_of(service, "normal")} == {"normal"}
    assert len(history.events_of(service, "nonsense")) == len(codes)


def test_gone_instances_are_shown_after_those_that_are_there(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace, instance_count=2)
    services.scale(actor=owner, service=service, instance_count=1)
    service = work_on(service)
    assert [row.status for row in selectors.instances_of(service)] == ["ready", "gone"]


def test_logs_are_read_and_a_runtime_that_is_away_is_told(owner, workspace, runtime, gateway, monkeypatch):
    from deployments.runtimes.base import RuntimeUnreachable

    service = make_running(owner, workspace)
    instance = service.instances.get(name=names_of(service, "ready")[0])
    assert [line.text for line in selectors.logs_of(instance, 5).lines] == ["starting"]
    assert selectors.logs_of(None, 5).lines == []

    def away(*_args, **_more):
        raise RuntimeUnreachable("no supervisord")

    monkeypatch.setattr(runtime, "logs", away)
    assert selectors.logs_of(instance, 5).detail == "no supervisord"
