"""Secrets are kept once and privately; socket folders are short enough."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from console import env


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret"
    first = env.kept_secret(path)
    assert len(first) >= 48 and env.kept_secret(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_racers_agree_on_the_secret(tmp_path: Path) -> None:
    path, seen = tmp_path / "secret", []
    racers = [threading.Thread(target=lambda: seen.append(env.kept_secret(path))) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(seen) == 8 and len(set(seen)) == 1


def test_a_short_var_keeps_its_sockets_inside(tmp_path: Path) -> None:
    var = Path("/tmp") / f"sw{os.getpid()}"
    try:
        assert env.run_folder(var) == var / "run"
    finally:
        (var / "run").rmdir()
        var.rmdir()


def test_a_deep_var_gets_a_short_private_folder_and_remembers_it(tmp_path: Path) -> None:
    var = tmp_path / ("很深的文件夹" * 6)
    run = env.run_folder(var)
    try:
        assert len(os.fsencode(run)) + env.LONGEST_SOCKET_NAME <= env.SOCKET_PATH_LIMIT
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert env.run_folder(var) == run
        run.chmod(0o755)
        replaced = env.run_folder(var)
        assert replaced != run, "a folder that others can enter is not ours any more"
        replaced.rmdir()
    finally:
        run.rmdir()


def test_a_value_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("hidden\n")
    monkeypatch.setenv("SLIPWAY_X_FILE", str(tmp_path / "key"))
    assert env.text("SLIPWAY_X") == "hidden"


@pytest.mark.parametrize(
    ("value", "means"), [("1", True), ("on", True), ("0", False), ("No", False), ("", False)]
)
def test_flags(value: str, means: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_X", value)
    assert env.flag("SLIPWAY_X") is means


def test_nonsense_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_PORT", "eighty")
    with pytest.raises(env.EnvironmentProblem, match="SLIPWAY_PORT"):
        env.integer("SLIPWAY_PORT", 8000)
    monkeypatch.setenv("SLIPWAY_PORT", "maybe")
    with pytest.raises(env.EnvironmentProblem, match="SLIPWAY_PORT"):
        env.flag("SLIPWAY_PORT")
