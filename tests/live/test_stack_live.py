"""`manage.py up` for real: what it starts, what it survives, how it ends, and when it refuses."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import processes
from tests.live.stack import LiveStack, live_stack
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PROGRAMS = {"redis", "web", "worker-registry", "worker-deployments", "beat", "envoy"}
AWKWARD = "我的 模型 #1 [x] 100% 'q' \"d\" $HOME"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """One stack for the tests that leave it running, in a folder with an awkward name."""
    with live_stack(tmp_path_factory.mktemp("stack") / AWKWARD / "var") as stack:
        yield stack


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LiveStack]:
    """A stack that is not started, for the tests that end or break it."""
    stack = LiveStack(tmp_path / "my 模型" / "var")
    stack.var.parent.mkdir()
    yield stack
    stack.end()


def _settled(stack: LiveStack) -> dict[str, int]:
    """The process id of each program, once all run and the console and the gateway answer."""

    def settled() -> dict[str, int]:
        seen = {one.name: one.pid for one in stack.supervisor.processes() if one.state == "RUNNING"}
        answering = stack.get("/healthz") == 200 and stack.get("/", stack.gateway_port) is not None
        return seen if set(seen) >= PROGRAMS and answering else {}

    return until(settled, 60, "all programs running")


def _gone(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_up_runs_every_program_and_says_where_to_go(running: LiveStack) -> None:
    assert set(_settled(running)) == PROGRAMS
    assert f"http://127.0.0.1:{running.port}" in running.output
    assert f"http://127.0.0.1:{running.gateway_port}" in running.output
    assert f"Sign in   http://127.0.0.1:{running.port}/sign-in/" in running.output


def test_the_gateway_refuses_a_stranger_in_json(running: LiveStack) -> None:
    _settled(running)
    assert running.get("/v1/infers/nothing", running.gateway_port) == 404


def test_state_is_private(running: LiveStack) -> None:
    assert stat.S_IMODE(running.var.stat().st_mode) == 0o700
    assert stat.S_IMODE(running.run.stat().st_mode) == 0o700
    secret = ["secret.key", "db.sqlite3", "secrets/*", "redis/redis.conf", "supervisor/**/*", "envoy/**/*"]
    found = [path for pattern in secret for path in running.var.glob(pattern) if path.is_file()]
    assert len(found) > len(secret)
    for path in [*found, *running.run.glob("*.sock")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_redis_and_supervisord_listen_on_private_sockets_only_and_ask_a_password(running: LiveStack) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(running.run / "redis.sock"))
        client.sendall(b"PING\r\n")
        assert client.recv(100).startswith(b"-NOAUTH")
    listening = {
        int(line.split()[1].partition(":")[2], 16)
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and _is_of(running, line.split()[9])
    }
    assert listening == {running.port, running.gateway_port}


def _is_of(stack: LiveStack, inode: str) -> bool:
    for pid in stack.living():
        try:
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(handle) == f"socket:[{inode}]":
                    return True
        except OSError:
            continue
    return False


def test_programs_have_only_the_environment_that_they_need(running: LiveStack) -> None:
    environment = Path(f"/proc/{running.program('envoy').pid}/environ").read_text()
    names = {entry.partition("=")[0] for entry in environment.split("\0")}
    assert names - {""} == {"PATH", "LANG", "SLIPWAY_STACK"}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_program_that_is_killed_comes_back_alone(running: LiveStack, name: str) -> None:
    before = _settled(running)
    old = {pid for pid in running.living() if os.getpgid(pid) == before[name]}
    os.kill(before[name], signal.SIGKILL)
    until(lambda: _gone(old), what="old processes gone")
    until(lambda: running.program(name).pid not in (0, before[name]), 30, "restarted")
    after = _settled(running)
    assert {other for other in PROGRAMS if before[other] != after[other]} == {name}


def test_a_web_worker_that_is_killed_is_replaced(running: LiveStack) -> None:
    master = _settled(running)["web"]

    def workers() -> set[int]:
        return {pid for pid in running.living() if os.getpgid(pid) == master} - {master}

    before = until(lambda: workers())
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(workers() - {victim}) == len(before) + 1, 30)
    assert running.get("/healthz") == 200


def test_starting_twice_is_refused_with_the_process_and_the_address(running: LiveStack) -> None:
    before = _settled(running)
    second = LiveStack(running.var)
    second._log = running.var.parent / "second.log"
    code, output = second.refused()
    assert code == 1
    assert output.count("\n") == 1
    assert f"process {running.up.pid}" in output
    assert f"http://127.0.0.1:{running.port}" in output
    assert _settled(running) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_ends_everything_within_15_seconds(own: LiveStack, number: signal.Signals) -> None:
    own.start()
    _settled(own)
    living = set(own.living())
    code, seconds = own.stop(number)
    assert (code, own.living()) == (0, {})
    assert _gone(living)
    assert seconds < 15
    assert own.output.rstrip().endswith("Slipway has stopped.")


def test_what_was_there_is_there_after_a_restart(own: LiveStack) -> None:
    own.start()
    secret = (own.var / "secret.key").read_text()
    assert own.stop(signal.SIGHUP)[0] == 0  # the terminal was closed
    own.start()
    assert (own.var / "secret.key").read_text() == secret
    assert set(_settled(own)) == PROGRAMS


def test_when_supervisord_is_killed_up_ends_everything_and_says_so(own: LiveStack) -> None:
    own.start()
    _settled(own)
    living = set(own.living())
    os.kill(own.supervisor.pid(), signal.SIGKILL)
    assert own.up.wait(30) == 1
    assert "supervisord ended unexpectedly" in own.output
    assert _gone(living)
    own.start()
    assert set(_settled(own)) == PROGRAMS
    own.stop()
    assert own.living() == {}


def test_when_up_is_killed_everything_ends_with_it(own: LiveStack) -> None:
    own.start()
    living = set(_settled(own).values()) | {own.supervisor.pid()}
    own.up.kill()
    own.up.wait()
    until(lambda: _gone(living), 30, "everything gone")


def test_what_a_killed_run_left_behind_is_ended_by_the_next_and_nothing_is_doubled(own: LiveStack) -> None:
    own.start()
    _settled(own)
    old = set(own.living())
    os.kill(own.up.pid, signal.SIGSTOP)  # so that it cannot clean up, and dies together with supervisord
    os.kill(own.supervisor.pid(), signal.SIGKILL)
    own.up.kill()
    own.up.wait()
    left = {pid for pid in old if Path(f"/proc/{pid}").exists()}
    assert left, "without leftovers this test proves nothing"
    own.start()
    assert "that an earlier, interrupted run had left behind" in own.output
    _settled(own)
    assert _gone(old)
    masters = [one for one in own.living().values() if "gunicorn" in one]
    assert len(masters) == 3  # the master and its two workers


def test_a_process_without_the_mark_is_never_touched(own: LiveStack) -> None:
    own.var.mkdir()
    stranger = subprocess.Popen(["sleep", "600"], env={"SLIPWAY_STACK": "of-somebody-else"})
    marked = subprocess.Popen(["sleep", "600"], env={"SLIPWAY_STACK": own.mark})
    try:
        until(lambda: processes.of_installation(own.var) == [marked.pid])
        own.start()
        assert marked.wait(5) == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        stranger.kill()
        marked.kill()
        stranger.wait()


@pytest.mark.parametrize("what", ["SLIPWAY_PORT", "SLIPWAY_GATEWAY_PORT"])
def test_a_busy_port_is_one_clear_line_and_nothing_starts(own: LiveStack, what: str) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", int(own.environment[what])))
        busy.listen()
        code, output = own.refused()
    assert code == 1
    assert output.count("\n") == 1
    assert own.environment[what] in output
    assert what in output
    assert own.living() == {}
    assert not (own.var / "db.sqlite3").exists()


@pytest.mark.parametrize("what", ["SLIPWAY_ENVOY", "SLIPWAY_REDIS"])
def test_a_missing_program_is_one_clear_line_and_nothing_starts(own: LiveStack, what: str) -> None:
    own.environment[what] = "/nonexistent"
    code, output = own.refused()
    assert code == 1
    assert output.count("\n") == 1
    assert f"{what} names /nonexistent" in output
    assert own.living() == {}


def test_a_program_that_does_not_run_here_is_one_clear_line(own: LiveStack) -> None:
    broken = own.var.parent / "redis-server"
    broken.write_text("not a program of this machine")
    broken.chmod(0o755)
    own.environment["SLIPWAY_REDIS"] = str(broken)
    code, output = own.refused()
    assert code == 1
    assert output.count("\n") == 1
    assert "Redis does not run on this machine" in output


@pytest.mark.parametrize("place", ["a file", "/proc/slipway", "/dev/null/slipway"])
def test_a_folder_that_cannot_be_used_is_one_clear_line(own: LiveStack, place: str) -> None:
    if place == "a file":
        own.var.write_text("a file where the folder should be")
    else:
        own.environment["SLIPWAY_VAR"] = place
    code, output = own.refused()
    assert code == 1
    assert output.count("\n") == 1
    assert own.environment["SLIPWAY_VAR"] in output
