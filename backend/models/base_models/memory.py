"""Tell errors of exhausted memory from all others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tagalong.ner.errors import OutOfMemoryError

CPU_OUT_OF_MEMORY_MESSAGE = "can't allocate memory"  # PyTorch, in a bare RuntimeError


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch means that the memory of a device or the machine is exhausted."""
    return isinstance(error, torch.OutOfMemoryError) or CPU_OUT_OF_MEMORY_MESSAGE in str(error)


@contextmanager
def translate_memory_errors(sentence: str, *, code: str | None = None) -> Iterator[None]:
    """Raise `OutOfMemoryError` with a sentence where PyTorch's own error comes."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(sentence, code=code) from error
