"""``tagalong curate select``: which documents of a pool to annotate next, and why."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from tagalong.backend.batch.files import open_source
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import describe_formats
from tagalong.backend.label_studio.results import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.cli.curate.project import ApiKeyOption, ProjectOption, UrlOption, open_project
from tagalong.cli.curate.selection import SelectionResult, check_known_labels, select_next_documents
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
from tagalong.ner.document import Document
from tagalong.ner.errors import OutputError
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.corpus import Corpus, read_corpus
from tagalong.training.curate.selection import SelectedDocument, SelectionOptions, StrategyName

MAX_TEXT_CHARACTERS = 200  # characters of a text, more than fit a line of any terminal


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
    """Choose which documents to annotate next, and say why.

    Example: tagalong curate select pool.jsonl --labeled export.json --count 50 --out next.json
    """
    from tagalong.training.curate.strategies import STRATEGIES

    if (against is not None) != ("other_predictions" in STRATEGIES[strategy].required_inputs):
        raise typer.BadParameter("--against MODEL and --strategy disagreement go together")
    if out is not None and out.exists():
        raise OutputError(f"{out} is there already: choose another name")
    if queue and project is None:
        raise typer.BadParameter("--queue is for a --project: files have no order to hand out")
    options = SelectionOptions(strategy, count, random_share, seed)
    read = build_read_options("latest", label_config)
    store = open_store(models)
    with ExitStack() as stack:
        if project is None:
            place, config = None, read.label_config
            documents, corpus = read_files(pool, labeled, read)
        else:
            if pool is not None or labeled:
                raise typer.BadParameter("a --project knows what is annotated: give no files too")
            place = stack.enter_context(open_project(project, url, key))
            config = place.config
            documents, corpus = (
                place.read_unlabeled_documents(),
                place.read_annotated_corpus("latest"),
            )
        with error_console.status("Loading"):
            tier = load_tier_version(store, model or store.default_reference())
            other = None if against is None else load_tier_version(store, against)
        if corpus is not None:
            check_known_labels(tier, corpus, config)
        chosen = select_next_documents(
            documents, tier, options, labeled=corpus.documents if corpus else (), other_tier=other
        )
        if out is not None:
            write_selected_documents(chosen.selected_documents, out, config or DEFAULT_LABEL_CONFIG)
        shown = ""
        if place is not None and queue:
            ordered = [choice.document for choice in chosen.selected_documents]
            shown = place.queue_documents(ordered, tier)
    if as_json:
        echo_json({**chosen.to_json(), **({"shown": shown} if shown else {})})
    else:
        render_selection(chosen, options, out)
        if shown:
            console.print(f"Label Studio hands them out in this order: {shown}", soft_wrap=True)
            console.print(
                "A prediction score below 0 there is a place in the queue, not a confidence: "
                "-5.00% means that 5 tasks are left. Each region keeps its own confidence.",
                soft_wrap=True,
            )


def read_files(
    pool: Path | None, labelled: Sequence[Path] | None, options: ReadOptions
) -> tuple[list[Document], Corpus | None]:
    """Read what there is to choose from and what is annotated already.

    Args:
        pool: Of the first.
        labelled: Of the second.
        options: How to read annotations.

    Returns:
        Both; None where nothing is said to be annotated.

    Raises:
        InputError: If a file cannot be read.
    """
    if pool is None:
        raise typer.BadParameter("name what to choose from: a file, a folder, or a --project")
    return read_pool(pool, options.label_config), read_corpus(
        labelled, options
    ) if labelled else None


def read_pool(path: Path, config: LabelConfig | None) -> list[Document]:
    """Read a pool; what cannot be read is named and left out.

    Args:
        path: A file, or a folder of texts.
        config: A labelling config, where tasks need one.

    Returns:
        Its documents.

    Raises:
        InputError: If it cannot be read.
    """
    with open_source(path, config) as source:
        items = list(source)
    if troubles := [item.read_error for item in items if item.document is None]:
        named = f"{len(troubles):,} documents cannot be read, the first because: {troubles[0]}"
        error_console.print(to_single_line(named), style="yellow", markup=False, soft_wrap=True)
    return [item.document for item in items if item.document is not None]


def write_selected_documents(
    choices: Sequence[SelectedDocument], path: Path, config: LabelConfig
) -> None:
    """Write what was chosen into a file, in order.

    Args:
        choices: What was chosen.
        path: The file. Ending in ``.json``, it holds tasks to import; else JSON lines.
        config: Says where tasks have their text.

    Raises:
        OutputError: If it is there already, or cannot be written.
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
    selection: SelectionResult, options: SelectionOptions, out: Path | None
) -> None:
    """Show what was chosen, and what it was chosen from.

    Args:
        selection: What was chosen.
        options: How.
        out: The file it is in, if there is one.
    """
    sifted = selection.pool
    aside = (
        (sifted.already_annotated, "annotated already"),
        (sifted.repeated_texts, "with the text of another"),
        (sifted.without_words, "without words"),
    )
    left_out = "".join(f", {count:,} {why}" for count, why in aside if count)
    console.print(
        f"{len(selection.selected_documents):,} of {len(sifted.documents):,} documents{left_out}; "
        f"{selection.strategy}, asking {selection.version}.",
        markup=False,
        soft_wrap=True,
    )
    if len(selection.selected_documents) < options.count:
        console.print(f"{options.count:,} were asked for, and these are all that are left.")
    console.print(_build_table(selection.selected_documents))
    if out is not None:
        console.print(f"They are in {out}, in this order", markup=False, soft_wrap=True)


def _build_table(choices: Sequence[SelectedDocument]) -> Table:
    """One row a document; in plain characters where it goes into a file."""
    grid = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII, expand=True)
    grid.add_column("Rank", justify="right", no_wrap=True)
    grid.add_column("Document", overflow="fold", max_width=20)
    grid.add_column("Why", no_wrap=True)
    grid.add_column("Score", justify="right", no_wrap=True)
    grid.add_column("Text", ratio=1, no_wrap=True, overflow="crop")  # what the others leave
    for rank, choice in enumerate(choices, start=1):
        document = choice.document
        grid.add_row(
            str(rank),
            Text(to_single_line(document.id)),
            choice.reason,
            "" if choice.score is None else f"{choice.score:.3f}",
            Text(to_single_line(document.text[:MAX_TEXT_CHARACTERS])),
        )
    return grid
