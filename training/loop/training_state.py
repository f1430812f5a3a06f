"""The state of an unfinished training: one file, whole or not there, for whoever started it.

It is the one file of ours that PyTorch pickles (optimizers have no other format). It is never part
of a version, and only tensors and plain values are ever read back from it.
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
from tagalong.ner.atomic_io import (
    open_atomically,
    remove_unfinished_writes,
    translate_os_errors,
)
from tagalong.ner.errors import TrainingError


@contextmanager
def lock_training(path: Path) -> Iterator[None]:
    """Keep out every other training that has the same state, in this process and in others.

    Args:
        path: The file of the state. Its folder is made, and removed again if it stays empty.

    Yields:
        Nothing, while a file beside the state is locked.

    Raises:
        TrainingError: If such a training is under way.
        PublishError: If the file system refuses.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    place = path.with_name(f".lock{path.name}")
    with ExitStack() as stack:
        with translate_os_errors(f"begin a training in {path.parent}"):
            is_ours = stack.enter_context(try_lock(place))
        if not is_ours:
            raise TrainingError(
                "a training of the same recipe on the same documents is under way in another "
                f"process (it holds {place}): wait for it, or end it and go on with --resume"
            )
        try:
            yield
        finally:
            place.unlink(missing_ok=True)
            with suppress(OSError):  # what is not empty stays, and what it is in
                for folder in made:
                    folder.rmdir()


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Save the state in place of the one before.

    Args:
        path: The file.
        state: Tensors and plain values.

    Raises:
        KeyboardInterrupt: If Ctrl-C was pressed; the state before is still there.
        TrainingError: If it cannot be written; the state before is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # An interruption in the middle of a file makes PyTorch abort the process.
        with _defer_signals(), open_atomically(path) as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:
        # A full disk is what stopped PyTorch, and is followed by an error of its own.
        cause = error if isinstance(error, OSError) else error.__context__ or error
        raise TrainingError(
            f"the state of the training could not be saved in {path.parent} ({cause}); "
            "make room there, then train again (`tagalong train --resume` goes on where it was)"
        ) from error


@contextmanager
def _defer_signals() -> Iterator[None]:
    """Have Ctrl-C and a request to end wait until what is begun is done."""
    if threading.current_thread() is not threading.main_thread():  # which they do not reach
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:  # one of them may come now, and then the others are put back, too
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for one in came:
            signal.raise_signal(one)


def read_state(path: Path, *, device: torch.device) -> dict[str, Any]:
    """Read a saved state.

    Args:
        path: The file.
        device: Where its tensors are to be.

    Returns:
        The state.

    Raises:
        TrainingError: If it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise TrainingError(
            f"the state of the training in {path} is damaged: train again without --resume"
        ) from error
    return state


def delete_state(path: Path) -> None:
    """Remove a state that is not needed any more, and what a killed writer left of it.

    Args:
        path: The file; need not be there.
    """
    path.unlink(missing_ok=True)
    remove_unfinished_writes(path)
    for file in path.parent.glob(f"{path.name}.*"):  # what releases before 0.2 left
        file.unlink(missing_ok=True)
