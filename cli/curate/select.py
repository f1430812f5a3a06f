"""``tagalong curate select``: the documents to annotate next."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from tagalong.backend.batch.files import open_source
from tagalong.backend.batch.project_model import ChosenModel, choose_for_project
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.label_studio.label_config import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.curate import options
from tagalong.cli.curate.sources import (
    ProjectAccess,
    add_address,
    check_new_file,
    open_project,
    write_json_lines,
)
from tagalong.cli.terminal.console import console, echo_json, error_console, print_line, warn
from tagalong.cli.terminal.options import (
    EntityLabelOption,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    TagColumnOption,
    WordColumnOption,
    build_read_options,
    load_tagger_by_reference,
    open_store,
)
from tagalong.cli.terminal.progress import predict_with_progress
from tagalong.cli.terminal.tables import new_table
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.ner.tiers import DEFAULT_TIER
from tagalong.training.corpus import Corpus, describe_reading, read_corpus
from tagalong.training.curate.selection_options import (
    DEFAULT_STRATEGY,
    SelectedDocument,
    SelectionOptions,
)

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.tagger import DocumentTagger
    from tagalong.training.curate.curated_project import CuratedProject
    from tagalong.training.curate.select_documents import SelectionResult

MAX_TEXT_CHARACTERS = 200  # more than fit into one line


class SelectionSource(NamedTuple):
    """Documents to select from, annotated ones, and the project they are from, if any."""

    documents: Sequence[Document]
    annotated: Sequence[Document]
    config: LabelConfig | None
    project: "CuratedProject | None" = None


def select_cli(
    pool: options.PoolArgument = None,
    project: options.ProjectOption = None,
    url: options.UrlOption = None,
    key: options.ApiKeyOption = None,
    allowed_hosts: options.AllowedHostsOption = "",
    queue: options.QueueOption = False,
    model: options.SelectionModelOption = None,
    strategy: options.StrategyOption = DEFAULT_STRATEGY,
    count: options.CountOption = 50,
    labeled: options.LabeledOption = None,
    against: options.SecondModelOption = None,
    random_share: options.RandomShareOption = 0.1,
    seed: options.SelectionSeedOption = 0,
    out: options.SelectionOutOption = None,
    label_config: LabelConfigOption = None,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Select the documents to annotate next, with the reason for each.

    Example: tagalong curate select pool.jsonl --labeled export.json --count 50 --out next.json
    """
    from tagalong.training.curate.select_documents import select_documents
    from tagalong.training.curate.strategies import STRATEGIES

    if (against is not None) != STRATEGIES[strategy].compares_models:
        raise typer.BadParameter("--against MODEL and --strategy disagreement go together")
    check_new_file(out)
    if queue and project is None:
        raise typer.BadParameter("--queue needs --project: only a project hands out tasks")
    settings, shown = SelectionOptions(strategy, count, random_share, seed), ""
    columns = ColumnOptions(word_column, tag_column, entity_label)
    read, store = build_read_options("latest", label_config, columns), open_store(models)
    access = ProjectAccess(project, url, key, allowed_hosts)
    with open_selection_source(pool, labeled, access, read) as source:
        choice = choose_model(source, store, model)
        with error_console.status("Loading"):
            tagger = load_tagger_by_reference(store, choice.reference)
            other = None if against is None else load_tagger_by_reference(store, against)
        warn_of_unknown_labels(tagger, source)
        selection = select_documents(
            source.documents,
            tagger,
            settings,
            labeled=source.annotated,
            other_tagger=other,
            predict=predict_with_progress,
        )
        if out is not None:
            write_selected_documents(selection.selected_documents, out, source.config)
        if queue and source.project is not None:
            ordered = [choice.document for choice in selection.selected_documents]
            shown = source.project.queue_documents(ordered, tagger)
    reason = choice.reason
    if as_json:
        added = {"model_reason": reason} if reason else {}
        echo_json(add_address({**selection.to_json(), **added}, shown))
    else:
        render_selection(selection, out, shown, requested=count, model_reason=reason)


def choose_model(source: SelectionSource, store: ModelStore, model: str | None) -> ChosenModel:
    """Choose the named model, that of the project, or the default one."""
    if model is not None:
        return ChosenModel(model, f"--model names {model}" if source.project else "")
    if source.project is None:
        return ChosenModel(DEFAULT_TIER)
    project = source.project.project
    return choose_for_project(project, store, [DEFAULT_TIER], warn=warn)[DEFAULT_TIER]


@contextmanager
def open_selection_source(
    pool: Path | None,
    labeled: Sequence[Path] | None,
    project: ProjectAccess,
    read: ReadOptions,
) -> Iterator[SelectionSource]:
    """Read documents to select from and annotated ones, from files or from a project."""
    if project.id is None:
        if pool is None:
            raise typer.BadParameter("give texts to select from: a file, a folder, or --project")
        with open_source(pool, read.label_config) as texts:
            items = list(texts)
        if failures := [item.read_error for item in items if item.document is None]:
            warn(
                f"{pluralize(len(failures), 'document')} cannot be read, the first because: "
                f"{failures[0]}"
            )
        documents = [item.document for item in items if item.document is not None]
        corpus = read_corpus(labeled, read) if labeled else None
        yield SelectionSource(documents, _show_reading(corpus), read.label_config)
        return
    if pool is not None or labeled:
        raise typer.BadParameter("give no files with --project: it has its own annotations")
    with open_project(project) as curated_project:
        documents = curated_project.read_unlabeled_documents()
        corpus = curated_project.read_annotated_corpus("latest")
        config = curated_project.project.config
        yield SelectionSource(documents, _show_reading(corpus), config, curated_project)


def _show_reading(corpus: Corpus | None) -> Sequence[Document]:
    # Warns of losses; returns the documents.
    for sentence in describe_reading(corpus) if corpus else ():
        warn(sentence)
    return corpus.documents if corpus else ()


def warn_of_unknown_labels(tagger: "DocumentTagger", source: SelectionSource) -> None:
    """Warn about annotated labels that the model does not know; if it knows none, raise."""
    from tagalong.backend.batch.source_and_sink import format_names
    from tagalong.training.curate.select_documents import find_unknown_labels

    if not source.annotated:
        return
    if unknown := find_unknown_labels(tagger, source.annotated, source.config):
        warn(
            f"{tagger.version} does not know {format_names(unknown)}: no document is selected "
            "for these labels."
        )


def write_selected_documents(
    choices: Sequence[SelectedDocument], path: Path, config: LabelConfig | None
) -> None:
    """Write the selected documents, in order: tasks to import if ``.json``, else JSON lines."""
    ranked = list(enumerate(choices, start=1))
    if path.suffix.lower() == ".json":
        tasks = [choice.to_task(rank, config or DEFAULT_LABEL_CONFIG) for rank, choice in ranked]
        parts = [json.dumps(tasks, ensure_ascii=False, indent=1), "\n"]
        write_atomically({path: parts}, overwrite=False)
    else:
        write_json_lines((choice.to_json(rank) for rank, choice in ranked), path)


def render_selection(
    selection: "SelectionResult",
    out: Path | None,
    shown: str,
    *,
    requested: int,
    model_reason: str = "",
) -> None:
    """Print why the model was chosen, the selection, its place, and what was left out."""
    if model_reason:
        print_line(f"{selection.version} predicts: {model_reason}.")
    pool = selection.pool
    exclusions = (
        (pool.already_annotated, "annotated already"),
        (pool.repeated_texts, "repeated"),
        (pool.without_words, "without words"),
    )
    left_out = "".join(f", {count:,} {why}" for count, why in exclusions if count)
    print_line(
        f"{len(selection.selected_documents):,} of "
        f"{pluralize(len(pool.documents), 'document')}{left_out}; "
        f"strategy {selection.strategy}, model {selection.version}."
    )
    if len(selection.selected_documents) < requested:
        console.print(f"{requested:,} were requested, but no more are left.")
    console.print(_build_table(selection.selected_documents))
    if out is not None:
        print_line(f"Written to {out}, in this order")
    if shown:
        console.print(f"Label Studio hands them out in this order: {shown}", soft_wrap=True)
        print_line(
            "A prediction score below 0 is a position in the queue, not a confidence: "
            "-5.00% means that 5 tasks are left. Each region keeps its own confidence."
        )


def _build_table(choices: Sequence[SelectedDocument]) -> Table:
    table = new_table(expand=True)
    table.add_column("Rank", justify="right", no_wrap=True)
    table.add_column("Document", overflow="fold", max_width=20)
    table.add_column("Reason", no_wrap=True)
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("Text", ratio=1, no_wrap=True, overflow="crop")  # what the others leave
    for rank, choice in enumerate(choices, start=1):
        table.add_row(
            str(rank),
            Text(to_single_line(choice.document.id)),
            choice.reason,
            "" if choice.score is None else f"{choice.score:.3f}",
            Text(to_single_line(choice.document.text[:MAX_TEXT_CHARACTERS])),
        )
    return table
