"""``tagalong evaluate``: a model's answers, or a file of predictions, judged by gold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.progress import track
from rich.text import Text

from cli.console import console, echo_json, errors
from cli.grid import print_tables
from cli.options import (
    MAX_SEED,
    Annotators,
    AsJson,
    LabelConfigFile,
    Models,
    load_model,
    open_store,
    read_options,
)
from ner.document import Document
from ner.errors import InputError
from ner.printable import on_one_line, visible
from training.alignment import Answers, Case, align, keep_labels
from training.corpus import read_corpus, read_predictions
from training.corpus.ledger import MEANINGS, CorpusWarning

if TYPE_CHECKING:  # what imports numpy, scikit-learn or torch would make `tagalong --help` slow
    from training.evaluate import Options
    from training.tables import Table

Protocol = Literal["exact", "paper"]
BATCH = 256  # documents a tier gets at once: enough to sort by length, few enough for a smooth bar


@dataclass(frozen=True, slots=True)
class Verdict:
    """A report, laid out.

    Attributes:
        figures: As one JSON object.
        markdown: For people.
        page: The same as HTML; None for the paper's protocol, or where none was asked for.
        tables: For the terminal.
        warnings: What to know before trusting the figures.
    """

    figures: dict[str, Any]
    markdown: str
    page: str | None
    tables: "list[Table]"
    warnings: tuple[str, ...] = ()


def evaluate_cli(
    system: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|PREDICTIONS",
            help="A model version ('encoder' is the current one, 'bundled' the one that comes "
            "with Tagalong), or a file of predictions in JSON lines.",
        ),
    ],
    gold: Annotated[
        Path,
        typer.Argument(
            metavar="GOLD",
            exists=True,
            dir_okay=False,
            help="What is right: Label Studio JSON or JSON_MIN, JSON lines, or CoNLL.",
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL|PREDICTIONS", help="Another system to compare with."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Write report.html, report.json and report.md into a folder; of the paper's "
            "protocol there is no page.",
        ),
    ] = None,
    as_json: AsJson = False,
    protocol: Annotated[
        Protocol, typer.Option(help="'paper' gives the figures of arXiv 2504.00664, flaws and all.")
    ] = "exact",
    labels: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Judge only these labels, on both sides."),
    ] = None,
    only_common: Annotated[
        bool, typer.Option("--only-common", help="Judge only documents that all sides have.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the bootstrap.")] = 0,
    examples: Annotated[
        int, typer.Option(min=0, help="Examples of each kind of mistake, in the report.")
    ] = 5,
    annotators: Annotators = "majority",
    label_config: LabelConfigFile = None,
    models: Models = Path("models"),
) -> None:
    """Judge a model, or any tool's predictions: precision, recall and F1 by label and length.

    Example: tagalong evaluate bundled gold.jsonl --report report
    """
    from training.evaluate import Options
    from training.report import check_folder, write_report

    if against is not None and protocol == "paper":
        raise typer.BadParameter("two systems are compared by the exact protocol only")
    if report is not None:
        check_folder(report)
    with errors.status(f"Reading {escape(str(gold))}"):
        corpus = read_corpus([gold], read_options(annotators, label_config))
    systems = [system] if against is None else [system, against]
    answers = [ask(one, corpus.documents, models) for one in systems]
    case = align(corpus.documents, answers, only_common=only_common)
    case = replace(case, lost=corpus.lost)
    known = answers[0].labels
    if labels is not None:
        wanted = _names(labels)
        case = keep_labels(case, wanted)
        known = None if known is None else tuple(name for name in known if name in wanted)
    options = Options(labels=known, resamples=resamples, seed=seed, examples=examples)
    notes = reading_notes(corpus.warnings)
    verdict = judge(
        case,
        source=visible(str(gold)),  # what of it is no UTF-8 could not be written
        protocol=protocol,
        options=options,
        notes=notes,
        with_page=report is not None,
    )
    if as_json:
        echo_json(verdict.figures)
    else:
        render_verdict(verdict)
    if report is not None:
        write_report(report, figures=verdict.figures, markdown=verdict.markdown, page=verdict.page)


def _names(labels: str) -> tuple[str, ...]:
    """Labels given in one option, separated by commas."""
    names = tuple(filter(None, (name.strip() for name in labels.split(","))))
    if not names:
        raise typer.BadParameter("--labels names none: separate them by commas")
    return names


def ask(system: str, documents: Sequence[Document], models: Path) -> Answers:
    """Get a system's predictions: read them, or have its model make them.

    Args:
        system: A file of predictions, or a reference to a model version.
        documents: What a model predicts for, blind to their spans; a file is taken as it is.
        models: Folder of model versions.

    Returns:
        Its answers.

    Raises:
        InputError: If it looks like a file and there is none, or the file cannot be used.
        VersionNotFound: If there is no such model version.
    """
    path = Path(system)
    if path.is_file():
        return Answers(system, read_predictions(path))
    if path.suffix in {".json", ".jsonl"}:
        raise InputError(f"there is no file {system}: name a file of predictions, or a model")
    with errors.status(f"Loading {escape(system)}"):
        tier = load_model(open_store(models), system, engine=True)
    blank = [replace(document, spans=()) for document in documents]
    batches = [blank[first : first + BATCH] for first in range(0, len(blank), BATCH)]
    progress = track(batches, f"Asking {escape(tier.version)}", console=errors, transient=True)
    predictions = [prediction for batch in progress for prediction in tier.predict(batch)]
    return Answers(system, list(zip(blank, predictions, strict=True)), tier.labels)


def reading_notes(warnings: Sequence[CorpusWarning]) -> list[str]:
    """Say what reading gold had to judge; that a model made it comes first.

    Args:
        warnings: Of the gold corpus.

    Returns:
        One sentence for each kind.
    """
    first = sorted(warnings, key=lambda warning: warning.kind != "made by a model")
    return [
        f"Reading gold: {warning.kind}, {warning.count} time{'s' * (warning.count != 1)}; "
        f"{MEANINGS[warning.kind]}."
        for warning in first
    ]


def judge(
    case: Case,
    *,
    source: str,
    protocol: Protocol,
    options: "Options",
    notes: Sequence[str] = (),
    with_page: bool = False,
) -> Verdict:
    """Judge a case by one of the protocols, and lay the report out.

    Args:
        case: Gold and what one or two systems said; the first is the one judged.
        source: Where gold comes from, for the report.
        protocol: "exact", or "paper" for the paper's own.
        options: How to judge.
        notes: What to say of gold before all else.
        with_page: Whether to make the page, too, which takes longer than the tables.

    Returns:
        The report in every form.
    """
    from training import markdown, tables
    from training.evaluate import evaluate
    from training.paper_protocol import evaluate_as_paper, paper_report_to_json
    from training.report import report_to_json
    from training.report_page import report_to_html

    if case.left_out:
        notes = (*notes, f"{case.left_out} documents are left out: not every side has them.")
    if protocol == "paper":
        paper = evaluate_as_paper(
            case.gold, case.predicted[0], labels=options.labels or (), source=source
        )
        return Verdict(
            {**paper_report_to_json(paper), "warnings": list(notes)},
            markdown.paper_report_to_markdown(paper, warnings=notes),
            None,
            tables.paper_tables(paper),
            tuple(notes),
        )
    report = evaluate(
        case.gold,
        case.predicted[0],
        source=source,
        against=case.predicted[1] if len(case.predicted) > 1 else None,
        lost=case.lost,
        options=options,
    )
    report = replace(report, warnings=(*notes, *report.warnings))
    return Verdict(
        report_to_json(report),
        markdown.report_to_markdown(report),
        report_to_html(report) if with_page else None,
        tables.report_tables(report),
        report.warnings,
    )


def render_verdict(verdict: Verdict) -> None:
    """Show a report.

    Args:
        verdict: What was found.
    """
    figures = verdict.figures
    head = f"{figures['model']} judged by {figures['gold']}, {figures['documents']} documents"
    console.print(Text(on_one_line(head), style="bold"))
    for warning in verdict.warnings:
        console.print(Text(on_one_line(f"Note: {warning}"), style="yellow"))
    print_tables(verdict.tables)
