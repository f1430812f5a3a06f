"""The memory of this process, and how much it may use."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # cgroup version 1
)
DEFAULT_SHARE = 0.8  # of what the container or the machine has; the rest is for other processes
STATM = Path("/proc/self/statm")


def default_memory_bound() -> int:
    """The bytes that the process may use by default, from the limit of its container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # no limit is the text "max"
            limits.append(int(path.read_text()))
    return int(DEFAULT_SHARE * min(limits))


def resident_bytes() -> int:
    """The memory of this process; 0 where the system does not tell it."""
    with suppress(OSError, ValueError, IndexError):
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def return_free_memory() -> None:
    """Give memory that was freed back to the system, where the C library can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
