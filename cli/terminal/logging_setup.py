"""Silence messages of libraries that are meant for developers."""

import logging
import os
import warnings


def silence_libraries() -> None:
    """Silence warnings that users cannot act on.

    Transformers reports the new head of every trained model and names that peft still uses.
    Bitsandbytes reports an optional kernel, even if nothing is quantized.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
