"""The runtime and the gateway of this installation: the only place that chooses which ones."""

from __future__ import annotations

from django.conf import settings

from deployments import runtimes
from deployments.gateway.base import Gateway
from deployments.runtimes.base import Runtime


def runtime() -> Runtime:
    """The door to running things."""
    return runtimes.get()


def gateway() -> Gateway:
    """The door to traffic: Envoy, as `console.stack` starts it."""
    from deployments.gateway.envoy import EnvoyGateway

    return EnvoyGateway(settings.SLIPWAY_VAR / "envoy" / "config", settings.SLIPWAY_RUN / "envoy.sock")
