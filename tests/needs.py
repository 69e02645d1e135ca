"""What a test needs of the machine. Missing: the test is skipped, and the summary names it (`-ra`).

With SLIPWAY_REQUIRE_ALL=1, as in `.ci/run`, nothing may be missing: the test fails instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import NoReturn

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def needs_program(*names: str) -> str:
    """The path of the first of these programs that is on PATH."""
    for name in names:
        if path := shutil.which(name):
            return path
    return missing(f"{' or '.join(names)} on PATH")


def needs_chromium() -> str:
    """The path of a Chromium (SLIPWAY_CHROMIUM, else the one on PATH)."""
    return os.environ.get("SLIPWAY_CHROMIUM") or needs_program(*CHROMIUM_NAMES)


def needs_chinese_font() -> None:
    """A font that shows Chinese, so that screenshots show words and not boxes."""
    listing = subprocess.run(
        [needs_program("fc-list"), ":lang=zh", "family"], capture_output=True, text=True, check=False
    )
    if not listing.stdout.strip():
        missing("a Chinese font (fonts-noto-cjk)")


def needs_sandbox() -> None:
    """A kernel that can run models in the sandbox."""
    from deployments.predictor import sandbox

    if reason := sandbox.unsupported():
        missing(f"the sandbox: {reason}")


def missing(what: str) -> NoReturn:
    """Skip the test for want of `what`, or fail it where nothing may be missing."""
    if os.environ.get("SLIPWAY_REQUIRE_ALL") == "1":
        pytest.fail(f"SLIPWAY_REQUIRE_ALL=1, but this machine lacks: {what}", pytrace=False)
    pytest.skip(f"needs {what}")
