"""Telling memory that does not suffice from every other error."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tagalong.ner.errors import OutOfMemoryError

CPU_OUT_OF_MEMORY_MESSAGE = "can't allocate memory"  # PyTorch, in a bare RuntimeError


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch means that a device's memory, or the machine's, is used up."""
    return isinstance(error, torch.OutOfMemoryError) or CPU_OUT_OF_MEMORY_MESSAGE in str(error)


@contextmanager
def translate_memory_errors(sentence: str) -> Iterator[None]:
    """Say what to do where memory does not suffice.

    Args:
        sentence: What is said.

    Yields:
        Nothing.

    Raises:
        OutOfMemoryError: If the block needs more memory than there is.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(sentence) from error
