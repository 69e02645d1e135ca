"""A real supervisord in a folder with an awkward name, and what both runtimes are tested with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from console import programs
from console import stack as stacks
from console.stack import Stack
from console.supervisor import SupervisorUnreachable
from deployments.runtimes import process
from deployments.runtimes.base import InstanceSpec, Observed, Runtime, new_instance_id
from deployments.runtimes.process import ProcessRuntime
from tests.deployments.runtimes.fake import FakeRuntime
from tests.waiting import until

PREDICTOR = Path(__file__).with_name("fake_predictor.py")


@dataclass
class Bench:
    """A runtime and the hand of fate."""

    runtime: Runtime
    kill: Callable[[str], None]
    release: Callable[[str], None]
    lines: int = 1  # that an instance has written when it is ready
    var: Path | None = None
    stack: Stack | None = None

    def spec(self, behaviour: str = "ready", **changes: Any) -> InstanceSpec:
        made = InstanceSpec(
            id=new_instance_id(),
            service_id="5d1c0f2e-0b4e-4a52-9d0c-3f6f3a2b1c00",
            revision=3,
            target="target-1",
            version_id="6a1c0f2e-0b4e-4a52-9d0c-3f6f3a2b1c00",
            package_dir=Path("/package"),
            environment_dir=Path("/environment"),
            engine="ONNX",
            envs={"BEHAVIOUR": behaviour},
            memory_bytes=1 << 30,
            cpu=1.0,
            model_name="digits",
            model_version="0.0.1",
            limit_bytes=1 << 20,
        )
        return replace(made, **changes)

    def started(self, behaviour: str = "ready", **changes: Any) -> str:
        spec = self.spec(behaviour, **changes)
        self.runtime.start(spec)
        return spec.id

    def ready(self, behaviour: str = "ready", **changes: Any) -> str:
        id = self.started(behaviour, **changes)
        until(lambda: self.runtime.probe(id).ready, what="ready")
        return id

    def seen(self, id: str) -> Observed | None:
        return next((one for one in self.runtime.list() if one.id == id), None)

    def gone(self, id: str, grace_seconds: float = 30) -> None:
        """Stop, again and again as a reconcile loop does, until it is no longer listed."""

        def stopped() -> bool:
            self.runtime.stop(id, grace_seconds)
            return self.seen(id) is None

        until(stopped, what="gone")


def supervise(stack: Stack) -> subprocess.Popen[bytes]:
    """A supervisord without any program of the stack."""
    stack.var.mkdir(parents=True, exist_ok=True)
    stack.run.mkdir(parents=True, exist_ok=True)
    stacks.prepare(stack)
    programs.write_private(stack.configuration, stacks.supervisord_section(stack))
    started = subprocess.Popen(
        stacks.supervisord_argv(),
        cwd=stack.var,
        env=stacks.supervisord_environment(stack),
        start_new_session=True,
    )
    client = stack.supervisor()

    def answers() -> bool:
        assert started.poll() is None, "supervisord ended"
        try:
            return bool(client.pid())
        except SupervisorUnreachable:
            return False

    until(answers, what="supervisord")
    return started


@pytest.fixture(scope="session")
def supervised() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="sw ") as top:
        var = Path(top, "模型 #1 [x] %s 'q'")
        stack = Stack(var, Path(top, "r"), "127.0.0.1", 1, 2)
        started = supervise(stack)
        yield stack
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            raise


def process_runtime(stack: Stack) -> ProcessRuntime:
    """The real runtime, with the fake predictor in the place of sandbox and predictor."""

    def compose(spec: InstanceSpec, scratch: Path, address: Path) -> dict[str, Any]:
        release = stack.var / f"release-{spec.id}"
        behaviour = spec.envs["BEHAVIOUR"]
        return {"env": {}, "socket": str(address), "behaviour": behaviour, "release": str(release)}

    def launcher(path: Path) -> list[str]:
        return [sys.executable, "-I", "-S", str(PREDICTOR), str(path)]

    return ProcessRuntime(stack.var, stack.run, stack.supervisor(), compose, launcher)


@pytest.fixture
def process_bench(supervised: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(process, "START_RETRIES", 1)
    runtime = process_runtime(supervised)

    def kill(id: str) -> None:
        seen = supervised.supervisor().process(id)
        assert seen is not None and seen.pid
        os.kill(seen.pid, signal.SIGKILL)

    def release(id: str) -> None:
        (supervised.var / f"release-{id}").touch()

    bench = Bench(runtime, kill, release, 3, supervised.var, supervised)
    yield bench
    for left in runtime.list():
        release(left.id)
        bench.gone(left.id, 0)


@pytest.fixture(params=["fake", pytest.param("process", marks=pytest.mark.live)])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Each test of the contract runs against the fake and against the real thing."""
    if request.param == "process":
        return request.getfixturevalue("process_bench")
    fake = FakeRuntime()
    return Bench(fake, fake.kill, fake.release)
