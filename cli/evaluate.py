"""``tagalong evaluate``: scores of a model or of a file of predictions against gold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer
from rich.markup import escape

from tagalong.backend.annotations.import_log import CorpusWarning, ImportLog
from tagalong.backend.documents.jsonl import UNKNOWN_VERSION
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import (
    describe_formats,
    has_folder_format,
    read_predictions,
)
from tagalong.backend.formats.tagged_tokens import choose_entity_label
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import accept_model_labels
from tagalong.cli.terminal.console import echo_json, error_console
from tagalong.cli.terminal.options import (
    MAX_SEED,
    AnnotatorsOption,
    EntityLabelOption,
    JsonOption,
    LabelConfigOption,
    LengthByOption,
    ModelsOption,
    build_read_options,
    load_tagger_by_reference,
    open_store,
)
from tagalong.cli.terminal.progress import predict_with_progress
from tagalong.cli.terminal.tables import print_report
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.training.corpus import (
    Corpus,
    describe_log,
    describe_losses,
    describe_warning,
    read_corpus,
)
from tagalong.training.evaluation.alignment import (
    AlignedDocuments,
    SystemOutput,
    align_predictions,
    collect_labels,
    filter_labels,
)
from tagalong.training.evaluation.label_names import (
    choose_labels,
    describe_unknown_labels,
    map_system_labels,
)

if TYPE_CHECKING:  # what imports numpy, scikit-learn or torch would make `tagalong --help` slow
    from tagalong.training.evaluation.evaluate import EvaluationOptions
    from tagalong.training.evaluation.tables import TextTable

N_FILES = 3  # gold, and those of predictions
EvaluationProtocol = Literal["exact", "paper"]
SystemArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|PREDICTIONS",
        help="Model version ('encoder' is the current one, 'bundled' the included one), or a file "
        f"of predictions: {describe_formats('annotations')}.",
    ),
]
GoldArgument = Annotated[
    Path,
    typer.Argument(
        metavar="GOLD",
        exists=True,
        help=f"Gold standard: {describe_formats('annotations')}.",
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(metavar="MODEL|PREDICTIONS", help="Second system, to compare with the first."),
]
EvaluationReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        file_okay=False,
        help="Write report.html, report.json and report.md into this folder (no HTML with "
        "--protocol paper).",
    ),
]
ProtocolOption = Annotated[
    EvaluationProtocol,
    typer.Option(help="Scoring protocol; paper: that of arXiv 2504.00664, including its flaws."),
]


def check_labels(values: list[str] | None) -> list[str] | None:
    """Refuse ``--labels`` without a name."""
    if values and not any(value.strip(" ,") for value in values):
        raise typer.BadParameter("give labels separated by commas")
    return values


LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B",
        callback=check_labels,
        help="Score only these labels, in gold and predictions; the option may be repeated.",
    ),
]
WordColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--word-column",
        metavar="COLUMN",
        help="Column of words in CoNLL files: its number, from 1, or its name in the header. A "
        "second value is for predictions, a third for --against.",
        show_default="found by content",
    ),
]
TagColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag-column",
        metavar="COLUMN",
        help="Column of tags in CoNLL files. A second value is for predictions, a third for "
        "--against.",
        show_default="found by content",
    ),
]
OnlyCommonOption = Annotated[
    bool,
    typer.Option("--only-common", help="Score only documents that gold and all systems have."),
]
ResamplesOption = Annotated[int, typer.Option(min=1, help="Number of bootstrap resamples.")]
BootstrapSeedOption = Annotated[
    int, typer.Option(min=0, max=MAX_SEED, help="Random seed of the bootstrap.")
]
ExamplesOption = Annotated[
    int, typer.Option(min=0, help="Number of examples per error type in the report.")
]


class RenderedReport(NamedTuple):
    """An evaluation report in every format; no HTML for the paper's protocol."""

    report_json: dict[str, Any]
    tables: "list[TextTable]"
    markdown: str
    html: str | None = None


def evaluate_cli(
    system: SystemArgument,
    gold: GoldArgument,
    against: AgainstOption = None,
    report: EvaluationReportOption = None,
    as_json: JsonOption = False,
    protocol: ProtocolOption = "exact",
    labels: LabelsOption = None,
    only_common: OnlyCommonOption = False,
    resamples: ResamplesOption = 1000,
    seed: BootstrapSeedOption = 0,
    examples: ExamplesOption = 5,
    length_by: LengthByOption = "words",
    annotators: AnnotatorsOption = "majority",
    label_config: LabelConfigOption = None,
    word_column: WordColumnsOption = None,
    tag_column: TagColumnsOption = None,
    entity_label: EntityLabelOption = None,
    models: ModelsOption = Path("models"),
) -> None:
    """Evaluate a model or any predictions: precision, recall and F1 by label and length.

    Example: tagalong evaluate bundled gold.jsonl --report report
    """
    from tagalong.training.evaluation.evaluate import EvaluationOptions
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if protocol == "paper" and (against is not None or length_by != "words"):
        raise typer.BadParameter("--against and --length-by blanks need the exact protocol")
    if report is not None:
        check_report_dir(report)
    gold_columns, *columns = choose_columns(word_column, tag_column, entity_label)
    reading = build_read_options(annotators, label_config, gold_columns)
    corpus, config = _read_gold(gold, reading)
    read, systems = corpus.documents, (system, *filter(None, [against]))
    outputs = [
        get_system_output(one, read, models, replace(reading, columns=of_system))
        for one, of_system in zip(systems, columns, strict=False)
    ]
    aligned = align_predictions(read, outputs, only_common_documents=only_common, config=config)
    aligned = replace(aligned, dropped=(*corpus.dropped, *aligned.dropped))
    notes = build_notes(corpus.warnings, aligned, config)
    if protocol == "paper":  # its report counts no losses of reading
        notes = (*describe_losses(corpus.dropped, "gold"), *notes)
    model_labels = outputs[0].labels and map_system_labels(outputs[0].labels, config)
    if labels is not None:
        known = {*collect_labels(aligned), *(model_labels or ()), *corpus.labels}
        chosen = choose_labels(labels, known, config)
        aligned = filter_labels(aligned, chosen)
        model_labels = model_labels and tuple(filter(chosen.__contains__, model_labels))
    rendered = render_evaluation(
        aligned,
        source=escape_unprintable(str(gold)),  # invalid UTF-8 could not be written
        protocol=protocol,
        options=EvaluationOptions(model_labels, resamples, seed, examples, length_by),
        notes=notes,
        with_html=report is not None,
    )
    report_json, tables, markdown, html = rendered
    if as_json:
        echo_json(report_json)
    else:
        print_report(report_json, tables)
    if report is not None:
        write_report(report, report_json=report_json, markdown=markdown, html=html)


def choose_columns(
    words: Sequence[str] | None, tags: Sequence[str] | None, entity_label: str | None
) -> list[ColumnOptions]:
    """Choose the columns of gold, and of a first and a second file of predictions.

    The last value of an option holds for all further files. Raises `typer.BadParameter` if there
    are more values than files.
    """
    rows = []
    for values, option in ((words, "--word-column"), (tags, "--tag-column")):
        given = values or ()
        if len(given) > N_FILES:
            raise typer.BadParameter(
                f"{option} is given {len(given)} times, for gold and at most two other files"
            )
        last = given[-1] if given else None
        rows.append([*given, *[last] * (N_FILES - len(given))])
    return [ColumnOptions(word, tag, entity_label) for word, tag in zip(*rows, strict=True)]


def _read_gold(gold: Path, options: ReadOptions) -> tuple[Corpus, LabelConfig | None]:
    config = options.label_config
    if config is not None:  # gold may have the labels of a model
        options = replace(options, label_config=accept_model_labels(config))
    with error_console.status(f"Reading {escape(str(gold))}"):
        return read_corpus([gold], options), config


def get_system_output(
    system: str, documents: Sequence[Document], models: Path, reading: ReadOptions
) -> SystemOutput:
    """Read the predictions of a system from its file, or compute them with its model version.

    Raises:
        InputError: If the file does not exist or cannot be used.
        VersionNotFound: If there is no such version.
    """
    path = Path(system)
    if path.is_file() or (path.is_dir() and has_folder_format(path)):
        # Before the config accepts any label: its only one is that of bare B and I.
        columns = replace(reading.columns, entity_label=choose_entity_label(reading))
        log = ImportLog()
        name = escape_unprintable(path.name or system)
        pairs = [
            (one, replace(made, version=name) if made.version == UNKNOWN_VERSION else made)
            for one, made in read_predictions(path, replace(reading, columns=columns), log)
        ]
        return SystemOutput(system, pairs, notes=describe_log(log, system))
    if path.suffix.lower() in {".json", ".jsonl"}:
        raise InputError(
            f"the file {system} does not exist: give a file of predictions, or a model version",
            code="predictions-not-found",
        )
    with error_console.status(f"Loading {escape(system)}"):
        tagger = load_tagger_by_reference(open_store(models), system, use_openvino=True)
    blank = [replace(document, spans=()) for document in documents]  # hides gold from the model
    pairs = list(zip(blank, predict_with_progress(tagger, blank), strict=True))
    return SystemOutput(system, pairs, tagger.labels)


def build_notes(
    warnings: Sequence[CorpusWarning], aligned: AlignedDocuments, config: LabelConfig | None
) -> tuple[str, ...]:
    """Describe reading and alignment, gold made by a model first."""
    first = sorted(warnings, key=lambda warning: warning.kind != "made by a model")
    notes = [describe_warning(warning, "gold") for warning in first]
    unknown = Counter(one.label for one in aligned.dropped if one.reason == "label unknown")
    if config is not None and unknown:
        notes.append(describe_unknown_labels("gold entities", unknown, config))
    if count := aligned.excluded_documents:
        notes.append(
            f"{pluralize(count, 'document is', 'documents are')} excluded: not in gold and all "
            "systems."
        )
    return (*notes, *aligned.notes)


def render_evaluation(
    aligned: AlignedDocuments,
    *,
    source: str,
    protocol: EvaluationProtocol,
    options: "EvaluationOptions",
    notes: tuple[str, ...],
    with_html: bool,
) -> RenderedReport:
    """Evaluate the first system by one of the protocols, and format the report with its notes."""
    from tagalong.training.evaluation.evaluate import evaluate
    from tagalong.training.evaluation.html import report_to_html
    from tagalong.training.evaluation.markdown import paper_report_to_markdown, report_to_markdown
    from tagalong.training.evaluation.paper_protocol import evaluate_as_paper, paper_report_to_json
    from tagalong.training.evaluation.report import report_to_json
    from tagalong.training.evaluation.tables import paper_tables, report_tables

    predicted, *others = aligned.predicted
    if protocol == "paper":
        labels = options.labels or ()
        paper = evaluate_as_paper(aligned.gold, predicted, labels=labels, source=source)
        paper = replace(paper, warnings=notes)
        return RenderedReport(
            paper_report_to_json(paper), paper_tables(paper), paper_report_to_markdown(paper)
        )
    report = evaluate(
        aligned.gold,
        predicted,
        source=source,
        against=others[0] if others else None,
        dropped=aligned.dropped,
        options=options,
    )
    report = replace(report, warnings=(*notes, *report.warnings))
    return RenderedReport(
        report_to_json(report),
        report_tables(report),
        report_to_markdown(report),
        report_to_html(report) if with_html else None,  # takes longer than the tables
    )
