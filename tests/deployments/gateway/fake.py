"""A gateway without a data plane, for tests of everything that publishes routes.

test_contract.py runs the same suite against it and against Envoy, so it cannot promise what Envoy does not
keep.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from deployments.gateway.base import GatewayRejected, GatewayUnreachable, Route, Routes, check


@dataclass(frozen=True)
class Answered:
    """What a caller gets: HTTP status, `error_code` of a gateway's own answer, `x-model-version`, the
    cluster.
    """

    status: int
    code: str | None = None
    version: str | None = None
    cluster: str | None = None


class FakeGateway:
    """`routes` is what is served now, `published` every table that was applied, in order (equal ones once).

    `down = True` makes it unreachable: publish raises and keeps the table for later. `down = False` applies
    it. `refuse = "words"` makes it reject everything as Envoy would.
    """

    def __init__(self) -> None:
        self.published: list[tuple[Route, ...]] = []
        self.routes: tuple[Route, ...] = ()
        self.refuse: str | None = None
        self._waiting: tuple[Route, ...] | None = None
        self._down = False
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, dict[str, int]]] = {"services": {}, "clusters": {}}
        self._gateway = _counts()

    @property
    def down(self) -> bool:
        return self._down

    @down.setter
    def down(self, value: bool) -> None:
        self._down = value
        if not value and self._waiting is not None:
            self._apply(self._waiting)
            self._waiting = None

    def publish(self, routes: Routes, timeout: float = 5.0) -> None:
        with self._lock:
            wanted = check(routes() if callable(routes) else routes)
            if self._down:
                self._waiting = wanted
                raise GatewayUnreachable("The fake gateway is down.")
            if self.refuse:
                raise GatewayRejected(self.refuse)
            self._apply(wanted)

    def statistics(self) -> dict[str, Any]:
        if self._down:
            raise GatewayUnreachable("The fake gateway is down.")
        return {
            "gateway": dict(self._gateway),
            "services": {
                r.service_id: dict(self._of("services", r.service_id)) for r in self.routes if r.live
            },
            "clusters": {
                b.cluster: dict(self._of("clusters", b.cluster)) for r in self.routes for b in r.live
            },
        }

    def route(self, service_id: str) -> Route | None:
        """The route served for this service, if any."""
        return next((route for route in self.routes if route.service_id == service_id), None)

    def answer(self, service_id: str, key: str | None = None, status: int = 200) -> Answered:
        """What a call gets when the model answers `status`: the heaviest backend takes it."""
        answered = self._answer(service_id, key, status)
        for counts in (
            self._gateway,
            *(
                (self._of("services", service_id), self._of("clusters", answered.cluster))
                if answered.cluster
                else ()
            ),
        ):
            counts["total"] += 1
            counts[f"{answered.status // 100}xx"] += 1
            counts["failed"] += answered.status >= 400
        return answered

    def _answer(self, service_id: str, key: str | None, status: int) -> Answered:
        route = self.route(service_id)
        if route is None:
            return Answered(404, "ModelArts.4204")
        if key not in {key for _, key in route.keys}:
            return Answered(401, "APIG.0301")
        if not route.live:
            return Answered(503, "ModelArts.4203")
        backend = max(route.live, key=lambda b: b.weight)
        return Answered(status, None, backend.version_label, backend.cluster)

    def _apply(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        if not self.published or self.published[-1] != routes:
            self.published.append(routes)

    def _of(self, kind: str, name: str) -> dict[str, int]:
        return self._counts[kind].setdefault(name, _counts())


def _counts() -> dict[str, int]:
    return dict.fromkeys(("total", "failed", "1xx", "2xx", "3xx", "4xx", "5xx"), 0)
