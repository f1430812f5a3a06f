"""Output of commands: results on stdout, messages on stderr, and no messages of libraries."""

import json
import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

from tagalong.ner.text_sanitizing import to_single_line

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def echo_json(result: Mapping[str, Any]) -> None:
    """Print JSON without Rich, which would color and wrap it."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2))


def print_line(text: str) -> None:
    """Print text that may contain a path or version: not as markup, and not folded."""
    console.print(text, markup=False, soft_wrap=True)  # people copy it


def print_warning(sentence: str) -> None:
    """Print a warning on stderr, in yellow and without markup."""
    error_console.print(sentence, style="yellow", markup=False, soft_wrap=True)


def warn(sentence: str) -> None:
    """Print a warning that may contain text of a document, on one line."""
    print_warning(to_single_line(sentence))


def silence_libraries() -> None:
    """Silence warnings that users cannot act on.

    Transformers reports the new head of every trained model and names that peft still uses.
    Bitsandbytes reports an optional kernel, even if nothing is quantized.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
