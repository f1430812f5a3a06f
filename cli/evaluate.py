"""``tagalong evaluate``: a model's answers, or a file of predictions, judged by gold."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from tagalong.backend.annotations.import_log import WARNING_DESCRIPTIONS, CorpusWarning
from tagalong.backend.formats.registry import describe_formats, read_predictions
from tagalong.cli.terminal.console import echo_json, error_console
from tagalong.cli.terminal.options import (
    MAX_SEED,
    AnnotatorsOption,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    build_read_options,
    load_tier_version,
    open_store,
)
from tagalong.cli.terminal.progress import predict_with_progress
from tagalong.cli.terminal.reports import RenderedReport, print_report
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.training.corpus import read_corpus
from tagalong.training.evaluation.alignment import (
    AlignedDocuments,
    SystemOutput,
    align_predictions,
    filter_labels,
)

if TYPE_CHECKING:  # what imports numpy, scikit-learn or torch would make `tagalong --help` slow
    from tagalong.training.evaluation.evaluate import EvaluationOptions

EvaluationProtocol = Literal["exact", "paper"]


def evaluate_cli(
    system: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|PREDICTIONS",
            help=(
                "Model version ('encoder' is the current one, 'bundled' the included one), or"
                f" a file of predictions: {describe_formats('annotations')}."
            ),
        ),
    ],
    gold: Annotated[
        Path,
        typer.Argument(
            metavar="GOLD",
            exists=True,
            dir_okay=False,
            help=f"Gold standard: {describe_formats('annotations')}.",
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL|PREDICTIONS", help="Second system, to compare with the first."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help=(
                "Write report.html, report.json and report.md into this folder (no HTML with "
                "--protocol paper)."
            ),
        ),
    ] = None,
    as_json: JsonOption = False,
    protocol: Annotated[
        EvaluationProtocol,
        typer.Option(
            help=("Scoring protocol; paper: that of arXiv 2504.00664, including its flaws.")
        ),
    ] = "exact",
    labels: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Score only these labels, in gold and predictions."),
    ] = None,
    only_common: Annotated[
        bool,
        typer.Option("--only-common", help="Score only documents that gold and all systems have."),
    ] = False,
    resamples: Annotated[int, typer.Option(min=1, help="Number of bootstrap resamples.")] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Random seed of the bootstrap.")
    ] = 0,
    examples: Annotated[
        int, typer.Option(min=0, help="Number of examples per error type in the report.")
    ] = 5,
    annotators: AnnotatorsOption = "majority",
    label_config: LabelConfigOption = None,
    models: ModelsOption = Path("models"),
) -> None:
    """Judge a model, or any tool's predictions: precision, recall and F1 by label and length.

    Example: tagalong evaluate bundled gold.jsonl --report report
    """
    from tagalong.training.evaluation.evaluate import EvaluationOptions
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if against is not None and protocol == "paper":
        raise typer.BadParameter("two systems are compared by the exact protocol only")
    if report is not None:
        check_report_dir(report)
    with error_console.status(f"Reading {escape(str(gold))}"):
        corpus = read_corpus([gold], build_read_options(annotators, label_config))
    systems = [system] if against is None else [system, against]
    answers = [get_system_output(one, corpus.documents, models) for one in systems]
    case = align_predictions(corpus.documents, answers, only_common_documents=only_common)
    case = replace(case, dropped=corpus.dropped)
    known = answers[0].labels
    if labels is not None:
        wanted = _parse_labels(labels)
        case = filter_labels(case, wanted)
        known = None if known is None else tuple(name for name in known if name in wanted)
    options = EvaluationOptions(
        labels=known, resamples=resamples, seed=seed, max_examples_per_type=examples
    )
    notes = build_import_notes(corpus.warnings)
    verdict = build_rendered_report(
        case,
        source=escape_unprintable(str(gold)),  # what of it is no UTF-8 could not be written
        protocol=protocol,
        options=options,
        notes=notes,
        with_html=report is not None,
    )
    if as_json:
        echo_json(verdict.report_json)
    else:
        print_report(verdict)
    if report is not None:
        write_report(
            report, report_json=verdict.report_json, markdown=verdict.markdown, html=verdict.html
        )


def _parse_labels(labels: str) -> tuple[str, ...]:
    """Labels given in one option, separated by commas."""
    names = tuple(filter(None, (name.strip() for name in labels.split(","))))
    if not names:
        raise typer.BadParameter("--labels names none: separate them by commas")
    return names


def get_system_output(system: str, documents: Sequence[Document], models: Path) -> SystemOutput:
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
        return SystemOutput(system, read_predictions(path))
    if path.suffix in {".json", ".jsonl"}:
        raise InputError(f"there is no file {system}: name a file of predictions, or a model")
    with error_console.status(f"Loading {escape(system)}"):
        tier = load_tier_version(open_store(models), system, use_openvino=True)
    blank = [replace(document, spans=()) for document in documents]
    predictions = predict_with_progress(tier, blank)
    return SystemOutput(system, list(zip(blank, predictions, strict=True)), tier.labels)


def build_import_notes(warnings: Sequence[CorpusWarning]) -> list[str]:
    """Say what reading gold had to judge; that a model made it comes first.

    Args:
        warnings: Of the gold corpus.

    Returns:
        One sentence for each kind.
    """
    first = sorted(warnings, key=lambda warning: warning.kind != "made by a model")
    return [
        f"Reading gold: {warning.kind}, {warning.count} time{'s' * (warning.count != 1)}; "
        f"{WARNING_DESCRIPTIONS[warning.kind]}."
        for warning in first
    ]


def build_rendered_report(
    aligned: AlignedDocuments,
    *,
    source: str,
    protocol: EvaluationProtocol,
    options: "EvaluationOptions",
    notes: Sequence[str] = (),
    with_html: bool = False,
) -> RenderedReport:
    """Judge a case by one of the protocols, and lay the report out.

    Args:
        aligned: Gold and what one or two systems said; the first is the one judged.
        source: Where gold comes from, for the report.
        protocol: "exact", or "paper" for the paper's own.
        options: How to judge.
        notes: What to say of gold before all else.
        with_html: Whether to make the page, too, which takes longer than the tables.

    Returns:
        The report in every form.
    """
    from tagalong.training.evaluation import markdown, tables
    from tagalong.training.evaluation.evaluate import evaluate
    from tagalong.training.evaluation.html import report_to_html
    from tagalong.training.evaluation.paper_protocol import evaluate_as_paper, paper_report_to_json
    from tagalong.training.evaluation.report import report_to_json

    if aligned.excluded_documents:
        notes = (
            *notes,
            f"{aligned.excluded_documents} documents are left out: not every side has them.",
        )
    if protocol == "paper":
        paper = evaluate_as_paper(
            aligned.gold, aligned.predicted[0], labels=options.labels or (), source=source
        )
        return RenderedReport(
            {**paper_report_to_json(paper), "warnings": list(notes)},
            markdown.paper_report_to_markdown(paper, warnings=notes),
            None,
            tables.paper_tables(paper),
            tuple(notes),
        )
    report = evaluate(
        aligned.gold,
        aligned.predicted[0],
        source=source,
        against=aligned.predicted[1] if len(aligned.predicted) > 1 else None,
        dropped=aligned.dropped,
        options=options,
    )
    report = replace(report, warnings=(*notes, *report.warnings))
    return RenderedReport(
        report_to_json(report),
        markdown.report_to_markdown(report),
        report_to_html(report) if with_html else None,
        tables.report_tables(report),
        report.warnings,
    )
