"""Reports as Markdown."""

from collections.abc import Iterable, Sequence

from ner.printable import on_one_line
from training.paper_protocol import PaperReport
from training.report import Report
from training.tables import Table, describe, paper_tables, report_tables

MARKS = frozenset("\\`*_[]<>|#")  # what Markdown would not show as it is


def report_to_markdown(report: Report) -> str:
    """Write a report for people.

    Args:
        report: Any report.

    Returns:
        Markdown with a heading, warnings, tables and examples.
    """
    blocks = [*_head(report), *_quotes(report.warnings)]
    blocks += map(table_to_markdown, report_tables(report))
    blocks.append(
        f"95 % intervals of F1: percentile bootstrap over documents, {report.resamples} resamples, "
        f"seed {report.seed}."
    )
    examples = [
        f"- {kind}: {escape(describe(example))} (document {escape(example.document)}): "
        f"{escape(example.context)}"
        for kind, mistakes in report.mistakes.items()
        for example in mistakes.examples
    ]
    if examples:
        blocks += ["## Examples of mistakes", "\n".join(examples)]
    return "\n\n".join(blocks) + "\n"


def paper_report_to_markdown(report: PaperReport, *, warnings: Sequence[str] = ()) -> str:
    """Write a report by the paper's protocol for people.

    Args:
        report: Any report.
        warnings: What to know before trusting it.

    Returns:
        Markdown with a heading, warnings and tables.
    """
    blocks = [*_head(report), *_quotes(warnings), *map(table_to_markdown, paper_tables(report))]
    return "\n\n".join(blocks) + "\n"


def _head(report: Report | PaperReport) -> Sequence[str]:
    """What was judged, and by what."""
    return (
        f"# Evaluation of {escape(report.model)}",
        f"Gold: {escape(report.gold)}, {report.documents} documents.",
    )


def _quotes(warnings: Iterable[str]) -> list[str]:
    """What to know before trusting the figures."""
    return [f"> {escape(warning)}" for warning in warnings]


def table_to_markdown(table: Table) -> str:
    """Write a table.

    Args:
        table: Any.

    Returns:
        A heading, the table, its note.
    """
    rules = ("---:" if side == "r" else "---" for side in table.align)
    rows = [table.columns, tuple(rules), *(tuple(map(escape, row)) for row in table.rows)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join(filter(None, (f"## {escape(table.title)}", lines, table.note)))


def escape(text: str) -> str:
    """Keep Markdown from reading anything into a text.

    Args:
        text: Any.

    Returns:
        What Markdown shows as it is, on one line.
    """
    return "".join(f"\\{mark}" if mark in MARKS else mark for mark in on_one_line(text))
