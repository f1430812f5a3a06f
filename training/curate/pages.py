"""What curation finds, for people: tables for Markdown, and pages with the texts drawn."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.pages import page_environment
from ner.document import Document, Span
from ner.printable import on_one_line
from ner.scoring import LENGTHS
from training.curate.agreement import Agreed, Agreement, voices_of
from training.curate.findings import Finding, Review
from training.markdown import escape, table_to_markdown
from training.pieces import Piece, cut
from training.tables import NAMES, NOTHING, Table

SHOWN = 10  # documents with their texts
ROWS = 200  # of the longest tables; the whole of it is in JSON
LEAST = 0.001  # of a score that is shown as it is


@dataclass(frozen=True, slots=True)
class Drawn:
    """A text with what is said of it.

    Attributes:
        name: Of its document or task.
        said: A sentence on it.
        pieces: Of the text.
        sides: Whose spans the pieces are, where that is not the same for all.
    """

    name: str
    said: str
    pieces: Sequence[Piece]
    sides: tuple[str, str] = ("", "")


def review_tables(found: Review) -> list[Table]:
    """Lay out a review.

    Args:
        found: Any review.

    Returns:
        How many findings of each kind there are, and the first of the queue.
    """
    kinds = Counter(finding.kind for finding in found.findings)
    queue = tuple(
        (
            str(rank),
            f"{finding.score:.3f}" if finding.score >= LEAST else f"<{LEAST}",
            finding.kind,
            on_one_line(finding.document),
            *(_quoted(finding, span) for span in (finding.gold, finding.suggested)),
        )
        for rank, finding in enumerate(found.findings[:ROWS], start=1)
    )
    more = len(found.findings) - len(queue)
    return [
        Table(
            "Findings of each kind",
            ("Kind", "Findings"),
            "lr",
            tuple((kind, f"{count:,}") for kind, count in kinds.most_common()),
        ),
        Table(
            "The queue, the most suspicious first",
            ("#", "Score", "Kind", "Document", "Drawn", "Suggested"),
            "rrllll",
            queue,
            f"{more:,} more are in report.json." if more else "",
        ),
    ]


def _quoted(finding: Finding, span: Span | None) -> str:
    """A span of a finding with its label."""
    if span is None:
        return NOTHING
    return f"{on_one_line(finding.covered(span))} ({on_one_line(span.label)})"


def review_to_markdown(found: Review, *, asked: str, notes: Sequence[str]) -> str:
    """Write a review as Markdown.

    Args:
        found: Any review.
        asked: What it was asked of.
        notes: What to know before trusting it.

    Returns:
        Markdown.
    """
    head = (
        f"{len(found.findings):,} findings in {found.annotations:,} annotations of "
        f"{found.documents:,} documents, by {escape(asked)}."
    )
    quotes = [f"> {escape(note)}" for note in notes]
    tables = [table_to_markdown(table) for table in review_tables(found) if table.rows]
    return "\n\n".join(["# Annotations that look wrong", head, *quotes, *tables]) + "\n"


def review_to_html(
    found: Review, documents: Iterable[Document], *, asked: str, notes: Sequence[str]
) -> str:
    """Set a review as a page.

    Args:
        found: Any review.
        documents: What was reviewed.
        asked: What it was asked of.
        notes: What to know before trusting it.

    Returns:
        HTML, whole and on its own, with the texts of the most suspicious documents.
    """
    by_id = {document.id: document for document in documents}
    return _ENVIRONMENT.get_template("review.html").render(
        found=found,
        asked=asked,
        notes=notes,
        tables=[table for table in review_tables(found) if table.rows],
        drawn=[
            _corrected(by_id[suspect.document], found.findings)
            for suspect in found.suspects[:SHOWN]
        ],
    )


def _corrected(document: Document, findings: Iterable[Finding]) -> Drawn:
    """A document as it is, and as the findings would have it."""
    of_document = [finding for finding in findings if finding.document == document.id]
    wrong = {finding.gold for finding in of_document}
    suggested = [finding.suggested for finding in of_document if finding.suggested is not None]
    kept = [span for span in document.spans if span not in wrong]
    count = len(of_document)
    return Drawn(
        document.id,
        f"{count} finding{'s' * (count != 1)} in {len(document.spans)} annotations",
        cut(document.text, document.spans, [*kept, *suggested]),
    )


def agreement_tables(agreement: Agreement) -> list[Table]:
    """Lay out an agreement.

    Args:
        agreement: Any.

    Returns:
        By label, length, pair of annotators, and task.
    """
    labels = [("All", agreement.overall), *agreement.by_label.items()]
    lengths = [(NAMES[length], agreement.by_length[length]) for length in LENGTHS]
    pairs = [(" and ".join(pair), agreed) for pair, agreed in agreement.by_pair.items()]
    tasks = tuple(
        (entry.task, ", ".join(entry.annotators), *_figures(entry.agreed))
        for entry in agreement.by_task[:ROWS]
    )
    more = len(agreement.by_task) - len(tasks)
    return [
        _agreed_table("By label", "Label", labels),
        _agreed_table("By length of the entity", "Length", lengths),
        _agreed_table("By pair of annotators", "Who", pairs),
        Table(
            "By task, the least agreed first",
            ("Task", "Annotators", "Compared", "Exact F1", "Overlap F1"),
            "llrrr",
            tasks,
            f"{more:,} more are in report.json." if more else "",
        ),
    ]


def _agreed_table(title: str, name: str, rows: Iterable[tuple[str, Agreed]]) -> Table:
    """Some agreements, each with its name; two may have the same."""
    return Table(
        title,
        (name, "Compared", "Exact F1", "Overlap F1"),
        "lrrr",
        tuple((on_one_line(row), *_figures(agreed)) for row, agreed in rows),
    )


def _figures(agreed: Agreed) -> tuple[str, str, str]:
    """How many spans were compared, and both ratios."""
    if not agreed.spans:
        return "0", NOTHING, NOTHING
    return f"{agreed.spans:,}", f"{agreed.exact_f1:.3f}", f"{agreed.overlap_f1:.3f}"


def agreement_to_markdown(agreement: Agreement) -> str:
    """Write an agreement as Markdown.

    Args:
        agreement: Any.

    Returns:
        Markdown.
    """
    head = (
        f"{len(agreement.by_task):,} tasks of two annotators or more, {agreement.alone:,} of one."
    )
    tables = map(table_to_markdown, agreement_tables(agreement))
    return "\n\n".join(["# How far annotators agree", head, *tables]) + "\n"


def agreement_to_html(agreement: Agreement, documents: Iterable[Document]) -> str:
    """Set an agreement as a page.

    Args:
        agreement: Any.
        documents: What was measured, one for each annotator of each task.

    Returns:
        HTML, whole and on its own, with the texts of the tasks that are least agreed on.
    """
    voices = voices_of(documents)
    apart = [entry for entry in agreement.by_task if entry.agreed.exact_f1 < 1]
    drawn = []
    for entry in apart[:SHOWN]:
        first, second = (voices[entry.task, entry.text][name] for name in entry.apart)
        said = f"Exact F1 {entry.agreed.exact_f1:.3f} over {entry.agreed.spans:,} spans compared"
        if len(entry.annotators) > 2:
            said += f"; of its {len(entry.annotators)} annotators the two least agreed are drawn"
        pieces = cut(first.text, first.spans, second.spans)
        drawn.append(Drawn(entry.task, said, pieces, entry.apart))
    return _ENVIRONMENT.get_template("agreement.html").render(
        agreement=agreement, tables=agreement_tables(agreement), drawn=drawn
    )


_ENVIRONMENT = page_environment(Path(__file__).parents[1] / "templates")
