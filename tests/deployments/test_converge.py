from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from console import operations
from console.models import Operation
from deployments import actions, converge, services
from deployments.models import Instance, Service, ServiceRevision
from deployments.services import TargetSpec
from tests.deployments.making import codes_of, make_running, make_service, names_of, work_on
from tests.factories import make_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("specification")]


def test_a_deployment_ends_running_behind_the_gateway(owner, workspace, runtime, gateway):
    service = make_service(owner, workspace, instance_count=2)
    service = work_on(service)
    assert service.status == "running"
    assert service.progress == 100
    assert service.good_revision == 1
    assert service.revisions.get().result == ServiceRevision.SUCCESS
    assert len(runtime.instances) == 2
    route = gateway.route(str(service.pk))
    assert [len(backend.addresses) for backend in route.live] == [2]
    key = service.keys.get().secret
    answered = gateway.answer(str(service.pk), key)
    assert (answered.status, answered.version) == (200, "0.0.1")
    assert gateway.answer(str(service.pk), "wrong").status == 401


def test_the_events_tell_the_steps_in_their_order(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    told = [code.removeprefix("deployments.service.") for code in codes_of(service)]
    assert told == [
        "deploy",
        "scheduled",
        "preparing",
        "prepared",
        "model_starting",
        "instance_ready",
        "traffic",
        "instances_ready",
    ]
    assert all(event.sentence != event.code for event in service.events.all())


def test_callers_are_told_that_it_is_being_deployed(owner, workspace, runtime, gateway):
    service = make_service(owner, workspace, envs={"BEHAVIOUR": "unready"})
    operations.run(Operation.objects.get(target_id=service.pk).pk, converge.work)
    assert gateway.answer(str(service.pk), service.keys.get().secret).status == 503
    assert gateway.route(str(service.pk)).unavailable == "deploying"


def test_the_instance_gets_what_its_configuration_says(owner, workspace, runtime, gateway):
    version = make_version(workspace, owner)
    make_running(owner, workspace, version=version, envs={"MODE": "fast"})
    [instance] = runtime.instances.values()
    assert instance.spec.envs == {"MODE": "fast"}
    assert instance.spec.memory_bytes == 8192 * 1024**2
    assert instance.spec.cpu == 2.0
    assert instance.spec.model_version == "0.0.1"
    assert str(instance.spec.package_dir).endswith(version.artifact_prefix)


def test_two_more_instances_start_beside_the_first(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    [first] = runtime.instances
    services.scale(actor=owner, service=service, instance_count=3)
    assert service.status == "deploying"
    service = work_on(service)
    assert service.status == "running"
    assert first in runtime.instances and len(runtime.instances) == 3
    assert ("stop", first) not in runtime.calls
    services.scale(actor=owner, service=service, instance_count=1)
    service = work_on(service)
    assert len(runtime.instances) == 1
    assert [revision.result for revision in service.revisions.all()] == [ServiceRevision.SUCCESS] * 3


def test_another_version_takes_over_without_a_gap(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    newer = make_version(workspace, owner, number="0.0.2")
    services.modify(actor=owner, service=service, targets=[TargetSpec(newer.pk)])
    before = len(gateway.published)
    service = work_on(service)
    assert gateway.answer(str(service.pk), service.keys.get().secret).version == "0.0.2"
    for table in gateway.published[before:]:
        [route] = table
        assert route.live, "a moment without an instance"
    assert len(runtime.instances) == 1


def test_an_update_that_crashes_rolls_back_and_says_so(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    [target] = services.targets_of(service)
    broken = TargetSpec(target.version_id, envs={"BEHAVIOUR": "crash"})
    services.modify(actor=owner, service=service, targets=[broken])
    service = work_on(service)
    assert service.status == "running"
    assert service.wanted_revision == service.good_revision == 1
    results = dict(service.revisions.values_list("number", "result"))
    assert results == {1: ServiceRevision.SUCCESS, 2: ServiceRevision.FAIL}
    codes = codes_of(service)
    assert codes.index("deployments.service.kept_crashing") < codes.index("deployments.service.rolled_back")
    assert len(runtime.instances) == 1


def test_a_model_that_crashes_is_given_up_with_the_reason(owner, workspace, runtime, gateway):
    service = work_on(make_service(owner, workspace, envs={"BEHAVIOUR": "crash"}))
    assert service.status == "failed"
    assert service.problem.code == "deployments.service.kept_crashing"
    assert "exit status 3" in service.problem.cause
    told = service.events.filter(code="deployments.instance.crashes")
    assert told.count() == 3
    assert "cannot load" in told.first().sentence
    assert runtime.instances == {}
    assert gateway.route(str(service.pk)).unavailable == "failed"
    assert service.revisions.get().result == ServiceRevision.FAIL


def test_a_refusal_of_the_machine_is_a_reason_too(owner, workspace, runtime, gateway):
    runtime.refuse = "no space left"
    service = work_on(make_service(owner, workspace))
    assert service.status == "failed"
    assert "no space left" in service.problem.cause


def test_a_missing_environment_is_a_reason_too(owner, workspace, runtime, gateway, monkeypatch):
    monkeypatch.setattr(actions.environments, "find", lambda digest: None)
    service = work_on(make_service(owner, workspace))
    assert service.status == "failed"
    assert service.events.filter(code="deployments.environment.missing").exists()


def test_a_start_that_hangs_fails_with_the_timeout(owner, workspace, runtime, gateway):
    service = make_service(owner, workspace, envs={"BEHAVIOUR": "unready"}, timeout_seconds=180)
    service = work_on(service, most=2)
    assert service.status == "deploying"
    assert 0 < service.progress < 100
    Service.objects.filter(pk=service.pk).update(deploy_started_at=timezone.now() - timedelta(minutes=3))
    service = work_on(service)
    assert service.status == "failed"
    assert service.problem.code == "deployments.service.timed_out"
    assert service.problem.params["minutes"] == 3
    assert runtime.instances == {}


def test_a_failed_service_can_be_started_again(owner, workspace, runtime, gateway):
    runtime.refuse = "no"
    service = work_on(make_service(owner, workspace))
    runtime.refuse = None
    services.start(actor=owner, service=service)
    assert service.problem is None
    assert work_on(service).status == "running"


def test_stop_then_start_then_delete(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace, instance_count=2)
    services.stop(actor=owner, service=service)
    assert service.status == "stopping"
    service = work_on(service)
    assert service.status == "stopped"
    assert runtime.instances == {}
    assert gateway.route(str(service.pk)).unavailable == "stopped"
    services.start(actor=owner, service=service)
    service = work_on(service)
    assert service.status == "running"
    assert len(runtime.instances) == 2
    services.delete(actor=owner, service=service)
    work_on(service)
    assert not Service.objects.filter(pk=service.pk).exists()
    assert runtime.instances == {}
    assert runtime.lines == {}, "the logs of a deleted service stay"
    assert gateway.route(str(service.pk)) is None


@pytest.mark.parametrize("state", ["running", "concerning", "failed", "stopped"])
def test_deleting_leaves_nothing_from_any_state(owner, workspace, runtime, gateway, state):
    behaviour = "crash" if state == "failed" else "ready"
    service = work_on(make_service(owner, workspace, envs={"BEHAVIOUR": behaviour}))
    if state == "stopped":
        services.stop(actor=owner, service=service)
        service = work_on(service)
    if state == "concerning":
        runtime.instances[names_of(service, "ready")[0]].spec.envs["BEHAVIOUR"] = "unready"
        converge.watch()
        service = work_on(service)
    assert service.status == state
    services.delete(actor=owner, service=service)
    work_on(service)
    assert not Service.objects.exists()
    assert runtime.instances == {}
    assert gateway.routes == ()


def test_stopping_waits_for_the_last_calls(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace, envs={"BEHAVIOUR": "slow"})
    [name] = runtime.instances
    services.stop(actor=owner, service=service)
    live = Operation.objects.get(target_id=service.pk, state="queued")

    def release(*_args, **_more):
        if runtime.calls.count(("stop", name)) == 3:
            runtime.release(name)

    runtime_stop = runtime.stop
    runtime.stop = lambda id, grace: (runtime_stop(id, grace), release())
    operations.run(live.pk, converge.work)
    service.refresh_from_db()
    assert service.status == "stopped"
    assert gateway.route(str(service.pk)).live == ()


def test_a_dead_instance_is_told_and_the_service_is_in_alarm_until_it_answers(
    owner, workspace, runtime, gateway
):
    service = make_running(owner, workspace)
    [name] = runtime.instances
    runtime.instances[name].spec.envs["BEHAVIOUR"] = "unready"
    runtime.kill(name)
    assert converge.watch() == 1
    service = work_on(service)
    assert service.status == "concerning"
    assert service.problem.params == {"ready": 0, "wanted": 1}
    told = service.events.get(code="deployments.instance.restarted")
    assert told.kind == "abnormal"
    assert told.params["restarts"] == 1
    assert gateway.route(str(service.pk)).unavailable == "concerning"
    runtime.instances[name].spec.envs["BEHAVIOUR"] = "ready"
    assert converge.watch() == 1
    service = work_on(service)
    assert service.status == "running"
    assert service.problem is None
    assert names_of(service, "ready") == [name]
    assert Instance.objects.get(name=name).restarts == 1


def test_an_instance_that_was_given_up_is_replaced(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    [name] = runtime.instances
    runtime.crash(name)
    converge.watch()
    service = work_on(service)
    assert service.status == "running"
    assert name not in runtime.instances and len(runtime.instances) == 1


def test_the_watch_writes_nothing_when_all_is_well(owner, workspace, runtime, gateway):
    for _ in range(3):
        make_running(owner, workspace)
    before = Operation.objects.count()
    published = len(gateway.published)
    assert converge.watch() == 0
    assert Operation.objects.count() == before
    assert len(gateway.published) == published


def test_the_watch_asks_a_fixed_number_of_queries(
    owner, workspace, runtime, gateway, django_assert_max_num_queries
):
    for _ in range(6):
        make_running(owner, workspace)
    with django_assert_max_num_queries(13):
        converge.watch()


def test_after_a_restart_of_the_machine_every_service_comes_back(owner, workspace, runtime, gateway):
    first, second = make_running(owner, workspace, instance_count=2), make_running(owner, workspace)
    stopped = make_running(owner, workspace)
    services.stop(actor=owner, service=stopped)
    work_on(stopped)
    names = set(runtime.instances)
    runtime.lose_everything()
    assert converge.watch() == 2
    assert work_on(first).status == "running"
    assert work_on(second).status == "running"
    assert set(runtime.instances) == names, "the same instances, none doubled"


def test_an_instance_without_a_service_is_ended_by_the_watch(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    Service.objects.filter(pk=service.pk).delete()
    converge.watch()
    assert runtime.instances == {}


def test_an_instance_without_a_row_is_ended(owner, workspace, runtime, gateway):
    service = make_running(owner, workspace, instance_count=2)
    [one, two] = sorted(runtime.instances)
    Instance.objects.get(name=one).delete()
    converge.watch()
    service = work_on(service)
    assert one not in runtime.instances
    assert two in runtime.instances and len(runtime.instances) == 2


def test_while_the_gateway_is_away_nothing_is_claimed_and_it_is_told_once(owner, workspace, runtime, gateway):
    gateway.down = True
    service = make_service(owner, workspace)
    service = work_on(service)
    assert service.status == "deploying", "the status must not claim what callers cannot use"
    assert codes_of(service).count("deployments.gateway.unreachable") == 1
    operation = Operation.objects.get(target_id=service.pk)
    assert operation.state == "failed"
    assert operation.problem.code == "deployments.gateway.unreachable"
    gateway.down = False
    assert converge.watch() == 0, "work that has just failed rests"
    Operation.objects.update(finished_at=timezone.now() - timedelta(minutes=2))
    assert converge.watch() == 1
    assert work_on(service).status == "running"


def test_a_gateway_that_was_away_while_instances_ended_is_told_before_they_do(
    owner, workspace, runtime, gateway
):
    service = make_running(owner, workspace)
    services.stop(actor=owner, service=service)
    gateway.down = True
    service = work_on(service)
    assert service.status == "stopping"
    assert len(runtime.instances) == 1, "an instance that may still get calls was ended"


def test_a_runtime_that_is_away_is_tried_again(owner, workspace, runtime, gateway):
    runtime.break_down()
    service = work_on(make_service(owner, workspace))
    assert service.status == "deploying"
    assert codes_of(service).count("deployments.runtime.unreachable") == 1
    assert converge.watch() == 0
    runtime.break_down(False)
    Operation.objects.update(finished_at=timezone.now() - timedelta(minutes=2))
    converge.watch()
    assert work_on(service).status == "running"


class Killed(BaseException):
    """The worker is killed: nothing of ours may catch this."""


def _run_until_killed(service: Service, after: int) -> bool:
    """Do the work, dying after that many actions; true when it died."""
    carried = actions.Carrier.carry_out
    left = [after]

    def carry_out(self, action, picture):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        carried(self, action, picture)

    actions.Carrier.carry_out = carry_out
    try:
        work_on(service)
    except Killed:
        return True
    finally:
        actions.Carrier.carry_out = carried
    return False


def _sweep(service: Service) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Operation.objects.filter(target_id=service.pk, state="running").update(lease_until=past)
    operations.sweep()


@pytest.mark.parametrize("after", range(14))
def test_a_worker_killed_between_any_two_actions_doubles_and_loses_nothing(
    owner, workspace, runtime, gateway, after
):
    service = make_service(owner, workspace, instance_count=2)
    _run_until_killed(service, after)
    _sweep(service)
    service = work_on(service)
    assert service.status == "running"
    assert sorted(runtime.instances) == names_of(service, "ready")
    assert len(runtime.instances) == 2
    newer = make_version(workspace, owner, number="0.0.2")
    services.modify(actor=owner, service=service, targets=[TargetSpec(newer.pk)])
    _run_until_killed(service, after)
    _sweep(service)
    service = work_on(service)
    assert service.status == "running"
    assert sorted(runtime.instances) == names_of(service, "ready")
    assert len(runtime.instances) == 1
    services.delete(actor=owner, service=service)
    _run_until_killed(service, after)
    _sweep(service)
    work_on(service)
    assert runtime.instances == {} and gateway.routes == () and not Service.objects.exists()


@pytest.mark.parametrize("after", range(6))
def test_a_worker_killed_inside_an_action_doubles_nothing(
    owner, workspace, runtime, gateway, monkeypatch, after
):
    """The door did its part and the row was not written."""
    left = [after]

    def fragile(real):
        def call(*args, **more):
            result = real(*args, **more)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "start", fragile(runtime.start))
        patch.setattr(gateway, "publish", fragile(gateway.publish))
        service = make_service(owner, workspace, instance_count=2)
        try:
            work_on(service)
        except Killed:
            pass
    _sweep(service)
    service = work_on(service)
    assert service.status == "running"
    assert sorted(runtime.instances) == names_of(service, "ready")
    assert len(runtime.instances) == 2


def test_work_that_meets_a_bug_fails_the_deployment_with_its_number(
    owner, workspace, runtime, gateway, monkeypatch
):
    def bug(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(actions.Carrier, "_start", bug)
    service = work_on(make_service(owner, workspace))
    assert service.status == "failed"
    assert service.problem.code == "worker.internal"
    monkeypatch.undo()


def test_a_stop_that_is_pressed_while_deploying_wins(owner, workspace, runtime, gateway, monkeypatch):
    service = make_service(owner, workspace)
    ready = actions.Carrier._mark_ready

    def press(self, action, picture):
        services.stop(actor=owner, service=Service.objects.get(pk=service.pk))
        ready(self, action, picture)

    monkeypatch.setattr(actions.Carrier, "_mark_ready", press)
    service = work_on(service)
    assert service.status == "stopped"
    assert runtime.instances == {}


def test_a_change_made_while_the_work_ends_is_not_missed(owner, workspace, runtime, gateway, monkeypatch):
    service = make_service(owner, workspace)
    concluded = actions.Carrier._conclude_ready
    done = []

    def conclude(self, action, picture):
        concluded(self, action, picture)
        if not done:
            done.append(True)
            services.scale(actor=owner, service=Service.objects.get(pk=service.pk), instance_count=2)

    monkeypatch.setattr(actions.Carrier, "_conclude_ready", conclude)
    service = work_on(service)
    assert service.status == "running"
    assert len(runtime.instances) == 2
