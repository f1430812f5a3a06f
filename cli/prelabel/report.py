"""A batch on the terminal: its progress, its summary, and an estimate of its time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tagalong.backend.batch.models import BatchModels
from tagalong.backend.batch.passes import BatchProgress
from tagalong.backend.batch.project_model import ChosenModel
from tagalong.backend.batch.source_and_sink import SourceAndSink
from tagalong.cli.terminal.console import console, error_console
from tagalong.cli.terminal.progress import progress_bar
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.text_sanitizing import to_single_line

MAX_LISTED_FAILURES = 5


@contextmanager
def batch_progress_bar(title: str, total: int) -> Iterator[Callable[[BatchProgress], None]]:
    """Show the progress of a pass; yields a callback for the batch."""
    with progress_bar(title, total=total) as update:
        yield lambda progress: update(
            completed=progress.finished, details=_format_progress(progress, total)
        )


def _format_progress(progress: BatchProgress, total: int) -> str:
    rate = progress.documents_per_second
    left = timedelta(seconds=round((total - progress.finished) / rate)) if rate else "?"
    by_version = ", ".join(
        f"{count:,} by {version}" for version, count in progress.documents_by_version.items()
    )
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    return (
        f"{progress.finished:,} of {total:,} ({by_version or 'all done before'}), "
        f"{rate:.1f} documents/s, {left} left, {pluralize(progress.entities, 'entity')}{failed}"
    )


def describe_choices(models: BatchModels, choices: Sequence[ChosenModel]) -> list[dict[str, str]]:
    """Which versions of which models predict, and why, as JSON."""
    return [
        {"model": model.model, "version": model.version, "reason": choice.reason}
        for model, choice in zip(models, choices, strict=True)
    ]


def render_choices(choices: Sequence[Mapping[str, str]]) -> None:
    """Print which versions predict, and why, as `describe_choices` gives them."""
    for choice in choices:
        if choice["reason"]:
            _print_line(f"{choice['version']} predicts: {choice['reason']}.")


def render_summary(
    summary: Mapping[str, Any], source_and_sink: SourceAndSink, journal: Path
) -> None:
    """Print the summary of a batch, with the sentence of `SourceAndSink.show`."""
    for version, share in summary["versions"].items():
        _print_line(
            f"{pluralize(share['documents'], 'document')} ({share['share']:.1%}) by {version}: "
            f"{pluralize(share['entities'], 'entity')}, {_format_cost(share)}."
        )
        if slots := share.get("decoding", {}).get("slots"):
            console.print(_format_decoding_stats(share["decoding"], slots), soft_wrap=True)
    if not summary["documents"]:
        console.print("There was nothing left to do.")
    _print_line(f"Predictions are in {source_and_sink.destination}")
    if summary["shown"]:
        _print_line(summary["shown"])
    if failed := summary["failed"]:
        error_console.print(f"{pluralize(len(failed), 'document')} failed:", style="yellow")
        for one in failed[:MAX_LISTED_FAILURES]:
            sentence = to_single_line(f"  {one['id']}: {one['reason']}")
            error_console.print(sentence, markup=False, soft_wrap=True)
        if len(failed) > MAX_LISTED_FAILURES:
            rest = len(failed) - MAX_LISTED_FAILURES
            error_console.print(f"  and {rest:,} more (--json lists all)")
        error_console.print(
            f"The same command tries them again while {journal} exists.",
            markup=False,
            soft_wrap=True,
        )


def render_estimate(estimate: Mapping[str, Any]) -> None:
    """Print the estimate of a dry run, by `estimate_batch`."""
    console.print(
        f"{pluralize(estimate['documents'], 'document')} to predict, {estimate['done']:,} "
        "predicted before, "
        f"{estimate['unreadable']:,} unreadable."
    )
    for version, share in estimate["versions"].items():
        _print_line(f"{share['documents']:,} by {version}: about {_format_cost(share)}.")


def _print_line(line: str) -> None:
    # A path or version must not be folded or taken for markup: people copy it.
    console.print(line, markup=False, soft_wrap=True)


def _format_decoding_stats(stats: Mapping[str, int], slots: int) -> str:
    return (
        f"  decoding: {pluralize(stats['passes'], 'pass', 'passes')} over "
        f"{pluralize(stats['documents'], 'document')}, "
        f"{stats['tokens'] / slots:.1f} tokens a word, {stats['agreed'] / slots:.1%} of drafted "
        "tags right"
    )


def _format_cost(share: Mapping[str, Any]) -> str:
    price = f", ${share['cost']:,.2f}" if "cost" in share else ""
    return f"{timedelta(seconds=round(share['seconds']))}{price}"
