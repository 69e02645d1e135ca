"""Not imported: the text of this file runs inside the sandbox while an evil model is unpickled
(test_sandbox).

Every attempt ends as ``refused: …`` or ``DONE: …``; `model` tells them all as its prediction. ``TARGETS``
is put into the namespace by the test.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

T = TARGETS  # noqa: F821
SECRET, SCRATCH, OTHER = Path(T["secret"]), Path(T["scratch"]), Path(T["other"])
PARENT = Path(f"/proc/{os.getppid()}")
X86 = platform.machine() == "x86_64"
LIBC = ctypes.CDLL(None, use_errno=True)


def tried(attempt):
    try:
        return f"DONE: {attempt()!r:.200}"
    except BaseException as error:
        return f"refused: {type(error).__name__}: {error}"


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def call(x86_64, aarch64, *arguments):
    return checked(LIBC.syscall(x86_64 if X86 else aarch64, *arguments))


def connected(family, kind, address):
    with socket.socket(family, kind) as found:
        found.connect(address)
        return True


def sent(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as found:
        return found.sendto(b"hello", address)


def sent_from_a_pair():
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"hello", T["datagram"])


def read_through_link(make):
    make(SECRET, SCRATCH / make.__name__)
    return (SCRATCH / make.__name__).read_bytes()


def execute_scratch():
    (SCRATCH / "program").write_bytes(Path(sys.executable).read_bytes())
    os.execv(SCRATCH / "program", ["program"])


def shell():
    if os.system("true") != 0:
        raise PermissionError("the shell was not started")


OWN_FILE = Path(T["package"], "model", "model.m")
ATTEMPTS = {
    # allowed
    "own package": lambda: os.listdir(T["package"]),
    "own scratch": lambda: (SCRATCH / "x").write_text("x"),
    "signal itself": lambda: os.kill(os.getpid(), 0),
    "thread": lambda: threading.Thread(target=int).start(),
    "null": lambda: Path("/dev/null").write_text("x"),
    # files
    "read secret": SECRET.read_bytes,
    "read passwd": Path("/etc/passwd").read_bytes,
    "read other model": OTHER.read_bytes,
    "list other model": lambda: os.listdir(OTHER.parent),
    "read spec": Path(T["spec"]).read_bytes,
    "environ of init": Path("/proc/1/environ").read_bytes,
    "environ of parent": (PARENT / "environ").read_bytes,
    "cmdline of parent": (PARENT / "cmdline").read_bytes,
    "memory of parent": lambda: (PARENT / "mem").open("rb").read(1),
    "root of parent": Path(f"{PARENT}/root{SECRET}").read_bytes,
    "through own root": Path(f"/proc/self/root{SECRET}").read_bytes,
    "symbolic link": lambda: read_through_link(os.symlink),
    "hard link": lambda: read_through_link(os.link),
    "make link": lambda: os.symlink("/nowhere", SCRATCH / "link"),
    "rename": lambda: os.rename(SECRET, SCRATCH / "moved"),
    "write outside": lambda: Path(T["outside"], "x").write_text("x"),
    "write package": lambda: Path(T["package"], "model", "x").write_text("x"),
    "write tmp": lambda: Path("/tmp/slipway-sandbox-test").write_text("x"),
    "write shm": lambda: Path("/dev/shm/slipway-sandbox-test").write_text("x"),
    "make folder": lambda: os.mkdir(T["outside"] + "/d"),
    "truncate": lambda: os.truncate(SECRET, 0),
    "unlink": lambda: os.unlink(SECRET),
    "chmod": lambda: os.chmod(SECRET, 0o777),
    "fchmod": lambda: os.fchmod(os.open(OWN_FILE, os.O_RDONLY), 0),
    "chown": lambda: os.chown(SECRET, os.getuid(), os.getgid()),
    "utime": lambda: os.utime(SECRET, (0, 0)),
    "setxattr": lambda: os.setxattr(SECRET, "user.x", b"x"),
    "device": lambda: os.mknod(SCRATCH / "mem", 0o20666, os.makedev(1, 1)),
    "inotify": lambda: checked(LIBC.inotify_init1(0)),
    "execute scratch": execute_scratch,
    "big file": lambda: os.truncate(SCRATCH / "x", 1 << 40),
    # connections
    "tcp connect": lambda: connected(socket.AF_INET, socket.SOCK_STREAM, tuple(T["tcp"])),
    "tcp6 socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM),
    "udp": lambda: sent(socket.AF_INET, tuple(T["udp"])),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "unix connect": lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, T["unix"]),
    "abstract connect": lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + T["abstract"]),
    "unix datagram": lambda: sent(socket.AF_UNIX, T["datagram"]),
    "paired datagram": sent_from_a_pair,
    "inherited descriptor": lambda: os.read(T["descriptor"], 10),
    # other processes
    "signal parent": lambda: os.kill(os.getppid(), 0),
    "signal init": lambda: os.kill(1, 0),
    "signal test": lambda: os.kill(T["pid"], 0),
    "signal everybody": lambda: os.kill(-1, 0),
    "signal by descriptor": lambda: signal.pidfd_send_signal(os.pidfd_open(T["pid"]), 0),
    "limits of another": lambda: resource.prlimit(T["pid"], resource.RLIMIT_CPU),
    "affinity of another": lambda: os.sched_setaffinity(T["pid"], {0}),
    "priority of another": lambda: os.setpriority(os.PRIO_PROCESS, T["pid"], 19),
    "ptrace": lambda: call(101, 117, 16, T["pid"], 0, 0),
    "process_vm_readv": lambda: call(310, 270, T["pid"], 0, 0, 0, 0, 0),
    "pidfd_getfd": lambda: call(438, 438, os.pidfd_open(T["pid"]), 0, 0),
    "shared memory": lambda: call(29, 194, 0, 4096, 0o1600),
    "message queue": lambda: call(240, 180, b"slipway", 0o102, 0o600, 0),
    "keyring": lambda: call(250, 219, 0, -4, 1),
    "fork": os.fork,
    "subprocess": lambda: subprocess.run(["/bin/sh", "-c", "true"]),
    "shell": shell,
    "clone": lambda: call(56, 220, 17, 0, 0, 0, 0),
    "clone3": lambda: call(435, 435, 0, 0),
    # doors in the walls
    "io_uring": lambda: call(425, 425, 8, ctypes.create_string_buffer(256)),
    "unshare": lambda: call(272, 97, 0x10000000),
    "mount": lambda: checked(LIBC.mount(b"none", str(SCRATCH).encode(), b"tmpfs", 0, None)),
    "chroot": lambda: os.chroot(SCRATCH),
    "bpf": lambda: call(321, 280, 0, 0, 0),
    "call newer than the list": lambda: call(468, 468, -100, str(SECRET).encode(), 0, 0, 0),
    "call of the x32 table": lambda: call(0x40000000 + 42, 0x40000000 + 42, 0, 0, 0),
    "another user": lambda: os.setuid(12345),
    "higher limit": lambda: resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40)),
    "memory": lambda: bytearray(3 << 30),
}
found = {name: tried(attempt) for name, attempt in ATTEMPTS.items()}


class Model:
    def predict(self, rows):
        return [json.dumps(found) for _ in rows]


model = Model()
