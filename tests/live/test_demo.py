"""`make demo` walks the whole road against a running stack and times each step."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.live.stack import LiveStack, live_stack
from tests.needs import needs_sandbox

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
STEPS = ["import", "deploy", "predict", "2 instances", "predict", "stop", "delete", "in all"]


def demo(stack: LiveStack) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=settings.BASE_DIR,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_prints_each_step_with_its_seconds(tmp_path: Path) -> None:
    needs_sandbox()
    with live_stack(tmp_path / "var") as stack:
        told = demo(stack)
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.findall(r"^ *\d+\.\d\d s  (.+)$", told.stdout, re.MULTILINE) == STEPS
    assert '"label":[8]' in told.stdout.replace(" ", "")


def test_without_a_stack_the_demo_says_what_to_start(tmp_path: Path) -> None:
    told = demo(LiveStack(tmp_path / "var"))
    assert told.returncode != 0 and "make run" in told.stderr
