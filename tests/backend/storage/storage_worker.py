"""Processes that use `tagalong.ner.atomic_io`, for the tests that kill them or run several at once.

``hold FOLDER`` locks a folder and ``scratch HOME`` makes a scratch folder: both print a line, then
wait for a line. ``count FILE N`` adds 1 to the number in a file N times. ``replace FILE`` writes
`SHORT` and `LONG` in turn. ``kill-ACTION FOLDER`` runs an action in child processes: the
first is killed before the first change of the disk, the next before the second, and so on.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count, cycle
from pathlib import Path

from tagalong.backend.storage.locks import (
    folder_lock,
    remove_abandoned_scratch_folders,
    remove_folder,
    scratch_folder,
    try_lock,
)
from tagalong.ner.atomic_io import write_text_atomically

SHORT, LONG = "short" * 10, "long" * 50_000
# Calls of C code that change the disk or end a change. __exit__ closes a file.
CHANGES = {"mkdir", "open", "flock", "write", "fsync", "__exit__", "close"}
CHANGES |= {"rename", "replace", "unlink", "rmdir"}
FILES = {"model": "weights", "manifest": "names"}


def is_killed(step: int, action: Callable[[], None]) -> bool:
    """Whether an action was killed in a child process before it ended."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = step

    def kill_when_due(_: object, event: str, function: object) -> None:
        nonlocal left
        left -= event == "c_call" and getattr(function, "__name__", "") in CHANGES
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(kill_when_due)
    action()
    sys.setprofile(None)
    os._exit(0)


def kill_at_every_step(
    prepare: Callable[[], None], action: Callable[[], None], check: Callable[[bool], None]
) -> int:
    """Kill an action at each step in turn, until it ends before the kill.

    Args:
        prepare: Called before the action.
        action: Action to kill.
        check: Called after the action with True if it ended.

    Returns:
        The number of kills.
    """
    for step in count():
        prepare()
        has_ended = not is_killed(step, action)
        check(has_ended)
        if has_ended:
            return step
    raise AssertionError("count() has no end")


def fill(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def kill_replace(folder: Path) -> int:
    path = folder / "current"

    def check(has_ended: bool) -> None:
        assert path.read_text() in ({LONG} if has_ended else {SHORT, LONG})

    return kill_at_every_step(
        lambda: write_text_atomically(path, SHORT), lambda: write_text_atomically(path, LONG), check
    )


def kill_remove_folder(home: Path) -> int:
    folder = home / "version"

    def prepare() -> None:
        folder.mkdir()
        fill(folder)

    def check(has_ended: bool) -> None:
        assert not (has_ended and folder.exists())
        if folder.exists():
            assert names_in(folder) == FILES.keys()
            shutil.rmtree(folder)
        remove_abandoned_scratch_folders(home)
        assert names_in(home) == set()

    return kill_at_every_step(prepare, lambda: remove_folder(folder), check)


def kill_scratch(home: Path) -> int:
    """Kill the filling and renaming of a scratch folder."""
    place = home / "version"

    def action() -> None:
        with scratch_folder(home) as folder:
            fill(folder)
            folder.rename(place)

    def check(has_ended: bool) -> None:
        assert place.exists() or not has_ended
        if place.exists():
            assert names_in(place) == FILES.keys()
            shutil.rmtree(place)
        remove_abandoned_scratch_folders(home)
        assert names_in(home) <= {".lock"}

    return kill_at_every_step(lambda: None, action, check)


def kill_cleanup(home: Path) -> int:
    """Kill a cleanup, then run the next one."""

    def prepare() -> None:
        for name in (".staging-a", ".staging-b"):
            (home / name / "work").mkdir(parents=True, exist_ok=True)
            (home / name / "lock").touch()
            fill(home / name / "work")

    def check(has_ended: bool) -> None:
        if not has_ended:
            remove_abandoned_scratch_folders(home)
        assert names_in(home) == set()

    return kill_at_every_step(prepare, lambda: remove_abandoned_scratch_folders(home), check)


def add(path: Path, times: int) -> None:
    for _ in range(times):
        with folder_lock(path.parent):
            write_text_atomically(path, str(int(path.read_text()) + 1))


def main() -> None:
    command, path, *more = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
    match command:
        case "hold" | "scratch" | "try":
            hold = {"hold": folder_lock, "scratch": scratch_folder, "try": try_lock}[command]
            with hold(path) as held:
                print(held, flush=True)
                sys.stdin.readline()
        case "count":
            add(path, int(more[0]))
        case "replace":
            for text in cycle([LONG, SHORT]):
                write_text_atomically(path, text)
        case "kill-replace":
            print(kill_replace(path))
        case "kill-remove-folder":
            print(kill_remove_folder(path))
        case "kill-scratch":
            print(kill_scratch(path))
        case "kill-cleanup":
            print(kill_cleanup(path))


if __name__ == "__main__":
    main()
