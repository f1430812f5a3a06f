"""Results of curation for people: tables, Markdown, and HTML pages with highlighted texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.pages import make_page_environment
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, Span
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LENGTH_NOTES, SHORT_LENGTH_NAMES
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.curate.findings import ReviewFinding, ReviewReport
from tagalong.training.curate.inter_annotator import (
    AgreementReport,
    AgreementScores,
    group_by_annotator,
)
from tagalong.training.evaluation.markdown import escape_markdown, table_to_markdown
from tagalong.training.evaluation.tables import EMPTY_CELL, TextTable
from tagalong.training.evaluation.text_segments import TextSegment, segment_text

MAX_SHOWN_DOCUMENTS = 10  # with their texts
MAX_TABLE_ROWS = 200  # the rest is in report.json
SCORE_COLUMNS = ("Compared", "Exact F1", "Overlap F1")


@dataclass(frozen=True, slots=True)
class AnnotatedText:
    """A text with highlighted spans."""

    name: str  # document or task id
    caption: str
    segments: Sequence[TextSegment]
    annotation_set_names: tuple[str, str] = ("", "")  # if they differ between texts


def review_tables(review_report: ReviewReport) -> list[TextTable]:
    """Build the tables of a review: findings by kind, and the first of the queue."""
    kinds = Counter(finding.kind for finding in review_report.findings)
    queue = tuple(
        (
            str(rank),
            finding.shown_score,
            finding.kind,
            to_single_line(finding.document),
            *(_quote_span(finding, span) for span in (finding.gold, finding.suggested)),
        )
        for rank, finding in enumerate(review_report.findings[:MAX_TABLE_ROWS], start=1)
    )
    kind_rows = tuple((kind, f"{count:,}") for kind, count in kinds.most_common())
    columns = ("#", "Score", "Kind", "Document", "Annotated", "Suggested")
    note = _count_omitted(len(review_report.findings) - len(queue))
    return [
        TextTable("Findings by kind", ("Kind", "Findings"), "lr", kind_rows),
        TextTable("Findings, most suspicious first", columns, "rrllll", queue, note),
    ]


def _count_omitted(omitted: int) -> str:
    return f"{omitted:,} more are in report.json." if omitted else ""


def _quote_span(finding: ReviewFinding, span: Span | None) -> str:
    if span is None:
        return EMPTY_CELL
    return f"{to_single_line(finding.span_text(span))} ({to_single_line(span.label)})"


def review_to_markdown(
    review_report: ReviewReport, *, model_name: str, notes: Sequence[str]
) -> str:
    """Convert a review to Markdown."""
    head = review_report.summarize(escape_markdown(model_name))
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
    """Render a review as a self-contained HTML page, with the most suspicious documents."""
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
        f"{pluralize(count, 'finding')} in {pluralize(len(document.spans), 'annotation')}",
        segment_text(document.text, document.spans, [*unchanged, *suggested]),
    )


def agreement_tables(
    agreement: AgreementReport, *, max_tasks: int = MAX_TABLE_ROWS
) -> list[TextTable]:
    """Build the tables of agreement by label, length, pair of annotators, and task."""
    # Pairs, because a label may be called "All" too.
    labels = [("All", agreement.overall), *agreement.by_label.items()]
    lengths = [
        (SHORT_LENGTH_NAMES[length], agreement.by_length[length]) for length in LENGTH_BUCKETS
    ]
    pairs = [(" and ".join(pair), scores) for pair, scores in agreement.by_pair.items()]
    tables = [
        TextTable(
            title,
            (column, *SCORE_COLUMNS),
            "lrrr",
            tuple((to_single_line(name), *_format_agreement(scores)) for name, scores in rows),
            LENGTH_NOTES["words"] if column == "Length" else "",
        )
        for title, column, rows in (
            ("By label", "Label", labels),
            ("By length of the entity", "Length", lengths),
            ("By pair of annotators", "Annotators", pairs),
        )
    ]
    tasks = tuple(
        (entry.task_id, ", ".join(entry.annotators), *_format_agreement(entry.scores))
        for entry in agreement.by_task[:max_tasks]
    )
    columns = ("Task", "Annotators", *SCORE_COLUMNS)
    note = _count_omitted(len(agreement.by_task) - len(tasks))
    return [*tables, TextTable("By task, least agreement first", columns, "llrrr", tasks, note)]


def _format_agreement(scores: AgreementScores) -> tuple[str, str, str]:
    if not scores.compared_spans:
        return "0", EMPTY_CELL, EMPTY_CELL
    return f"{scores.compared_spans:,}", f"{scores.exact_f1:.3f}", f"{scores.overlap_f1:.3f}"


def agreement_to_markdown(agreement: AgreementReport) -> str:
    """Convert an agreement report to Markdown."""
    head = (
        f"{pluralize(len(agreement.by_task), 'task')} with several annotators, "
        f"{agreement.single_annotator_tasks:,} with one."
    )
    tables = map(table_to_markdown, agreement_tables(agreement))
    return "\n\n".join(["# Inter-annotator agreement", head, *tables]) + "\n"


def agreement_to_html(agreement: AgreementReport, documents: Iterable[Document]) -> str:
    """Render an agreement report as a self-contained HTML page, with the tasks agreed on least."""
    by_annotator = group_by_annotator(documents)
    disagreeing = [entry for entry in agreement.by_task if entry.scores.exact_f1 < 1]
    texts = []
    for entry in disagreeing[:MAX_SHOWN_DOCUMENTS]:
        first, second = (
            by_annotator[entry.task_id, entry.text][name] for name in entry.least_agreeing_pair
        )
        scores = entry.scores
        caption = (
            f"Exact F1 {scores.exact_f1:.3f} over "
            f"{pluralize(scores.compared_spans, 'compared span')}"
        )
        if len(entry.annotators) > 2:
            caption += f"; of {len(entry.annotators)} annotators, the least agreeing pair is shown"
        segments = segment_text(first.text, first.spans, second.spans)
        texts.append(AnnotatedText(entry.task_id, caption, segments, entry.least_agreeing_pair))
    return _ENVIRONMENT.get_template("agreement.html").render(
        agreement=agreement, tables=agreement_tables(agreement), texts=texts
    )


_ENVIRONMENT = make_page_environment(Path(__file__).parents[1] / "templates")
