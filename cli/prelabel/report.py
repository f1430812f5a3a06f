"""How far a batch is, what it came to, and what it would take."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from tagalong.backend.batch.entry import DocumentState
from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.run import BatchProgress
from tagalong.cli.prelabel.models import PrelabelModels
from tagalong.cli.prelabel.source_and_sink import SourceAndSink
from tagalong.cli.terminal.console import console, echo_json, error_console
from tagalong.ner.document import Document
from tagalong.ner.text_sanitizing import to_single_line

MAX_LISTED_FAILURES = 5  # documents set aside that are named
DRY_RUN_DOCUMENTS = 32  # documents that a dry run predicts, to know how long it takes


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[BatchProgress], None]]:
    """A bar with the rate, the time left and what was found.

    Args:
        title: What is done.
        total: Documents of the source.

    Yields:
        What a batch reports to.
    """
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=error_console, transient=True) as bar:
        task = bar.add_task("", total=total, figures="")

        def report(now: BatchProgress) -> None:
            left = (
                timedelta(seconds=round((total - now.finished) / now.documents_per_second))
                if now.documents_per_second
                else "?"
            )
            answered = ", ".join(
                f"{count:,} by {tier}" for tier, count in now.documents_by_version.items()
            )
            figures = (
                f"{now.finished:,} of {total:,} ({answered or 'all done before'}), "
                f"{now.documents_per_second:.1f} documents/s, {left} left, {now.entities:,} entities"
            )
            figures += f", {now.failed:,} set aside" if now.failed else ""
            bar.update(task, completed=now.finished, figures=figures)

        yield report


def summarize_batch(
    journal: BatchJournal, prelabel_models: PrelabelModels, *, dollars: float | None
) -> dict[str, Any]:
    """What a batch came to.

    Args:
        journal: Of it.
        prelabel_models: Who read in this run.
        dollars: An hour of this machine.

    Returns:
        Documents, each version's share of them, what decoding took in this run where an LLM read,
        and what was set aside with the reasons.
    """
    count = journal.count_by_state()
    aside = journal.read_entries(DocumentState.FAILED)
    answered = sum(count.values()) - len(aside)
    versions: dict[str, dict[str, Any]] = {}
    for version, share in journal.read_version_totals().items():
        versions[version] = {
            "documents": share.documents,
            "share": share.documents / answered if answered else 0.0,
            "entities": share.entities,
            "seconds": share.seconds,
        }
        if dollars is not None:
            versions[version]["dollars"] = share.seconds / 3600 * dollars
    for reader in prelabel_models:
        if reader.cost is not None and reader.version in versions:
            versions[reader.version]["decoding"] = reader.cost.to_json()
    return {
        "documents": sum(count.values()),
        "versions": versions,
        "aside": [{"id": entry.key, "reason": entry.payload} for entry in aside],
    }


def sort_versions_by_share(
    summary: Mapping[str, Any], prelabel_models: PrelabelModels
) -> list[str]:
    """Who predicted, whoever did most first.

    Args:
        summary: As `summarize_batch` gives it.
        prelabel_models: Who was to read.

    Returns:
        Their versions, one at least.
    """
    shares = summary["versions"]
    versions = [reader.version for reader in prelabel_models]
    return sorted(versions, key=lambda version: -shares.get(version, {"documents": 0})["documents"])


def render_summary(
    summary: Mapping[str, Any], source_and_sink: SourceAndSink, journal: Path
) -> None:
    """Say what a batch came to.

    Args:
        summary: As `summarize_batch` gives it, and what people see, as `shown`.
        source_and_sink: Where the predictions are.
        journal: What is kept where something was set aside.
    """
    for version, share in summary["versions"].items():
        console.print(
            f"{share['documents']:,} documents ({share['share']:.1%}) by {version}: "
            f"{share['entities']:,} entities, {format_cost(share)}.",
            markup=False,
            soft_wrap=True,
        )
        if slots := share.get("decoding", {}).get("slots"):
            console.print(format_decoding_stats(share["decoding"], slots), soft_wrap=True)
    if not summary["documents"]:
        console.print("There was nothing left to do.")
    console.print(f"Predictions are in {source_and_sink.destination}", markup=False, soft_wrap=True)
    if summary["shown"]:
        console.print(summary["shown"], markup=False, soft_wrap=True)
    if aside := summary["aside"]:
        error_console.print(f"{len(aside):,} documents were set aside:", style="yellow")
        for one in aside[:MAX_LISTED_FAILURES]:
            sentence = to_single_line(f"  {one['id']}: {one['reason']}")
            error_console.print(sentence, markup=False, soft_wrap=True)
        if len(aside) > MAX_LISTED_FAILURES:
            error_console.print(
                f"  and {len(aside) - MAX_LISTED_FAILURES:,} more (--json names all)"
            )
        error_console.print(
            f"The same command tries them again, as long as {journal} is there.",
            markup=False,
            soft_wrap=True,
        )


def format_decoding_stats(stats: Mapping[str, int], slots: int) -> str:
    """What decoding took in this run.

    Args:
        stats: As `Cost` counts it.
        slots: Words that were tagged; not 0.

    Returns:
        One line.
    """
    return (
        f"  decoding: {stats['passes']:,} passes over {stats['documents']:,} documents, "
        f"{stats['tokens'] / slots:.1f} tokens a word, {stats['agreed'] / slots:.1%} of drafted tags "
        "right"
    )


def run_dry_run(
    source_and_sink: SourceAndSink,
    prelabel_models: PrelabelModels,
    *,
    dollars: float | None,
    as_json: bool,
) -> None:
    """Say what a batch would take; a few documents are predicted to know, and nothing is kept.

    Args:
        source_and_sink: What it would read.
        prelabel_models: Who would read.
        dollars: An hour of this machine.
        as_json: Say it as JSON.
    """
    sample: list[Document] = []
    counts: Counter[str] = Counter()
    for item in source_and_sink.items:
        if item.is_predicted:
            counts["done"] += 1
        elif item.document is None:
            counts["unreadable"] += 1
        else:
            counts["documents"] += 1
            if len(sample) < DRY_RUN_DOCUMENTS:
                sample.append(item.document)
    documents = counts["documents"]
    plan: dict[str, Any] = {
        **{name: counts[name] for name in ("documents", "done", "unreadable")},
        "versions": {},
    }
    for reader, share in zip(
        prelabel_models, (1.0, prelabel_models.second_pass_share), strict=False
    ):
        tier = reader.tier
        tier.predict(sample[:1])  # to warm up
        began = time.monotonic()
        tier.predict(sample)
        seconds = (time.monotonic() - began) / max(len(sample), 1) * documents * share
        plan["versions"][tier.version] = {"documents": round(documents * share), "seconds": seconds}
        if dollars is not None:
            plan["versions"][tier.version]["dollars"] = seconds / 3600 * dollars
    if as_json:
        echo_json(plan)
        return
    console.print(
        f"{documents:,} documents to do, {plan['done']:,} done already, "
        f"{plan['unreadable']:,} that cannot be read."
    )
    for version, share in plan["versions"].items():
        console.print(
            f"{share['documents']:,} by {version}: about {format_cost(share)}.",
            markup=False,
        )


def format_cost(share: Mapping[str, Any]) -> str:
    """What a version's share takes: its time, and dollars where an hour has a price."""
    dollars = f", ${share['dollars']:,.2f}" if "dollars" in share else ""
    return f"{timedelta(seconds=round(share['seconds']))}{dollars}"
