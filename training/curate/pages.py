"""What curation finds, for people: tables for Markdown, and pages with the texts drawn."""

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

MAX_SHOWN_DOCUMENTS = 10  # documents with their texts
MAX_TABLE_ROWS = 200  # of the longest tables; the whole of it is in JSON
MIN_SHOWN_SCORE = 0.001  # of a score that is shown as it is


@dataclass(frozen=True, slots=True)
class AnnotatedText:
    """A text with what is said of it.

    Attributes:
        name: Of its document or task.
        caption: A sentence on it.
        segments: Of the text.
        annotation_set_names: Whose spans the pieces are, where that is not the same for all.
    """

    name: str
    caption: str
    segments: Sequence[TextSegment]
    annotation_set_names: tuple[str, str] = ("", "")


def review_tables(review_report: ReviewReport) -> list[TextTable]:
    """Lay out a review.

    Args:
        review_report: Any review.

    Returns:
        How many findings of each kind there are, and the first of the queue.
    """
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
    more = len(review_report.findings) - len(queue)
    return [
        TextTable(
            "Findings of each kind",
            ("Kind", "Findings"),
            "lr",
            tuple((kind, f"{count:,}") for kind, count in kinds.most_common()),
        ),
        TextTable(
            "The queue, the most suspicious first",
            ("#", "Score", "Kind", "Document", "Drawn", "Suggested"),
            "rrllll",
            queue,
            f"{more:,} more are in report.json." if more else "",
        ),
    ]


def _quote_span(finding: ReviewFinding, span: Span | None) -> str:
    """A span of a finding with its label."""
    if span is None:
        return EMPTY_CELL
    return f"{to_single_line(finding.span_text(span))} ({to_single_line(span.label)})"


def review_to_markdown(
    review_report: ReviewReport, *, model_name: str, notes: Sequence[str]
) -> str:
    """Write a review as Markdown.

    Args:
        review_report: Any review.
        model_name: What it was asked of.
        notes: What to know before trusting it.

    Returns:
        Markdown.
    """
    head = (
        f"{len(review_report.findings):,} findings in {review_report.annotation_count:,} annotations of "
        f"{review_report.document_count:,} documents, by {escape_markdown(model_name)}."
    )
    quotes = [f"> {escape_markdown(note)}" for note in notes]
    tables = [table_to_markdown(table) for table in review_tables(review_report) if table.rows]
    return "\n\n".join(["# Annotations that look wrong", head, *quotes, *tables]) + "\n"


def review_to_html(
    review_report: ReviewReport,
    documents: Iterable[Document],
    *,
    model_name: str,
    notes: Sequence[str],
) -> str:
    """Set a review as a page.

    Args:
        review_report: Any review.
        documents: What was reviewed.
        model_name: What it was asked of.
        notes: What to know before trusting it.

    Returns:
        HTML, whole and on its own, with the texts of the most suspicious documents.
    """
    by_id = {document.id: document for document in documents}
    return _ENVIRONMENT.get_template("review.html").render(
        found=review_report,
        asked=model_name,
        notes=notes,
        tables=[table for table in review_tables(review_report) if table.rows],
        drawn=[
            _annotated_with_corrections(by_id[suspect.document_id], review_report.findings)
            for suspect in review_report.suspect_documents[:MAX_SHOWN_DOCUMENTS]
        ],
    )


def _annotated_with_corrections(
    document: Document, findings: Iterable[ReviewFinding]
) -> AnnotatedText:
    """A document as it is, and as the findings would have it."""
    of_document = [finding for finding in findings if finding.document == document.id]
    wrong = {finding.gold for finding in of_document}
    suggested = [finding.suggested for finding in of_document if finding.suggested is not None]
    kept = [span for span in document.spans if span not in wrong]
    count = len(of_document)
    return AnnotatedText(
        document.id,
        f"{count} finding{'s' * (count != 1)} in {len(document.spans)} annotations",
        segment_text(document.text, document.spans, [*kept, *suggested]),
    )


def agreement_tables(agreement: AgreementReport) -> list[TextTable]:
    """Lay out an agreement.

    Args:
        agreement: Any.

    Returns:
        By label, length, pair of annotators, and task.
    """
    labels = [("All", agreement.overall), *agreement.by_label.items()]
    lengths = [
        (LENGTH_COLUMN_NAMES[length], agreement.by_length[length]) for length in LENGTH_BUCKETS
    ]
    pairs = [(" and ".join(pair), agreed) for pair, agreed in agreement.by_pair.items()]
    tasks = tuple(
        (entry.task_id, ", ".join(entry.annotators), *_format_agreement(entry.scores))
        for entry in agreement.by_task[:MAX_TABLE_ROWS]
    )
    more = len(agreement.by_task) - len(tasks)
    return [
        _agreement_table("By label", "Label", labels),
        _agreement_table("By length of the entity", "Length", lengths),
        _agreement_table("By pair of annotators", "Who", pairs),
        TextTable(
            "By task, the least agreed first",
            ("Task", "Annotators", "Compared", "Exact F1", "Overlap F1"),
            "llrrr",
            tasks,
            f"{more:,} more are in report.json." if more else "",
        ),
    ]


def _agreement_table(
    title: str, name: str, rows: Iterable[tuple[str, AgreementScores]]
) -> TextTable:
    """Some agreements, each with its name; two may have the same."""
    return TextTable(
        title,
        (name, "Compared", "Exact F1", "Overlap F1"),
        "lrrr",
        tuple((to_single_line(row), *_format_agreement(agreed)) for row, agreed in rows),
    )


def _format_agreement(agreed: AgreementScores) -> tuple[str, str, str]:
    """How many spans were compared, and both ratios."""
    if not agreed.compared_spans:
        return "0", EMPTY_CELL, EMPTY_CELL
    return f"{agreed.compared_spans:,}", f"{agreed.exact_f1:.3f}", f"{agreed.overlap_f1:.3f}"


def agreement_to_markdown(agreement: AgreementReport) -> str:
    """Write an agreement as Markdown.

    Args:
        agreement: Any.

    Returns:
        Markdown.
    """
    head = f"{len(agreement.by_task):,} tasks of two annotators or more, {agreement.single_annotator_tasks:,} of one."
    tables = map(table_to_markdown, agreement_tables(agreement))
    return "\n\n".join(["# How far annotators agree", head, *tables]) + "\n"


def agreement_to_html(agreement: AgreementReport, documents: Iterable[Document]) -> str:
    """Set an agreement as a page.

    Args:
        agreement: Any.
        documents: What was measured, one for each annotator of each task.

    Returns:
        HTML, whole and on its own, with the texts of the tasks that are least agreed on.
    """
    voices = group_by_annotator(documents)
    apart = [entry for entry in agreement.by_task if entry.scores.exact_f1 < 1]
    drawn = []
    for entry in apart[:MAX_SHOWN_DOCUMENTS]:
        first, second = (
            voices[entry.task_id, entry.text][name] for name in entry.least_agreeing_pair
        )
        said = f"Exact F1 {entry.scores.exact_f1:.3f} over {entry.scores.compared_spans:,} spans compared"
        if len(entry.annotators) > 2:
            said += f"; of its {len(entry.annotators)} annotators the two least agreed are drawn"
        pieces = segment_text(first.text, first.spans, second.spans)
        drawn.append(AnnotatedText(entry.task_id, said, pieces, entry.least_agreeing_pair))
    return _ENVIRONMENT.get_template("agreement.html").render(
        agreement=agreement, tables=agreement_tables(agreement), drawn=drawn
    )


_ENVIRONMENT = make_page_environment(Path(__file__).parents[1] / "templates")
