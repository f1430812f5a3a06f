"""Where commands write: results on stdout, everything said about them on stderr."""

from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
