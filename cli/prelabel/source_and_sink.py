"""What a batch reads, and where its predictions go: a file or a Label Studio project."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tagalong.backend.batch.entry import compute_text_digest
from tagalong.backend.batch.run import SourceItem
from tagalong.backend.batch.sink import PredictionSink
from tagalong.backend.label_studio.label_map import LabelMap, map_labels
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.cli.prelabel.models import ModelReference
from tagalong.cli.terminal.console import error_console
from tagalong.cli.terminal.options import build_read_options
from tagalong.ner.errors import BatchError, OutputError
from tagalong.training.corpus.predictions import PredictionsFileSink
from tagalong.training.corpus.texts import read_texts

MAX_LISTED_NAMES = 5  # labels that are named


@dataclass(frozen=True, slots=True)
class SourceAndSink:
    """What a batch reads, and where its predictions go.

    Attributes:
        source_name: Of what is read, in the journal.
        label_config_digest: What tells the labels that predictions are written in from others.
        output_kind: What they are written as, for a sentence.
        items: The documents, from the first, as often as they are asked for.
        total_items: How many there are.
        sink: Where predictions go.
        destination: Where that is, for a sentence.
        journal_path: Where the journal is kept, unless the user says otherwise.
        notes: What to tell before it begins.
        show: Has people see the predictions, given who predicted, most first, and says what they
            see.
        check_journal_path: Raises OutputError if predictions cannot go there, given the journal.
    """

    source_name: str
    label_config_digest: str
    output_kind: str
    items: Iterable[SourceItem]
    total_items: int
    sink: PredictionSink
    destination: str
    journal_path: Path
    notes: tuple[str, ...] = ()
    show: Callable[[Sequence[str]], str] = lambda _: ""
    check_journal_path: Callable[[Path], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class FileItems:
    """The texts of a file or folder, from the first, as often as they are asked for."""

    source: Path
    config: LabelConfig | None

    def __iter__(self) -> Iterator[SourceItem]:
        """Read it."""
        return read_texts(self.source, self.config)


def open_file(
    source: Path,
    out: Path | None,
    *,
    prelabel_models: Iterable[ModelReference],
    config: Path | None,
) -> SourceAndSink:
    """A file or folder, and the file that its predictions go to.

    Args:
        source: What is read.
        out: Where predictions go; None where none are made.
        prelabel_models: Who reads.
        config: A labelling config, where tasks need one.

    Returns:
        The place.

    Raises:
        InputError: If it cannot be read.
    """
    parsed = build_read_options("majority", config).label_config
    items = FileItems(source, parsed)
    total = sum(1 for _ in items)
    out = out or Path("predictions.jsonl")
    maps, notes = (
        ({}, ())
        if parsed is None
        else build_label_maps(prelabel_models, parsed, f"the config {config}")
    )

    def check(journal: Path) -> None:
        if out.exists() and not journal.exists():
            raise OutputError(f"{out} is there already: choose another name")

    target = PredictionsFileSink(out, config=parsed, label_maps=maps)
    return SourceAndSink(
        source_name=str(source.resolve()),
        label_config_digest=label_config_digest(parsed),
        output_kind=target.output_format,
        items=items,
        total_items=total,
        sink=target,
        destination=str(out),
        journal_path=out.with_name(f"{out.name}.journal"),
        notes=notes,
        check_journal_path=check,
    )


@contextmanager
def open_project(
    project: int,
    url: str,
    key: str,
    *,
    prelabel_models: Iterable[ModelReference],
    hosts: frozenset[str],
    rate: float,
    unlabelled: bool,
    view: int | None,
    replace_shown_version: bool,
) -> Iterator[SourceAndSink]:
    """A Label Studio project, which its predictions go back to.

    Args:
        project: Its id.
        url: Of Label Studio.
        key: A token.
        prelabel_models: Who reads.
        hosts: That texts may be fetched from.
        rate: Requests a second, at most.
        unlabelled: Only tasks that nobody has annotated.
        view: Only what this tab shows; None for all.
        replace_shown_version: Have annotators see the predictions in place of others.

    Yields:
        The place.

    Raises:
        LabelStudioError: If it cannot be asked, or there is no such project.
        FormatError: If its labelling config cannot be used.
        BatchError: If it has none of the labels.
    """
    # These take a second to import, so only where there is a Label Studio to ask.
    from tagalong.backend.batch.label_studio_project import ProjectSink, ProjectSource
    from tagalong.backend.label_studio.api.client import connect
    from tagalong.backend.label_studio.api.retries import RateLimitedRetry
    from tagalong.backend.label_studio.config import parse_label_config
    from tagalong.backend.label_studio.model_version import select_model_version
    from tagalong.backend.label_studio.task_text import TaskTextReader

    prelabel_models = list(prelabel_models)
    polite = RateLimitedRetry(
        requests_per_second=rate, notify=lambda said: error_console.print(said, style="yellow")
    )
    with connect(url, key) as studio:
        found = studio.get_project(project)
        config = parse_label_config(found.label_config)
        maps, notes = build_label_maps(prelabel_models, config, f"project {project}")
        versions = [reader.version for reader in prelabel_models]
        authorization = studio.connection.authorization_header
        texts = TaskTextReader(hosts, label_studio_url=studio.url, authorization=authorization)
        items = ProjectSource(
            *(studio, project, config),
            versions=versions,
            texts=texts,
            retry=polite,
            unlabeled_only=unlabelled,
            view_id=view,
        )
        host = urlsplit(studio.url).netloc.replace(":", "-")
        yield SourceAndSink(
            source_name=f"project {project} of {studio.url}",
            label_config_digest=label_config_digest(config),
            output_kind="a project's predictions",
            items=items,
            total_items=items.count_tasks(),
            sink=ProjectSink(studio, project, config, maps, retry=polite),
            destination=f"{studio.url}/projects/{project}/data",
            journal_path=Path(f"tagalong-{host}-project-{project}.journal"),
            notes=notes,
            show=lambda versions: select_model_version(
                studio, project, versions, overwrite=replace_shown_version, retry=polite
            ),
        )


def label_config_digest(config: LabelConfig | None) -> str:
    """What tells a labelling config from others that say something else; empty without one."""
    return "" if config is None else compute_text_digest(repr(config)).hex()


def build_label_maps(
    prelabel_models: Iterable[ModelReference], config: LabelConfig, config_name: str
) -> tuple[Mapping[str, LabelMap], tuple[str, ...]]:
    """Which label of a config stands for which of a tier.

    Args:
        prelabel_models: Who reads.
        config: A labelling config.
        config_name: It is, for messages.

    Returns:
        A map for each version, and what to tell of labels that have no counterpart.

    Raises:
        BatchError: If none has.
    """
    maps, notes = {}, []
    for reader in prelabel_models:
        found = maps[reader.version] = map_labels(reader.labels, config)
        if not found.project_labels:
            raise BatchError(
                f"{config_name} has none of the labels that {reader.version} finds "
                f"({format_names(reader.labels)}), but {format_names(config.labels)}: choose another model, or "
                "say with predicted_values in the labelling config which is which"
            )
        if found.unmapped:
            notes.append(
                f"{config_name} has no label for {format_names(found.unmapped)}: what {reader.version} finds "
                "of that is left out."
            )
    return maps, tuple(notes)


def format_names(names: Iterable[str]) -> str:
    """The first few of some names, and how many more there are.

    Args:
        names: Of labels.

    Returns:
        For a sentence.
    """
    shown = list(names)
    rest = f" and {len(shown) - MAX_LISTED_NAMES} more" if len(shown) > MAX_LISTED_NAMES else ""
    return ", ".join(shown[:MAX_LISTED_NAMES]) + rest
