"""The state of an unfinished training, in one file that is complete or absent.

It is our only file that PyTorch pickles, because optimizers have no other format. It is never part
of a version, and reading it creates only tensors and plain values.
"""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from tagalong.backend.storage.locks import try_lock
from tagalong.ner.atomic_io import open_atomically, remove_unfinished_writes, translate_os_errors
from tagalong.ner.errors import TrainingError


@contextmanager
def lock_training(path: Path) -> Iterator[None]:
    """Lock a state file, so that no other training uses the same state.

    Missing folders are created, and removed again if they stay empty. Raises `TrainingError` if
    another training holds the lock, `PublishError` if the file system refuses.
    """
    created = [folder for folder in path.parents if not folder.exists()]
    lock_path = path.with_name(f".lock{path.name}")
    with ExitStack() as stack:
        with translate_os_errors(f"begin a training in {path.parent}"):
            is_locked = stack.enter_context(try_lock(lock_path))
        if not is_locked:
            raise TrainingError(
                "another process is training the same recipe on the same documents "
                f"(it holds {lock_path}): wait for it, or end it and continue with --resume",
                code="training-in-progress",
            )
        try:
            yield
        finally:
            with suppress(OSError):  # a folder that is not empty stays, and so do its parents
                lock_path.unlink(missing_ok=True)
                for folder in created:
                    folder.rmdir()


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the saved state by another one, of tensors and plain values.

    The file is complete after every interruption, old or new. Raises `TrainingError` if it cannot
    be written; the previous state stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # PyTorch aborts the process if an exception interrupts it while it writes.
        with _defer_signals(), open_atomically(path) as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:
        # On a full disk PyTorch raises an error of its own after the OSError.
        cause = error if isinstance(error, OSError) else error.__context__ or error
        reason = getattr(cause, "strerror", None) or cause
        raise TrainingError(
            f"the training state could not be saved in {path.parent} ({reason}): make room there, "
            "then run the same command again (`tagalong train` continues with --resume)",
            code="training-state-unwritable",
        ) from error


@contextmanager
def _defer_signals() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # signals do not reach others
        yield
        return
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in handlers:  # inside try: a signal may arrive before all handlers are replaced
            signal.signal(number, lambda number, _: received.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for one in received:
            signal.raise_signal(one)


def read_state(path: Path, *, device: torch.device) -> dict[str, Any]:
    """Read a saved state, with its tensors on a device; raises `TrainingError` if damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise TrainingError(
            f"the training state in {path} is damaged: train again without --resume",
            code="training-state-damaged",
        ) from error
    return state


def delete_state(path: Path) -> None:
    """Delete a state, if there is one, and the partial files of killed processes."""
    path.unlink(missing_ok=True)
    remove_unfinished_writes(path)
    for file in path.parent.glob(f"{path.name}.*"):  # partial files of earlier versions of Tagalong
        file.unlink(missing_ok=True)
