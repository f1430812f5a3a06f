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

from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.cli.curate.project import (
    ApiKeyOption,
    OptionalExportsArgument,
    ProjectOption,
    ReportOption,
    TabOption,
    UrlOption,
    open_annotated_corpus,
)
from tagalong.cli.curate.tag_distributions import (
    ReviewModel,
    build_cross_validation_config,
    predict_with_cross_validation,
    predict_with_version,
)
from tagalong.cli.terminal.console import console, echo_json
from tagalong.cli.terminal.options import (
    AnnotatorsOption,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    build_read_options,
    open_store,
)
from tagalong.cli.train.run import EpochsOption, SeedOption
from tagalong.ner.errors import OutputError
from tagalong.ner.text_sanitizing import escape_unprintable, to_single_line
from tagalong.training.corpus import Corpus

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.curate.findings import ReviewFinding, ReviewReport

MAX_QUOTE_CHARACTERS = 60  # characters of an entity that are shown
MIN_SHOWN_SCORE = 0.001  # of a score that is shown as it is
MAX_CONTEXT_CHARACTERS = 24  # characters shown at most of what stands on either side of a finding
MAX_LISTED_DOCUMENTS = 5  # documents named below the table


def review_cli(
    exports: OptionalExportsArgument = None,
    project: ProjectOption = None,
    url: UrlOption = None,
    key: ApiKeyOption = None,
    tab: TabOption = False,
    folds: Annotated[
        int, typer.Option(min=2, help="Cross-validation folds; one model is trained per fold.")
    ] = 5,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help=(
                "Use this version instead of cross-validation: fast, but it misses errors in "
                "documents it was trained on."
            ),
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help=("Base model: Hugging Face Hub id, folder, or package:MODULE/PATH."),
            show_default="MiniLM, included",
        ),
    ] = None,
    epochs: EpochsOption = None,
    seed: SeedOption = 42,
    limit: Annotated[int, typer.Option(min=1, help="Number of findings to show.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Output file for all findings, in JSON lines."),
    ] = None,
    report: ReportOption = None,
    annotators: AnnotatorsOption = "majority",
    label_config: LabelConfigOption = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Find annotations that look wrong: missed, spurious, with other edges, of another type.

    Example: tagalong curate review export.json --out queue.jsonl

    Of a project: tagalong curate review --project 1 --create-view
    """
    from tagalong.training.curate.findings import review_to_json
    from tagalong.training.curate.pages import review_to_html, review_to_markdown
    from tagalong.training.curate.review import review_annotations
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if model is not None and (base is not None or epochs is not None):
        raise typer.BadParameter("--base and --epochs are of trainings, and --model makes none")
    if out is not None and out.exists():  # before an hour of training, not after it
        raise OutputError(f"{out} is there already: choose another name")
    if report is not None:
        check_report_dir(report)
    options, shown = build_read_options(annotators, label_config), ""
    with open_annotated_corpus(exports, project, url, key, options) as (corpus, place):
        store = open_store(models)
        if model is None:
            asking = predict_with_cross_validation(
                corpus, store, build_cross_validation_config(folds, base, epochs=epochs, seed=seed)
            )
        else:
            asking = predict_with_version(corpus, store, model)
        with asking as asked:  # and keep what was trained until all of this is done
            found = review_annotations(corpus.documents, asked.tag_distributions, asked.tag_set)
            # First what the same command may do again; the queue never replaces a file.
            if tab and place is not None and found.findings:
                tasks = [finding.document for finding in found.findings[:limit]]
                shown = place.show_tasks_in_tab(tasks, "Review")
            notes = build_notes(found, asked, corpus)
            figures = {"asked": asked.name, **review_to_json(found), "notes": notes}
            if report is not None:
                write_report(
                    report,
                    report_json=figures,
                    markdown=review_to_markdown(found, model_name=asked.name, notes=notes),
                    html=review_to_html(
                        found, corpus.documents, model_name=asked.name, notes=notes
                    ),
                )
            if out is not None:
                write_findings(found.findings, out)
            if as_json:
                echo_json(figures | ({"shown": shown} if shown else {}))
            else:
                render_review(found, asked, notes, limit=limit)
                if shown:
                    console.print(f"Their tasks are in a tab: {shown}", soft_wrap=True)


def write_findings(findings: "Sequence[ReviewFinding]", path: Path) -> None:
    """Write the whole queue into a file, one finding a line.

    Args:
        findings: In their order.
        path: The file.

    Raises:
        OutputError: If it is there already, or cannot be written.
    """
    from tagalong.training.curate.findings import finding_to_json

    lines = (json.dumps(finding_to_json(one), ensure_ascii=False) + "\n" for one in findings)
    write_atomically({path: lines}, overwrite=False)


def build_notes(
    review_report: "ReviewReport", review_model: ReviewModel, corpus: Corpus
) -> list[str]:
    """Say what to know before trusting a review.

    Args:
        review_report: The review.
        review_model: What it was asked of.
        corpus: What was reviewed.

    Returns:
        One sentence for each thing.
    """
    notes = [review_model.note] if review_model.note else []
    if review_report.dropped:
        reasons = Counter(entry.reason for entry in review_report.dropped)
        told = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        notes.append(f"{len(review_report.dropped)} annotations cannot be reviewed: {told}.")
    if corpus.dropped or corpus.warnings:
        notes.append(
            f"Reading lost {len(corpus.dropped)} annotations and gave "
            f"{sum(warning.count for warning in corpus.warnings)} warnings: 'tagalong data check' "
            "shows them."
        )
    return notes


def render_review(
    review_report: "ReviewReport", review_model: ReviewModel, notes: Sequence[str], *, limit: int
) -> None:
    """Show a review.

    Args:
        review_report: The review.
        review_model: What it was asked of.
        notes: What to know before trusting it.
        limit: How many findings to show.
    """
    console.print(
        f"{len(review_report.findings):,} findings in {review_report.annotation_count:,} annotations of "
        f"{review_report.document_count:,} documents, by {to_single_line(review_model.name)}.",
        markup=False,
        soft_wrap=True,
    )
    for note in notes:
        console.print(Text(to_single_line(f"Note: {note}"), style="yellow"))
    if not review_report.findings:
        return
    console.print(_build_table(review_report.findings[:limit]))
    worst = ", ".join(
        f"{to_single_line(suspect.document_id)} ({suspect.finding_count})"
        for suspect in review_report.suspect_documents[:MAX_LISTED_DOCUMENTS]
    )
    console.print(
        f"The most suspicious documents, with their findings: {worst}.",
        markup=False,
        soft_wrap=True,
    )


def _build_table(findings: "Sequence[ReviewFinding]") -> Table:
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
            f"{finding.score:.3f}" if finding.score >= MIN_SHOWN_SCORE else f"<{MIN_SHOWN_SCORE}",
            finding.kind,
            Text(to_single_line(finding.document)),
            _format_change(finding),
            _format_context(finding),
        )
    return grid


def _format_change(finding: "ReviewFinding") -> Text:
    """What was drawn and what is suggested, as lines of a diff."""
    lines = []
    for sign, span in (("-", finding.gold), ("+", finding.suggested)):
        if span is not None:
            covered = to_single_line(finding.span_text(span))
            quote = (
                covered
                if len(covered) <= MAX_QUOTE_CHARACTERS
                else f"{covered[:MAX_QUOTE_CHARACTERS]}..."
            )
            lines.append(f"{sign} {to_single_line(span.label)}: {quote}")
    return Text("\n".join(lines))


def _format_context(finding: "ReviewFinding") -> Text:
    """What a finding is about, with whole words on either side of it."""
    before, after = finding.context_before, finding.context_after
    if len(before) > MAX_CONTEXT_CHARACTERS:
        before = before[-MAX_CONTEXT_CHARACTERS:].partition(" ")[2]
    if len(after) > MAX_CONTEXT_CHARACTERS:
        after = after[:MAX_CONTEXT_CHARACTERS].rpartition(" ")[0]
    return Text.assemble(
        (escape_unprintable(before), "dim"),
        (to_single_line(finding.text), "bold"),
        (escape_unprintable(after), "dim"),
    )
