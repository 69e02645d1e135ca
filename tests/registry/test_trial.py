"""Trial runs of real models in the real sandbox: good ones, and every way a model can be bad."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from console.env import private_folder
from console.problems import ProblemError
from registry import environments, launch, trial, trial_process
from registry.doors import Stopped
from registry.trial import TrialSpec

pytestmark = pytest.mark.live

GOOD = """
from model_service.python_model_service import XgSklServingBaseService

class Doubles(XgSklServingBaseService):
    def _preprocess(self, data):
        return data
    def _inference(self, data):
        return {"doubled": 2 * json_of(data)["x"]}
    def _postprocess(self, data):
        return data

def json_of(data):
    import json
    return data if isinstance(data, dict) else json.loads(data)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what the predictor needs and nothing more; the models here bring their own code."""
    with override_settings(SLIPWAY_VAR=tmp_path_factory.mktemp("var")):
        return environments.ensure([]).path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, settings) -> Iterator[Path]:
    """Private folders for trials and sockets; whatever a test left running is ended."""
    settings.SLIPWAY_VAR = tmp_path / "var 变"
    settings.SLIPWAY_RUN = private_folder(Path(f"/tmp/slipway-trial-{os.getpid()}"))
    yield settings.SLIPWAY_VAR / "trials"
    trial.sweep()
    assert list(settings.SLIPWAY_RUN.iterdir()) == []
    settings.SLIPWAY_RUN.rmdir()


def make_package(folder: Path, code: str = GOOD, sample: Any = None, engine: str = "Scikit_Learn") -> Path:
    model = folder / "package 包" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"model_type": engine, "model_algorithm": "double"}))
    (model / "customize_service.py").write_text(code)
    (model / "model.m").write_bytes(b"nothing that is ever unpickled")
    if sample is not None:
        (model / "sample.json").write_text(json.dumps(sample))
    return model.parent


@pytest.fixture
def run(environment: Path, tmp_path: Path, place: Path) -> Callable[..., trial.TrialResult]:
    """Runs a trial of a package with this code; afterwards nothing of it may be left."""

    def action(code: str = GOOD, sample: Any = None, **more: Any) -> trial.TrialResult:
        package = make_package(tmp_path / secrets.token_hex(4), code, sample)
        options = {name: more.pop(name) for name in ("on_line", "should_stop") if name in more}
        facts = {"memory_bytes": 1 << 30, "timeout_seconds": 60, "sample": trial.sample_of(package)} | more
        spec = TrialSpec("t1", package, environment, "Scikit_Learn", **facts)
        try:
            return trial.run(spec, **options)
        finally:
            assert list(place.iterdir()) == []
            assert processes_naming(str(place)) == []

    return action


def processes_naming(text: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes() + Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words and int(name) != os.getpid():
            found.append(int(name))
    return found


def problem_of(action: Callable[[], object]) -> tuple[str, dict[str, Any]]:
    with pytest.raises(ProblemError) as raised:
        action()
    problem = raised.value.problem
    assert "<" not in problem.cause, "a parameter of the sentence is missing"
    return problem.code.removeprefix("registry.trial."), dict(problem.params)


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_good_model_loads_is_healthy_and_answers_its_sample(run) -> None:
    lines: list[str] = []
    result = run(sample={"x": 21}, on_line=lines.append, model_name="双倍 doubles", model_version="0.0.1")
    assert result.sample_answer == {"doubled": 42}
    assert 0 < result.load_seconds < 60
    assert result.openapi["openapi"].startswith("3.")
    assert result.metadata["name"] == "双倍 doubles"
    assert any("ready" in line for line in lines)


def test_a_model_without_a_sample_only_has_to_be_healthy(run) -> None:
    assert run().sample_answer is None


def test_a_model_that_does_not_load_tells_its_exception(run, place: Path) -> None:
    lines: list[str] = []
    code, params = problem_of(
        lambda: run("raise ValueError('weights of another version')", on_line=lines.append)
    )
    assert code == "load_failed"
    assert "ValueError: weights of another version" in params["detail"]
    assert any("Traceback" in line for line in lines)
    assert str(place) not in params["detail"]


def test_a_model_that_hangs_on_load_is_ended_in_time(run) -> None:
    began = time.monotonic()
    code, params = problem_of(lambda: run("import time\ntime.sleep(600)", timeout_seconds=3))
    assert (code, params) == ("hung", {"seconds": 3})
    assert time.monotonic() - began < 30


def test_a_model_that_hangs_and_ignores_signals_is_ended_too(run) -> None:
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    assert problem_of(lambda: run(code, timeout_seconds=3))[0] == "hung"


def test_a_model_that_kills_its_process_has_crashed(run) -> None:
    code, params = problem_of(lambda: run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"))
    assert code == "crashed" and "SIGSEGV" in params["detail"]
    code, params = problem_of(lambda: run("import os\nprint('bye')\nos._exit(7)"))
    assert code == "crashed" and "7" in params["detail"] and "bye" in params["detail"]


def test_a_model_that_needs_more_memory_than_it_may_have_is_told_so(run) -> None:
    code, params = problem_of(lambda: run("x = bytearray(4 << 30)", memory_bytes=512 << 20))
    assert (code, params) == ("out_of_memory", {"limit": 512 << 20})


def test_a_model_that_dies_while_it_answers_its_sample_has_crashed(run) -> None:
    code = GOOD.replace("return {", "import os, signal; os.kill(os.getpid(), signal.SIGABRT); return {")
    assert problem_of(lambda: run(code, sample={"x": 1}))[0] == "crashed"


def test_a_sample_that_is_refused_is_told_with_the_answer(run) -> None:
    code, params = problem_of(lambda: run(sample={"y": 1}))
    assert code == "sample_failed"
    assert params["path"] == "model/sample.json"
    assert "500" in params["detail"] and "MR.0105" in params["detail"]


def test_a_sample_that_is_never_answered_is_told_so(run, settings) -> None:
    settings.SLIPWAY_PREDICTION_SECONDS = 2
    code = GOOD.replace("return {", "import time; time.sleep(600); return {")
    code, params = problem_of(lambda: run(code, sample={"x": 1}))
    assert code == "sample_failed" and "2 s" in params["detail"]


def test_a_sample_that_is_no_json_is_told_so(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    (package / "model" / "sample.json").write_text("{not json")
    assert problem_of(lambda: trial.sample_of(package))[0] == "sample_failed"


def test_stopping_a_trial_ends_it_at_once(run) -> None:
    lines: list[str] = []
    with pytest.raises(Stopped):
        run("import time\nprint('loading')\ntime.sleep(600)", on_line=lines.append,
            should_stop=lambda: "loading" in lines)  # fmt: skip


def test_what_should_stop_raises_comes_through(run) -> None:
    class LeaseLost(Exception):
        pass

    def lost() -> bool:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        run(should_stop=lost)


def test_processes_that_a_model_starts_go_with_it(run) -> None:
    code = (
        "import os, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        try: os.setsid()\n"
        "        except OSError: pass\n"
        "        time.sleep(600)\n"
        "raise RuntimeError('children stay')"
    )
    assert problem_of(lambda: run(code))[0] in ("load_failed", "crashed")


def test_a_flood_of_log_lines_is_cut(run) -> None:
    lines: list[str] = []
    flood = "for n in range(30_000): print('line', n, 'x' * 100)\nprint('y' * 1_000_000)\n"
    flood += "raise ValueError('end')"
    code, params = problem_of(lambda: run(flood, on_line=lines.append))
    assert code == "load_failed" and "ValueError: end" in params["detail"]
    assert len(lines) <= trial.SHOWN_LINES and max(map(len, lines)) <= trial.DETAIL_CHARACTERS


def test_a_model_cannot_reach_the_console_from_its_trial(run, tmp_path: Path, settings) -> None:
    secret = settings.SLIPWAY_VAR / "secret.key"
    private_folder(secret.parent)
    secret.write_text("top secret")
    code = (
        GOOD
        + f"""
import os, socket
found = []
for path in ({str(secret)!r}, "/etc/passwd"):
    try:
        open(path).read(); found.append(path)
    except OSError:
        pass
try:
    socket.create_connection(("127.0.0.1", 9), 1); found.append("network")
except ConnectionRefusedError:
    found.append("network")
except OSError:
    pass
found += [name for name in os.environ if name.startswith(("SLIPWAY", "DJANGO", "PIP"))]
if found:
    raise RuntimeError(f"reached {{found}}")
"""
    )
    assert run(code).load_seconds > 0


def test_a_socket_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    from registry.unix_http import NoAnswer, ask

    real = tmp_path / "real"
    listen = f"import socket, time; s = socket.socket(socket.AF_UNIX); s.bind({str(real)!r}); s.listen()"
    server = subprocess.Popen([sys.executable, "-c", f"{listen}; time.sleep(60)"])
    try:
        wait_for(real.exists)
        (tmp_path / "link").symlink_to(real)
        with pytest.raises(NoAnswer, match="ConnectionRefused"):
            ask(tmp_path / "link", "GET", "/")
    finally:
        server.kill()
        server.wait()


WORKER = """
import os, sys
from pathlib import Path
sys.path.insert(0, {repo!r})
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
os.environ["SLIPWAY_VAR"] = {var!r}
import django
django.setup()
from django.conf import settings
settings.SLIPWAY_RUN = Path({run!r})
from registry import trial
trial.run(trial.TrialSpec("t2", Path({package!r}), Path({environment!r}), "Scikit_Learn", 1 << 30, 600),
          on_line=lambda line: print(line, flush=True))
"""


def test_a_trial_whose_worker_was_killed_is_swept_and_a_live_one_is_not(
    environment: Path, tmp_path: Path, place: Path, settings
) -> None:
    package = make_package(tmp_path, "import time\nprint('loading')\ntime.sleep(600)")
    program = WORKER.format(
        repo=str(settings.BASE_DIR), var=str(settings.SLIPWAY_VAR), run=str(settings.SLIPWAY_RUN),
        package=str(package), environment=str(environment),
    )  # fmt: skip
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        while "loading" not in worker.stdout.readline():
            assert worker.poll() is None
        assert trial.sweep() == 0
        assert processes_naming(f"{place}/t2")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert processes_naming(f"{place}/t2"), "the model outlives its worker, or this test shows nothing"
        assert trial.sweep() == 1
        assert processes_naming(f"{place}/t2") == []
        assert list(place.iterdir()) == [] and trial.sweep() == 0
    finally:
        worker.kill()
        worker.wait()


def test_a_process_whose_note_was_never_written_is_found_by_its_command(tmp_path: Path) -> None:
    home = tmp_path / "t-1"
    home.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", f"{home}/spec.json"], start_new_session=True
    )
    try:
        assert trial_process.kill_all(home) == 1
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()


def test_a_stranger_with_a_remembered_number_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    try:
        trial_process.remember(tmp_path, stranger.pid)
        note = tmp_path / trial_process.NOTE
        facts = json.loads(note.read_text())
        note.write_text(json.dumps(facts | {"started": facts["started"] - 1}))
        assert trial_process.kill_all(tmp_path) == 0
        note.write_text(json.dumps(facts | {"boot": "another"}))
        assert trial_process.kill_all(tmp_path) == 0
        note.write_text("half a no")
        assert trial_process.kill_all(tmp_path) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# --- the launch description ---------------------------------------------------------------------------


def compose(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "package_dir": Path("/v/package"), "environment_dir": Path("/v/environment"),
        "scratch_dir": Path("/v/scratch"), "socket": Path("/r/t-1/s"), "engine": "ONNX", "envs": {},
        "memory_bytes": 1, "threads": 2, "model_name": "m", "model_version": "1", "limit_bytes": 3,
    }  # fmt: skip
    return launch.launch_spec(**(facts | changes))


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "ld_library_path", "PYTHONPATH", "PythonHome", "PATH", "HOME", "TMPDIR", "GLIBC_TUNABLES",
     "BASH_ENV", "SLIPWAY_SECRET_KEY", "DATABASE_URL", "OPENSSL_CONF", "A-B",
     "1A", "", "A=B", "x" * 65, "A\n", "é"],
)  # fmt: skip
def test_variables_that_would_steer_the_process_are_refused(name: str) -> None:
    assert launch.forbidden_env(name) or not launch.env_name_is_valid(name)
    with pytest.raises(ValueError, match="may not be set"):
        compose(envs={name: "1"})


def test_a_models_own_variables_reach_it_and_nothing_of_ours_does(monkeypatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CONSOLE", "x")
    env = compose(envs={"THRESHOLD": "0.5", "OMP_NUM_THREADS": "7"})["env"]
    assert env["THRESHOLD"] == "0.5" and env["OMP_NUM_THREADS"] == "7" and env["OPENBLAS_NUM_THREADS"] == "2"
    assert env["HOME"] == "/v/scratch"
    assert "SECRET_OF_THE_CONSOLE" not in env
    with pytest.raises(ValueError, match="not usable"):
        compose(envs={"A": "x\0y"})


def test_a_server_may_write_to_its_own_folders_only(settings) -> None:
    assert compose()["write"] == ["/v/scratch", "/r/t-1"]
    assert compose(socket=Path("/v/scratch/s"))["write"] == ["/v/scratch"]
    with pytest.raises(ValueError, match="folder of its own"):
        compose(socket=settings.SLIPWAY_RUN / "s")
    with pytest.raises(ValueError, match="bytes"):
        compose(socket=Path("/r/" + "x" * 120 + "/s"))


def test_a_description_is_readable_by_us_alone_and_no_link_is_written_through(tmp_path: Path) -> None:
    launch.write_spec(tmp_path / "spec.json", compose())
    assert (tmp_path / "spec.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        launch.write_spec(tmp_path / "link", compose())
    assert not (tmp_path / "elsewhere").exists()
