"""Evaluation reports as Markdown."""

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.evaluation.paper_protocol import PaperReport
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.evaluation.tables import (
    TextTable,
    error_examples,
    paper_tables,
    report_tables,
)

SPECIAL_CHARACTERS = frozenset("\\`*_[]<>|#")  # characters that Markdown interprets


def report_to_markdown(report: EvaluationReport) -> str:
    """Convert a report to Markdown with a heading, warnings, tables and examples."""
    blocks = [*_format_head(report), *map(table_to_markdown, report_tables(report))]
    blocks.append(
        f"95 % intervals of F1: percentile bootstrap over documents, {report.resamples} resamples, "
        f"seed {report.seed}."
    )
    examples = [
        f"- {error_type}: {escape_markdown(description)} (document {escape_markdown(document)}): "
        f"{escape_markdown(context)}"
        for error_type, description, document, context in error_examples(report)
    ]
    if examples:
        blocks += ["## Examples of errors", "\n".join(examples)]
    return "\n\n".join(blocks) + "\n"


def paper_report_to_markdown(report: PaperReport) -> str:
    """Convert a report of the paper's protocol to Markdown."""
    blocks = [*_format_head(report), *map(table_to_markdown, paper_tables(report))]
    return "\n\n".join(blocks) + "\n"


def _format_head(report: EvaluationReport | PaperReport) -> list[str]:
    return [
        f"# Evaluation of {escape_markdown(report.model)}",
        f"Gold: {escape_markdown(report.gold)}, {pluralize(report.documents, 'document')}.",
        *(f"> {escape_markdown(warning)}" for warning in report.warnings),
    ]


def table_to_markdown(table: TextTable) -> str:
    """Convert a table to Markdown: heading, table and note."""
    rules = ("---:" if side == "r" else "---" for side in table.align)
    rows = [table.columns, tuple(rules), *(tuple(map(escape_markdown, row)) for row in table.rows)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join(filter(None, (f"## {escape_markdown(table.title)}", lines, table.note)))


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it unchanged, on one line."""
    return "".join(
        f"\\{mark}" if mark in SPECIAL_CHARACTERS else mark for mark in to_single_line(text)
    )
