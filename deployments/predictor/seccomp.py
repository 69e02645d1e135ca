"""A seccomp filter by ctypes: the system calls that Landlock does not cover and that a model never needs.

Refused calls answer EPERM (ENOSYS for those that the C library replaces by itself), so that a library that
only tries one goes on. The filter knows x86_64 and aarch64; calls of another architecture's table (32 bit,
x32) and calls newer than this list are refused as a whole.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

# name: (x86_64, aarch64); None where the architecture has no such call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # reaching others: the stack's own Unix sockets run under the same user, and Landlock cannot see a
    # connect to them
    "connect": (42, 203), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "ioprio_set": (251, 30),
    # attributes of files, which Landlock does not restrict: same user, so chmod would work on the database
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "inotify_init": (253, None), "inotify_init1": (294, 26),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # doors around this filter, and large attack surface
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "memfd_secret": (447, 447),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41),
    "mount": (165, 40), "umount2": (166, 39), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    # new processes: the memory limit holds per process, and their signals and limits reach the whole user
    "fork": (57, None), "vfork": (58, None),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKET, _SOCKETPAIR = (41, 198), (53, 199)
# Calls that take a process id first: only 0 (ourselves) or our own id.
_OWN_PID = {
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274),
}  # fmt: skip
_SETPRIORITY = (141, 140)  # the id is the second argument
# Signals, where Landlock cannot scope them (ABI < 6).
_SIGNALS = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_SIGNALS_DENIED = {"tkill": (200, 130), "pidfd_send_signal": (424, 424)}
_NEWEST = 462  # mseal, Linux 6.10
_X32_BIT = 0x40000000

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE_MASK = 1, 1, 0xF
_CLONE_THREAD = 0x00010000

Instruction = tuple[int, int, int, int]


def supported() -> bool:
    """Whether there is a filter for this machine's architecture."""
    return platform.machine() in _ARCHITECTURES


def install(*, scoped_signals: bool) -> None:
    """Filter this process and all that follow. `scoped_signals`: Landlock restricts signals already.

    `no_new_privs` must be set before. Raises OSError.
    """
    column, architecture = _ARCHITECTURES[platform.machine()]
    program = assemble(column, architecture, os.getpid(), scoped_signals)
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    filters = Program(len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(filters), 0, 0) != 0
    ):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def assemble(column: int, architecture: int, pid: int, scoped_signals: bool) -> list[Instruction]:
    """The classic-BPF program, as (code, jump if true, jump if false, value)."""
    denied = [numbers[column] for numbers in _DENIED.values()]
    own_pid = [numbers[column] for numbers in _OWN_PID.values()]
    if not scoped_signals:
        denied += [numbers[column] for numbers in _SIGNALS_DENIED.values()]
    program: list[Instruction] = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        _refuse(),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_JUMP_GREATER, 0, 1, _NEWEST),  # also every x32 call, whose numbers have a high bit set
        _refuse(errno.ENOSYS),
    ]
    assert _X32_BIT > _NEWEST
    for number in denied:
        if number is not None:
            program += [(_JUMP_EQUAL, 0, 1, number), _refuse()]
    # The arguments of clone3 are in memory, out of sight; the C library then uses clone.
    program += [(_JUMP_EQUAL, 0, 1, _CLONE3[column]), _refuse(errno.ENOSYS)]
    program += _when(_CLONE[column], [_argument(0), (_JUMP_SET, 1, 0, _CLONE_THREAD), _refuse(), _allow()])
    # Unix streams only: a datagram socket could send to any address without connecting.
    stream = [
        _argument(0), (_JUMP_EQUAL, 1, 0, _AF_UNIX), _refuse(),
        _argument(1), (_AND, 0, 0, _SOCK_TYPE_MASK), (_JUMP_EQUAL, 1, 0, _SOCK_STREAM), _refuse(), _allow(),
    ]  # fmt: skip
    for number in (_SOCKET[column], _SOCKETPAIR[column]):
        program += _when(number, stream)
    for number in own_pid:
        program += _when(number, [_argument(0), *_zero_or(pid)])
    program += _when(_SETPRIORITY[column], [_argument(1), *_zero_or(pid)])
    if not scoped_signals:
        for numbers in _SIGNALS.values():
            program += _when(numbers[column], [_argument(0), (_JUMP_EQUAL, 1, 0, pid), _refuse(), _allow()])
    else:
        # Landlock refuses each receiver, but the call to everybody would report success.
        program += _when(
            _SIGNALS["kill"][column], [_argument(0), (_JUMP_EQUAL, 0, 1, 0xFFFFFFFF), _refuse(), _allow()]
        )
    program.append(_allow())
    return program


def _when(number: int, block: list[Instruction]) -> list[Instruction]:
    return [(_JUMP_EQUAL, 0, len(block), number), *block]


def _zero_or(pid: int) -> list[Instruction]:
    return [(_JUMP_EQUAL, 2, 0, 0), (_JUMP_EQUAL, 1, 0, pid), _refuse(), _allow()]


def _argument(position: int) -> Instruction:
    """The low half of an argument: all that is looked at here is int for the kernel (both machines
    little-endian).
    """
    return (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * position)


def _refuse(number: int = errno.EPERM) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _allow() -> Instruction:
    return (_RETURN, 0, 0, _ALLOW)
