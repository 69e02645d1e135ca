"""What tests of services share: doors that are fakes, and a driver in place of the worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments import actions, converge, doors, services
from registry.environments import EnvironmentInfo
from tests.deployments.gateway.fake import FakeGateway
from tests.deployments.runtimes.fake import FakeRuntime


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """The runtime of every service, in memory; files and environments are always at hand."""
    fake = FakeRuntime()
    monkeypatch.setattr(doors, "runtime", lambda: fake)
    monkeypatch.setattr(converge, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(converge, "SECOND_LOOK_SECONDS", 0)
    monkeypatch.setattr(converge, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(converge, "CALM_SECONDS", 0.05)
    monkeypatch.setattr(
        actions.environments,
        "find",
        lambda digest: EnvironmentInfo(digest, Path("/environments") / digest, []),
    )
    monkeypatch.setattr(actions.storage, "materialize", lambda prefix, files: Path("/packages") / prefix)
    return fake


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(doors, "gateway", lambda: fake)
    return fake


@pytest.fixture
def specification(db: None) -> str:
    services.seed_specifications()
    return services.DEFAULT_SPECIFICATION
