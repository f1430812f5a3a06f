"""How far a batch is, what it came to, and what it would take."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from backend.batch.entries import State
from backend.batch.journal import BatchJournal
from backend.batch.run import Standing
from cli.console import console, echo_json, errors
from cli.prelabel_places import Place
from cli.prelabel_readers import Readers
from ner.document import Document
from ner.printable import on_one_line

SHOWN = 5  # documents set aside that are named
SAMPLE = 32  # documents that a dry run predicts, to know how long it takes


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[Standing], None]]:
    """A bar with the rate, the time left and what was found.

    Args:
        title: What is done.
        total: Documents of the source.

    Yields:
        What a batch reports to.
    """
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=total, figures="")

        def report(now: Standing) -> None:
            left = timedelta(seconds=round((total - now.done) / now.rate)) if now.rate else "?"
            answered = ", ".join(f"{count:,} by {tier}" for tier, count in now.tiers.items())
            figures = (
                f"{now.done:,} of {total:,} ({answered or 'all done before'}), "
                f"{now.rate:.1f} documents/s, {left} left, {now.entities:,} entities"
            )
            figures += f", {now.aside:,} set aside" if now.aside else ""
            bar.update(task, completed=now.done, figures=figures)

        yield report


def summary_of(journal: BatchJournal, readers: Readers, *, dollars: float | None) -> dict[str, Any]:
    """What a batch came to.

    Args:
        journal: Of it.
        readers: Who read in this run.
        dollars: An hour of this machine.

    Returns:
        Documents, each version's share of them, what decoding took in this run where an LLM read,
        and what was set aside with the reasons.
    """
    count = journal.count()
    aside = journal.entries(State.ASIDE)
    answered = sum(count.values()) - len(aside)
    versions: dict[str, dict[str, Any]] = {}
    for version, share in journal.shares().items():
        versions[version] = {
            "documents": share.documents,
            "share": share.documents / answered if answered else 0.0,
            "entities": share.entities,
            "seconds": share.seconds,
        }
        if dollars is not None:
            versions[version]["dollars"] = share.seconds / 3600 * dollars
    for reader in readers:
        if reader.cost is not None and reader.version in versions:
            versions[reader.version]["decoding"] = asdict(reader.cost)
    return {
        "documents": sum(count.values()),
        "versions": versions,
        "aside": [{"id": entry.key, "reason": entry.answer} for entry in aside],
    }


def by_share(summary: Mapping[str, Any], readers: Readers) -> list[str]:
    """Who predicted, whoever did most first.

    Args:
        summary: As `summary_of` gives it.
        readers: Who was to read.

    Returns:
        Their versions, one at least.
    """
    shares = summary["versions"]
    versions = [reader.version for reader in readers]
    return sorted(versions, key=lambda version: -shares.get(version, {"documents": 0})["documents"])


def render(summary: Mapping[str, Any], place: Place, journal: Path) -> None:
    """Say what a batch came to.

    Args:
        summary: As `summary_of` gives it, and what people see, as `shown`.
        place: Where the predictions are.
        journal: What is kept where something was set aside.
    """
    for version, share in summary["versions"].items():
        console.print(
            f"{share['documents']:,} documents ({share['share']:.1%}) by {version}: "
            f"{share['entities']:,} entities, {cost_of(share)}.",
            markup=False,
            soft_wrap=True,
        )
        if slots := share.get("decoding", {}).get("slots"):
            console.print(render_decoding(share["decoding"], slots), soft_wrap=True)
    if not summary["documents"]:
        console.print("There was nothing left to do.")
    console.print(f"Predictions are in {place.shown}", markup=False, soft_wrap=True)
    if summary["shown"]:
        console.print(summary["shown"], markup=False, soft_wrap=True)
    if aside := summary["aside"]:
        errors.print(f"{len(aside):,} documents were set aside:", style="yellow")
        for one in aside[:SHOWN]:
            sentence = on_one_line(f"  {one['id']}: {one['reason']}")
            errors.print(sentence, markup=False, soft_wrap=True)
        if len(aside) > SHOWN:
            errors.print(f"  and {len(aside) - SHOWN:,} more (--json names all)")
        errors.print(
            f"The same command tries them again, as long as {journal} is there.",
            markup=False,
            soft_wrap=True,
        )


def render_decoding(cost: Mapping[str, int], slots: int) -> str:
    """What decoding took in this run.

    Args:
        cost: As `Cost` counts it.
        slots: Words that were tagged; not 0.

    Returns:
        One line.
    """
    return (
        f"  decoding: {cost['passes']:,} passes over {cost['documents']:,} documents, "
        f"{cost['tokens'] / slots:.1f} tokens a word, {cost['agreed'] / slots:.1%} of drafted tags "
        "right"
    )


def dry_run(
    place: Place,
    readers: Readers,
    *,
    dollars: float | None,
    as_json: bool,
) -> None:
    """Say what a batch would take; a few documents are predicted to know, and nothing is kept.

    Args:
        place: What it would read.
        readers: Who would read.
        dollars: An hour of this machine.
        as_json: Say it as JSON.
    """
    sample: list[Document] = []
    counts: Counter[str] = Counter()
    for item in place.items:
        if item.done:
            counts["done"] += 1
        elif item.document is None:
            counts["unreadable"] += 1
        else:
            counts["documents"] += 1
            if len(sample) < SAMPLE:
                sample.append(item.document)
    documents = counts["documents"]
    plan: dict[str, Any] = {
        **{name: counts[name] for name in ("documents", "done", "unreadable")},
        "versions": {},
    }
    for reader, share in zip(readers, (1.0, readers.budget), strict=False):
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
            f"{share['documents']:,} by {version}: about {cost_of(share)}.",
            markup=False,
        )


def cost_of(share: Mapping[str, Any]) -> str:
    """What a version's share takes: its time, and dollars where an hour has a price."""
    dollars = f", ${share['dollars']:,.2f}" if "dollars" in share else ""
    return f"{timedelta(seconds=round(share['seconds']))}{dollars}"
