from __future__ import annotations

import pytest

from tests.deployments.gateway.harness import Model, World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One running Envoy for the tests of a module; each test publishes its own routes."""
    world = World(tmp_path_factory.mktemp("gateway"))
    try:
        world.start()
        yield world
    finally:
        world.close()


@pytest.fixture
def fresh_world(tmp_path):
    """An Envoy of the test's own, not started yet."""
    world = World(tmp_path)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture(scope="module")
def one(world) -> Model:
    return world.model("one")


@pytest.fixture(scope="module")
def two(world) -> Model:
    return world.model("two")
