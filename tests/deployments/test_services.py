from __future__ import annotations

import threading
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.db import connection

from console.access import Denied
from console.lifecycle import IllegalTransition, LostRace
from console.models import AuditEntry, Operation, Role
from console.problems import ProblemError
from deployments import services
from deployments.models import Instance, RevisionTarget, Service, ServiceRevision, Specification
from deployments.services import TargetSpec
from tests.deployments.making import codes_of, make_running, make_service, work_on
from tests.factories import make_user, make_version, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("specification")]


@contextmanager
def refused(code: str, field: str | None = None):
    """The call inside raises this problem at this field; yields what pytest.raises gives."""
    with pytest.raises(ProblemError) as error:
        yield error
    assert error.value.problem.code == code
    assert error.value.field == field


def everything() -> list[int]:
    """How many rows there are of each kind."""
    models = (Service, ServiceRevision, RevisionTarget, Instance, Operation, AuditEntry)
    return [model.objects.count() for model in models]


def deploy(owner, workspace, version, **changes):
    target = {"version_id": version.pk} | changes.pop("target", {})
    wish = {"name": "iris", "targets": [TargetSpec(**target)]} | changes
    return services.deploy(actor=owner, workspace=workspace, **wish)


# Deploy


def test_deploying_writes_what_is_wanted_and_opens_the_work(owner, workspace):
    version = make_version(workspace, owner)
    service = deploy(owner, workspace, version, description="Three kinds", target={"envs": {"A": "1"}})
    assert (service.status, service.desired, service.wanted_revision) == ("deploying", "running", 1)
    target = RevisionTarget.objects.get()
    assert (target.version, target.weight, target.instance_count, target.envs) == (
        version,
        100,
        1,
        {"A": "1"},
    )
    assert len(service.keys.get().secret) >= 40
    operation = Operation.objects.get()
    assert (operation.kind, operation.target_id, operation.actor) == (
        "deployments.converge",
        service.pk,
        owner,
    )
    assert codes_of(service) == ["deployments.service.deploy"]
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.actor, entry.data["targets"][0]["variables"]) == (
        "service.deploy",
        owner,
        ["A"],
    )


def test_variables_and_keys_are_unreadable_in_the_database(owner, workspace):
    version = make_version(workspace, owner)
    service = deploy(owner, workspace, version, target={"envs": {"A": "confidential"}})
    with connection.cursor() as cursor:
        cursor.execute("SELECT environment_variables FROM deployments_revisiontarget")
        assert "confidential" not in cursor.fetchone()[0]
        cursor.execute("SELECT secret FROM deployments_accesskey")
        assert service.keys.get().secret not in cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"name": "a b"}, "registry.field.model_name", "name"),
        ({"name": "a\n"}, "registry.field.model_name", "name"),
        ({"name": "x" * 65}, "registry.field.model_name", "name"),
        ({"description": "x" * 101}, "registry.field.description_long", "description"),
        ({"description": "a=b"}, "registry.field.description", "description"),
        ({"timeout_seconds": 179}, "deployments.timeout", "timeout"),
        ({"timeout_seconds": 7201}, "deployments.timeout", "timeout"),
        ({"targets": []}, "deployments.targets.none", "version"),
        ({"target": {"version_id": uuid4()}}, "deployments.version.missing", "version"),
        ({"target": {"instance_count": 0}}, "deployments.targets.count", "instance_count"),
        ({"target": {"instance_count": 129}}, "deployments.targets.count", "instance_count"),
        ({"target": {"weight": 90}}, "deployments.targets.weights", "weight"),
        ({"target": {"specification": "x"}}, "deployments.specification.missing", "specification"),
        ({"target": {"envs": {"LD_PRELOAD": "x"}}}, "deployments.variable.forbidden", "envs"),
        ({"target": {"envs": {"slipway_x": "x"}}}, "deployments.variable.forbidden", "envs"),
        ({"target": {"envs": {"1A": "x"}}}, "deployments.variable.name", "envs"),
        ({"target": {"envs": {"A": "x\0"}}}, "deployments.variable.value", "envs"),
        ({"target": {"envs": {f"A{n}": "" for n in range(65)}}}, "deployments.variable.many", "envs"),
    ],
)
def test_what_is_not_allowed_is_refused_at_its_field_and_leaves_nothing(
    owner, workspace, changes, code, field
):
    version = make_version(workspace, owner)
    before = everything()
    with refused(code, field):
        deploy(owner, workspace, version, **changes)
    assert everything() == before


@pytest.mark.facts(105, 116)
@pytest.mark.parametrize("status", ["publishing", "building", "failed", "building_failed", "deleting"])
def test_only_a_normal_version_is_deployed(owner, workspace, status):
    version = make_version(workspace, owner, status=status)
    with refused("deployments.version.not_normal", "version") as refusal:
        deploy(owner, workspace, version)
    assert refusal.value.problem.documented == "ModelArts.3515"


def test_a_version_for_batch_alone_is_refused(owner, workspace):
    version = make_version(workspace, owner, deployment_types=["batch"])
    with refused("deployments.version.type_not_allowed", "version"):
        deploy(owner, workspace, version)


@pytest.mark.facts(117, 123)
def test_several_versions_share_the_calls_and_must_differ(owner, workspace):
    one, two = make_version(workspace, owner), make_version(workspace, owner, number="0.0.2")
    twice = [TargetSpec(one.pk, weight=50), TargetSpec(one.pk, weight=50)]
    with refused("deployments.version.twice", "version"):
        deploy(owner, workspace, one, targets=twice)
    with refused("deployments.targets.weights", "weight"):
        deploy(owner, workspace, one, targets=[TargetSpec(one.pk, weight=50), TargetSpec(two.pk, weight=49)])
    service = deploy(
        owner, workspace, one, targets=[TargetSpec(one.pk, weight=90), TargetSpec(two.pk, weight=10)]
    )
    assert [target.weight for target in services.targets_of(service)] == [90, 10]


def test_a_closed_specification_is_refused(owner, workspace):
    Specification.objects.update(is_open=False)
    with refused("deployments.specification.missing", "specification"):
        deploy(owner, workspace, make_version(workspace, owner))


def test_a_name_is_unique_in_its_workspace_alone(owner, workspace):
    deploy(owner, workspace, make_version(workspace, owner))
    with refused("deployments.service.name_taken", "name") as refusal:
        deploy(owner, workspace, make_version(workspace, owner))
    assert refusal.value.problem.documented == "ModelArts.3503"
    elsewhere = make_workspace()
    other = make_user(elsewhere)
    deploy(other, elsewhere, make_version(elsewhere, other))


@pytest.mark.facts(104)
def test_the_twenty_first_service_of_a_user_is_refused(owner, workspace, settings):
    assert settings.SLIPWAY_SERVICES_PER_USER == 20
    version = make_version(workspace, owner)
    for number in range(20):
        deploy(owner, workspace, version, name=f"s{number}")
    Service.objects.filter(name="s0").update(status="stopped")
    Service.objects.filter(name="s1").update(status="failed")
    with refused("deployments.service.quota") as refusal:
        deploy(owner, workspace, version, name="s20")
    assert refusal.value.problem.documented == "ModelArts.3520"
    deploy(make_user(workspace), workspace, version, name="s20")
    Service.objects.filter(name="s0").update(status="deleting")
    deploy(owner, workspace, version, name="s21")


def test_who_may_deploy(owner, workspace, viewer, stranger, admin_user):
    version = make_version(workspace, owner)
    for actor in (viewer, stranger):
        with pytest.raises(Denied):
            deploy(actor, workspace, version)
    assert not Service.objects.exists()
    deploy(admin_user, workspace, version)


def test_a_version_of_another_workspace_is_absent(owner, workspace):
    elsewhere = make_workspace()
    version = make_version(elsewhere, make_user(elsewhere))
    with refused("deployments.version.missing", "version"):
        deploy(owner, workspace, version)


# Races, on a database file with threads


def at_once(count: int, act) -> list:
    """What `count` threads that begin together got: results and errors."""
    gate, got = threading.Barrier(count), []

    def racer(number: int) -> None:
        gate.wait()
        try:
            got.append(act(number))
        except (ProblemError, LostRace, IllegalTransition) as error:
            got.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=racer, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


@pytest.fixture
def committed(transactional_db):
    """A workspace, its owner and a version that other threads see."""
    services.seed_specifications()
    workspace = make_workspace()
    owner = make_user(workspace, Role.DEVELOPER)
    return owner, workspace, make_version(workspace, owner)


def test_of_six_who_want_one_name_one_gets_it(committed):
    owner, workspace, version = committed
    got = at_once(6, lambda number: deploy(owner, workspace, version))
    assert [type(each) for each in got].count(Service) == 1
    codes = {each.problem.code for each in got if isinstance(each, ProblemError)}
    assert codes == {"deployments.service.name_taken"}
    assert [Service.objects.count(), Operation.objects.count(), ServiceRevision.objects.count()] == [1, 1, 1]


def test_the_quota_holds_against_a_rush(committed, settings):
    settings.SLIPWAY_SERVICES_PER_USER = 3
    owner, workspace, version = committed
    got = at_once(8, lambda number: deploy(owner, workspace, version, name=f"s{number}"))
    assert [type(each) for each in got].count(Service) == 3
    assert Service.objects.count() == 3


def test_of_six_who_stop_at_once_one_does(committed):
    owner, workspace, version = committed
    service = deploy(owner, workspace, version)
    got = at_once(6, lambda number: services.stop(actor=owner, service=Service.objects.get(pk=service.pk)))
    assert got.count(None) == 1
    assert service.events.filter(trigger="stop").count() == 1
    assert AuditEntry.objects.filter(verb="service.stop").count() == 1


def test_of_six_who_modify_at_once_one_does(committed):
    owner, workspace, version = committed
    service = deploy(owner, workspace, version)
    Service.objects.filter(pk=service.pk).update(status="running", good_revision=1)

    def modify(number: int):
        target = TargetSpec(version.pk, instance_count=number + 2)
        return services.modify(actor=owner, service=Service.objects.get(pk=service.pk), targets=[target])

    got = at_once(6, modify)
    assert [type(each) for each in got].count(Service) == 1
    assert list(service.revisions.order_by("number").values_list("number", flat=True)) == [1, 2]


# Changes


def test_modifying_makes_a_new_configuration_and_keeps_the_old(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    [target] = services.targets_of(service)
    services.modify(actor=owner, service=service, targets=[TargetSpec(target.version_id, instance_count=2)])
    assert (service.status, service.wanted_revision, service.good_revision) == ("deploying", 2, 1)
    assert [each.number for each in service.revisions.all()] == [2, 1]
    assert services.targets_of(service)[0].key == target.key, "more of the same are interchangeable"
    with pytest.raises(IllegalTransition):
        services.modify(actor=owner, service=service, targets=[TargetSpec(target.version_id)])


def test_an_equal_configuration_changes_nothing(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace, envs={"A": "1"})
    [target] = services.targets_of(service)
    before = everything()
    services.modify(actor=owner, service=service, targets=[TargetSpec(target.version_id, envs={"A": "1"})])
    assert everything() == before and service.status == "running"


@pytest.mark.parametrize("changes", [{"envs": {"A": "2"}}, {"instance_count": 1}])
def test_the_key_tells_what_needs_another_instance(owner, workspace, runtime, gateway, changes):
    service = make_running(owner, workspace, envs={"A": "1"}, instance_count=2)
    [before] = services.targets_of(service)
    target = {"envs": {"A": "1"}, "instance_count": 2} | changes
    services.modify(actor=owner, service=service, targets=[TargetSpec(before.version_id, **target)])
    [after] = services.targets_of(service)
    assert (after.key == before.key) == ("envs" not in changes)


def test_a_version_that_runs_may_stay_when_it_is_not_normal_any_more(owner, workspace, runtime, gateway):
    version = make_version(workspace, owner)
    service = make_running(owner, workspace, version=version)
    type(version).objects.filter(pk=version.pk).update(status="building")
    services.scale(actor=owner, service=service, instance_count=2)
    assert service.wanted_revision == 2


def test_a_stopped_service_gets_its_new_configuration_at_the_next_start(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    services.stop(actor=owner, service=service)
    service = work_on(service)
    services.scale(actor=owner, service=service, instance_count=2)
    service = work_on(service)
    assert (service.status, service.wanted_revision, len(runtime.instances)) == ("stopped", 2, 0)
    services.start(actor=owner, service=service)
    assert work_on(service).status == "running"
    assert len(runtime.instances) == 2


def test_a_version_that_is_not_normal_any_more_is_not_started(owner, workspace, runtime, gateway):
    version = make_version(workspace, owner)
    service = make_running(owner, workspace, version=version)
    services.stop(actor=owner, service=service)
    service = work_on(service)
    type(version).objects.filter(pk=version.pk).update(status="building")
    with refused("deployments.version.not_normal", "version"):
        services.start(actor=owner, service=service)
    assert Service.objects.get().status == "stopped"


@pytest.mark.parametrize("act", ["start", "stop", "delete"])
def test_acts_follow_the_table_and_leave_their_traces(owner, workspace, act):
    for status in Service.lifecycle.values:
        service = make_service(owner, workspace)
        Operation.objects.all().delete()
        Service.objects.filter(pk=service.pk).update(status=status)
        service.refresh_from_db()
        call = getattr(services, act)
        if not service.can(act):
            with pytest.raises(IllegalTransition):
                call(actor=owner, service=service)
            assert not Operation.objects.exists()
            continue
        call(actor=owner, service=service)
        wanted = {"start": "running", "stop": "stopped", "delete": "deleted"}[act]
        assert Service.objects.get(pk=service.pk).desired == wanted
        assert service.events.get(trigger=act).actor == owner
        assert AuditEntry.objects.filter(verb=f"service.{act}", target_id=str(service.pk)).count() == 1
        assert Operation.objects.get().target_id == service.pk


def test_who_may_change(owner, workspace, viewer, stranger, admin_user):
    other = make_user(workspace, Role.DEVELOPER)
    service = make_service(owner, workspace)
    [target] = services.targets_of(service)
    wish = [TargetSpec(target.version_id, instance_count=2)]
    for actor in (viewer, stranger, other):
        for call in (
            lambda actor: services.stop(actor=actor, service=service),
            lambda actor: services.start(actor=actor, service=service),
            lambda actor: services.delete(actor=actor, service=service),
            lambda actor: services.modify(actor=actor, service=service, targets=wish),
            lambda actor: services.scale(actor=actor, service=service, instance_count=2),
            lambda actor: services.roll_back_to(actor=actor, service=service, number=1),
            lambda actor: services.edit_description(actor=actor, service=service, description="x"),
        ):
            with pytest.raises(Denied):
                call(actor)
    services.stop(actor=admin_user, service=service)


def test_a_version_in_use_cannot_be_removed(owner, workspace):
    from django.db.models import RestrictedError

    version = make_version(workspace, owner)
    make_service(owner, workspace, version=version)
    with pytest.raises(RestrictedError):
        version.delete()


@pytest.mark.facts(118)
def test_the_documented_specification_is_seeded_once():
    services.seed_specifications()
    services.seed_specifications()
    only = Specification.objects.get()
    assert (only.code, only.name_en, only.name_zh) == (
        "modelarts.vm.cpu.2u",
        "CPU: 2 vCPUs 8 GiB",
        "CPU 2核 8GiB",
    )
    assert only.memory_bytes == 8 * 1024**3
