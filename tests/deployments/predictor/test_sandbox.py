"""The sandbox: an evil pickle inside a really confined predictor, and what refuses to start."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.predictor import landlock, sandbox, seccomp

from .conftest import PREDICTOR, Running, make_package, started

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sandbox.unsupported() is not None, reason=str(sandbox.unsupported())),
]

EVIL = Path(__file__).with_name("evil_program.py").read_text("utf-8")
ALLOWED = {"own package", "own scratch", "signal itself", "thread", "null"}
# How the kernel, the limits and the C library say no.
REFUSALS = (
    "PermissionError",
    "MemoryError",
    "Function not implemented",
    "Invalid cross-device link",
    "File too large",
    "not allowed to raise maximum limit",
    "Bad file descriptor",
)
# A model that swallows memory while it is loaded.
HUNGRY = """
hoard = bytearray(700 << 20)
class Model:
    def predict(self, rows): return rows
model = Model()
"""


class Evil:
    """A pickle that runs a program when it is loaded, and becomes that program's ``model``."""

    def __init__(self, program: str, **names: object) -> None:
        self._program = program
        self._names = {"__name__": "evil", **names}

    def __reduce__(self):
        return (
            eval,
            ("exec(program, space) or space['model']", {"program": self._program, "space": self._names}),
        )


def spec_for(package: Path, scratch: Path, **limits: int) -> dict:
    """A spec as the runtime writes it."""
    return {
        "argv": [
            sys.executable, "-I", str(PREDICTOR / "__main__.py"), "--package", str(package),
            "--engine", "Scikit_Learn", "--uds", str(scratch / "s.sock"),
        ],
        "env": {"HOME": str(scratch), "TMPDIR": str(scratch), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        "read": [
            *sandbox.system_paths(), *sandbox.interpreter_paths(sys.executable), sys.prefix, str(package),
        ],
        "write": [str(scratch)],
        "limits": {"memory_bytes": 2 << 30, "file_bytes": 1 << 28, "open_files": 256, **limits},
    }  # fmt: skip


def command(spec: dict, folder: Path) -> list[str]:
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    path.chmod(0o600)
    return [sys.executable, "-I", str(PREDICTOR / "sandbox.py"), str(path)]


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sb-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def attempts(short: Path) -> Iterator[tuple[dict[str, str], dict, Running]]:
    """What a confined evil model achieved, the targets it was given, and the process."""
    folders = {name: short / name for name in ("secrets", "other", "outside", "scratch")}
    for folder in folders.values():
        folder.mkdir()
    (folders["secrets"] / "secret.key").write_text("the secret")
    (folders["other"] / "model.m").write_text("another model")
    unix, abstract, tcp = (
        socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET),
    )  # fmt: skip
    datagram, udp = (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    )
    with unix, abstract, tcp, datagram, udp:
        unix.bind(str(short / "listening.sock"))
        abstract.bind(f"\0slipway-test-{os.getpid()}")
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        datagram.bind(str(short / "datagram.sock"))
        for one in (unix, abstract, tcp):
            one.listen(8)
        read_end, write_end = os.pipe()
        os.set_inheritable(read_end, True)
        os.write(write_end, b"inherited")
        targets = {
            "package": str(short / "package"),
            "scratch": str(folders["scratch"]),
            "secret": str(folders["secrets"] / "secret.key"),
            "other": str(folders["other"] / "model.m"),
            "outside": str(folders["outside"]),
            "spec": str(short / "spec.json"),
            "unix": str(short / "listening.sock"),
            "abstract": f"slipway-test-{os.getpid()}",
            "datagram": str(short / "datagram.sock"),
            "tcp": tcp.getsockname(),
            "udp": udp.getsockname(),
            "pid": os.getpid(),
            "descriptor": read_end,
        }
        evil = pickle.dumps(Evil(EVIL, TARGETS=targets))
        package = make_package(short / "package", "Scikit_Learn", model=evil)
        spec = spec_for(package, folders["scratch"])
        with started(command(spec, short), folders["scratch"] / "s.sock", short / "log") as running:
            answer = running.client.post("/", json={"data": {"req_data": [{"a": 1}]}})
            assert answer.status_code == 200, answer.text
            found = json.loads(answer.json()["data"]["resp_data"][0]["predict_result"])
            for one in (datagram, udp):
                one.setblocking(False)
                with pytest.raises(BlockingIOError):
                    one.recv(10)
            yield found, targets, running
        os.close(read_end)
        os.close(write_end)


def test_an_evil_model_achieves_nothing_but_what_it_is_allowed(attempts):
    found, _, running = attempts
    achieved = {name for name, result in found.items() if not result.startswith("refused: ")}
    assert achieved == ALLOWED, {name: found[name] for name in achieved ^ ALLOWED}
    assert len(found) > 60
    assert running.client.get("/health").status_code == 200


def test_the_refusals_are_those_of_the_sandbox_and_not_of_a_broken_test(attempts):
    found, _, _ = attempts
    odd = {
        name: result
        for name, result in found.items()
        if name not in ALLOWED and not any(word in result for word in REFUSALS)
    }
    assert odd == {}


def test_nothing_outside_was_changed(attempts):
    _, targets, _ = attempts
    secret = Path(targets["secret"])
    assert secret.read_text() == "the secret"
    assert secret.stat().st_mtime > 0
    assert list(secret.parent.iterdir()) == [secret]
    assert list(Path(targets["outside"]).iterdir()) == []


def test_numeric_libraries_work_inside(short, iris_model, iris):
    package = make_package(short / "p 空", "Scikit_Learn", model=iris_model)
    scratch = short / "s1"
    scratch.mkdir()
    with started(command(spec_for(package, scratch), short), scratch / "s.sock", short / "log1") as running:
        rows = [dict(zip("abcd", map(float, row), strict=True)) for row in iris[0][::30]]
        answer = running.client.post("/", json={"data": {"req_data": rows}})
        assert running.stop() == 0
    found = [row["predict_result"] for row in answer.json()["data"]["resp_data"]]
    assert found == iris_model.predict(iris[0][::30]).tolist()


def test_a_model_larger_than_its_memory_fails_alone_and_says_so(short):
    package = make_package(short / "hungry", "Scikit_Learn", model=pickle.dumps(Evil(HUNGRY)))
    scratch = short / "s2"
    scratch.mkdir()
    spec = spec_for(package, scratch, memory_bytes=600 << 20)
    with started(command(spec, short), scratch / "s.sock", short / "log2", wait=False) as running:
        assert running.process.wait(60) == 65
        assert "MemoryError" in running.log


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"argv": []}, "absolute path"),
        ({"argv": ["python"]}, "absolute path"),
        ({"argv": ["/bin/x\0y"]}, "strings"),
        ({"read": ["/does/not/exist"]}, "/does/not/exist"),
        ({"limits": {"memory_bytes": "1"}}, "whole numbers"),
        ({"unknown": 1}, "cannot be read"),
    ],
)
def test_a_wrong_spec_is_refused_with_78_and_one_line(short, change, told):
    spec = {"argv": ["/bin/true"], "env": {}, "read": [], "write": [], "limits": {}, **change}
    with started(command(spec, short), short / "none", short / "log3", wait=False) as running:
        assert running.process.wait(20) == 78
        lines = running.log.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("sandbox: ")
        assert told in lines[0]


def test_a_program_that_may_not_be_read_is_not_started(short):
    spec = {"argv": ["/bin/true"], "env": {}, "read": [], "write": [], "limits": {}}
    with started(command(spec, short), short / "none", short / "log4", wait=False) as running:
        assert running.process.wait(20) == 127
        assert "cannot be started" in running.log


def test_an_old_kernel_is_named_and_refused(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 3)
    assert "Landlock ABI 3" in sandbox.unsupported()
    with pytest.raises(sandbox.Refused):
        sandbox.confine(sandbox.Spec(["/bin/true"], {}, [], []))


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("scoped", [True, False])
def test_the_filter_is_a_sound_program_on_every_architecture(column, scoped):
    program = seccomp.assemble(column, 0xC000003E, 4242, scoped)
    assert len(program) < 4096
    for at, (code, yes, no, _) in enumerate(program):
        if code & 0x07 == 0x05:
            assert at + 1 + max(yes, no) < len(program)
    assert program[-1] == (0x06, 0, 0, 0x7FFF0000)


def run(program: list, number: int, *arguments: int, architecture: int = 0xC000003E) -> int:
    """A classic-BPF machine for the few instructions that the filter uses; the returned action."""
    words = [number, architecture, 0, 0]
    for value in (*arguments, *[0] * (6 - len(arguments))):
        words += [value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF]
    at = accumulator = 0
    while True:
        code, yes, no, value = program[at]
        at += 1
        if code == 0x20:
            accumulator = words[value // 4]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        else:
            hit = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: bool(accumulator & value)}[
                code
            ]
            at += yes if hit else no


EPERM, ENOSYS, ALLOW = 0x00050001, 0x00050026, 0x7FFF0000


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ((0,), ALLOW),  # read
        ((42, 3), EPERM),  # connect
        ((41, 1, 1), ALLOW),  # socket(AF_UNIX, SOCK_STREAM)
        ((41, 1, 1 | 0o2000000), ALLOW),  # … | SOCK_CLOEXEC
        ((41, 1, 2), EPERM),  # SOCK_DGRAM
        ((41, 2, 1), EPERM),  # AF_INET
        ((41, 1 << 32 | 1, 1), ALLOW),  # the kernel looks at the int, and so does the filter
        ((53, 1, 2), EPERM),  # socketpair of datagrams
        ((56, 0x00010000), ALLOW),  # a thread
        ((56, 17), EPERM),  # a process
        ((435, 0), ENOSYS),
        ((302, 0), ALLOW),  # prlimit64 of oneself
        ((302, 4242), ALLOW),
        ((302, 1), EPERM),
        ((141, 0, 4242), ALLOW),
        ((141, 0, 1), EPERM),
        ((62, 4242), ALLOW),  # kill, where Landlock does not scope signals
        ((62, 1), EPERM),
        ((200, 1), EPERM),  # tkill
        ((463,), ENOSYS),
        ((0x40000000 + 42,), ENOSYS),
    ],
)
def test_the_filter_decides_as_promised(call, action):
    assert run(seccomp.assemble(0, 0xC000003E, 4242, False), *call) == action


def test_the_filter_leaves_scoped_signals_to_landlock_and_refuses_other_tables():
    program = seccomp.assemble(0, 0xC000003E, 4242, True)
    assert run(program, 62, 1) == ALLOW
    assert run(program, 62, 2**64 - 1) == EPERM
    assert run(program, 0, architecture=0x40000003) == EPERM
