"""``tagalong curate select``: the documents to annotate next."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from tagalong.backend.batch.files import open_source
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import describe_formats
from tagalong.backend.label_studio.results import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.cli.curate.project import (
    ApiKeyOption,
    ProjectOption,
    UrlOption,
    check_new_file,
    open_project,
    warn,
)
from tagalong.cli.terminal.console import console, echo_json, error_console
from tagalong.cli.terminal.options import (
    MAX_SEED,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    build_read_options,
    load_tier_version,
    open_store,
)
from tagalong.cli.terminal.progress import predict_with_progress
from tagalong.cli.terminal.tables import new_table
from tagalong.ner.document import Document
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.ner.tiers import DEFAULT_TIER
from tagalong.training.corpus import Corpus, read_corpus
from tagalong.training.curate.selection import SelectedDocument, SelectionOptions, StrategyName

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.curate.select import SelectionResult

MAX_TEXT_CHARACTERS = 200  # more than fit into one line


def select_cli(
    pool: Annotated[
        Path | None,
        typer.Argument(
            metavar="POOL",
            exists=True,
            help=(
                f"Texts to select from: {describe_formats('texts')}, or a folder of text files "
                "(*.txt)."
            ),
        ),
    ] = None,
    project: ProjectOption = None,
    url: UrlOption = None,
    key: ApiKeyOption = None,
    queue: Annotated[
        bool,
        typer.Option(
            "--queue",
            help=(
                "Make Label Studio hand out the selected tasks in this order, with "
                "predictions (with --project)."
            ),
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model version.", show_default="the current encoder, else the bundled one"
        ),
    ] = None,
    strategy: Annotated[
        StrategyName,
        typer.Option(
            help=(
                "Selection strategy; mixed: uncertainty, novelty and long entities; "
                "disagreement: needs --against."
            )
        ),
    ] = "mixed",
    count: Annotated[int, typer.Option(min=1, help="Number of documents to select.")] = 50,
    labeled: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="EXPORT",
            exists=True,
            dir_okay=False,
            help=(
                "Documents that are annotated already, in any annotation format; may be given"
                " again."
            ),
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Second model, for the strategy disagreement."),
    ] = None,
    random_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share selected at random, for unbiased evaluation."),
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Random seed.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help=(
                "Output file, in this order: Label Studio tasks if it ends in .json, else "
                "JSON lines."
            ),
        ),
    ] = None,
    label_config: LabelConfigOption = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Select the documents to annotate next, with the reason for each.

    Example: tagalong curate select pool.jsonl --labeled export.json --count 50 --out next.json
    """
    from tagalong.backend.batch.source_and_sink import format_names
    from tagalong.training.curate.select import find_unknown_labels, select_next_documents
    from tagalong.training.curate.strategies import STRATEGIES

    if (against is not None) != ("other_predictions" in STRATEGIES[strategy].required_inputs):
        raise typer.BadParameter("--against MODEL and --strategy disagreement go together")
    check_new_file(out)
    if queue and project is None:
        raise typer.BadParameter("--queue needs --project: only a project hands out tasks")
    options = SelectionOptions(strategy, count, random_share, seed)
    read = build_read_options("latest", label_config)
    store = open_store(models)
    with ExitStack() as stack:
        if project is None:
            curated_project, config = None, read.label_config
            documents, corpus = read_files(pool, labeled, read)
        else:
            if pool is not None or labeled:
                raise typer.BadParameter("give no files with --project: it has its own annotations")
            curated_project = stack.enter_context(open_project(project, url, key))
            config = curated_project.project.config
            documents, corpus = (
                curated_project.read_unlabeled_documents(),
                curated_project.read_annotated_corpus("latest"),
            )
        with error_console.status("Loading"):
            tier = load_tier_version(store, model or DEFAULT_TIER)
            other = None if against is None else load_tier_version(store, against)
        if corpus is not None and (unknown := find_unknown_labels(tier, corpus, config)):
            warn(
                f"{tier.version} does not know {format_names(unknown)}: no document is selected "
                "for these labels."
            )
        chosen = select_next_documents(
            documents,
            tier,
            options,
            labeled=corpus.documents if corpus else (),
            other_tier=other,
            predict=predict_with_progress,
        )
        if out is not None:
            write_selected_documents(chosen.selected_documents, out, config or DEFAULT_LABEL_CONFIG)
        shown = ""
        if curated_project is not None and queue:
            ordered = [choice.document for choice in chosen.selected_documents]
            shown = curated_project.queue_documents(ordered, tier)
    if as_json:
        echo_json({**chosen.to_json(), **({"shown": shown} if shown else {})})
    else:
        render_selection(chosen, options, out)
        if shown:
            console.print(f"Label Studio hands them out in this order: {shown}", soft_wrap=True)
            console.print(
                "A prediction score below 0 is a position in the queue, not a confidence: "
                "-5.00% means that 5 tasks are left. Each region keeps its own confidence.",
                soft_wrap=True,
            )


def read_files(
    pool: Path | None, labeled: Sequence[Path] | None, options: ReadOptions
) -> tuple[list[Document], Corpus | None]:
    """Read the pool and the annotated documents.

    Args:
        pool: File or folder of texts.
        labeled: Annotation files.
        options: How to read annotations.

    Returns:
        Both; None without annotation files.

    Raises:
        InputError: If a file cannot be read.
    """
    if pool is None:
        raise typer.BadParameter("give texts to select from: a file, a folder, or --project")
    return read_pool(pool, options.label_config), read_corpus(labeled, options) if labeled else None


def read_pool(path: Path, config: LabelConfig | None) -> list[Document]:
    """Read the texts of a file or folder, and warn about unreadable ones."""
    with open_source(path, config) as source:
        items = list(source)
    if failures := [item.read_error for item in items if item.document is None]:
        warn(f"{len(failures):,} documents cannot be read, the first because: {failures[0]}")
    return [item.document for item in items if item.document is not None]


def write_selected_documents(
    choices: Sequence[SelectedDocument], path: Path, config: LabelConfig
) -> None:
    """Write the selected documents, in order.

    Args:
        choices: Selected documents.
        path: ``.json`` for tasks to import, else JSON lines.
        config: Labeling config with the data key of the text.

    Raises:
        OutputError: If the file exists, or cannot be written.
    """
    ranked = list(enumerate(choices, start=1))
    if path.suffix == ".json":
        tasks = [choice.to_task(rank, config.data_key) for rank, choice in ranked]
        write_atomically(
            {path: [json.dumps(tasks, ensure_ascii=False, indent=1), "\n"]}, overwrite=False
        )
        return
    lines = (json.dumps(choice.to_json(rank), ensure_ascii=False) + "\n" for rank, choice in ranked)
    write_atomically({path: lines}, overwrite=False)


def render_selection(
    selection: "SelectionResult", options: SelectionOptions, out: Path | None
) -> None:
    """Print the selection and the numbers of excluded documents."""
    pool = selection.pool
    exclusions = (
        (pool.already_annotated, "annotated already"),
        (pool.repeated_texts, "repeated"),
        (pool.without_words, "without words"),
    )
    left_out = "".join(f", {count:,} {why}" for count, why in exclusions if count)
    console.print(
        f"{len(selection.selected_documents):,} of {len(pool.documents):,} documents{left_out}; "
        f"strategy {selection.strategy}, model {selection.version}.",
        markup=False,
        soft_wrap=True,
    )
    if len(selection.selected_documents) < options.count:
        console.print(f"{options.count:,} were requested, but no more are left.")
    console.print(_build_table(selection.selected_documents))
    if out is not None:
        console.print(f"Written to {out}, in this order", markup=False, soft_wrap=True)


def _build_table(choices: Sequence[SelectedDocument]) -> Table:
    table = new_table(expand=True)
    table.add_column("Rank", justify="right", no_wrap=True)
    table.add_column("Document", overflow="fold", max_width=20)
    table.add_column("Reason", no_wrap=True)
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("Text", ratio=1, no_wrap=True, overflow="crop")  # what the others leave
    for rank, choice in enumerate(choices, start=1):
        document = choice.document
        table.add_row(
            str(rank),
            Text(to_single_line(document.id)),
            choice.reason,
            "" if choice.score is None else f"{choice.score:.3f}",
            Text(to_single_line(document.text[:MAX_TEXT_CHARACTERS])),
        )
    return table
