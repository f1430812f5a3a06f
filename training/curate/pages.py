"""Results of curation for people: tables, Markdown, and HTML pages with highlighted texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.pages import make_page_environment
from tagalong.ner.document import Document, Span
from tagalong.ner.scoring import LENGTH_BUCKETS
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.curate.findings import ReviewFinding, ReviewReport
from tagalong.training.curate.inter_annotator import (
    AgreementReport,
    AgreementScores,
    group_by_annotator,
)
from tagalong.training.evaluation.markdown import escape_markdown, table_to_markdown
from tagalong.training.evaluation.tables import EMPTY_CELL, LENGTH_COLUMN_NAMES, TextTable
from tagalong.training.evaluation.text_segments import TextSegment, segment_text

MAX_SHOWN_DOCUMENTS = 10  # with their texts
MAX_TABLE_ROWS = 200  # the rest is in report.json
MIN_SHOWN_SCORE = 0.001  # lower scores are shown as below it


@dataclass(frozen=True, slots=True)
class AnnotatedText:
    """A text with highlighted spans.

    Attributes:
        name: Document or task id.
        annotation_set_names: Names of both annotation sets, if they differ between texts.
    """

    name: str
    caption: str
    segments: Sequence[TextSegment]
    annotation_set_names: tuple[str, str] = ("", "")


def review_tables(review_report: ReviewReport) -> list[TextTable]:
    """Build the tables of a review: findings by kind, and the first of the queue."""
    kinds = Counter(finding.kind for finding in review_report.findings)
    queue = tuple(
        (
            str(rank),
            f"{finding.score:.3f}" if finding.score >= MIN_SHOWN_SCORE else f"<{MIN_SHOWN_SCORE}",
            finding.kind,
            to_single_line(finding.document),
            *(_quote_span(finding, span) for span in (finding.gold, finding.suggested)),
        )
        for rank, finding in enumerate(review_report.findings[:MAX_TABLE_ROWS], start=1)
    )
    omitted = len(review_report.findings) - len(queue)
    return [
        TextTable(
            "Findings by kind",
            ("Kind", "Findings"),
            "lr",
            tuple((kind, f"{count:,}") for kind, count in kinds.most_common()),
        ),
        TextTable(
            "Findings, most suspicious first",
            ("#", "Score", "Kind", "Document", "Annotated", "Suggested"),
            "rrllll",
            queue,
            f"{omitted:,} more are in report.json." if omitted else "",
        ),
    ]


def _quote_span(finding: ReviewFinding, span: Span | None) -> str:
    if span is None:
        return EMPTY_CELL
    return f"{to_single_line(finding.span_text(span))} ({to_single_line(span.label)})"


def review_to_markdown(
    review_report: ReviewReport, *, model_name: str, notes: Sequence[str]
) -> str:
    """Convert a review to Markdown."""
    head = (
        f"{len(review_report.findings):,} findings in {review_report.annotation_count:,} "
        f"annotations of {review_report.document_count:,} documents, by "
        f"{escape_markdown(model_name)}."
    )
    quotes = [f"> {escape_markdown(note)}" for note in notes]
    tables = [table_to_markdown(table) for table in review_tables(review_report) if table.rows]
    return "\n\n".join(["# Annotations to review", head, *quotes, *tables]) + "\n"


def review_to_html(
    review_report: ReviewReport,
    documents: Iterable[Document],
    *,
    model_name: str,
    notes: Sequence[str],
) -> str:
    """Render a review as a self-contained HTML page.

    Args:
        review_report: The review.
        documents: The reviewed documents; the texts of the most suspicious are shown.
        model_name: The model, or models, of the review.
        notes: Limits of the review.

    Returns:
        HTML.
    """
    by_id = {document.id: document for document in documents}
    return _ENVIRONMENT.get_template("review.html").render(
        review=review_report,
        model_name=model_name,
        notes=notes,
        tables=[table for table in review_tables(review_report) if table.rows],
        texts=[
            _annotated_with_corrections(by_id[suspect.document_id], review_report.findings)
            for suspect in review_report.suspect_documents[:MAX_SHOWN_DOCUMENTS]
        ],
    )


def _annotated_with_corrections(
    document: Document, findings: Iterable[ReviewFinding]
) -> AnnotatedText:
    """A document's annotations against those with all suggestions applied."""
    of_document = [finding for finding in findings if finding.document == document.id]
    replaced = {finding.gold for finding in of_document}
    suggested = [finding.suggested for finding in of_document if finding.suggested is not None]
    unchanged = [span for span in document.spans if span not in replaced]
    count = len(of_document)
    return AnnotatedText(
        document.id,
        f"{count} finding{'s' * (count != 1)} in {len(document.spans)} annotations",
        segment_text(document.text, document.spans, [*unchanged, *suggested]),
    )


def agreement_tables(agreement: AgreementReport) -> list[TextTable]:
    """Build the tables of agreement by label, length, pair of annotators, and task."""
    labels = [("All", agreement.overall), *agreement.by_label.items()]
    lengths = [
        (LENGTH_COLUMN_NAMES[length], agreement.by_length[length]) for length in LENGTH_BUCKETS
    ]
    pairs = [(" and ".join(pair), scores) for pair, scores in agreement.by_pair.items()]
    tasks = tuple(
        (entry.task_id, ", ".join(entry.annotators), *_format_agreement(entry.scores))
        for entry in agreement.by_task[:MAX_TABLE_ROWS]
    )
    omitted = len(agreement.by_task) - len(tasks)
    return [
        _agreement_table("By label", "Label", labels),
        _agreement_table("By length of the entity", "Length", lengths),
        _agreement_table("By pair of annotators", "Annotators", pairs),
        TextTable(
            "By task, least agreement first",
            ("Task", "Annotators", "Compared", "Exact F1", "Overlap F1"),
            "llrrr",
            tasks,
            f"{omitted:,} more are in report.json." if omitted else "",
        ),
    ]


def _agreement_table(
    title: str, name: str, rows: Iterable[tuple[str, AgreementScores]]
) -> TextTable:
    return TextTable(
        title,
        (name, "Compared", "Exact F1", "Overlap F1"),
        "lrrr",
        tuple((to_single_line(row), *_format_agreement(scores)) for row, scores in rows),
    )


def _format_agreement(scores: AgreementScores) -> tuple[str, str, str]:
    if not scores.compared_spans:
        return "0", EMPTY_CELL, EMPTY_CELL
    return f"{scores.compared_spans:,}", f"{scores.exact_f1:.3f}", f"{scores.overlap_f1:.3f}"


def agreement_to_markdown(agreement: AgreementReport) -> str:
    """Convert an agreement report to Markdown."""
    head = (
        f"{len(agreement.by_task):,} tasks with several annotators, "
        f"{agreement.single_annotator_tasks:,} with one."
    )
    tables = map(table_to_markdown, agreement_tables(agreement))
    return "\n\n".join(["# Inter-annotator agreement", head, *tables]) + "\n"


def agreement_to_html(agreement: AgreementReport, documents: Iterable[Document]) -> str:
    """Render an agreement report as a self-contained HTML page.

    Args:
        agreement: The report.
        documents: The compared documents; the texts of the tasks with least agreement are shown.

    Returns:
        HTML.
    """
    by_annotator = group_by_annotator(documents)
    disagreeing = [entry for entry in agreement.by_task if entry.scores.exact_f1 < 1]
    texts = []
    for entry in disagreeing[:MAX_SHOWN_DOCUMENTS]:
        first, second = (
            by_annotator[entry.task_id, entry.text][name] for name in entry.least_agreeing_pair
        )
        scores = entry.scores
        caption = f"Exact F1 {scores.exact_f1:.3f} over {scores.compared_spans:,} compared spans"
        if len(entry.annotators) > 2:
            caption += f"; of {len(entry.annotators)} annotators, the least agreeing pair is shown"
        segments = segment_text(first.text, first.spans, second.spans)
        texts.append(AnnotatedText(entry.task_id, caption, segments, entry.least_agreeing_pair))
    return _ENVIRONMENT.get_template("agreement.html").render(
        agreement=agreement, tables=agreement_tables(agreement), texts=texts
    )


_ENVIRONMENT = make_page_environment(Path(__file__).parents[1] / "templates")
