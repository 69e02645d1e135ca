"""Envoy's admin interface on its Unix socket: what is applied, what was refused, what was counted."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from deployments.gateway.base import GatewayUnreachable
from deployments.gateway.envoy_config import ROUTE_CONFIG

CLUSTERS = "cluster_manager.cds"
ROUTES = f"http.{ROUTE_CONFIG}.rds.{ROUTE_CONFIG}"


@dataclass(frozen=True)
class Applied:
    """What every subscription serves (`versions`) and how many updates it refused (`rejected`), by
    statistics name.
    """

    versions: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)


class Admin:
    """Asks; each method raises GatewayUnreachable when nobody answers within `timeout` seconds."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path

    def applied(self, timeout: float = 2.0) -> Applied:
        """The state of all subscriptions."""
        stats = self.stats(r"(\.version_text|\.update_rejected)$", timeout)
        versions, rejected = {}, {}
        for name, value in stats.items():
            subject, _, figure = name.rpartition(".")
            if figure == "version_text":
                versions[subject] = str(value)
            else:
                rejected[subject] = int(value)
        return Applied(versions, rejected)

    def stats(self, pattern: str, timeout: float = 2.0) -> dict[str, int | str]:
        """Counters, gauges and texts whose name matches the regular expression (no histograms)."""
        body = self._get(f"/stats?format=json&filter={quote(pattern)}", timeout)
        return {row["name"]: row["value"] for row in json.loads(body)["stats"] if "name" in row}

    def ready(self, timeout: float = 1.0) -> bool:
        """Whether Envoy has read its first configuration and takes calls."""
        return self._get("/ready", timeout).strip() == b"LIVE"

    def _get(self, target: str, timeout: float) -> bytes:
        connection = _UnixConnection(self.socket_path, timeout)
        try:
            connection.request("GET", target)
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise GatewayUnreachable(f"Envoy does not answer on its admin socket: {error}") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("envoy", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


# --- counting -----------------------------------------------------------------------------------------------

COUNTED = (
    r"^(cluster\..+\.(upstream_rq_([1-5]xx|completed|active|timeout|retry)|upstream_cx_connect_fail)"
    rf"|vhost\.{ROUTE_CONFIG}\.route\..+\.upstream_rq_([1-5]xx|completed|timeout|retry)"
    rf"|http\.{ROUTE_CONFIG}\.downstream_(rq_([1-5]xx|completed|active|too_large)|cx_active))$"
)


def tally(stats: dict[str, int | str]) -> dict[str, dict]:
    """Envoy's flat names as {"gateway": counts, "services": {id: counts}, "clusters": {name: counts}}.

    counts: "total" (answered), "failed" (of these 4xx and 5xx), "1xx".."5xx", and where Envoy has them
    "active", "timeouts", "retries", "connect_failures", "too_large", "connections".
    """
    result: dict[str, dict] = {"gateway": {}, "services": {}, "clusters": {}}
    for name, value in stats.items():
        subject, _, figure = name.rpartition(".")
        if subject == f"http.{ROUTE_CONFIG}":
            counts = result["gateway"]
        elif subject.startswith(f"vhost.{ROUTE_CONFIG}.route."):
            counts = result["services"].setdefault(subject.removeprefix(f"vhost.{ROUTE_CONFIG}.route."), {})
        else:
            counts = result["clusters"].setdefault(subject.removeprefix("cluster."), {})
        counts[_FIGURES.get(figure) or figure[-3:]] = int(value)
    # With split outlier detection Envoy also counts by origin; those are the same calls once more.
    for name in [n for n in result["clusters"] if n.endswith((".external", ".internal"))]:
        if name.rpartition(".")[0] in result["clusters"]:
            del result["clusters"][name]
    for counts in (result["gateway"], *result["services"].values(), *result["clusters"].values()):
        for code in ("1xx", "2xx", "3xx", "4xx", "5xx", "total"):
            counts.setdefault(code, 0)
        counts["failed"] = counts["4xx"] + counts["5xx"]
    return result


_FIGURES = {
    "upstream_rq_completed": "total",
    "upstream_rq_active": "active",
    "upstream_rq_timeout": "timeouts",
    "upstream_rq_retry": "retries",
    "upstream_cx_connect_fail": "connect_failures",
    "downstream_rq_completed": "total",
    "downstream_rq_active": "active",
    "downstream_rq_too_large": "too_large",
    "downstream_cx_active": "connections",
}
