"""A person's hands inside a live stack: run beside it, it calls the services that the pages call.

`python -m tests.live.driver` reads one JSON request a line, `{"call": …, "with": {…}}`, and answers one a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from django.conf import settings


class Driver:
    """The test's end: `driver.service_state(pk=…)` and so on."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.live.driver"],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __getattr__(self, call: str) -> Any:
        def ask(**parameters: Any) -> Any:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps({"call": call, "with": parameters}) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            assert "error" not in answer, answer["error"]
            return answer["result"]

        return ask

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


def _import_model(name: str, path: str) -> str:
    from registry import services
    from registry.models import Connection

    connection = Connection.objects.get(name="local")
    version = services.import_version(
        actor=_admin(),
        workspace=connection.workspace,
        name=name,
        connection=connection,
        bucket="examples",
        path=path,
    )
    return str(version.pk)


def _version_state(pk: str) -> dict[str, Any]:
    from console.models import Operation
    from registry.models import Version

    version = Version.objects.get(pk=pk)
    live = Operation.objects.filter(target_id=pk, state__in=Operation.LIVE)
    return {
        "status": version.status,
        "files": sorted(version.files.values_list("path", flat=True)),
        "environment": version.environment_id,
        "artifact": version.artifact_prefix,
        "problems": [event.code for event in version.events.all() if event.kind == "abnormal"],
        "working": [operation.stage for operation in live.filter(state=Operation.RUNNING)],
        "live": live.count(),
    }


def _deploy(name: str, version: str, instances: int = 1) -> str:
    from deployments import services
    from deployments.configuration import TargetSpec
    from registry.models import Version

    found = Version.objects.get(pk=version)
    service = services.deploy(
        actor=_admin(),
        workspace=found.workspace,
        name=name,
        targets=[TargetSpec(found.pk, instance_count=instances)],
    )
    return str(service.pk)


def _service_state(pk: str) -> dict[str, Any]:
    from console.models import Operation
    from deployments.models import Service

    service = Service.objects.filter(pk=pk).first()
    key = service and service.keys.first()
    if service is None or key is None:  # the row goes last
        return {"status": "absent", "instances": {}, "live": 0, "key": ""}
    return {
        "status": service.status,
        "instances": dict(service.instances.exclude(status="gone").values_list("name", "status")),
        "key": key.secret,
        "live": Operation.objects.filter(target_id=pk, state__in=Operation.LIVE).count(),
        "events": list(service.events.values_list("code", flat=True)),
    }


def _act(pk: str, act: str) -> None:
    from deployments import services
    from deployments.models import Service

    getattr(services, act)(actor=_admin(), service=Service.objects.get(pk=pk))


def _running_instances() -> list[str]:
    from deployments import doors

    return sorted(each.id for each in doors.runtime().list() if each.state != "gone")


def _admin() -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.get(username="admin")


def main() -> None:
    import django

    django.setup()
    calls = {
        "import_model": _import_model,
        "version_state": _version_state,
        "deploy": _deploy,
        "service_state": _service_state,
        "act": _act,
        "running_instances": _running_instances,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": calls[request["call"]](**request["with"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
