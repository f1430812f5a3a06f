"""The `tagalong data` commands: look into corpora and exports, convert them, split them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from cli.console import console, echo_json, errors
from cli.options import Annotators, AsJson, LabelConfigFile, read_options
from ner.document import Document, Lost
from ner.errors import InputError
from ner.printable import visible
from ner.scoring import LENGTHS
from training.corpus import (
    Check,
    Corpus,
    ReadOptions,
    Stats,
    Written,
    check_corpus,
    count_entities,
    read_corpus,
    split_documents,
    write_documents,
    write_whole,
)
from training.corpus.ledger import MEANINGS
from training.corpus.write import Target, json_lines

app = typer.Typer(
    help="Check, count, convert and split corpora and Label Studio exports.", no_args_is_help=True
)

SIDES = ("train", "dev", "test")  # in the order of --shares
EXAMPLES = 3  # shown of each reason

Files = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        dir_okay=False,
        help="Label Studio JSON or JSON_MIN, JSON lines, or CoNLL; told apart by content.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]


def _read(files: list[Path], options: ReadOptions) -> Corpus:
    """Read the files that a command was given."""
    with errors.status(f"Reading {len(files)} file{'s' * (len(files) > 1)} …"):
        return read_corpus(files, options)


@app.command("check")
def check_cli(
    files: Files,
    label_config: LabelConfigFile = None,
    annotators: Annotators = "majority",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything is lost.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a training on these files would lose, and why.

    Example: tagalong data check export.json --label-config label_config.xml
    """
    check = check_corpus(_read(files, read_options(annotators, label_config)))
    if as_json:
        echo_json(check.to_json())
    else:
        render_check(check)
    if strict and check.n_lost:
        raise typer.Exit(1)


def render_check(check: Check) -> None:
    """Show a check.

    Args:
        check: What was found.
    """
    labels = _shown(", ".join(check.labels)) or "no label"
    console.print(
        f"{check.documents:,} documents, {check.empty:,} without entities, {check.repeated:,} with "
        f"the text of an earlier one. {check.kept + check.n_lost:,} entities of {labels}: "
        f"{check.kept:,} kept, {check.n_lost:,} lost."
    )
    if check.lost:
        table = _grid("Lost because of", "Entities", "For example", title="Lost")
        for reason, group in check.lost.items():
            table.add_row(reason, f"{len(group):,}", _shown(_examples(group)))
        console.print(table)
    if check.warnings:
        table = _grid("What", "Times", "What was done", "Where", title="Judged")
        for warning in check.warnings:
            where = _shown("\n".join(warning.examples))
            table.add_row(warning.kind, f"{warning.count:,}", MEANINGS[warning.kind], where)
        console.print(table)


def _shown(text: str) -> str:
    """A foreign text for the terminal: neither Rich's markup nor control characters work in it."""
    return escape(visible(text, keep="\n"))


def _grid(*columns: str, title: str) -> Table:
    """A table whose second column is a count; in plain characters where it goes into a file."""
    style = box.SIMPLE_HEAD if console.is_terminal else box.ASCII
    table = Table(*columns, title=title, title_justify="left", box=style)
    table.columns[1].justify = "right"
    return table


def _examples(group: Sequence[Lost]) -> str:
    """A few losses, one a line."""
    shown = (
        f"{entry.label} {entry.text[:60]!r} at {entry.start} to {entry.end} in {entry.document}"
        for entry in group[:EXAMPLES]
    )
    return "\n".join(shown)


@app.command("stats")
def stats_cli(
    files: Files,
    label_config: LabelConfigFile = None,
    annotators: Annotators = "majority",
    as_json: AsJson = False,
) -> None:
    """Count documents, words, and entities by label and length in words.

    Example: tagalong data stats train.jsonl dev.jsonl
    """
    corpus = _read(files, read_options(annotators, label_config))
    stats = count_entities(corpus.documents, corpus.labels)
    if as_json:
        echo_json(stats.to_json())
    else:
        render_stats(stats)


def render_stats(stats: Stats) -> None:
    """Show counts.

    Args:
        stats: What was counted.
    """
    console.print(
        f"{stats.documents:,} documents ({stats.empty:,} without entities), "
        f"{stats.words:,} words, {stats.characters:,} characters"
    )
    lengths = (f"{length} word{'s' * (length != '1')}" for length in LENGTHS)
    table = _grid("Label", *lengths, "All", title="Entities")
    for column in table.columns[1:]:
        column.justify = "right"
    for label in stats.labels:
        row = stats.row(label)
        table.add_row(_shown(label), *(f"{n:,}" for n in (*row, sum(row))))
    table.add_section()
    table.add_row("All", *(f"{n:,}" for n in (*stats.row(), sum(stats.row()))))
    console.print(table)


@app.command("convert")
def convert_cli(
    files: Files,
    out: Annotated[Path, typer.Option(help="The file to write.", dir_okay=False)],
    to: Annotated[
        Target, typer.Option(help="JSON lines, CoNLL, or tasks for Label Studio's import.")
    ] = "jsonl",
    label_config: LabelConfigFile = None,
    annotators: Annotators = "majority",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Turn files of any format we read into one file.

    Example: tagalong data convert export.json --to conll --out corpus.conll
    """
    options = read_options(annotators, label_config)
    corpus = _read(files, options)
    written = write_documents(corpus.documents, out, to, config=options.config, force=force)
    lost = (*corpus.lost, *written.lost)
    if as_json:
        counts = dict(Counter(entry.reason for entry in lost))
        told = {"file": str(out), "documents": written.documents, "lost": counts}
        echo_json({**told, "unknown_lost": written.unknown, "replaced": written.replaced})
    else:
        render_written(out, written, lost, unwritten=len(corpus.documents) - written.documents)


def render_written(out: Path, written: Written, lost: Sequence[Lost], *, unwritten: int) -> None:
    """Show what went into a file, and what did not.

    Args:
        out: The file.
        written: What went into it.
        lost: What was lost in reading and writing.
        unwritten: Documents that the format cannot hold.
    """
    # A path is never folded: it is there to be copied.
    console.print(f"{written.documents:,} documents in {_shown(str(out))}", soft_wrap=True)
    if unwritten:
        console.print(f"{unwritten:,} documents have no words, and are not in it")
    for reason, count in Counter(entry.reason for entry in lost).most_common():
        console.print(f"{count:,} entities lost: {reason}")
    if written.unknown:
        console.print(
            f"{written.unknown:,} stretches whose truth is unknown are in it as free of entities: "
            "only JSON lines keep them unknown"
        )
    if written.replaced:
        console.print(f"{written.replaced:,} NUL characters are in it as U+FFFD")


@app.command("split")
def split_cli(
    files: Files,
    out: Annotated[
        Path,
        typer.Option(help="The folder for train, dev and test.jsonl.", file_okay=False),
    ],
    shares: Annotated[
        str, typer.Option(help="Shares of train, dev and test; they add up to 1.")
    ] = "0.8,0.1,0.1",
    label_config: LabelConfigFile = None,
    annotators: Annotators = "majority",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Split documents by a hash of their text: the same text is on the same side, for ever.

    Example: tagalong data split export.json --out corpus --shares 0.8,0.1,0.1
    """
    wanted = parse_shares(shares)
    corpus = _read(files, read_options(annotators, label_config))
    sides = split_documents(corpus.documents, wanted)
    refuse_empty(sides)
    paths = {side: out / f"{side}.jsonl" for side in sides}
    write_whole({paths[side]: json_lines(sides[side]) for side in sides}, force=force)
    if as_json:
        lost = dict(Counter(entry.reason for entry in corpus.lost))
        echo_json({"documents": {side: len(sides[side]) for side in sides}, "lost": lost})
        return
    for side, path in paths.items():
        render_written(path, Written(len(sides[side])), (), unwritten=0)
    for reason, count in Counter(entry.reason for entry in corpus.lost).most_common():
        console.print(f"{count:,} entities lost: {reason}")


def refuse_empty(sides: Mapping[str, Sequence[Document]]) -> None:
    """Refuse a split that no training or evaluation could use.

    Args:
        sides: Documents of each side.

    Raises:
        InputError: If a side has none.
    """
    if empty := [side for side, documents in sides.items() if not documents]:
        total = sum(map(len, sides.values()))
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
    if not 2 <= len(numbers) <= len(SIDES):
        raise InputError(
            f"the shares {text!r} are not two or three numbers, for {', '.join(SIDES)}: "
            "write them like 0.8,0.1,0.1"
        )
    return dict(zip(SIDES, numbers, strict=False))
