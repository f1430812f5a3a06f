"""The ``tagalong data`` commands: check, count, convert and split annotated files."""

from pathlib import Path
from typing import Annotated

import typer

from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.jsonl import documents_to_jsonl
from tagalong.backend.formats.registry import WRITERS, describe_formats
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.cli.curate.options import (
    AllowedHostsOption,
    ApiKeyOption,
    ProjectOption,
    UrlOption,
)
from tagalong.cli.curate.sources import ProjectAccess, open_annotated_corpus
from tagalong.cli.data_tables import (
    count_reasons,
    count_warnings,
    escape_text,
    print_document_count,
    print_reasons,
    render_check,
    render_conversion,
    render_stats,
)
from tagalong.cli.terminal.console import console, echo_json, warn
from tagalong.cli.terminal.options import (
    AnnotatorsOption,
    EntityLabelOption,
    JsonOption,
    LabelConfigOption,
    LengthByOption,
    TagColumnOption,
    WordColumnOption,
    build_read_options,
)
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import InputError
from tagalong.training.corpus import (
    Corpus,
    check_corpus,
    count_entities,
    describe_losses,
    describe_warning,
    split_documents,
    write_documents,
)

app = typer.Typer(
    help="Check, count, convert and split corpora and Label Studio exports.", no_args_is_help=True
)

SPLIT_NAMES = ("train", "dev", "test")  # in the order of --shares; the last may be left out

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILES...",
        exists=True,
        help=f"Annotated documents: {describe_formats('annotations')}; the format is detected.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


def _read_corpus(
    files: list[Path] | None,
    project: ProjectAccess,
    options: ReadOptions,
    *,
    show_warnings: bool = True,
) -> Corpus:
    with open_annotated_corpus(files, project, options) as (corpus, _):
        for warning in corpus.warnings if show_warnings else ():
            warn(describe_warning(warning))
        return corpus


@app.command("check")
def check_cli(
    files: FilesArgument = None,
    project: ProjectOption = None,
    url: UrlOption = None,
    key: ApiKeyOption = None,
    allowed_hosts: AllowedHostsOption = "",
    label_config: LabelConfigOption = None,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    annotators: AnnotatorsOption = "majority",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if any annotation is dropped.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which annotations a training on these files would lose, and why.

    Example: tagalong data check export.json --label-config label_config.xml
    """
    access = ProjectAccess(project, url, key, allowed_hosts)
    columns = ColumnOptions(word_column, tag_column, entity_label)
    options = build_read_options(annotators, label_config, columns)
    corpus = _read_corpus(files, access, options, show_warnings=False)
    check = check_corpus(corpus)
    if as_json:
        echo_json(check.to_json())
    else:
        for source in corpus.sources if files else ():
            path = escape_text(source.path)
            console.print(f"{path} is read as {source.format}.", soft_wrap=True)
        render_check(check)
    if strict and check.dropped_count:
        raise typer.Exit(1)


@app.command("stats")
def stats_cli(
    files: FilesArgument = None,
    project: ProjectOption = None,
    url: UrlOption = None,
    key: ApiKeyOption = None,
    allowed_hosts: AllowedHostsOption = "",
    label_config: LabelConfigOption = None,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    annotators: AnnotatorsOption = "majority",
    length_by: LengthByOption = "words",
    as_json: JsonOption = False,
) -> None:
    """Count documents, words, and entities by label and length.

    Example: tagalong data stats train.jsonl dev.jsonl
    """
    access = ProjectAccess(project, url, key, allowed_hosts)
    columns = ColumnOptions(word_column, tag_column, entity_label)
    corpus = _read_corpus(files, access, build_read_options(annotators, label_config, columns))
    for sentence in describe_losses(corpus.dropped):
        warn(sentence)
    stats = count_entities(corpus.documents, corpus.labels, length_by)
    if as_json:
        echo_json(stats.to_json())
    else:
        render_stats(stats)


def parse_output_format(value: str) -> str:
    """Check that a format has a writer."""
    if value not in WRITERS:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(WRITERS)}")
    return value


@app.command("convert")
def convert_cli(
    files: FilesArgument = None,
    *,
    out: Annotated[Path, typer.Option(help="Output file, or a new folder for brat and webanno.")],
    to: Annotated[
        str,
        typer.Option(
            parser=parse_output_format,
            metavar="|".join(WRITERS),
            help="Output format; docs/formats.md says what each holds.",
        ),
    ] = "jsonl",
    project: ProjectOption = None,
    url: UrlOption = None,
    key: ApiKeyOption = None,
    allowed_hosts: AllowedHostsOption = "",
    label_config: LabelConfigOption = None,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    annotators: AnnotatorsOption = "majority",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert files into one file or folder of another format.

    Example: tagalong data convert export.json --to conll --out corpus.conll
    """
    access = ProjectAccess(project, url, key, allowed_hosts)
    columns = ColumnOptions(word_column, tag_column, entity_label)
    options = build_read_options(annotators, label_config, columns)
    corpus = _read_corpus(files, access, options)
    written = write_documents(
        corpus.documents, out, to, config=options.label_config, overwrite=force
    )
    if as_json:
        echo_json(
            {
                "file": str(out),
                "documents": written.document_count,
                "lost": count_reasons((*corpus.dropped, *written.dropped)),
                "warnings": count_warnings(corpus),
                "masked_ranges_lost": written.masked_range_count,
                "replaced_characters": written.replaced_characters,
            }
        )
    else:
        render_conversion(corpus, written, out, WRITERS[to].replacement)


@app.command("split")
def split_cli(
    files: FilesArgument = None,
    *,
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder for train.jsonl, dev.jsonl and test.jsonl.", file_okay=False
        ),
    ],
    shares: Annotated[
        str, typer.Option(help="Shares of train, dev and test; their sum is 1.")
    ] = "0.8,0.1,0.1",
    project: ProjectOption = None,
    url: UrlOption = None,
    key: ApiKeyOption = None,
    allowed_hosts: AllowedHostsOption = "",
    label_config: LabelConfigOption = None,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    annotators: AnnotatorsOption = "majority",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Split documents by a hash of their text: the same text is always in the same split.

    Example: tagalong data split export.json --out corpus --shares 0.8,0.1,0.1
    """
    share_by_split = parse_shares(shares)
    access = ProjectAccess(project, url, key, allowed_hosts)
    columns = ColumnOptions(word_column, tag_column, entity_label)
    corpus = _read_corpus(files, access, build_read_options(annotators, label_config, columns))
    splits = split_documents(corpus.documents, share_by_split)
    if empty := [name for name, documents in splits.items() if not documents]:
        raise InputError(  # no command could use a split without documents
            f"of {pluralize(len(corpus.documents), 'document')} none would be in "
            f"{' and '.join(empty)}: give "
            "more documents, or other --shares; nothing was written",
            code="split-empty",
        )
    paths = {name: out / f"{name}.jsonl" for name in splits}
    write_atomically(
        {paths[name]: documents_to_jsonl(splits[name]) for name in splits}, overwrite=force
    )
    if as_json:
        counts = {name: len(documents) for name, documents in splits.items()}
        lost = count_reasons(corpus.dropped)
        echo_json({"documents": counts, "lost": lost, "warnings": count_warnings(corpus)})
        return
    for name, path in paths.items():
        print_document_count(len(splits[name]), path)
    print_reasons(corpus.dropped)


def parse_shares(text: str) -> dict[str, float]:
    """Read shares of train, dev and perhaps test, such as "0.8,0.1,0.1"."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []  # refused below, as too few
    if not 2 <= len(numbers) <= len(SPLIT_NAMES):
        raise InputError(
            f"the shares {text!r} are not two or three numbers, for {', '.join(SPLIT_NAMES)}: "
            "write them like 0.8,0.1,0.1",
            code="shares-unreadable",
        )
    return dict(zip(SPLIT_NAMES, numbers, strict=False))
