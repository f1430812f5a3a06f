"""``tagalong curate review``: annotations that are probably wrong, most suspicious first."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.curate import options
from tagalong.cli.curate.sources import (
    ProjectAccess,
    add_address,
    check_new_file,
    open_annotated_corpus,
    write_json_lines,
)
from tagalong.cli.terminal.console import console, echo_json, error_console, print_line
from tagalong.cli.terminal.options import (
    AnnotatorsOption,
    EntityLabelOption,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    ReportOption,
    TagColumnOption,
    WordColumnOption,
    build_read_options,
    load_tagger_by_reference,
    open_store,
)
from tagalong.cli.terminal.progress import training_progress_bar
from tagalong.cli.terminal.tables import new_table
from tagalong.cli.train.options import BaseOption, EpochsOption, SeedOption
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.text_sanitizing import escape_unprintable, to_single_line
from tagalong.training.corpus import Corpus, describe_reading

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.curate.cross_validation import CrossValidationConfig
    from tagalong.training.curate.curated_project import CuratedProject
    from tagalong.training.curate.findings import ReviewFinding, ReviewReport
    from tagalong.training.curate.review_model import ReviewModel

MAX_QUOTE_CHARACTERS = 60  # of an entity
MAX_CONTEXT_CHARACTERS = 24  # on each side of a finding
MAX_LISTED_DOCUMENTS = 5  # below the table


def review_cli(
    exports: options.OptionalExportsArgument = None,
    project: options.ProjectOption = None,
    url: options.UrlOption = None,
    key: options.ApiKeyOption = None,
    allowed_hosts: options.AllowedHostsOption = "",
    tab: options.TabOption = False,
    folds: options.FoldsOption = 5,
    model: options.ReviewModelOption = None,
    base: BaseOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = 42,
    limit: options.FindingLimitOption = 20,
    out: options.FindingsOutOption = None,
    report: ReportOption = None,
    annotators: AnnotatorsOption = "majority",
    label_config: LabelConfigOption = None,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Find annotations that are probably wrong: missed, spurious, wrong boundaries or type.

    Example: tagalong curate review export.json --out queue.jsonl

    Of a project: tagalong curate review --project 1 --create-view
    """
    from tagalong.training.curate.review import review_annotations
    from tagalong.training.curate.review_model import build_cross_validation_config
    from tagalong.training.evaluation.report import check_report_dir

    if model is not None and (base is not None or epochs is not None):
        raise typer.BadParameter("--base and --epochs are for training, and --model trains nothing")
    check_new_file(out)
    if report is not None:
        check_report_dir(report)
    columns = ColumnOptions(word_column, tag_column, entity_label)
    read = build_read_options(annotators, label_config, columns)
    access = ProjectAccess(project, url, key, allowed_hosts)
    with open_annotated_corpus(exports, access, read) as (corpus, curated_project):
        config = build_cross_validation_config(folds, base, epochs=epochs, seed=seed)
        # The folds are deleted only if all of the following succeeds.
        with _predict(corpus, open_store(models), model, config) as review_model:
            review = review_annotations(
                corpus.documents, review_model.tag_distributions, review_model.tag_set
            )
            # Repeatable steps first: the output file is never overwritten.
            shown = _show_in_tab(review, curated_project, limit=limit) if tab else ""
            notes = build_notes(review, review_model, corpus)
            report_json = {"model": review_model.name, **review.to_json(), "notes": notes}
            if report is not None:
                _write_report(report, review, review_model.name, report_json, corpus)
            if out is not None:
                write_json_lines(report_json["findings"], out)
            if as_json:
                echo_json(add_address(report_json, shown))
            else:
                render_review(review, review_model.name, notes, limit=limit, address=shown)


def _show_in_tab(review: "ReviewReport", project: "CuratedProject | None", *, limit: int) -> str:
    # The address of the tab; empty without a project or findings.
    if project is None or not review.findings:
        return ""
    tasks = [finding.document for finding in review.findings[:limit]]
    return project.show_tasks_in_tab(tasks, "Review")


@contextmanager
def _predict(
    corpus: Corpus, store: ModelStore, model: str | None, config: "CrossValidationConfig"
) -> "Iterator[ReviewModel]":
    from tagalong.training.curate.review_model import (
        predict_with_cross_validation,
        predict_with_version,
    )

    if model is not None:
        with error_console.status(f"Predicting with {escape(model)}"):
            review_model = predict_with_version(corpus, load_tagger_by_reference(store, model))
        yield review_model
        return
    with (
        training_progress_bar() as on_progress,
        predict_with_cross_validation(corpus, store, config, on_progress) as review_model,
    ):
        yield review_model


def _write_report(
    folder: Path,
    review: "ReviewReport",
    model_name: str,
    report_json: Mapping[str, Any],
    corpus: Corpus,
) -> None:
    from tagalong.training.curate.pages import review_to_html, review_to_markdown
    from tagalong.training.evaluation.report import write_report

    names = {"model_name": model_name, "notes": report_json["notes"]}
    write_report(
        folder,
        report_json=report_json,
        markdown=review_to_markdown(review, **names),
        html=review_to_html(review, corpus.documents, **names),
    )


def build_notes(
    review_report: "ReviewReport", review_model: "ReviewModel", corpus: Corpus
) -> list[str]:
    """Build the limits of a review, one sentence each."""
    notes = [review_model.note] if review_model.note else []
    if review_report.dropped:
        reasons = Counter(entry.reason for entry in review_report.dropped)
        listed = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        notes.append(
            f"{pluralize(len(review_report.dropped), 'annotation')} cannot be reviewed: {listed}."
        )
    return notes + describe_reading(corpus)


def render_review(
    review_report: "ReviewReport",
    model_name: str,
    notes: Sequence[str],
    *,
    limit: int,
    address: str = "",
) -> None:
    """Print a review with up to `limit` findings, and the address of their tab if there is one."""
    print_line(review_report.summarize(to_single_line(model_name)))
    for note in notes:
        console.print(Text(to_single_line(f"Note: {note}"), style="yellow"))
    if not review_report.findings:
        return
    console.print(_build_table(review_report.findings[:limit]))
    worst = ", ".join(
        f"{to_single_line(suspect.document_id)} ({suspect.finding_count})"
        for suspect in review_report.suspect_documents[:MAX_LISTED_DOCUMENTS]
    )
    print_line(f"Most suspicious documents, with their number of findings: {worst}.")
    if address:
        console.print(f"Their tasks are in this tab: {address}", soft_wrap=True)


def _build_table(findings: "Sequence[ReviewFinding]") -> Table:
    table = new_table()
    for name in ("#", "Score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Kind", no_wrap=True)
    for name in ("Document", "- annotated, + suggested", "In context"):
        table.add_column(name, overflow="fold")
    for rank, finding in enumerate(findings, start=1):
        table.add_row(
            str(rank),
            finding.shown_score,
            finding.kind,
            Text(to_single_line(finding.document)),
            _format_change(finding),
            _format_context(finding),
        )
    return table


def _format_change(finding: "ReviewFinding") -> Text:
    """Annotation and suggestion as lines of a diff."""
    lines = []
    for sign, span in (("-", finding.gold), ("+", finding.suggested)):
        if span is not None:
            covered = to_single_line(finding.span_text(span))
            dots = "..." if len(covered) > MAX_QUOTE_CHARACTERS else ""
            quote = f"{covered[:MAX_QUOTE_CHARACTERS]}{dots}"
            lines.append(f"{sign} {to_single_line(span.label)}: {quote}")
    return Text("\n".join(lines))


def _format_context(finding: "ReviewFinding") -> Text:
    """The text of a finding with whole words around it."""
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
