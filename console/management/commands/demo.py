"""`manage.py demo`: against a running stack, the whole road from a package to a prediction, each step with its seconds.

It uses the same services as the pages and the same gateway as every client.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from console.lifecycle import Status
from console.models import Workspace
from console.seed import EXAMPLES_BUCKET
from deployments import lifecycle as service_life
from deployments import services as deploying
from deployments.configuration import TargetSpec
from deployments.models import Service
from registry import lifecycle as version_life
from registry import services as importing
from registry.models import Connection, Version

PACKAGE = "onnx-digits"
PATIENCE = 600.0
GOOD = {version_life.PUBLISHED, service_life.RUNNING, service_life.STOPPED}


class Command(BaseCommand):
    help = (
        "Import an example, deploy it, predict, change to 2 instances, stop; print the seconds of each step."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--keep", action="store_true", help="leave the stopped service in place")

    def handle(self, *args: Any, keep: bool, **options: Any) -> None:
        try:
            requests.get(settings.SLIPWAY_GATEWAY_URL, timeout=10)
        except requests.ConnectionError:
            raise CommandError(
                f"nobody answers at {settings.SLIPWAY_GATEWAY_URL}: start the stack with `make run` first"
            ) from None
        actor = get_user_model().objects.get(username="admin")
        workspace = Workspace.objects.get(name="default")
        began = time.monotonic()

        version = self.step("import", lambda: self._import(actor, workspace))
        service = self.step("deploy", lambda: self._deploy(actor, workspace, version))
        answer = self.step("predict", lambda: self._predict(service))
        self.stdout.write(f"            {answer}")
        self.step("2 instances", lambda: self._scale(actor, service))
        self.step("predict", lambda: self._predict(service))
        self.step("stop", lambda: self._stop(actor, service))
        if not keep:
            self.step("delete", lambda: self._delete(actor, service))
        self.stdout.write(f"{time.monotonic() - began:8.2f} s  in all")

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        began = time.monotonic()
        result = act()
        self.stdout.write(f"{time.monotonic() - began:8.2f} s  {name}")
        return result

    def _import(self, actor: Any, workspace: Workspace) -> Version:
        connection = Connection.objects.get(workspace=workspace, name="local")
        version = importing.import_version(
            actor=actor,
            workspace=workspace,
            name=f"demo-{PACKAGE}",
            connection=connection,
            bucket=EXAMPLES_BUCKET,
            path=PACKAGE,
        )
        return _wait(version)

    def _deploy(self, actor: Any, workspace: Workspace, version: Version) -> Service:
        service = deploying.deploy(
            actor=actor,
            workspace=workspace,
            name=f"demo-{secrets.token_hex(2)}",
            targets=[TargetSpec(version.pk)],
        )
        return _wait(service)

    def _predict(self, service: Service) -> str:
        sample = settings.BASE_DIR / "examples" / PACKAGE / "model" / "sample.json"
        answer = requests.post(
            f"{settings.SLIPWAY_GATEWAY_URL}/v1/infers/{service.pk}",
            json=json.loads(sample.read_text()),
            headers={"X-Apig-AppCode": service.keys.first().secret},
            timeout=60,
        )
        if answer.status_code != 200:
            raise CommandError(f"the prediction was refused: {answer.status_code} {answer.text[:300]}")
        return answer.text[:200]

    def _scale(self, actor: Any, service: Service) -> None:
        service.refresh_from_db()
        deploying.scale(actor=actor, service=service, instance_count=2)
        _wait(service)
        ready = service.instances.filter(status=service_life.READY).count()
        if ready != 2:
            raise CommandError(f"{ready} instances are ready, and 2 were wanted")

    def _stop(self, actor: Any, service: Service) -> None:
        deploying.stop(actor=actor, service=service)
        _wait(service)

    def _delete(self, actor: Any, service: Service) -> None:
        deploying.delete(actor=actor, service=service)
        until = time.monotonic() + PATIENCE
        while Service.objects.filter(pk=service.pk).exists():
            if time.monotonic() > until:
                raise CommandError("the service is still being deleted")
            time.sleep(0.1)


def _wait(row: Any) -> Any:
    """`row`, once it has settled well. Raises CommandError with the reason when it settles badly, or never does."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        row.refresh_from_db()
        state: Status = row.state
        if not state.is_busy:
            if row.status in GOOD:
                return row
            told = next((event.problem for event in row.events.all() if event.problem), None)
            raise CommandError(f"{row}: {state.label}. {told or ''}")
        time.sleep(0.1)
    raise CommandError(f"{row} is still busy after {PATIENCE:.0f} s; is the stack running (`make run`)?")
