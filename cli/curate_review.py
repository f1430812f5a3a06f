"""``tagalong curate review``: which annotations look wrong, the most suspicious first."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from cli.console import console, echo_json
from cli.curate_asking import Asked, by_folds, by_version, crossing_of
from cli.curate_project import DrawnReport, Exported, Key, Project, Tab, Url, reviewed
from cli.options import (
    Annotators,
    AsJson,
    LabelConfigFile,
    Models,
    open_store,
    read_options,
)
from cli.training import Epochs, Seed
from ner.errors import OutputError
from ner.printable import on_one_line, visible
from training.corpus import Corpus, write_whole

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from training.curate.findings import Finding, Review

LONGEST = 60  # characters of an entity that are shown
LEAST = 0.001  # of a score that is shown as it is
NEAR = 24  # characters shown at most of what stands on either side of a finding
NAMED = 5  # documents named below the table


def review_cli(
    exports: Exported = None,
    project: Project = None,
    url: Url = None,
    key: Key = None,
    tab: Tab = False,
    folds: Annotated[
        int, typer.Option(min=2, help="Of the cross-validation: as many models are trained.")
    ] = 5,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Ask this version instead of training: quick, but a version forgives the errors "
            "of documents that it has learnt from.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Hub id, folder, or package:MODULE/PATH.", show_default="MiniLM, offline"
        ),
    ] = None,
    epochs: Epochs = None,
    seed: Seed = 42,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the whole queue into a file of JSON lines."),
    ] = None,
    report: DrawnReport = None,
    annotators: Annotators = "majority",
    label_config: LabelConfigFile = None,
    models: Models = Path("models"),
    as_json: AsJson = False,
) -> None:
    """Find annotations that look wrong: missed, spurious, with other edges, of another type.

    Example: tagalong curate review export.json --out queue.jsonl

    Of a project: tagalong curate review --project 1 --tab
    """
    from training.curate.findings import review_to_json
    from training.curate.pages import review_to_html, review_to_markdown
    from training.curate.review import review
    from training.report import check_folder, write_report

    if model is not None and (base is not None or epochs is not None):
        raise typer.BadParameter("--base and --epochs are of trainings, and --model makes none")
    if out is not None and out.exists():  # before an hour of training, not after it
        raise OutputError(f"{out} is there already: choose another name")
    if report is not None:
        check_folder(report)
    options, shown = read_options(annotators, label_config), ""
    with reviewed(exports, project, url, key, options) as (corpus, place):
        store = open_store(models)
        if model is None:
            asking = by_folds(corpus, store, crossing_of(folds, base, epochs=epochs, seed=seed))
        else:
            asking = by_version(corpus, store, model)
        with asking as asked:  # and keep what was trained until all of this is done
            found = review(corpus.documents, asked.opinions, asked.tag_set)
            # First what the same command may do again; the queue never replaces a file.
            if tab and place is not None and found.findings:
                tasks = [finding.document for finding in found.findings[:limit]]
                shown = place.show(tasks, "Review")
            notes = notes_on(found, asked, corpus)
            figures = {"asked": asked.name, **review_to_json(found), "notes": notes}
            if report is not None:
                write_report(
                    report,
                    figures=figures,
                    markdown=review_to_markdown(found, asked=asked.name, notes=notes),
                    page=review_to_html(found, corpus.documents, asked=asked.name, notes=notes),
                )
            if out is not None:
                write_findings(found.findings, out)
            if as_json:
                echo_json(figures | ({"shown": shown} if shown else {}))
            else:
                render_review(found, asked, notes, limit=limit)
                if shown:
                    console.print(f"Their tasks are in a tab: {shown}", soft_wrap=True)


def write_findings(findings: "Sequence[Finding]", path: Path) -> None:
    """Write the whole queue into a file, one finding a line.

    Args:
        findings: In their order.
        path: The file.

    Raises:
        OutputError: If it is there already, or cannot be written.
    """
    from training.curate.findings import finding_to_json

    lines = (json.dumps(finding_to_json(one), ensure_ascii=False) + "\n" for one in findings)
    write_whole({path: lines}, force=False)


def notes_on(found: "Review", asked: Asked, corpus: Corpus) -> list[str]:
    """Say what to know before trusting a review.

    Args:
        found: The review.
        asked: What it was asked of.
        corpus: What was reviewed.

    Returns:
        One sentence for each thing.
    """
    notes = [asked.note] if asked.note else []
    if found.lost:
        reasons = Counter(entry.reason for entry in found.lost)
        told = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        notes.append(f"{len(found.lost)} annotations cannot be reviewed: {told}.")
    if corpus.lost or corpus.warnings:
        notes.append(
            f"Reading lost {len(corpus.lost)} annotations and gave "
            f"{sum(warning.count for warning in corpus.warnings)} warnings: 'tagalong data check' "
            "shows them."
        )
    return notes


def render_review(found: "Review", asked: Asked, notes: Sequence[str], *, limit: int) -> None:
    """Show a review.

    Args:
        found: The review.
        asked: What it was asked of.
        notes: What to know before trusting it.
        limit: How many findings to show.
    """
    console.print(
        f"{len(found.findings):,} findings in {found.annotations:,} annotations of "
        f"{found.documents:,} documents, by {on_one_line(asked.name)}.",
        markup=False,
        soft_wrap=True,
    )
    for note in notes:
        console.print(Text(on_one_line(f"Note: {note}"), style="yellow"))
    if not found.findings:
        return
    console.print(_grid(found.findings[:limit]))
    worst = ", ".join(
        f"{on_one_line(suspect.document)} ({suspect.findings})"
        for suspect in found.suspects[:NAMED]
    )
    console.print(
        f"The most suspicious documents, with their findings: {worst}.",
        markup=False,
        soft_wrap=True,
    )


def _grid(findings: "Sequence[Finding]") -> Table:
    """One row a finding; in plain characters where it goes into a file."""
    grid = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII)
    for name in ("#", "Score"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("Kind", no_wrap=True)
    for name in ("Document", "- drawn, + suggested", "In context"):
        grid.add_column(name, overflow="fold")
    for rank, finding in enumerate(findings, start=1):
        grid.add_row(
            str(rank),
            f"{finding.score:.3f}" if finding.score >= LEAST else f"<{LEAST}",
            finding.kind,
            Text(on_one_line(finding.document)),
            _change(finding),
            _context(finding),
        )
    return grid


def _change(finding: "Finding") -> Text:
    """What was drawn and what is suggested, as lines of a diff."""
    lines = []
    for sign, span in (("-", finding.gold), ("+", finding.suggested)):
        if span is not None:
            covered = on_one_line(finding.covered(span))
            quote = covered if len(covered) <= LONGEST else f"{covered[:LONGEST]}..."
            lines.append(f"{sign} {on_one_line(span.label)}: {quote}")
    return Text("\n".join(lines))


def _context(finding: "Finding") -> Text:
    """What a finding is about, with whole words on either side of it."""
    before, after = finding.before, finding.after
    if len(before) > NEAR:
        before = before[-NEAR:].partition(" ")[2]
    if len(after) > NEAR:
        after = after[:NEAR].rpartition(" ")[0]
    return Text.assemble(
        (visible(before), "dim"), (on_one_line(finding.text), "bold"), (visible(after), "dim")
    )
