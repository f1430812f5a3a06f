"""What libraries say to developers, kept from whoever typed a command."""

import logging
import os
import warnings


def silence_libraries() -> None:
    """Keep what libraries say to developers away from who typed a command.

    That is: transformers on the new head of every model that is to be trained and on names that
    peft still calls by, and bitsandbytes on an optional kernel, which it misses even where nothing
    is quantised.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
