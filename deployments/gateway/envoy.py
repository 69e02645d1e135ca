"""Envoy as the gateway: publishing routes by files that it watches, and knowing that it took them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from deployments.gateway import envoy_admin, envoy_config
from deployments.gateway.base import GatewayRejected, GatewayUnreachable, Route, Routes, check
from deployments.gateway.envoy_bootstrap import (
    CLUSTERS_FILE,
    ROUTES_FILE,
    command,
    find_envoy,
    render_bootstrap,
    write_bootstrap,
)
from deployments.gateway.files import locked, private_folder, read, replace

__all__ = ["EnvoyGateway", "command", "find_envoy", "render_bootstrap", "write_bootstrap"]

_LOCK_SECONDS = 30.0  # longer than any publisher holds it


class EnvoyGateway:
    """Publishes through `config_dir`, asks through `admin_socket`. Cheap to make; holds nothing between
    calls.

    Safe to use from any number of threads and processes: publishers take turns by a lock on a file.
    """

    def __init__(self, config_dir: Path, admin_socket: Path) -> None:
        self.config_dir = Path(config_dir)
        self.admin = envoy_admin.Admin(Path(admin_socket))

    def publish(self, routes: Routes, timeout: float = 5.0) -> None:
        """See `Gateway.publish`. Equal routes write nothing and cost one question to Envoy (about a
        millisecond).
        """
        private_folder(self.config_dir)
        try:
            with locked(self.config_dir / ".lock", _LOCK_SECONDS):
                wanted = check(routes() if callable(routes) else routes)
                _Publication(self.config_dir, self.admin, wanted, timeout).run()
        except TimeoutError as error:
            raise GatewayUnreachable(f"Another change of the routes does not end: {error}") from error

    def statistics(self) -> dict[str, Any]:
        """See `Gateway.statistics` and `envoy_admin.tally`. One question to Envoy.

        A service counts the calls that had a right key and a backend; refused ones are in "gateway" only.
        """
        return envoy_admin.tally(self.admin.stats(envoy_admin.COUNTED))

    def ready(self) -> bool:
        """Whether Envoy takes calls; False too when nobody answers."""
        try:
            return self.admin.ready()
        except GatewayUnreachable:
            return False


class _Publication:
    """One publishing, under the lock.

    The order keeps every moment valid: new clusters and instances, then the routes to them, then the end of
    the clusters that no route names any more. Each step waits until Envoy serves the one before.
    """

    def __init__(
        self, config_dir: Path, admin: envoy_admin.Admin, routes: tuple[Route, ...], timeout: float
    ) -> None:
        self.admin = admin
        self.routes = routes
        self.deadline = time.monotonic() + timeout
        self.before: dict[Path, bytes] = {}  # what was there before we wrote, to put back
        self.refused_before: dict[str, int] = {}

        self.clusters_file = config_dir / CLUSTERS_FILE
        self.routes_file = config_dir / ROUTES_FILE
        clusters = envoy_config.clusters(envoy_config.backends(routes).values())
        self.clusters = envoy_config.pack(clusters)
        self.table = envoy_config.pack(envoy_config.route_configuration(routes))
        self.clusters_by_name = {cluster["name"]: cluster for cluster in clusters}

    def run(self) -> None:
        """Raises what `Gateway.publish` raises."""
        try:
            self._step_by_step()
        except GatewayUnreachable:
            # Leave the wanted state for when Envoy starts: it reads both files before it takes calls.
            self._write(self.clusters_file, self.clusters)
            self._write(self.routes_file, self.table)
            raise
        except GatewayRejected:
            self._put_back()
            raise

    def _step_by_step(self) -> None:
        applied = self.admin.applied(self._left())
        self.refused_before = applied.rejected
        if (read(self.clusters_file), read(self.routes_file)) != (self.clusters, self.table):
            self._apply(self.clusters_file, envoy_admin.CLUSTERS, self._old_and_new_clusters(applied))
            self._apply(self.routes_file, envoy_admin.ROUTES, self.table)
        self._apply(self.clusters_file, envoy_admin.CLUSTERS, self.clusters)
        self._apply(self.routes_file, envoy_admin.ROUTES, self.table)

    def _old_and_new_clusters(self, applied: envoy_admin.Applied) -> bytes:
        old = read(self.clusters_file)
        if applied.versions.get(envoy_admin.CLUSTERS) != envoy_config.version_of(old):
            return (
                self.clusters
            )  # Envoy never took the old file (another release wrote it?), so nothing needs it
        both = envoy_config.clusters_in(old) | self.clusters_by_name
        return envoy_config.pack([both[name] for name in sorted(both)])

    def _apply(self, file: Path, subject: str, content: bytes) -> None:
        self._write(file, content)
        self._wait(subject, envoy_config.version_of(content))

    def _write(self, file: Path, content: bytes) -> None:
        current = read(file)
        if current != content:
            self.before.setdefault(file, current)
            replace(file, content)

    def _wait(self, subject: str, version: str | None) -> None:
        """Return when Envoy serves this version; GatewayRejected when it refused one since we began."""
        pause = 0.001
        while True:
            applied = self.admin.applied(self._left())
            if applied.versions.get(subject) == version:
                return
            late = time.monotonic() > self.deadline
            refused = applied.rejected.get(subject, 0)
            if refused > (0 if late else self.refused_before.get(subject, 0)):
                raise GatewayRejected(self._words())
            if late:
                raise GatewayUnreachable(f"Envoy has not applied the change of {subject} in time.")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def _left(self) -> float:
        return max(0.2, self.deadline - time.monotonic())

    def _put_back(self) -> None:
        """Refused: restore the files, so that a restarted Envoy serves what this one serves. Routes first."""
        for file in sorted(self.before, key=lambda file: file != self.routes_file):
            if self.before[file]:
                replace(file, self.before[file])
            else:
                file.unlink()

    def _words(self) -> str:
        """Why Envoy refuses, in its own words.

        Asked of a second Envoy that only validates, with the keys masked: the running one tells it only in
        its log, together with the whole file and every key in it.
        """
        return explain(self.routes) or "Envoy refused the configuration; its log says why."


def explain(routes: tuple[Route, ...]) -> str:
    """Envoy's own error for these routes, "" if it has none (or there is no Envoy here)."""
    envoy = find_envoy()
    if envoy is None:
        return ""
    masked = [changed(r, keys=tuple((f"key-{n}", f"key-{n}") for n, _ in enumerate(r.keys))) for r in routes]
    with tempfile.TemporaryDirectory(prefix="slipway-envoy-") as folder:
        bootstrap = render_bootstrap("127.0.0.1", 0, Path(folder), Path(folder) / "admin.sock")
        bootstrap.pop("dynamic_resources")
        clusters = envoy_config.clusters(envoy_config.backends(masked).values())
        bootstrap["static_resources"]["clusters"] = [_plain(cluster) for cluster in clusters]
        [listener] = bootstrap["static_resources"]["listeners"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager.pop("rds")
        manager["route_config"] = _plain(envoy_config.route_configuration(masked)[0])
        file = Path(folder) / "bootstrap.json"
        replace(file, json.dumps(bootstrap).encode())
        line = [envoy, "--mode", "validate", "-c", str(file), "-l", "critical"]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=20, env=_quiet_environment())
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "" if done.returncode == 0 else _essence(done.stderr + done.stdout)


def _plain(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "@type"}


def _quiet_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}


def _essence(output: str) -> str:
    """The reason at the end of Envoy's complaint, without the configuration that it prints before it."""
    _, _, reason = output.rpartition("\n: ")
    if not reason or len(reason) == len(output):
        reason = output
    reason = re.sub(r"^.*?bootstrap\.json': ", "", reason.strip(), count=1, flags=re.DOTALL)
    return reason[:2000]
