"""Fixtures that every package's tests share: one workspace, its people, and a stranger."""

from __future__ import annotations

from typing import Any

import pytest

from console.models import Role, Workspace
from tests import factories


@pytest.fixture
def workspace(db: None) -> Workspace:
    return factories.make_workspace()


@pytest.fixture
def owner(workspace: Workspace) -> Any:
    """A developer of the workspace."""
    return factories.make_user(workspace, Role.DEVELOPER)


@pytest.fixture
def admin_user(workspace: Workspace) -> Any:
    """An administrator of the workspace."""
    return factories.make_user(workspace, Role.ADMIN)


@pytest.fixture
def viewer(workspace: Workspace) -> Any:
    return factories.make_user(workspace, Role.VIEWER)


@pytest.fixture
def stranger(db: None) -> Any:
    """A developer of another workspace: everything here must be 404 to them."""
    return factories.make_user(factories.make_workspace(), Role.DEVELOPER)
