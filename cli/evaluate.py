"""``tagalong evaluate``: scores of a model or of a file of predictions against gold."""

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
    """Evaluate a model or any predictions: precision, recall and F1 by label and length.

    Example: tagalong evaluate bundled gold.jsonl --report report
    """
    from tagalong.training.evaluation.evaluate import EvaluationOptions
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if against is not None and protocol == "paper":
        raise typer.BadParameter("--against needs the exact protocol")
    if report is not None:
        check_report_dir(report)
    with error_console.status(f"Reading {escape(str(gold))}"):
        corpus = read_corpus([gold], build_read_options(annotators, label_config))
    systems = [system] if against is None else [system, against]
    outputs = [get_system_output(one, corpus.documents, models) for one in systems]
    aligned = align_predictions(corpus.documents, outputs, only_common_documents=only_common)
    aligned = replace(aligned, dropped=corpus.dropped)
    model_labels = outputs[0].labels
    if labels is not None:
        selected_labels = _parse_labels(labels)
        aligned = filter_labels(aligned, selected_labels)
        model_labels = (
            None
            if model_labels is None
            else tuple(name for name in model_labels if name in selected_labels)
        )
    options = EvaluationOptions(
        labels=model_labels, resamples=resamples, seed=seed, max_examples_per_type=examples
    )
    notes = build_import_notes(corpus.warnings)
    rendered = build_rendered_report(
        aligned,
        source=escape_unprintable(str(gold)),  # invalid UTF-8 could not be written
        protocol=protocol,
        options=options,
        notes=notes,
        with_html=report is not None,
    )
    if as_json:
        echo_json(rendered.report_json)
    else:
        print_report(rendered)
    if report is not None:
        write_report(
            report, report_json=rendered.report_json, markdown=rendered.markdown, html=rendered.html
        )


def _parse_labels(labels: str) -> tuple[str, ...]:
    names = tuple(filter(None, (name.strip() for name in labels.split(","))))
    if not names:
        raise typer.BadParameter("--labels is empty: give labels separated by commas")
    return names


def get_system_output(system: str, documents: Sequence[Document], models: Path) -> SystemOutput:
    """Read the predictions of a system, or compute them with its model.

    Args:
        system: File of predictions, or model version.
        documents: Documents to predict; their spans are hidden from the model.
        models: Folder of model versions.

    Returns:
        The predictions.

    Raises:
        InputError: If the file does not exist or cannot be used.
        VersionNotFound: If there is no such version.
    """
    path = Path(system)
    if path.is_file():
        return SystemOutput(system, read_predictions(path))
    if path.suffix in {".json", ".jsonl"}:
        raise InputError(
            f"the file {system} does not exist: give a file of predictions, or a model version",
            code="predictions-not-found",
        )
    with error_console.status(f"Loading {escape(system)}"):
        tier = load_tier_version(open_store(models), system, use_openvino=True)
    blank = [replace(document, spans=()) for document in documents]
    predictions = predict_with_progress(tier, blank)
    return SystemOutput(system, list(zip(blank, predictions, strict=True)), tier.labels)


def build_import_notes(warnings: Sequence[CorpusWarning]) -> list[str]:
    """Describe warnings of reading gold, one sentence each; gold made by a model comes first."""
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
    """Evaluate by one of the protocols, and format the report.

    Args:
        aligned: Gold, and predictions of one or two systems; the first is evaluated.
        source: Name of the gold standard.
        protocol: "exact", or "paper".
        options: Settings.
        notes: Notes on gold, shown first.
        with_html: Render the HTML page, which takes longer than the tables.

    Returns:
        The report in every format.
    """
    from tagalong.training.evaluation import markdown, tables
    from tagalong.training.evaluation.evaluate import evaluate
    from tagalong.training.evaluation.html import report_to_html
    from tagalong.training.evaluation.paper_protocol import evaluate_as_paper, paper_report_to_json
    from tagalong.training.evaluation.report import report_to_json

    if aligned.excluded_documents:
        notes = (
            *notes,
            f"{aligned.excluded_documents} documents are excluded: gold or a system lacks them.",
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
