"""A disk that refuses chosen calls of a process, as SQLite, Python, Rust and C++ make them.

The kernel asks another process before each call that changes a file (seccomp user notifications).
This needs no root, no compiler and no tool; Linux on x86-64 has it. A library under ``LD_PRELOAD``
needs a compiler, patches of `os` miss SQLite and Rust, and a size limit has one errno only.
"""

import ctypes
import fcntl
import os
import platform
import re
import select
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_faulty_disk = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="needs seccomp of Linux on x86-64",
)

PR_SET_NO_NEW_PRIVS, SYS_SECCOMP = 38, 317
SECCOMP_SET_MODE_FILTER, NEW_LISTENER = 1, 8
NOTIFY, ALLOW = 0x7FC00000, 0x7FFF0000
IOCTL_RECEIVE, IOCTL_SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, thread, flags, call, architecture, place, arguments
ANSWER = struct.Struct("=QqiI")  # id, value, error, flags
LOAD, EQUALS, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # of the filter's machine
AT_FDCWD = -100
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT

# Number, and the place of the changed file in the arguments: a descriptor, a path, or a path in the
# folder of a descriptor.
CALLS = {
    1: ("write", "fd", 0),
    2: ("open", "path", 0),
    18: ("pwrite", "fd", 0),
    20: ("writev", "fd", 0),
    40: ("sendfile", "fd", 0),
    74: ("fsync", "fd", 0),
    75: ("fdatasync", "fd", 0),
    77: ("ftruncate", "fd", 0),
    82: ("rename", "path", 1),
    83: ("mkdir", "path", 0),
    84: ("rmdir", "path", 0),
    87: ("unlink", "path", 0),
    90: ("chmod", "path", 0),
    91: ("fchmod", "fd", 0),
    257: ("open", "at", 0),
    258: ("mkdir", "at", 0),
    263: ("unlink", "at", 0),
    264: ("rename", "at", 2),
    285: ("fallocate", "fd", 0),
    296: ("pwritev", "fd", 0),
    316: ("rename", "at", 2),
    326: ("copy", "fd", 2),
}
OPEN_FLAGS_ARGUMENT = {2: 1, 257: 2}


@dataclass(frozen=True)
class DiskCall:
    """A call that changes a file, before it happens."""

    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.name} {self.path}"


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def ask_before_changes() -> int:
    """Have the kernel ask before this thread, and those it starts, change a file.

    Returns the descriptor on which another process must answer. Cannot be undone.
    """
    program = []
    for number in CALLS:
        if number not in OPEN_FLAGS_ARGUMENT:
            program += [(EQUALS, 0, 1, number), (RETURN, 0, 0, NOTIFY)]
            continue
        program += [
            (EQUALS, 0, 4, number),
            (LOAD, 0, 0, 16 + 8 * OPEN_FLAGS_ARGUMENT[number]),  # lower half of the argument
            (ANY_BIT, 0, 1, WRITE_FLAGS),
            (RETURN, 0, 0, NOTIFY),
            (RETURN, 0, 0, ALLOW),
        ]
    program = [(LOAD, 0, 0, 0), *program, (RETURN, 0, 0, ALLOW)]
    instructions = (_Instruction * len(program))(*program)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = libc.syscall(
        SYS_SECCOMP,
        SECCOMP_SET_MODE_FILTER,
        NEW_LISTENER,
        ctypes.byref(_Program(len(program), instructions)),
    )
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the kernel does not let a filter ask")
    return int(listener)


def answer_calls(
    listener: int, folder: Path, decide: Callable[[DiskCall], int], *, poll_seconds: float = 60
) -> None:
    """Answer until all threads with the filter have ended.

    `decide` gets each call on a file below the folder, and returns an errno, or 0 to let it pass.
    """
    poll = select.poll()
    poll.register(listener)
    notification = bytearray(NOTIFICATION.size)
    prefix = f"{folder.resolve()}/"
    while events := poll.poll(poll_seconds * 1000):
        if not events[0][1] & select.POLLIN:  # hung up
            break
        notification[:] = bytes(len(notification))
        try:
            fcntl.ioctl(listener, IOCTL_RECEIVE, notification)
            ident, thread, _, number, _, _, *arguments = NOTIFICATION.unpack(notification)
            path = _find_path(thread, number, arguments)
            error = 0
            if path.startswith(prefix):
                error = decide(DiskCall(CALLS[number][0], path.removeprefix(prefix)))
            answer = ANSWER.pack(ident, 0, -error, 0 if error else CONTINUE)
            fcntl.ioctl(listener, IOCTL_SEND, bytearray(answer))
        except FileNotFoundError:  # the thread was killed, or interrupted by a signal
            continue


def _find_path(thread: int, number: int, arguments: list[int]) -> str:
    _, kind, place = CALLS[number]
    process = Path(f"/proc/{thread}")
    value = arguments[place]
    if kind == "fd":
        return str((process / "fd" / str(value & 0xFFFFFFFF)).readlink())
    folder = (process / "cwd").readlink()
    if kind == "at":
        descriptor = ctypes.c_int(value & 0xFFFFFFFF).value
        if descriptor != AT_FDCWD:
            folder = (process / "fd" / str(descriptor)).readlink()
        value = arguments[place + 1]
    with (process / "mem").open("rb", buffering=0) as memory:
        memory.seek(value)
        name = memory.read(4096).partition(b"\0")[0].decode()  # shorter where the mapping ends
    return os.path.normpath(folder / name)


def generic_name(path: str) -> str:
    """A path without the parts that differ between runs: process ids, random names, versions."""
    path = re.sub(r"\.\d+\.new", ".N.new", path)
    path = re.sub(r"(\.staging-|/tmp|tagalong-\w+-|^tmp/tmp)\w{8}", r"\1X", path)
    return re.sub(r"-\d{8}(-\d+)?-[0-9a-f]{8}", "-V", path)
