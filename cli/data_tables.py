"""What the ``tagalong data`` commands print."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from tagalong.backend.annotations.import_log import WARNING_DESCRIPTIONS
from tagalong.cli.terminal.console import console
from tagalong.cli.terminal.tables import new_table
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.length_buckets import LENGTH_COLUMNS, LENGTH_NOTES
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.training.corpus import Corpus, CorpusCheck, CorpusStats, WriteResult
from tagalong.training.evaluation.label_names import format_labels

MAX_EXAMPLES = 3  # for each reason


def render_check(check: CorpusCheck) -> None:
    """Print a check as tables."""
    labels = escape_text(format_labels(check.labels)) or "no label"
    console.print(
        f"{pluralize(check.documents, 'document')}, {check.documents_without_entities:,} "
        "without entities, "
        f"{check.repeated_documents:,} with the text of an earlier one. "
        f"{pluralize(check.kept_entities + check.dropped_count, 'entity')} of {labels}: "
        f"{check.kept_entities:,} kept, {check.dropped_count:,} lost."
    )
    if check.word_rule_choice.is_needed:
        console.print(check.word_rule_choice.describe())
    if check.flat_losses.is_high:
        console.print(f"{check.flat_losses.describe()}. A training needs --allow-losses.")
    if check.dropped:
        table = _build_table("Reason", "Entities", "For example", title="Lost")
        for reason, group in check.dropped.items():
            examples = (
                f"{one.label} {one.text[:60]!r} at {one.start} to {one.end} in {one.document}"
                for one in group[:MAX_EXAMPLES]
            )
            table.add_row(reason, f"{len(group):,}", escape_text("\n".join(examples)))
        console.print(table)
        console.print("docs/formats.md explains each reason.")
    if check.warnings:
        table = _build_table("Finding", "Times", "Handling", "Where", title="Warnings")
        for warning in check.warnings:
            where = escape_text("\n".join(warning.examples))
            table.add_row(
                warning.kind, f"{warning.count:,}", WARNING_DESCRIPTIONS[warning.kind], where
            )
        console.print(table)


def escape_text(text: str) -> str:
    """Keep a user's text from being Rich's markup, or from controlling the terminal."""
    return escape(escape_unprintable(text, keep="\n"))


def _build_table(*columns: str, title: str) -> Table:
    # The second column is a count. A file gets plain characters.
    table = new_table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    table.columns[1].justify = "right"
    return table


def render_stats(stats: CorpusStats) -> None:
    """Print counts as a table."""
    console.print(
        f"{pluralize(stats.documents, 'document')} ({stats.documents_without_entities:,} "
        "without entities), "
        f"{pluralize(stats.words, 'word')}, {pluralize(stats.characters, 'character')}"
    )
    table = _build_table(
        "Label", *LENGTH_COLUMNS[stats.length_unit].values(), "All", title="Entities"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for label in (*stats.labels, None):
        if label is None:  # the sums stand below a line
            table.add_section()
        row = stats.count_by_length(label)
        name = "All" if label is None else escape_text(label)
        table.add_row(name, *(f"{n:,}" for n in (*row, sum(row))))
    console.print(table)
    console.print(LENGTH_NOTES[stats.length_unit])


def render_conversion(corpus: Corpus, written: WriteResult, out: Path, replacement: str) -> None:
    """Print what a file holds, and which annotations of the corpus were lost."""
    print_document_count(written.document_count, out)
    if wordless := len(corpus.documents) - written.document_count:
        console.print(
            f"{pluralize(wordless, 'document')} without words "
            f"{'is' if wordless == 1 else 'are'} not in it"
        )
    print_reasons((*corpus.dropped, *written.dropped))
    if count := written.masked_range_count:
        ranges = pluralize(count, "masked range looks", "masked ranges look")
        console.print(f"{ranges} free of entities in it: JSON lines keep them")
    if written.replaced_characters:
        console.print(f"{written.replaced_characters:,} {replacement}")


def print_document_count(count: int, path: Path) -> None:
    """Print how many documents a file has."""
    # A path is never folded: people copy it.
    console.print(f"{pluralize(count, 'document')} in {escape_text(str(path))}", soft_wrap=True)


def count_reasons(lost: Iterable[DroppedAnnotation]) -> dict[str, int]:
    """Count lost annotations by reason, the most frequent first."""
    return dict(Counter[str](entry.reason for entry in lost).most_common())


def count_warnings(corpus: Corpus) -> dict[str, int]:
    """Count the warnings of reading by kind."""
    return {warning.kind: warning.count for warning in corpus.warnings}


def print_reasons(lost: Iterable[DroppedAnnotation]) -> None:
    """Print how many annotations were lost, by reason."""
    for reason, count in count_reasons(lost).items():
        console.print(f"{pluralize(count, 'entity')} lost: {reason}")
