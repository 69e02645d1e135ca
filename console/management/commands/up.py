"""`manage.py up`: prepare, check, migrate, seed, then run the whole stack until Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connections

from console import keeper, preflight, stack
from console.env import EnvironmentProblem
from console.keeper import Keeper
from console.stack import Stack

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Start all of Slipway: console, workers, Redis, gateway, and model servers as they are needed."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(self._up(Stack.from_settings()))

    def _up(self, installation: Stack) -> int:
        os.umask(0o077)
        self._began = float(os.environ.get("SLIPWAY_STARTED_AT") or time.time())
        try:
            with preflight.only_one(installation):
                return self._prepared(installation)
        except (preflight.AlreadyRunning, EnvironmentProblem) as problem:
            return self._refuse([str(problem)])
        except OSError as error:
            return self._refuse(
                [f"Cannot use {error.filename or installation.var}: {error.strerror or error}."]
            )

    def _prepared(self, installation: Stack) -> int:
        if ended := keeper.end_leftovers(installation):
            self._say(f"Ended {ended} processes that an earlier, interrupted run had left behind.")
        if problems := preflight.problems(installation):
            return self._refuse(problems)
        for warning in preflight.warnings():
            self.stderr.write(f"slipway: warning: {warning}")
        stack.prepare(installation)
        call_command("migrate", interactive=False, verbosity=0)
        from console.seed import seed

        seed()
        stack.write(installation)
        connections.close_all()
        self._say(f"Slipway {settings.SLIPWAY_VERSION} is starting; its files are in {installation.var}")
        return self._keep(installation)

    def _keep(self, installation: Stack) -> int:
        kept = Keeper(
            installation,
            on_ready=lambda: self._ready(installation),
            on_late=lambda: self._refuse(
                [f"the console does not answer yet; see {installation.var}/logs/web.log"]
            ),
        )
        code = kept.run()
        if code:
            words = kept.start_failure()
            return self._refuse([f"supervisord ended unexpectedly; everything was stopped. {words}".rstrip()])
        self._say("Slipway has stopped.")
        return 0

    def _ready(self, installation: Stack) -> None:
        _look_at_once()
        seconds = time.time() - self._began
        lines = [
            f"  Console   {installation.url(installation.port)}",
            f"  Gateway   {installation.url(installation.gateway_port)}",
            f"  Sign in   {_sign_in()}",
            f"Ready after {seconds:.1f} s. Ctrl-C stops everything, models too.",
        ]
        self._say("\n".join(lines))
        connections.close_all()

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _refuse(self, lines: list[str]) -> int:
        for line in lines:
            self.stderr.write(f"slipway: {line}")
        self.stderr.flush()
        return 1


def _look_at_once() -> None:
    """Take up waiting work and bring services back now, not at beat's first tick."""
    for task in ("console.sweep", "deployments.watch"):
        try:
            current_app.send_task(task, retry=False)
        except Exception as error:  # the broker's own errors; beat asks again within 15 s
            log.warning("%s was not asked for at once: %s", task, error)


def _sign_in() -> str:
    from console.signin import issue_link

    if settings.SLIPWAY_ADMIN_PASSWORD:
        return "as admin, with the password of SLIPWAY_ADMIN_PASSWORD"
    return f"{issue_link()}  (once, within the hour)"
