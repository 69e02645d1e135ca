"""The process runtime beyond the contract: its files, its fences, and what goes wrong around it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from console import processes
from deployments.runtimes import log_files, process
from deployments.runtimes.base import InstanceSpec, RuntimeRefused, RuntimeUnreachable
from deployments.runtimes.process import ProcessRuntime
from tests.deployments.runtimes.conftest import Bench, process_runtime, supervise
from tests.waiting import until

pytestmark = pytest.mark.live


def _pid(bench: Bench, id: str) -> int:
    found = bench.stack.supervisor().process(id)
    assert found is not None
    return found.pid


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_an_instance_is_started_from_is_private_and_outside_of_what_it_may_write(
    process_bench: Bench,
) -> None:
    id = process_bench.ready()
    folder = process_bench.var / "instances" / id
    assert _mode(folder) == 0o700
    assert {path.name for path in (folder / "scratch").iterdir()} == set()
    for path in folder.iterdir():
        if path.is_file():
            assert _mode(path) == 0o600, path
    assert list((process_bench.var / "supervisor" / "conf.d").iterdir()) == []


def test_an_instance_carries_the_mark_and_nothing_of_the_environment_of_the_console(
    process_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_SECRET_KEY", "not for models")
    id = process_bench.ready()
    environment = Path(f"/proc/{_pid(process_bench, id)}/environ").read_text().split("\0")
    mark = f"SLIPWAY_STACK={process_bench.stack.mark}"
    assert sorted(environment) == sorted(["", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", mark])


def test_nothing_is_left_when_an_instance_is_gone(process_bench: Bench) -> None:
    def files() -> set[Path]:
        tops = (
            process_bench.var / "instances",
            process_bench.stack.run,
            process_bench.var / "supervisor" / "conf.d",
        )
        return {path for top in tops for path in top.rglob("*")}

    before = files()
    id = process_bench.ready()
    pid = _pid(process_bench, id)
    assert files() - before
    process_bench.gone(id)
    assert files() == before
    assert not Path(f"/proc/{pid}").exists()
    assert process_bench.stack.supervisor().process(id) is None


def test_what_a_model_did_to_its_scratch_folder_does_not_hinder_its_removal(process_bench: Bench) -> None:
    id = process_bench.ready()
    scratch = process_bench.var / "instances" / id / "scratch"
    outside = process_bench.var / "outside"
    outside.write_text("mine")
    (scratch / "link").symlink_to(process_bench.var)
    here = os.open(scratch, os.O_RDONLY)
    for _ in range(1500):  # deeper than Python recurses and than a path is long
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (scratch / "closed").mkdir()
    (scratch / "closed" / "file").touch()
    (scratch / "closed").chmod(0)
    process_bench.gone(id)
    assert outside.read_text() == "mine"


def test_the_probe_does_not_follow_a_link_to_another_socket(process_bench: Bench) -> None:
    good, evil = process_bench.ready(), process_bench.ready()
    address = Path(process_bench.seen(evil).address)
    address.unlink()
    address.symlink_to(process_bench.seen(good).address)
    assert not process_bench.runtime.probe(evil).ready


def test_twenty_instances_run_side_by_side_and_all_go(process_bench: Bench) -> None:
    ids = [process_bench.started() for _ in range(20)]
    for id in ids:
        until(lambda id=id: process_bench.runtime.probe(id).ready, 60)
    assert [one.id for one in process_bench.runtime.list()] == sorted(ids)
    for id in ids:
        process_bench.runtime.stop(id, 30)
    until(lambda: [process_bench.runtime.stop(id, 30) for id in ids] and not process_bench.runtime.list(), 60)


def test_two_workers_that_start_the_same_instance_start_one(process_bench: Bench) -> None:
    spec = process_bench.spec()
    second = process_runtime(process_bench.stack)
    errors: list[Exception] = []

    def start(runtime: ProcessRuntime) -> None:
        try:
            runtime.start(spec)
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=start, args=(runtime,)) for runtime in (process_bench.runtime, second) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    until(lambda: process_bench.runtime.probe(spec.id).ready)
    (only,) = process_bench.runtime.list()
    assert only.restarts == 0
    assert [path.name for path in (process_bench.var / "instances").iterdir()] == [spec.id]


@pytest.mark.parametrize("killed_at", ["add", "start"])
def test_a_start_that_was_killed_half_way_is_completed_by_the_next(
    process_bench: Bench, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    spec = process_bench.spec()
    asked = process_bench.runtime._ask

    def ask(call: Any, *params: Any) -> Any:
        if call.__name__ == killed_at:
            raise KeyboardInterrupt
        return asked(call, *params)

    with monkeypatch.context() as patch:
        patch.setattr(process_bench.runtime, "_ask", ask)
        with pytest.raises(KeyboardInterrupt):
            process_bench.runtime.start(spec)
    assert process_bench.seen(spec.id).state == "starting"
    with monkeypatch.context() as patch:
        patch.setattr(process, "HALF_STARTED_SECONDS", 0.0)
        assert process_bench.seen(spec.id).state == "gone"
    process_bench.runtime.start(spec)
    until(lambda: process_bench.runtime.probe(spec.id).ready)


def test_a_half_started_instance_can_be_removed(
    process_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = process_bench.spec()
    with monkeypatch.context() as patch:
        patch.setattr(process_bench.runtime, "_ask", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            process_bench.runtime.start(spec)
    process_bench.gone(spec.id)


@pytest.mark.parametrize(
    "changes", [{"id": "../up"}, {"id": "web"}, {"service_id": "a/b"}, {"service_id": "*"}]
)
def test_only_instance_ids_become_programs(process_bench: Bench, changes: dict[str, Any]) -> None:
    with pytest.raises(RuntimeRefused):
        process_bench.runtime.start(process_bench.spec(**changes))


def test_a_folder_that_cannot_be_written_is_a_refusal_with_its_reason(
    process_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_bench.runtime, "_instances", Path("/proc/no/such"))
    with pytest.raises(RuntimeRefused, match="cannot write"):
        process_bench.runtime.start(process_bench.spec())


def test_without_supervisord_calls_say_that_it_is_unreachable(process_bench: Bench, tmp_path: Path) -> None:
    runtime = ProcessRuntime(
        tmp_path, tmp_path, type(process_bench.stack.supervisor()).of(tmp_path, tmp_path), _compose, _launcher
    )
    with pytest.raises(RuntimeUnreachable):
        runtime.list()
    with pytest.raises(RuntimeUnreachable):
        runtime.start(process_bench.spec())
    with pytest.raises(RuntimeUnreachable):
        runtime.stop("i-0123456789ab", 1)


def test_a_wrong_password_opens_nothing(process_bench: Bench) -> None:
    from console.supervisor import Supervisor, SupervisorUnreachable

    stranger = Supervisor(process_bench.stack.run / "supervisor.sock", "guess")
    with pytest.raises(SupervisorUnreachable, match="401"):
        stranger.processes()


def test_a_new_supervisord_starts_no_instance_of_the_last_one(process_bench: Bench, tmp_path: Path) -> None:
    from console.stack import Stack

    own = Stack(tmp_path / "var", tmp_path / "r", "127.0.0.1", 1, 2)
    for _ in range(2):
        supervisord = supervise(own)
        runtime = process_runtime(own)
        assert runtime.list() == []
        runtime.start(process_bench.spec())
        until(lambda runtime=runtime: [one for one in runtime.list() if runtime.probe(one.id).ready])
        supervisord.terminate()
        supervisord.wait(20)
        assert processes.of_installation(own.var) == []


def test_lines_without_a_time_stamp_have_the_one_before(process_bench: Bench) -> None:
    id = process_bench.ready()
    line = "a line without a time stamp, 中文"
    until(lambda: line in [one.text for one in process_bench.runtime.logs(id)])
    lines = process_bench.runtime.logs(id)
    index = [one.text for one in lines].index(line)
    assert lines[index].at == lines[index - 1].at is not None


def test_logs_go_on_across_rotated_files(process_bench: Bench) -> None:
    id = process_bench.ready()
    folder = process_bench.var / "logs" / "instances"
    name = f"{process_bench.spec().service_id}.{id}.log"
    (folder / f"{name}.1").write_text("2020-01-01T00:00:01Z second\n")
    (folder / f"{name}.2").write_text("2020-01-01T00:00:00Z first\n")
    until(lambda: "loading as ready" in process_bench.runtime.logs(id)[-2].text)  # the file of today, last
    assert [line.text[-6:] for line in process_bench.runtime.logs(id)[:2]] == [" first", "second"]


def _compose(spec: InstanceSpec, scratch: Path, address: Path) -> dict[str, Any]:
    return {"env": {}}


def _launcher(path: Path) -> list[str]:
    return ["/bin/true", str(path)]


def test_colours_that_programs_send_to_terminals_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "service.i-0123456789ab.log").write_text("\x1b[0;93m2026-11-20 10:00:00 warning\x1b[m\n")
    (line,) = log_files.read(tmp_path, "i-0123456789ab", None, None, 10)
    assert line.text == "2026-11-20 10:00:00 warning" and line.at is not None
