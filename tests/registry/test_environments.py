"""Environments by a real uv: shared, whole or absent, and built without running anybody's code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.problems import ProblemError
from registry import environments, uv_command
from registry.doors import Stopped
from registry.environments import EnvironmentInfo, ensure
from registry.package_index import package_index
from registry.requirement_lines import checked, tidy_lock
from tests.registry.s3 import free_port

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def shared_var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("var 变")


@pytest.fixture(autouse=True)
def place(shared_var: Path, tmp_path: Path, settings) -> Path:
    """Environments in a folder of the module's, so that downloads are shared, with small needs of our own."""
    predictor = tmp_path / "predictor"
    predictor.mkdir()
    (predictor / "requirements.in").write_text("# ours\nsix>=1.16  # small\n")
    settings.SLIPWAY_PREDICTOR = predictor
    settings.SLIPWAY_VAR = shared_var
    return shared_var / "environments"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with one wheel whose `.pth` and whose import would leave a mark."""
    folder = tmp_path / "model"
    folder.mkdir()
    make_wheel(folder, tmp_path / "mark")
    return folder


def make_wheel(folder: Path, mark: Path, version: str = "1.0") -> Path:
    leave_mark = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    about = f"evilthing-{version}.dist-info"
    files = {
        "evilthing.py": leave_mark,
        "evilthing.pth": leave_mark,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: evilthing\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{about}/RECORD"
    path = folder / f"evilthing-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    return path


def imports(info: EnvironmentInfo, module: str) -> bool:
    argv = [environments.environment_python(info.path), "-I", "-c", f"import {module}"]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def leftovers(place: Path) -> list[str]:
    names = [each.name for each in place.iterdir() if each.name.startswith((".building", ".removed"))]
    return names + [each.name for each in (place / ".locks").glob("*")]


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as raised:
        action()
    return raised.value.problem.code.removeprefix("registry.environment.")


def forget_resolutions(place: Path) -> None:
    for memo in (place / ".resolutions").iterdir():
        memo.unlink()


def test_an_environment_holds_what_was_asked_for_and_what_the_predictor_needs(place: Path) -> None:
    lines: list[str] = []
    info = ensure(["idna==3.10"], on_line=lines.append)
    assert "idna==3.10" in info.locked
    assert any(line.startswith("six==") for line in info.locked)
    assert imports(info, "idna") and imports(info, "six")
    assert not imports(info, "django")
    assert info.path == place / info.digest and info.size_bytes > 0
    assert leftovers(place) == []
    assert any("idna==3.10" in line for line in lines) or info.reused


def test_the_same_needs_share_an_environment_at_once_and_in_any_order() -> None:
    first = ensure(["idna==3.10", "six"])
    began = time.monotonic()
    second = ensure(["six", "idna == 3.10"])
    assert second.reused and second.digest == first.digest
    assert time.monotonic() - began < 1
    assert ensure(["idna==3.9"]).digest != first.digest


def test_bytecode_is_there_because_the_sandbox_cannot_write_it() -> None:
    info = ensure(["idna==3.10"])
    assert list(info.path.glob("lib/python*/site-packages/idna/__pycache__/core.*.pyc"))


def test_test_suites_are_left_uncompiled_wherever_slipway_itself_lies(
    wheels: Path, tmp_path: Path, settings
) -> None:
    settings.SLIPWAY_VAR = tmp_path / "tests" / "var"
    with zipfile.ZipFile(next(wheels.iterdir()), "a") as archive:
        archive.writestr("evilthing_more/tests/test_it.py", "1\n")
        archive.writestr("evilthing_more/real.py", "1\n")
    info = ensure(["evilthing-1.0-py3-none-any.whl"], wheel_folder=wheels)
    package = next(info.path.glob("lib/python*/site-packages/evilthing_more"))
    assert list(package.glob("__pycache__/real.*.pyc")) and not list(package.glob("tests/__pycache__"))


def test_no_code_of_a_package_runs_while_it_is_installed(wheels: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    info = ensure(["evilthing-1.0-py3-none-any.whl"], wheel_folder=wheels)
    assert "evilthing==1.0" in info.locked
    assert not mark.exists()
    assert imports(info, "six")  # any start of its interpreter runs the .pth: so it is the sandbox's alone
    assert mark.exists()


def test_another_wheel_of_the_same_name_is_another_environment(wheels: Path, tmp_path: Path) -> None:
    name = "evilthing-1.0-py3-none-any.whl"
    first = ensure([name], wheel_folder=wheels)
    assert ensure([name], wheel_folder=wheels).reused
    make_wheel(wheels, tmp_path / "another mark of another length")
    assert ensure([name], wheel_folder=wheels).digest != first.digest


def test_what_cannot_be_met_is_told_in_uvs_words_without_places(place: Path) -> None:
    with pytest.raises(ProblemError) as raised:
        ensure(["six==99.0"])
    problem = raised.value.problem
    assert problem.code == "registry.environment.unresolvable"
    assert "six==99.0" in problem.params["detail"]
    assert "://" not in problem.params["detail"] and str(place) not in problem.params["detail"]
    assert code_of(lambda: ensure(["no-such-package-of-slipway"])) == "unresolvable"
    assert code_of(lambda: ensure(["idna<3", "idna>3"])) == "unresolvable"
    assert leftovers(place) == []


@pytest.mark.parametrize(
    "line",
    [
        "git+https://example.org/x.git",
        "x @ https://example.org/x.whl",
        "x @ file:///etc/passwd",
        "-r /etc/passwd",
        "--index-url=https://example.org",
        "-e .",
        "./x",
        "/x.whl",
        "../x-1.0-py3-none-any.whl",
        "x-1.0-py3-none-any.whl",
        "x; import os",
        "six\n--index-url=x",
        "six --hash=sha256:00",
        "six[../x]",
        "сix",
        "",
        "x" * 301,
    ],
)
def test_only_names_with_versions_are_taken(line: str, wheels: Path) -> None:
    assert code_of(lambda: ensure([line], wheel_folder=wheels)) == "illegal_requirement"


def test_a_linked_wheel_is_not_followed(wheels: Path) -> None:
    (wheels / "other-1.0-py3-none-any.whl").symlink_to("/etc/passwd")
    assert code_of(lambda: checked(["other-1.0-py3-none-any.whl"], wheels)) == "illegal_requirement"


def test_two_builders_at_once_make_one_environment(place: Path) -> None:
    program = Path(__file__).with_name("build_environment.py")
    argv = [sys.executable, program, str(place.parent), "packaging==24.0"]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(3)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert {process.returncode for process in running} == {0}
    assert len({answer["digest"] for answer in answers}) == 1
    assert [answer["reused"] for answer in answers].count(False) == 1
    assert leftovers(place) == []


@contextlib.contextmanager
def builder(place: Path, *requirements: str) -> Iterator[subprocess.Popen[bytes]]:
    """A builder in a process of its own, caught in the middle of an installation."""
    program = Path(__file__).with_name("build_environment.py")
    argv = [sys.executable, program, str(place.parent), *requirements]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_killed_builder_leaves_only_what_a_sweep_removes(place: Path) -> None:
    before = {info.digest for info in environments.list_installed()}
    with builder(place, "numpy<2.3") as process:
        wait_for(lambda: list(place.glob(".building-*/environment/pyvenv.cfg")))
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: environments.sweep_temporary() or not list(place.glob(".building-*")))
    wait_for(lambda: not list(place.glob(".building-*")) or environments.sweep_temporary())
    assert not list(place.glob(".building-*"))
    assert {info.digest for info in environments.list_installed()} == before
    info = ensure(["numpy<2.3"])
    assert not info.reused and imports(info, "numpy")


def test_a_sweep_leaves_a_live_builder_alone(place: Path) -> None:
    with builder(place, "numpy<2.2") as process:
        wait_for(lambda: list(place.glob(".building-*/environment/pyvenv.cfg")))
        environments.sweep_temporary()
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert environments.find(json.loads(output)["digest"]) is not None


def test_a_stopped_build_leaves_nothing_and_no_process(place: Path) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return bool(list(place.glob(".building-*/environment/pyvenv.cfg")))

    with pytest.raises(Stopped):
        ensure(["numpy<2.1"], should_stop=stop)
    assert asked and leftovers(place) == []


def test_what_should_stop_raises_comes_through_and_leaves_nothing(place: Path) -> None:
    class LeaseLost(Exception):
        pass

    def lost() -> bool:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        ensure(["idna==3.8"], should_stop=lost)
    assert leftovers(place) == []


def test_a_build_that_takes_too_long_is_told_so(place: Path, settings) -> None:
    settings.SLIPWAY_ENVIRONMENT_SECONDS = 0
    assert code_of(lambda: ensure(["idna==3.7"])) == "timed_out"
    assert leftovers(place) == []


def test_an_index_that_is_away_is_told_apart_and_hides_its_credentials(settings, place: Path) -> None:
    address = f"http://user:hunter2@127.0.0.1:{free_port()}/simple"
    settings.SLIPWAY_INDEX_URL = address
    lines: list[str] = []
    with pytest.raises(ProblemError) as raised:
        ensure(["attrs==20.1.0"], on_line=lines.append)
    assert raised.value.problem.code == "registry.environment.index_unreachable"
    told = str(raised.value.problem.as_dict()) + "".join(lines) + repr(package_index())
    assert "hunter2" not in told and "127.0.0.1" not in told


def test_without_the_index_what_was_resolved_before_is_still_reused(
    settings, place: Path, monkeypatch
) -> None:
    info = ensure(["idna==3.10"])
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(environments, "RESOLUTION_SECONDS", 0)  # the memo is too old to be trusted unasked
    assert ensure(["idna==3.10"]).digest == info.digest


def test_without_the_index_uv_builds_from_what_it_has_downloaded_before(
    settings, place: Path, monkeypatch
) -> None:
    info = ensure(["idna==3.10"])
    environments.remove(info.digest)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    again = ensure(["idna==3.10"])
    assert again.digest == info.digest and not again.reused and imports(again, "idna")


def test_old_answers_are_forgotten_in_time(place: Path) -> None:
    ensure(["idna==3.10"])
    memos = list((place / ".resolutions").iterdir())
    environments.sweep_temporary()
    assert list((place / ".resolutions").iterdir()) == memos
    for memo in memos:
        os.utime(memo, (1, 1))
    environments.sweep_temporary()
    assert list((place / ".resolutions").iterdir()) == []


def test_a_broken_environment_is_built_anew(place: Path) -> None:
    info = ensure(["idna==3.6"])
    (info.path / "bin" / "python").unlink()
    again = ensure(["idna==3.6"])
    assert again.digest == info.digest and not again.reused
    assert imports(again, "idna")


def test_removing_takes_the_environment_and_nothing_else(place: Path) -> None:
    kept, info = ensure(["idna==3.10"]), ensure(["idna==3.5"])
    assert {kept.digest, info.digest} <= {each.digest for each in environments.list_installed()}
    assert environments.size_bytes(info.digest) == info.size_bytes
    assert environments.remove(info.digest) and not environments.remove(info.digest)
    assert environments.find(info.digest) is None and environments.find(kept.digest) is not None
    assert not info.path.exists() and leftovers(place) == []
    for evil in ("../environments", "", "x" * 64, info.digest.upper()):
        with pytest.raises(ValueError, match="digest"):
            environments.remove(evil)


def test_nothing_of_our_environment_reaches_uv(monkeypatch, place: Path) -> None:
    monkeypatch.setenv("SLIPWAY_SECRET_KEY", "topsecret")
    monkeypatch.setenv("UV_INDEX_URL", "https://attacker.example")
    given: list[dict[str, str]] = []
    popen = subprocess.Popen

    def spy(argv, **options):
        given.append(options["env"])
        assert options["start_new_session"] and isinstance(argv, list)
        return popen(argv, **options)

    monkeypatch.setattr(uv_command.subprocess, "Popen", spy)
    forget_resolutions(place)
    ensure(["idna==3.4"])
    assert given
    for environment in given:
        assert "topsecret" not in str(environment) and "attacker" not in str(environment)
        assert environment["HOME"] != os.environ.get("HOME")


def test_pips_configuration_is_read_unless_an_index_is_set(monkeypatch, tmp_path: Path, settings) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n  https://b.example/simple\n"
        "  https://c.example/simple\ncert = /etc/ssl/own.pem\n[install]\nfind-links = /wheels\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    found = package_index()
    assert found.environment["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert found.environment["UV_INDEX"] == "https://b.example/simple https://c.example/simple"
    assert found.environment["UV_FIND_LINKS"] == "/wheels"
    assert found.environment["SSL_CERT_FILE"] == "/etc/ssl/own.pem"
    monkeypatch.setenv("PIP_INDEX_URL", "https://d.example/simple")
    assert package_index().environment["UV_DEFAULT_INDEX"] == "https://d.example/simple"
    settings.SLIPWAY_INDEX_URL = "https://e.example/simple"
    own = package_index()
    assert own.environment["UV_DEFAULT_INDEX"] == "https://e.example/simple"
    assert "UV_INDEX" not in own.environment and "UV_FIND_LINKS" not in own.environment
    assert own.identity != found.identity


def test_a_flood_of_output_is_bounded(tmp_path: Path) -> None:
    lines: list[str] = []
    command = uv_command.Command(
        {"HOME": str(tmp_path)}, lines.append, lambda: False, time.monotonic() + 60
    )  # fmt: skip
    command.run([sys.executable, "-c", "print('x' * 3_000_000); print('end')"])
    assert lines[-1] == "end" and max(map(len, lines)) <= uv_command.LINE_BYTES


def test_a_cancelled_command_takes_its_children_with_it(tmp_path: Path) -> None:
    note = tmp_path / "child"
    child = f"import os,time; open({str(note)!r},'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {child!r}])"
    stop = threading.Event()
    command = uv_command.Command({"HOME": str(tmp_path)}, print, stop.is_set, time.monotonic() + 60)
    threading.Thread(
        target=lambda: (wait_for(lambda: note.exists() and note.read_text()), stop.set())
    ).start()
    with pytest.raises(Stopped):
        command.run([sys.executable, "-c", parent])
    pid = int(note.read_text())
    wait_for(
        lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Failed to fetch: https://u:p@host/simple/six/", "Failed to fetch: (address)"),
        ("at /var/lib/a b/x", "at a b/x"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("read /home/someone/model/x.whl now", "read x.whl now"),
    ],
)
def test_words_that_are_shown_hold_no_places(said: str, shown: str) -> None:
    assert uv_command.clean(said) == shown


def test_the_lock_of_an_own_wheel_is_its_own_hash_alone(wheels: Path) -> None:
    _lines, found = checked(["evilthing-1.0-py3-none-any.whl"], wheels)
    lock = "evilthing==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nabc==1 --hash=sha256:22\n"
    sha256 = hashlib.sha256((wheels / "evilthing-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert tidy_lock(lock, found) == f"abc==1 --hash=sha256:22\nevilthing==1.0 --hash=sha256:{sha256}\n"
