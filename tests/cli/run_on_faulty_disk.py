"""Runs commands on a disk that refuses each of their calls in turn, and again on a sound disk.

Usage: run_on_faulty_disk.py FOLDER LIMIT NAME...; the names are those of `COMMANDS` in
`tests.cli.disk_faults`, and LIMIT is the number of faults of each. Prints a JSON line per run.
"""

import contextlib
import dataclasses
import errno
import gc
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tagalong.cli.main import main
from tagalong.ner.errors import TagalongError
from tests.cli.disk_faults import COMMANDS, REPAIRED, Command, Run
from tests.cli.stored_files import WRITERS
from tests.faulty_disk import DiskCall, answer_calls, ask_before_changes, generic_name

NEEDS_NO_SPACE = {"unlink", "rmdir", "chmod", "fchmod"}
TIMES = re.compile(
    r'"(created|digest|seal|requested_at|ended_at)": "[^"]*"|"\w*seconds\w*": [0-9.e-]+'
)


def call(arguments: Sequence[str]) -> None:
    """Run a command of Tagalong, or a writer of `WRITERS`."""
    if arguments[0] not in WRITERS:
        main(arguments)
    try:
        WRITERS[arguments[0]]()
    except TagalongError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:  # as `main` does
        sys.exit(f"Error: {error.filename}: {error.strerror}")


def run_in_child(work: Path, arguments: Sequence[str], listener: socket.socket | None) -> None:
    for name, descriptor in (("out", 1), ("err", 2)):
        stream = os.open(work.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, descriptor)
    os.chdir(work)
    if listener is not None:
        asking = ask_before_changes()
        socket.send_fds(listener, [b"\0"], [asking])
        os.close(asking)
    status = 0
    try:
        call(arguments)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except Exception:  # noqa: BLE001 - shown as Python would
        status = 1
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def run(
    work: Path, arguments: Sequence[str], decide: Callable[[DiskCall], int] | None = None
) -> Run:
    """Run the command in a child process, and read what it printed and left."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        run_in_child(work, arguments, theirs if decide else None)
    theirs.close()
    if decide:
        _, [listener], _, _ = socket.recv_fds(ours, 1, 1)
        answer_calls(listener, work, decide)
        os.close(listener)
    ours.close()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Run(status, (work.parent / "err").read_text(errors="replace"), read_files(work))


def read_files(work: Path) -> dict[str, str]:
    """Content of each file by path, without times; its first characters and a hash."""
    found = {}
    for path in sorted(work.rglob("*")):
        if path.is_file():
            content = TIMES.sub("", path.read_bytes().decode("latin-1"))
            found[str(path.relative_to(work))] = f"{content[:40]} {hash(content)}"
    return found


def choose_faults(calls: Sequence[str]) -> list[tuple[int, int]]:
    """Number of the call and errno of each fault: each call on each file, first and last.

    A full or read-only disk refuses all further calls too, an input or output error one.
    """
    first = {generic_name(one): n for n, one in reversed(list(enumerate(calls)))}
    last = {generic_name(one): n for n, one in enumerate(calls)}
    faults = []
    for one, n in first.items():
        if one.split()[0] not in NEEDS_NO_SPACE:
            faults.append((n, errno.ENOSPC))
        faults += [(last[one], errno.EIO), (n, errno.EROFS)]
    return sorted(faults)


class RefusingDisk:
    """Refuses a call by its number, and unless it is an input or output error, all later ones."""

    def __init__(self, number: int, error: int) -> None:
        self.refused = ""  # the first refused call
        self._number, self._error = number, error
        self._n_seen, self._is_repaired = 0, False

    def decide(self, one: DiskCall) -> int:
        """The errno of a call; 0 lets it pass."""
        self._n_seen += 1
        self._is_repaired |= one.path == REPAIRED
        n_later = self._n_seen - 1 - self._number
        is_due = n_later == 0 if self._error == errno.EIO else n_later >= 0
        needs_none = self._error == errno.ENOSPC and one.name in NEEDS_NO_SPACE
        if not is_due or self._is_repaired or needs_none:
            return 0
        self.refused = self.refused or str(one)
        return self._error


def run_all(folder: Path, command: Command, limit: int) -> Iterator[dict[str, object]]:
    """Yield the undisturbed run, and each disturbed one with the run after it."""
    work = folder / "work" / "here"
    [version] = [path.name for path in folder.glob("versions/models/encoder/first-*")]
    arguments = [version if one == "first" else one for one in command.arguments]

    def renew() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder / command.template, work)

    calls: list[str] = []

    def record(one: DiskCall) -> int:
        calls.append(str(one))
        return 0

    renew()
    before = read_files(work)
    with (  # imports what the child processes need
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        contextlib.suppress(SystemExit),
        contextlib.chdir(work),
    ):
        call(arguments)
    gc.collect()
    gc.freeze()  # the child processes do not copy what they only read
    renew()
    undisturbed = run(work, arguments, record)
    yield {"before": before, "undisturbed": dataclasses.asdict(undisturbed)}
    faults = choose_faults(calls)
    n_faults = min(limit, len(faults))
    for number, error in [faults[len(faults) * n // n_faults] for n in range(n_faults)]:
        renew()
        disk = RefusingDisk(number, error)
        disturbed = run(work, arguments, disk.decide)
        again = run(work, arguments) if disturbed.status else None
        yield {
            "fault": f"{errno.errorcode[error]} {disk.refused or calls[number]}",
            "disturbed": dataclasses.asdict(disturbed),
            "again": dataclasses.asdict(again) if again else None,
        }


if __name__ == "__main__":
    for chosen in sys.argv[3:]:
        for line in run_all(Path(sys.argv[1]), COMMANDS[chosen], int(sys.argv[2])):
            print(json.dumps(line | {"command": chosen}), flush=True)
