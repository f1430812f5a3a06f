"""Output of commands: results on stdout, messages on stderr."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def echo_json(result: Mapping[str, Any]) -> None:
    """Print JSON without Rich, which would color and wrap it."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2))


def print_warning(sentence: str) -> None:
    """Print a warning on stderr, in yellow and without markup."""
    error_console.print(sentence, style="yellow", markup=False, soft_wrap=True)
