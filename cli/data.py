"""The `tagalong data` commands: look into corpora and exports, convert them, split them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tagalong.cli.terminal.console import console, echo_json, error_console
from tagalong.cli.terminal.options import (
    AnnotatorsOption,
    JsonOption,
    LabelConfigOption,
    build_read_options,
)
from tagalong.ner.document import Document, DroppedAnnotation
from tagalong.ner.errors import InputError
from tagalong.ner.scoring import LENGTH_BUCKETS
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.training.corpus import (
    Corpus,
    CorpusCheck,
    CorpusStats,
    WriteResult,
    check_corpus,
    count_entities,
    read_corpus,
    split_documents,
    write_documents,
)
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.backend.annotations.import_log import WARNING_DESCRIPTIONS
from tagalong.training.corpus.write import OutputFormat, documents_to_jsonl

app = typer.Typer(
    help="Check, count, convert and split corpora and Label Studio exports.", no_args_is_help=True
)

SPLIT_NAMES = ("train", "dev", "test")  # in the order of --shares
MAX_EXAMPLES = 3  # shown of each reason

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        dir_okay=False,
        help=(
            "Annotated documents: Label Studio JSON or JSON_MIN, JSON lines, or CoNLL; "
            "the format is detected."
        ),
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


def _read_corpus(files: list[Path], options: ReadOptions) -> Corpus:
    """Read the files that a command was given."""
    with error_console.status(f"Reading {len(files)} file{'s' * (len(files) > 1)} …"):
        return read_corpus(files, options)


@app.command("check")
def check_cli(
    files: FilesArgument,
    label_config: LabelConfigOption = None,
    annotators: AnnotatorsOption = "majority",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if any annotation is dropped.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a training on these files would lose, and why.

    Example: tagalong data check export.json --label-config label_config.xml
    """
    check = check_corpus(_read_corpus(files, build_read_options(annotators, label_config)))
    if as_json:
        echo_json(check.to_json())
    else:
        render_check(check)
    if strict and check.dropped_count:
        raise typer.Exit(1)


def render_check(check: CorpusCheck) -> None:
    """Show a check.

    Args:
        check: What was found.
    """
    labels = _escape_text(", ".join(check.labels)) or "no label"
    console.print(
        f"{check.documents:,} documents, {check.documents_without_entities:,} without entities, {check.repeated_documents:,} with "
        f"the text of an earlier one. {check.kept_entities + check.dropped_count:,} entities of {labels}: "
        f"{check.kept_entities:,} kept, {check.dropped_count:,} lost."
    )
    if check.dropped:
        table = _build_table("Lost because of", "Entities", "For example", title="Lost")
        for reason, group in check.dropped.items():
            table.add_row(reason, f"{len(group):,}", _escape_text(_format_examples(group)))
        console.print(table)
    if check.warnings:
        table = _build_table("What", "Times", "What was done", "Where", title="Judged")
        for warning in check.warnings:
            where = _escape_text("\n".join(warning.examples))
            table.add_row(
                warning.kind, f"{warning.count:,}", WARNING_DESCRIPTIONS[warning.kind], where
            )
        console.print(table)


def _escape_text(text: str) -> str:
    """A foreign text for the terminal: neither Rich's markup nor control characters work in it."""
    return escape(escape_unprintable(text, keep="\n"))


def _build_table(*columns: str, title: str) -> Table:
    """A table whose second column is a count; in plain characters where it goes into a file."""
    style = box.SIMPLE_HEAD if console.is_terminal else box.ASCII
    table = Table(*columns, title=title, title_justify="left", box=style)
    table.columns[1].justify = "right"
    return table


def _format_examples(group: Sequence[DroppedAnnotation]) -> str:
    """A few losses, one a line."""
    shown = (
        f"{entry.label} {entry.text[:60]!r} at {entry.start} to {entry.end} in {entry.document}"
        for entry in group[:MAX_EXAMPLES]
    )
    return "\n".join(shown)


@app.command("stats")
def stats_cli(
    files: FilesArgument,
    label_config: LabelConfigOption = None,
    annotators: AnnotatorsOption = "majority",
    as_json: JsonOption = False,
) -> None:
    """Count documents, words, and entities by label and length in words.

    Example: tagalong data stats train.jsonl dev.jsonl
    """
    corpus = _read_corpus(files, build_read_options(annotators, label_config))
    stats = count_entities(corpus.documents, corpus.labels)
    if as_json:
        echo_json(stats.to_json())
    else:
        render_stats(stats)


def render_stats(stats: CorpusStats) -> None:
    """Show counts.

    Args:
        stats: What was counted.
    """
    console.print(
        f"{stats.documents:,} documents ({stats.documents_without_entities:,} without entities), "
        f"{stats.words:,} words, {stats.characters:,} characters"
    )
    lengths = (f"{length} word{'s' * (length != '1')}" for length in LENGTH_BUCKETS)
    table = _build_table("Label", *lengths, "All", title="Entities")
    for column in table.columns[1:]:
        column.justify = "right"
    for label in stats.labels:
        row = stats.count_by_length(label)
        table.add_row(_escape_text(label), *(f"{n:,}" for n in (*row, sum(row))))
    table.add_section()
    table.add_row(
        "All", *(f"{n:,}" for n in (*stats.count_by_length(), sum(stats.count_by_length())))
    )
    console.print(table)


@app.command("convert")
def convert_cli(
    files: FilesArgument,
    out: Annotated[Path, typer.Option(help="Output file.", dir_okay=False)],
    to: Annotated[
        OutputFormat,
        typer.Option(
            help=("Output format: JSON lines, CoNLL, or tasks for Label Studio's import.")
        ),
    ] = "jsonl",
    label_config: LabelConfigOption = None,
    annotators: AnnotatorsOption = "majority",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn files of any format we read into one file.

    Example: tagalong data convert export.json --to conll --out corpus.conll
    """
    options = build_read_options(annotators, label_config)
    corpus = _read_corpus(files, options)
    written = write_documents(
        corpus.documents, out, to, config=options.label_config, overwrite=force
    )
    lost = (*corpus.dropped, *written.dropped)
    if as_json:
        counts = dict(Counter(entry.reason for entry in lost))
        told = {"file": str(out), "documents": written.document_count, "lost": counts}
        echo_json(
            {
                **told,
                "unknown_lost": written.masked_range_count,
                "replaced": written.replaced_characters,
            }
        )
    else:
        render_write_result(
            out,
            written,
            lost,
            documents_without_words=len(corpus.documents) - written.document_count,
        )


def render_write_result(
    out: Path,
    written: WriteResult,
    lost: Sequence[DroppedAnnotation],
    *,
    documents_without_words: int,
) -> None:
    """Show what went into a file, and what did not.

    Args:
        out: The file.
        written: What went into it.
        lost: What was lost in reading and writing.
        documents_without_words: Documents that the format cannot hold.
    """
    # A path is never folded: it is there to be copied.
    console.print(
        f"{written.document_count:,} documents in {_escape_text(str(out))}", soft_wrap=True
    )
    if documents_without_words:
        console.print(f"{documents_without_words:,} documents have no words, and are not in it")
    for reason, count in Counter(entry.reason for entry in lost).most_common():
        console.print(f"{count:,} entities lost: {reason}")
    if written.masked_range_count:
        console.print(
            f"{written.masked_range_count:,} stretches whose truth is unknown are in it as free of entities: "
            "only JSON lines keep them unknown"
        )
    if written.replaced_characters:
        console.print(f"{written.replaced_characters:,} NUL characters are in it as U+FFFD")


@app.command("split")
def split_cli(
    files: FilesArgument,
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder for train.jsonl, dev.jsonl and test.jsonl.", file_okay=False
        ),
    ],
    shares: Annotated[
        str, typer.Option(help="Shares of train, dev and test; their sum is 1.")
    ] = "0.8,0.1,0.1",
    label_config: LabelConfigOption = None,
    annotators: AnnotatorsOption = "majority",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Split documents by a hash of their text: the same text is on the same side, for ever.

    Example: tagalong data split export.json --out corpus --shares 0.8,0.1,0.1
    """
    wanted = parse_shares(shares)
    corpus = _read_corpus(files, build_read_options(annotators, label_config))
    sides = split_documents(corpus.documents, wanted)
    check_no_empty_split(sides)
    paths = {side: out / f"{side}.jsonl" for side in sides}
    write_atomically(
        {paths[side]: documents_to_jsonl(sides[side]) for side in sides}, overwrite=force
    )
    if as_json:
        lost = dict(Counter(entry.reason for entry in corpus.dropped))
        echo_json({"documents": {side: len(sides[side]) for side in sides}, "lost": lost})
        return
    for side, path in paths.items():
        render_write_result(path, WriteResult(len(sides[side])), (), documents_without_words=0)
    for reason, count in Counter(entry.reason for entry in corpus.dropped).most_common():
        console.print(f"{count:,} entities lost: {reason}")


def check_no_empty_split(documents_by_split: Mapping[str, Sequence[Document]]) -> None:
    """Refuse a split that no training or evaluation could use.

    Args:
        documents_by_split: Documents of each side.

    Raises:
        InputError: If a side has none.
    """
    if empty := [side for side, documents in documents_by_split.items() if not documents]:
        total = sum(map(len, documents_by_split.values()))
        raise InputError(
            f"of {total} documents none would be in {' and '.join(empty)}: give more documents, or "
            "other --shares; nothing was written"
        )


def parse_shares(text: str) -> dict[str, float]:
    """Read the shares of a split.

    Args:
        text: One number per side, with commas between them, such as "0.8,0.1,0.1".

    Returns:
        The share of each side.

    Raises:
        InputError: If these are not two or three numbers.
    """
    try:
        numbers = [float(piece) for piece in text.split(",")]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= len(SPLIT_NAMES):
        raise InputError(
            f"the shares {text!r} are not two or three numbers, for {', '.join(SPLIT_NAMES)}: "
            "write them like 0.8,0.1,0.1"
        )
    return dict(zip(SPLIT_NAMES, numbers, strict=False))
