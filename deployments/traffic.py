"""What the gateway is told: the routes of all services, computed from the database while the lock is held."""

from __future__ import annotations

import secrets
from collections import defaultdict
from typing import Any

from django.conf import settings

from deployments import doors, picture, reconcile
from deployments.gateway.base import Backend, Route
from deployments.models import AccessKey, Service
from deployments.picture import Picture


def publish_all() -> None:
    """Make the gateway serve what the database says, and note per service what it serves.

    Two publishers cannot leave the older picture on top: the database is read under the gateway's lock. What
    changes is noted as unconfirmed before and as confirmed after, so that a crash in between is known. Call
    it outside a transaction. Raises GatewayUnreachable and GatewayRejected.
    """
    told: list[tuple[Any, str, reconcile.Routes]] = []

    def current() -> list[Route]:
        told.clear()
        keys: dict[Any, list[tuple[str, str]]] = defaultdict(list)
        pictures = picture.read(Service.objects.order_by("pk"))
        for key in AccessKey.objects.all():
            keys[key.service_id].append((key.name, key.secret))
        routes = []
        for each in pictures:
            wanted = reconcile.routes(each.desired, each.observed.members)
            if wanted != each.observed.published:
                told.append((each.service.pk, _announce(each, wanted), wanted))
            if not wanted.absent:
                routes.append(_route(each, wanted, tuple(keys[each.service.pk])))
        return routes

    doors.gateway().publish(current)
    for service_id, token, wanted in told:
        # Another publisher may have been here since: then its token stands, and its note.
        Service.objects.filter(pk=service_id, routes_token=token).update(routes=_stored(wanted))


def address(service: Service) -> str:
    """The public address of the service's API (facts §4.10)."""
    return f"{settings.SLIPWAY_GATEWAY_URL.rstrip('/')}/v1/infers/{service.pk}"


def _announce(each: Picture, wanted: reconcile.Routes) -> str:
    """Note that the gateway is about to be told: from now on it may name old instances and new ones."""
    token = secrets.token_hex(16)
    named = each.observed.named | wanted.names
    Service.objects.filter(pk=each.service.pk).update(
        routes_token=token, routes={"is_confirmed": False, "named": sorted(named)}
    )
    return token


def _stored(routes: reconcile.Routes) -> dict[str, Any]:
    return {
        "is_confirmed": True,
        "named": sorted(routes.names),
        "shares": [[key, weight, list(names)] for key, weight, names in routes.shares],
        "unavailable": routes.unavailable,
        "absent": routes.absent,
    }


def _route(each: Picture, wanted: reconcile.Routes, keys: tuple[tuple[str, str], ...]) -> Route:
    backends = []
    for key, weight, names in wanted.shares:
        version = each.targets[key].version
        backends.append(
            Backend(
                # One cluster per version, whatever revision it is in: its statistics go on.
                cluster=f"{each.service.pk}_{version.pk}",
                weight=weight,
                version_label=version.number,
                addresses=tuple(each.instances[name].address for name in names),
            )
        )
    return Route(
        service_id=str(each.service.pk),
        keys=keys,
        backends=tuple(backends),
        unavailable=wanted.unavailable or None,
        timeout_seconds=settings.SLIPWAY_PREDICTION_SECONDS,
        body_bytes=settings.SLIPWAY_REQUEST_BYTES,
    )
