"""The gateway door: what a route is, what a gateway promises, and what every gateway refuses.

This package knows no Django and no database: callers hand it complete routes, it makes the data plane serve
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PREFIX = "/v1/infers"  # facts §4.10: https://<host>/v1/infers/{service_id}[/path]
DEFAULT_TIMEOUT_SECONDS = 60  # design §12: prediction time per request
DEFAULT_BODY_BYTES = 12 * 1024 * 1024  # facts §4.10: body <= 12 MB
SOCKET_PATH_BYTES = 107  # what sun_path holds besides its closing NUL

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,512}\Z")
_LABEL = re.compile(r"[\x20-\x7e]{1,128}\Z")


class GatewayError(Exception):
    """Something between the console and the data plane went wrong."""


class GatewayRejected(GatewayError):
    """The routes are not valid; what was served before is still served. `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class GatewayUnreachable(GatewayError):
    """The data plane does not answer, so nobody knows whether the routes are applied.

    They are written down all the same: the data plane picks them up when it comes (back).
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class Backend:
    """One version behind a service.

    `cluster` is its name in the data plane and in the statistics, `weight` its share (shares are relative; 0
    gets nothing), `version_label` what `x-model-version` says, `addresses` the Unix socket paths of ready
    instances.
    """

    cluster: str
    weight: int
    version_label: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """All that the gateway knows of one service.

    `keys` are (name, key) pairs; without a key nobody gets in. `unavailable` is the reason code that the 503
    answer gives when no backend can take a call (see `answers.UNAVAILABLE`).
    """

    service_id: str
    keys: tuple[tuple[str, str], ...]
    backends: tuple[Backend, ...]
    unavailable: str | None = None
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    body_bytes: int = DEFAULT_BODY_BYTES

    @property
    def live(self) -> tuple[Backend, ...]:
        """The backends that can take a call now: a share above 0 and at least one ready instance."""
        return tuple(b for b in self.backends if b.weight > 0 and b.addresses)


Routes = Sequence[Route] | Callable[[], Sequence[Route]]


class Gateway(Protocol):
    """One contract suite (tests/deployments/gateway/test_contract.py) runs against every implementation."""

    def publish(self, routes: Routes, timeout: float = 5.0) -> None:
        """Make exactly these routes served; return once the data plane has applied them.

        With a callable, it is called while this publisher holds the lock: two publishers that read the
        database and then publish can then never leave the older picture on top of the newer one. Raises
        GatewayRejected (old routes go on being served) and GatewayUnreachable (routes are kept for later).
        """

    def statistics(self) -> dict[str, Any]:
        """Counters since the data plane started: {"gateway": {…}, "services": {id: {…}}, "clusters": {name:
        {…}}}.

        A counter that went down means that the data plane was restarted. Raises GatewayUnreachable.
        """


def check(routes: Iterable[Route]) -> tuple[Route, ...]:
    """The routes sorted by service id, duplicates of a key removed; raises GatewayRejected if one cannot be
    served.

    Everything that ends up in a path, a file name, a header or a statistics name is checked here, once for
    all gateways, so that no value can break out of its place.
    """
    seen: set[str] = set()
    clusters: dict[str, Backend] = {}
    checked = []
    for route in routes:
        where = f"route {route.service_id!r}"
        _demand(_NAME.match(route.service_id), f"{where}: a service id is letters, digits, '.', '_' and '-'.")
        _demand(route.service_id not in seen, f"{where}: there are two routes with this service id.")
        seen.add(route.service_id)
        _demand(route.timeout_seconds >= 1, f"{where}: the time limit must be at least 1 second.")
        _demand(1 <= route.body_bytes < 2**40, f"{where}: the body limit must be at least 1 byte.")
        for name, key in route.keys:
            _demand(
                _VISIBLE.match(key),
                f"{where}: the key {name!r} is empty or holds characters unfit for a header.",
            )
        for backend in route.backends:
            _check_backend(backend, where)
            twin = clusters.setdefault(backend.cluster, backend)
            same = (twin.addresses, twin.version_label) == (backend.addresses, backend.version_label)
            _demand(same, f"{where}: the cluster {backend.cluster!r} is described twice, differently.")
        _demand(
            len({b.cluster for b in route.backends}) == len(route.backends),
            f"{where}: a cluster is listed twice.",
        )
        checked.append(route)
    return tuple(sorted(checked, key=lambda r: r.service_id))


def _check_backend(backend: Backend, where: str) -> None:
    where = f"{where}, cluster {backend.cluster!r}"
    _demand(_NAME.match(backend.cluster), f"{where}: a cluster name is letters, digits, '.', '_' and '-'.")
    _demand(0 <= backend.weight <= 1_000_000, f"{where}: a weight is a number from 0 to 1,000,000.")
    _demand(_LABEL.match(backend.version_label), f"{where}: the version label is unfit for a header.")
    _demand(len(set(backend.addresses)) == len(backend.addresses), f"{where}: an address is listed twice.")
    for address in backend.addresses:
        _demand(
            address.startswith("/") and "\0" not in address, f"{where}: {address!r} is not an absolute path."
        )
        size = len(address.encode())
        _demand(size <= SOCKET_PATH_BYTES, f"{where}: {address!r} is longer than a Unix socket path can be.")


def _demand(truth: object, detail: str) -> None:
    if not truth:
        raise GatewayRejected(detail)
