"""Carrying out what `reconcile.plan` says: each action through its door, and what came of it into the rows.

Every method may be repeated after a crash: names are in the database before an instance is started, rows move
only by `fire`, and the doors take the same call twice.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from console.lifecycle import LostRace, advance, fire, note
from console.operations import Lease, Retry
from console.problems import Problem, ProblemError
from deployments import doors, lifecycle, reconcile, traffic
from deployments.gateway.base import GatewayRejected, GatewayUnreachable
from deployments.models import Instance, RevisionTarget, Service, ServiceRevision
from deployments.picture import Picture
from deployments.runtimes.base import InstanceSpec, RuntimeRefused, RuntimeUnreachable
from registry import environments, storage
from registry.models import Version

UNUSED_GRACE_SECONDS = 5.0  # for an instance that never had a call
LINE_LENGTH = 300
PASSING = {
    "deployments.gateway.unreachable",
    "deployments.gateway.rejected",
    "deployments.runtime.unreachable",
}
"""Problems of the outside: tried again for ever, and never a reason to call a deployment failed."""


class Carrier:
    """Carries out the actions of one operation, one picture at a time."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.runtime = doors.runtime()
        self._prepared: dict[Any, tuple[Path, Path]] = {}

    def carry_out(self, action: reconcile.Action, picture: Picture) -> None:
        """Do `action`. Raises Retry when a door does not answer, LostRace when somebody was faster."""
        method = getattr(self, f"_{_snake(type(action).__name__)}")
        try:
            method(action, picture)
        except RuntimeUnreachable as error:
            raise Retry(2, Problem("deployments.runtime.unreachable", {"detail": str(error)})) from error
        except GatewayUnreachable as error:
            raise Retry(2, Problem("deployments.gateway.unreachable", {"detail": error.detail})) from error
        except GatewayRejected as error:
            raise Retry(5, Problem("deployments.gateway.rejected", {"detail": error.detail})) from error

    # Instances

    def _create(self, action: reconcile.Create, picture: Picture) -> None:
        target = picture.targets[action.key]
        with transaction.atomic():
            if not self.lease.still_held():
                raise LostRace(picture.service, "create")
            for _ in range(action.count):
                Instance.objects.create(service=picture.service, target=target, status=lifecycle.STARTING)
            note(
                picture.service,
                "deployments.service.scheduled",
                params={"count": action.count, "version": str(target.version)},
            )

    def _start(self, action: reconcile.Start, picture: Picture) -> None:
        instance = picture.instances[action.name]
        target = _target(instance)
        try:
            package_dir, environment_dir = self._prepare(target.version, picture.service)
            self.runtime.start(_spec(instance, target, package_dir, environment_dir))
        except RuntimeRefused as error:
            told = Problem("deployments.instance.refused", {"name": action.name, "detail": str(error)[:500]})
            self._give_up(instance, picture.service, told)
            return
        except ProblemError as error:
            self._give_up(instance, picture.service, error.problem)
            return
        member = _member(picture, action.name)
        # A start that we asked for is no crash: the runtime counts it when something of the instance is left.
        restarts = member.restarts + 1 if member.process == "gone" else 0
        Instance.objects.filter(pk=instance.pk).update(restarts=restarts, settled_restarts=restarts)
        note(picture.service, "deployments.service.model_starting", params={"name": action.name})

    def _mark_ready(self, action: reconcile.MarkReady, picture: Picture) -> None:
        instance = picture.instances[action.name]
        if not self.runtime.probe(action.name).ready:  # warm-up: this is not its first answer
            raise LostRace(instance, "became_ready")
        was_ready = bool(instance.address)
        member = _member(picture, action.name)
        fire(
            instance,
            "became_ready",
            address=picture.addresses[action.name],
            restarts=member.restarts,
            detail="",
        )
        code = "instance_back" if was_ready else "instance_ready"
        note(picture.service, f"deployments.service.{code}", params={"name": action.name})

    def _mark_unready(self, action: reconcile.MarkUnready, picture: Picture) -> None:
        instance = picture.instances[action.name]
        fire(instance, "became_unready", detail=action.detail[:1000])
        if _member(picture, action.name).process in (None, "gone"):
            problem = Problem("deployments.instance.gone", {"name": action.name})
        else:
            params = {"name": action.name, "detail": action.detail[:500] or "-"}
            problem = Problem("deployments.instance.unready", params)
        note(picture.service, problem=problem)

    def _note_restart(self, action: reconcile.NoteRestart, picture: Picture) -> None:
        instance = picture.instances[action.name]
        line = self._last_line(action.name)
        written: dict[str, Any] = {"restarts": action.restarts, "detail": action.detail[:1000]}
        if action.ran_well:
            written["settled_restarts"] = instance.restarts
        if instance.status == lifecycle.READY:
            fire(instance, "became_unready", **written)
        else:
            Instance.objects.filter(pk=instance.pk, revision=instance.revision).update(**written)
        params = {"name": action.name, "restarts": action.restarts, "line": line}
        params["detail"] = action.detail or "-"
        note(picture.service, problem=Problem("deployments.instance.restarted", params))

    def _fail(self, action: reconcile.Fail, picture: Picture) -> None:
        params = {
            "name": action.name,
            "detail": action.detail[:500] or "-",
            "line": self._last_line(action.name),
        }
        told = Problem(f"deployments.instance.{action.reason}", params)
        self._give_up(picture.instances[action.name], picture.service, told, action.detail)

    def _give_up(self, instance: Instance, service: Service, problem: Problem, detail: str = "") -> None:
        fire(instance, "crash", failed_at=timezone.now(), detail=(detail or problem.cause)[:1000])
        note(service, problem=problem)

    def _retire(self, action: reconcile.Retire, picture: Picture) -> None:
        fire(picture.instances[action.name], "stop")

    def _stop(self, action: reconcile.Stop, picture: Picture) -> None:
        instance = picture.instances.get(action.name)
        used = instance is not None and instance.address
        grace = settings.SLIPWAY_PREDICTION_SECONDS + 5.0 if used else UNUSED_GRACE_SECONDS
        try:
            self.runtime.stop(action.name, grace)
        except RuntimeRefused as error:
            raise RuntimeUnreachable(str(error)) from error

    def _vanish(self, action: reconcile.Vanish, picture: Picture) -> None:
        fire(picture.instances[action.name], "vanish")

    # Traffic

    def _publish(self, action: reconcile.Publish, picture: Picture) -> None:
        traffic.publish_all()
        names = action.routes.names
        if names and names != picture.observed.named:
            note(picture.service, "deployments.service.traffic", params={"count": len(names)})

    # The service

    def _conclude(self, action: reconcile.Conclude, picture: Picture) -> None:
        getattr(self, f"_conclude_{action.what}")(action, picture)

    def _conclude_ready(self, action: reconcile.Conclude, picture: Picture) -> None:
        service = picture.service
        with transaction.atomic():
            changes = {"good_revision": service.wanted_revision, "progress": 100}
            fire(service, "instances_ready", **changes, problem_code="", problem_params={})
            _settle(service, service.wanted_revision, ServiceRevision.SUCCESS)

    def _conclude_lost(self, action: reconcile.Conclude, picture: Picture) -> None:
        ready = sum(member.phase == reconcile.READY for member in picture.observed.members)
        wanted = sum(target.count for target in picture.desired.targets)
        problem = Problem("deployments.service.lost", {"ready": min(ready, wanted - 1), "wanted": wanted})
        _fire_problem(picture.service, "instances_lost", problem)

    def _conclude_gave_up(self, action: reconcile.Conclude, picture: Picture) -> None:
        service = picture.service
        with transaction.atomic():
            _fire_problem(service, "gave_up", _cause(action, picture))
            _settle(service, service.wanted_revision, ServiceRevision.FAIL)

    def _conclude_roll_back(self, action: reconcile.Conclude, picture: Picture) -> None:
        roll_back(picture.service, _cause(action, picture))

    def _conclude_gone(self, action: reconcile.Conclude, picture: Picture) -> None:
        fire(picture.service, "instances_gone")

    def _conclude_purge(self, action: reconcile.Conclude, picture: Picture) -> None:
        service = picture.service
        self.runtime.forget(str(service.pk))
        Service.objects.filter(pk=service.pk, status=lifecycle.DELETING, revision=service.revision).delete()

    # What the above needs

    def _prepare(self, version: Version, service: Service) -> tuple[Path, Path]:
        """The folders of the version's files and of its environment; fetched at most once per machine."""
        if version.pk in self._prepared:
            return self._prepared[version.pk]
        told = {"version": str(version)}
        note(service, "deployments.service.preparing", params=told)
        environment = environments.find(version.environment_id or "")
        if environment is None:
            raise ProblemError("deployments.environment.missing", **told)
        files = [storage.StoredFile(f.path, f.size_bytes, f.sha256) for f in version.files.all()]
        package_dir = self._await(lambda: storage.materialize(version.artifact_prefix, files))
        note(service, "deployments.service.prepared", params=told)
        self._prepared[version.pk] = (package_dir, environment.path)
        return self._prepared[version.pk]

    def _await(self, call: Any) -> Any:
        """What `call` returns, beating meanwhile: fetching a large model takes longer than a lease."""
        with ThreadPoolExecutor(1) as pool:
            future: Future = pool.submit(call)
            while True:
                try:
                    return future.result(timeout=1)
                except NotYet:
                    self.lease.beat()

    def _last_line(self, name: str) -> str:
        """The last thing that the instance said, for the event that tells its end."""
        lines = [line.text.strip() for line in self.runtime.logs(name, tail=20)]
        own = [line for line in lines if line and "slipway: starting" not in line]
        return own[-1][:LINE_LENGTH] if own else "-"


def roll_back(service: Service, cause: Problem) -> None:
    """Return the service to its last good revision; the events tell why."""
    failed = service.wanted_revision
    problem = Problem("deployments.service.rolled_back", {"failed": failed, "good": service.good_revision})
    with transaction.atomic():
        note(service, problem=cause)
        changes = {"wanted_revision": service.good_revision, "deploy_started_at": timezone.now()}
        fire(service, "roll_back", problem=problem, **changes)
        _settle(service, failed, ServiceRevision.FAIL)


def show_progress(picture: Picture) -> None:
    """Raise the service's percentage while it is being deployed."""
    service, members = picture.service, picture.observed.members
    if service.status != lifecycle.DEPLOYING:
        return
    chosen = reconcile.chosen(picture.desired.targets, members)
    wanted = sum(target.count for target in picture.desired.targets)
    here = [member for own in chosen.values() for member in own]
    points = sum(
        3 if member.phase == reconcile.READY else 2 if member.process == "up" else 1 for member in here
    )
    percent = 5 + 90 * points // (3 * wanted)
    if percent > service.progress:
        advance(service, percent)


def _fire_problem(service: Service, trigger: str, problem: Problem) -> None:
    stored = {"problem_code": problem.code, "problem_params": dict(problem.params)}
    fire(service, trigger, problem=problem, **stored)


def _settle(service: Service, number: int, result: str) -> None:
    rows = ServiceRevision.objects.filter(service=service, number=number, result=ServiceRevision.RUNNING)
    rows.update(result=result)


def _cause(action: reconcile.Conclude, picture: Picture) -> Problem:
    """Why the deployment failed, with what its instances said last."""
    details = [
        f"{member.name}: {member.detail}"
        for member in picture.observed.members
        if member.phase != reconcile.READY and member.detail
    ]
    service = picture.service
    failed = Instance.objects.filter(service=service, failed_at__gte=service.deploy_started_at)
    for name, detail in failed.order_by("-failed_at").values_list("name", "detail")[:1]:
        details.insert(0, f"{name}: {detail}")
    detail = "; ".join(dict.fromkeys(details))[:600]
    if action.reason == "timeout":
        minutes = round(picture.desired.timeout / 60) or 1
        return Problem("deployments.service.timed_out", {"minutes": minutes, "detail": detail})
    params = {"failures": reconcile.MOST_FAILURES, "detail": detail}
    return Problem("deployments.service.kept_crashing", params)


def _spec(
    instance: Instance, target: RevisionTarget, package_dir: Path, environment_dir: Path
) -> InstanceSpec:
    version = target.version
    return InstanceSpec(
        id=instance.name,
        service_id=str(instance.service_id),
        revision=target.revision.number,
        target=target.key,
        version_id=str(version.pk),
        package_dir=package_dir,
        environment_dir=environment_dir,
        engine=version.engine,
        envs=target.envs,
        memory_bytes=target.specification.memory_bytes,
        cpu=float(target.specification.cpu),
        model_name=version.model.name,
        model_version=version.number,
        limit_bytes=settings.SLIPWAY_REQUEST_BYTES,
    )


def _target(instance: Instance) -> RevisionTarget:
    """The instance's own target: the one whose specification and variables it was made with."""
    rows = RevisionTarget.objects.select_related("revision", "specification", "version__model")
    return rows.get(pk=instance.target_id)


def _member(picture: Picture, name: str) -> reconcile.Member:
    return next(member for member in picture.observed.members if member.name == name)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
