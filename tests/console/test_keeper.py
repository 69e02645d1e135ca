"""The keeper with one program of ours under it: orphans, deafness, haste."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from console import processes
from console.supervisor import Supervisor, SupervisorUnreachable
from tests.waiting import until

pytestmark = pytest.mark.live

# A process of its own, because it adopts orphans and catches signals.
KEEPER = """
import sys
from pathlib import Path
import django
django.setup()
from console import programs, stack as stacks
from console.keeper import Keeper
from console.programs import Program
top, script = Path(sys.argv[1]), sys.argv[2]
stack = stacks.Stack(top / "var", top / "r", "127.0.0.1", 1, 2)
stack.var.mkdir(); stack.run.mkdir()
stacks.prepare(stack)
program = Program("thing", [sys.executable, "-c", script, str(top)], {"SLIPWAY_STACK": stack.mark})
path = "supervisor/programs/thing.json"
programs.write_private(stack.var / path, programs.description(program))
section = programs.section(program, path)
programs.write_private(stack.configuration, stacks.supervisord_section(stack) + section)
sys.exit(Keeper(stack, lambda: None, lambda: None).run())
"""

# Starts a helper that nothing but its descent connects with us, as a worker starts uv.
WITH_HELPER = """
import subprocess, sys, time
helper = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
with open(sys.argv[1] + "/helpers", "a") as file:
    print(helper.pid, file=file, flush=True)
time.sleep(600)
"""
DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + "/helpers", "w").write("0\\n")
time.sleep(600)
"""


class Kept:
    def __init__(self, top: Path, script: str) -> None:
        self.top = top
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "SLIPWAY_VAR": str(top / "own"),
        }
        self.keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(top), script], cwd=settings.BASE_DIR, env=environment
        )

    def helpers(self) -> list[int]:
        try:
            return [int(line) for line in (self.top / "helpers").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def supervisor(self) -> Supervisor:
        return Supervisor.of(self.top / "var", self.top / "r")

    def pid(self) -> int:
        try:
            seen = self.supervisor().process("thing")
        except SupervisorUnreachable:
            return 0
        return seen.pid if seen else 0

    def ready(self) -> tuple[int, int]:
        """The process ids of the program and of its latest helper."""
        until(lambda: self.helpers(), 60)
        return until(self.pid), self.helpers()[-1]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Callable[[str], Kept]]:
    made: list[Kept] = []

    def make(script: str) -> Kept:
        made.append(Kept(tmp_path, script))
        return made[-1]

    yield make
    for one in made:
        if one.keeper.poll() is None:
            one.keeper.kill()
            one.keeper.wait()
    processes.end_installation(tmp_path / "var")


def _lives(pid: int) -> bool:
    return bool(processes.command_of(pid))


def test_what_a_killed_program_had_started_ends_with_it(kept: Callable[[str], Kept]) -> None:
    stack = kept(WITH_HELPER)
    program, helper = stack.ready()
    os.kill(program, signal.SIGKILL)
    until(lambda: not _lives(helper), what="the helper ended")
    until(lambda: len(stack.helpers()) == 2 and _lives(stack.helpers()[1]), what="the next one lives")
    assert stack.keeper.poll() is None


def test_when_supervisord_is_killed_even_unmarked_helpers_end(kept: Callable[[str], Kept]) -> None:
    stack = kept(WITH_HELPER)
    program, helper = stack.ready()
    os.kill(stack.supervisor().pid(), signal.SIGKILL)
    assert stack.keeper.wait(30) == 1
    assert not _lives(program)
    assert not _lives(helper)


def test_helpers_end_with_an_orderly_stop(kept: Callable[[str], Kept]) -> None:
    stack = kept(WITH_HELPER)
    program, helper = stack.ready()
    stack.keeper.send_signal(signal.SIGINT)
    assert stack.keeper.wait(30) == 0
    assert not _lives(program)
    assert not _lives(helper)


def test_a_program_that_will_not_end_is_killed_within_15_seconds(kept: Callable[[str], Kept]) -> None:
    stack = kept(DEAF)
    program, _ = stack.ready()
    began = time.monotonic()
    stack.keeper.send_signal(signal.SIGTERM)
    assert stack.keeper.wait(30) == 0
    assert time.monotonic() - began < 15
    assert not _lives(program)


def test_a_second_ctrl_c_ends_the_patience(
    kept: Callable[[str], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = kept(DEAF)
    stack.ready()
    began = time.monotonic()
    stack.keeper.send_signal(signal.SIGINT)
    stack.keeper.send_signal(signal.SIGINT)  # at the same moment: terminal and make both pass it on; no haste
    until(lambda: stack.supervisor().process("thing").state == "STOPPING")
    until(lambda: time.monotonic() - began > 1.2)
    assert stack.keeper.poll() is None
    stack.keeper.send_signal(signal.SIGINT)
    assert stack.keeper.wait(30) == 0
    assert time.monotonic() - began < 6  # the patience is 7
