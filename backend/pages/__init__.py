"""The common look of our HTML pages, and filters that format numbers and times.

All values are escaped; a page loads no resources and runs no script.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TIME_UNITS = (
    (timedelta(days=1), "days"),
    (timedelta(hours=1), "hours"),
    (timedelta(minutes=1), "minutes"),
)


def make_page_environment(templates: Path) -> Environment:
    """Create a template environment that escapes values; templates may extend ``page.html``."""
    environment = Environment(
        loader=FileSystemLoader([templates, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (format_time, format_latency, format_count, join_names, add_full_stop)
    environment.filters |= {function.__name__: function for function in filters}
    environment.globals["format_duration"] = format_duration
    return environment


def format_time(moment: datetime) -> str:
    """Format a time: ``22 November 2026, 20:13 UTC``."""
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def format_duration(start: datetime, end: datetime) -> str:
    """Format a duration: ``5 minutes``, or ``a moment`` below one minute."""
    for one, unit in TIME_UNITS:
        if (number := (end - start) // one) > 1:
            return f"{number} {unit}"
    return "a moment" if end - start < timedelta(minutes=1) else "a minute"


def format_latency(seconds: float) -> str:
    """Format a latency: ``4 ms``, ``0.35 s``, ``12 s``."""
    if seconds < 0.0995:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.2f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def format_count(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 task``, ``2,000 tasks``, ``no tasks``."""
    return f"{number:,} {noun}" if number == 1 else f"{number or 'no':{',' * bool(number)}} {noun}s"


def join_names(names: Sequence[str]) -> str:
    """Join names for a sentence: ``A, B and C``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def add_full_stop(sentence: str) -> str:
    """Add a full stop to a message, which is written without one."""
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."
