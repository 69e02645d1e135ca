"""A live stack and a Chromium for every test of this package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.live.stack import LiveStack, live_stack
from tests.needs import needs_chinese_font, needs_chromium, needs_sandbox

# Without these Chromium looks for its maker's servers at every start.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
expect.set_options(timeout=30_000)
LOCALES = {"en": "en-US", "zh-hans": "zh-CN"}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """The whole product, in a folder with a space and a Chinese character in its name."""
    needs_chromium()
    needs_sandbox()
    with live_stack(tmp_path_factory.mktemp("stack") / "var 模型") as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = needs_chromium()
    needs_chinese_font()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


def sign_in_link(stack: LiveStack) -> str:
    """A fresh one-time link, as the operator would print it."""
    told = subprocess.run(
        [sys.executable, "manage.py", "link", "admin"],
        cwd=settings.BASE_DIR,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip().splitlines()[-1]


@pytest.fixture
def visit(stack: LiveStack, chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a signed-in page: `visit("zh-hans", scripts=False, scheme="dark", width=390)`.

    The test fails when the page logs an error, such as a refused inline script.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def visit(language: str = "en", *, scripts: bool = True, **options: Any) -> Page:
        context = chromium.new_context(
            locale=LOCALES[language],
            java_script_enabled=scripts,
            base_url=f"http://127.0.0.1:{stack.port}",
            viewport={"width": options.get("width", 1366), "height": options.get("height", 900)},
            color_scheme=options.get("scheme", "light"),
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                errors.append(f"{message.text} {message.location}") if message.type == "error" else None
            ),
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(sign_in_link(stack))
        return page

    yield visit
    for context in contexts:
        context.close()
    # A refused form is 422, which Chromium logs like a failure; it is an answer that the page shows. A page that
    # is left while it fades in says so.
    harmless = ("status of 422", "Transition was")
    assert [error for error in errors if not any(words in error for words in harmless)] == []
