"""A recorder of syncs and renames."""

import os
import stat
from pathlib import Path

import pytest


def identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


class DiskRecorder:
    """Syncs and renames, in order.

    Attributes:
        events: ("sync", identity, size of a file or None), or ("rename", path before, path after).
        descriptors: The descriptors synced.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple] = []
        self.descriptors: list[int] = []
        self.fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.record_sync)
        for name in ("rename", "replace"):
            self.record_renames(monkeypatch, name)

    def record_sync(self, descriptor: int) -> None:
        self.fsync(descriptor)
        status = os.fstat(descriptor)
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.descriptors.append(descriptor)
        self.events.append(("sync", (status.st_dev, status.st_ino), size))

    def record_renames(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def recorded(before: Path, after: Path) -> None:
            real(before, after)
            self.events.append(("rename", Path(before), Path(after)))

        monkeypatch.setattr(os, name, recorded)
