"""kill -9 of any part during an import and during a deployment: the work finishes or fails with a reason;
nothing is stuck, doubled or orphaned.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator

import pytest
from django.conf import settings

from tests.live.driver import Driver
from tests.live.stack import LiveStack
from tests.needs import needs_sandbox
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
PATIENCE = 240.0  # seconds, on a busy machine; most of it is the lease of a killed worker
PACKAGE = "onnx-digits"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    needs_sandbox()
    running = LiveStack(tmp_path_factory.mktemp("faults") / "var", SLIPWAY_LEASE_SECONDS="8")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture(scope="module")
def driver(stack: LiveStack) -> Iterator[Driver]:
    hands = Driver(stack.environment)
    yield hands
    hands.close()


@pytest.fixture(scope="module")
def version(driver: Driver) -> str:
    """An imported version; its environment is built, so that what follows is quick."""
    pk = driver.import_model(name="digits", path=PACKAGE)
    until(lambda: driver.version_state(pk=pk)["status"] == "published", PATIENCE, "the first import")
    return pk


def restart_after_kill(stack: LiveStack) -> None:
    """kill -9 of supervisord itself: `up` ends everything and says so; then it is started again."""
    os.kill(stack.supervisor.pid(), signal.SIGKILL)
    assert stack.up is not None and stack.up.wait(60) != 0
    until(lambda: not stack.living(), 30.0, "everything to end")
    stack.start()


def predict(stack: LiveStack, driver: Driver, service: str) -> int | None:
    """The status of one call through the gateway, as a client makes it; None when nobody answers."""
    body = (settings.BASE_DIR / "examples" / PACKAGE / "model" / "sample.json").read_text()
    headers = {"X-Apig-AppCode": driver.service_state(pk=service)["key"], "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", stack.gateway_port, timeout=30)
    try:
        connection.request("POST", f"/v1/infers/{service}", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 200:
            assert json.loads(content)["outputs"]["label"] == [8]
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def assert_whole(stack: LiveStack, driver: Driver, service: str, instances: int) -> None:
    """Running, with as many instances as are wanted, each once, and nothing else alive."""
    until(
        lambda: (
            (state := driver.service_state(pk=service))["status"] == "running"
            and state["live"] == 0
            and len(state["instances"]) == instances
        ),
        PATIENCE,
        "the service to run",
    )
    until(lambda: predict(stack, driver, service) == 200, 60, "a prediction")
    state = driver.service_state(pk=service)
    assert set(state["instances"].values()) == {"ready"}
    assert sorted(state["instances"]) == driver.running_instances()


def remove(driver: Driver, service: str) -> None:
    driver.act(pk=service, act="delete")
    until(lambda: driver.service_state(pk=service)["status"] == "absent", PATIENCE, "the service to go")
    assert driver.running_instances() == []


@pytest.mark.parametrize("program", ["worker-registry", "beat", "redis", "envoy"])
def test_an_import_survives_the_death_of(
    stack: LiveStack, driver: Driver, version: str, program: str
) -> None:
    before = {path.name for path in (stack.var / "environments").iterdir()}
    pk = driver.import_model(name=f"digits-{program}", path=PACKAGE)
    until(lambda: driver.version_state(pk=pk)["working"], PATIENCE, "the import to begin")
    stack.kill(program)
    until(lambda: driver.version_state(pk=pk)["live"] == 0, PATIENCE, "the import to end")
    state = driver.version_state(pk=pk)
    assert (state["status"], state["problems"]) == ("published", [])
    assert state["files"] == ["model/digits.onnx", "model/sample.json"]
    # Nothing doubled, nothing half-made.
    assert {path.name for path in (stack.var / "environments").iterdir()} == before
    kept = stack.var / "artifacts" / state["artifact"]
    assert sorted(p.relative_to(kept).as_posix() for p in kept.rglob("*") if p.is_file()) == state["files"]
    assert [path for path in (stack.var / "trials").glob("*") if path.is_dir()] == []


def test_an_import_survives_the_death_of_supervisord_and_a_restart(
    stack: LiveStack, driver: Driver, version: str
) -> None:
    pk = driver.import_model(name="digits-restart", path=PACKAGE)
    until(lambda: driver.version_state(pk=pk)["working"], PATIENCE, "the import to begin")
    restart_after_kill(stack)
    until(lambda: driver.version_state(pk=pk)["live"] == 0, PATIENCE, "the import to end")
    state = driver.version_state(pk=pk)
    assert (state["status"], state["problems"]) == ("published", [])
    assert [path for path in (stack.var / "trials").glob("*") if path.is_dir()] == []


@pytest.mark.parametrize("program", ["worker-deployments", "beat", "redis", "envoy", "instance"])
def test_a_deployment_survives_the_death_of(
    stack: LiveStack, driver: Driver, version: str, program: str
) -> None:
    service = driver.deploy(name=f"service-{program}", version=version, instances=2)
    until(lambda: len(driver.running_instances()) >= 1, PATIENCE, "an instance to start")
    stack.kill(driver.running_instances()[0] if program == "instance" else program)
    assert_whole(stack, driver, service, 2)
    remove(driver, service)


def test_when_an_instance_dies_the_status_says_so_and_the_other_answers(
    stack: LiveStack, driver: Driver, version: str
) -> None:
    service = driver.deploy(name="one-dies", version=version, instances=2)
    assert_whole(stack, driver, service, 2)
    victim = driver.running_instances()[0]
    stack.kill(victim)
    answers = [predict(stack, driver, service) for _ in range(20)]
    assert answers.count(200) >= 19, answers  # at most the call that was in its hands
    seen: set[str] = set()

    def told() -> bool:
        seen.add(driver.service_state(pk=service)["status"])
        return "concerning" in seen and driver.service_state(pk=service)["status"] == "running"

    until(told, PATIENCE, "an alarm and then its end")
    assert "deployments.instance.restarted" in driver.service_state(pk=service)["events"]
    assert_whole(stack, driver, service, 2)
    remove(driver, service)


def test_after_supervisord_is_killed_the_next_start_brings_the_service_back(
    stack: LiveStack, driver: Driver, version: str
) -> None:
    service = driver.deploy(name="comes-back", version=version)
    until(lambda: driver.running_instances(), PATIENCE, "an instance to start")
    restart_after_kill(stack)
    assert_whole(stack, driver, service, 1)
    driver.act(pk=service, act="stop")
    until(lambda: driver.service_state(pk=service)["status"] == "stopped", PATIENCE, "it to stop")
    assert driver.running_instances() == []
    assert predict(stack, driver, service) == 503
    remove(driver, service)
