"""What a batch reads, and where its predictions go: a file or a Label Studio project."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from backend.batch.entries import text_digest
from backend.batch.run import Item
from backend.batch.target import Target
from backend.label_map import LabelMap, map_labels
from backend.label_studio import LabelConfig
from cli.console import errors
from cli.options import read_options
from cli.prelabel_readers import Reader
from ner.errors import BatchError, OutputError
from training.corpus.predictions import PredictionsFile
from training.corpus.texts import read_texts

SHOWN = 5  # labels that are named


@dataclass(frozen=True, slots=True)
class Place:
    """What a batch reads, and where its predictions go.

    Attributes:
        name: Of what is read, in the journal.
        labels: What tells the labels that predictions are written in from others.
        output: What they are written as, for a sentence.
        items: The documents, from the first, as often as they are asked for.
        total: How many there are.
        target: Where predictions go.
        shown: Where that is, for a sentence.
        journal: Where the journal is kept, unless the user says otherwise.
        notes: What to tell before it begins.
        show: Has people see the predictions, given who predicted, most first, and says what they
            see.
        check: Raises OutputError if predictions cannot go there, given the journal.
    """

    name: str
    labels: str
    output: str
    items: Iterable[Item]
    total: int
    target: Target
    shown: str
    journal: Path
    notes: tuple[str, ...] = ()
    show: Callable[[Sequence[str]], str] = lambda _: ""
    check: Callable[[Path], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class FileItems:
    """The texts of a file or folder, from the first, as often as they are asked for."""

    source: Path
    config: LabelConfig | None

    def __iter__(self) -> Iterator[Item]:
        """Read it."""
        return read_texts(self.source, self.config)


def file_place(
    source: Path, out: Path | None, *, readers: Iterable[Reader], config: Path | None
) -> Place:
    """A file or folder, and the file that its predictions go to.

    Args:
        source: What is read.
        out: Where predictions go; None where none are made.
        readers: Who reads.
        config: A labelling config, where tasks need one.

    Returns:
        The place.

    Raises:
        InputError: If it cannot be read.
    """
    parsed = read_options("majority", config).config
    items = FileItems(source, parsed)
    total = sum(1 for _ in items)
    out = out or Path("predictions.jsonl")
    maps, notes = ({}, ()) if parsed is None else labels_of(readers, parsed, f"the config {config}")

    def check(journal: Path) -> None:
        if out.exists() and not journal.exists():
            raise OutputError(f"{out} is there already: choose another name")

    target = PredictionsFile(out, config=parsed, label_maps=maps)
    return Place(
        name=str(source.resolve()),
        labels=told_apart(parsed),
        output=target.kind,
        items=items,
        total=total,
        target=target,
        shown=str(out),
        journal=out.with_name(f"{out.name}.journal"),
        notes=notes,
        check=check,
    )


@contextmanager
def project_place(
    project: int,
    url: str,
    key: str,
    *,
    readers: Iterable[Reader],
    hosts: frozenset[str],
    rate: float,
    unlabelled: bool,
    view: int | None,
    insist: bool,
) -> Iterator[Place]:
    """A Label Studio project, which its predictions go back to.

    Args:
        project: Its id.
        url: Of Label Studio.
        key: A token.
        readers: Who reads.
        hosts: That texts may be fetched from.
        rate: Requests a second, at most.
        unlabelled: Only tasks that nobody has annotated.
        view: Only what this tab shows; None for all.
        insist: Have annotators see the predictions in place of others.

    Yields:
        The place.

    Raises:
        LabelStudioError: If it cannot be asked, or there is no such project.
        FormatError: If its labelling config cannot be used.
        BatchError: If it has none of the labels.
    """
    # These take a second to import, so only where there is a Label Studio to ask.
    from backend.batch.politeness import Politeness
    from backend.batch.project import ProjectTarget, ProjectTasks
    from backend.batch.shown import show
    from backend.label_config import parse_label_config
    from backend.remote.client import connect
    from backend.task_text import TaskTexts

    readers = list(readers)
    polite = Politeness(rate=rate, tell=lambda said: errors.print(said, style="yellow"))
    with connect(url, key) as studio:
        found = studio.project(project)
        config = parse_label_config(found.label_config)
        maps, notes = labels_of(readers, config, f"project {project}")
        versions = [reader.version for reader in readers]
        authorization = studio.connection.authorization
        texts = TaskTexts(hosts, label_studio_url=studio.url, authorization=authorization)
        items = ProjectTasks(
            *(studio, project, config),
            versions=versions,
            texts=texts,
            polite=polite,
            unlabelled=unlabelled,
            view=view,
        )
        host = urlsplit(studio.url).netloc.replace(":", "-")
        yield Place(
            name=f"project {project} of {studio.url}",
            labels=told_apart(config),
            output="a project's predictions",
            items=items,
            total=items.count(),
            target=ProjectTarget(studio, project, config, maps, polite=polite),
            shown=f"{studio.url}/projects/{project}/data",
            journal=Path(f"tagalong-{host}-project-{project}.journal"),
            notes=notes,
            show=lambda versions: show(studio, project, versions, insist=insist, polite=polite),
        )


def told_apart(config: LabelConfig | None) -> str:
    """What tells a labelling config from others that say something else; empty without one."""
    return "" if config is None else text_digest(repr(config)).hex()


def labels_of(
    readers: Iterable[Reader], config: LabelConfig, whose: str
) -> tuple[Mapping[str, LabelMap], tuple[str, ...]]:
    """Which label of a config stands for which of a tier.

    Args:
        readers: Who reads.
        config: A labelling config.
        whose: It is, for messages.

    Returns:
        A map for each version, and what to tell of labels that have no counterpart.

    Raises:
        BatchError: If none has.
    """
    maps, notes = {}, []
    for reader in readers:
        found = maps[reader.version] = map_labels(reader.labels, config)
        if not found.names:
            raise BatchError(
                f"{whose} has none of the labels that {reader.version} finds "
                f"({listed(reader.labels)}), but {listed(config.labels)}: choose another model, or "
                "say with predicted_values in the labelling config which is which"
            )
        if found.unmapped:
            notes.append(
                f"{whose} has no label for {listed(found.unmapped)}: what {reader.version} finds "
                "of that is left out."
            )
    return maps, tuple(notes)


def listed(names: Iterable[str]) -> str:
    """The first few of some names, and how many more there are.

    Args:
        names: Of labels.

    Returns:
        For a sentence.
    """
    shown = list(names)
    rest = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + rest
