"""The source of a batch together with its sink, and the labels that predictions are written in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.batch.journal import BatchJournal, compute_text_digest
from tagalong.backend.batch.models import BatchModels
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import LabelMap, map_labels
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError

MAX_LISTED_NAMES = 5


class PredictionSink(ABC):
    """Stores the predictions of a batch.

    `serialize` and `finish` are enough for a sink that writes everything at the end. A sink that
    sends predictions while the batch runs also overrides `recover` and `deliver`.
    """

    @abstractmethod
    def serialize(self, document: Document, prediction: Prediction) -> str:
        """The prediction as the journal keeps it until it is delivered."""

    @abstractmethod
    def finish(self, journal: BatchJournal) -> None:
        """Deliver every prediction that waits in the journal."""

    def recover(self, journal: BatchJournal, *, is_reset: bool) -> None:  # noqa: B027
        """Find out which predictions arrived that an earlier run was sending when it ended.

        A reset is about to delete the entries of the journal.
        """

    def deliver(self, journal: BatchJournal, until_position: int) -> None:  # noqa: B027
        """Deliver waiting predictions up to a position of the source, or leave them for later."""

    def on_source_end(self, journal: BatchJournal, last_position: int) -> None:
        """Delete waiting predictions after the source's last position: their documents are gone."""
        journal.delete_absent(last_position)


@dataclass(frozen=True, slots=True)
class SourceAndSink:
    """The source of a batch, and the sink of its predictions."""

    source_name: str  # identifies the source in the journal
    config_digest: str  # identifies the labels that predictions are written in
    output_kind: str  # the form of the output, for journals and sentences
    items: Iterable[SourceItem]  # the documents; each pass iterates from the start again
    total_items: int
    sink: PredictionSink
    destination: str  # where the predictions are, for people
    journal_path: Path  # unless the user names another
    notes: tuple[str, ...] = ()  # sentences to show before the batch begins
    # Shows the predictions to annotators, given versions by their share; returns a sentence.
    show: Callable[[Sequence[str]], str] = lambda _: ""
    # Raises OutputError if the output would overwrite another's.
    check_journal_path: Callable[[Path], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOptions:
    """Which tasks of which project to predict, and how."""

    project: int
    url: str  # Label Studio's address
    key: str
    allowed_hosts: frozenset[str] = frozenset()  # from which texts may be downloaded
    requests_per_second: float = 10.0  # to Label Studio, at most
    unlabeled_only: bool = False
    view_id: int | None = None  # only the tasks in this tab of the Data Manager
    max_tasks: int | None = None
    replace_shown_version: bool = False  # show annotators these predictions, not another version's


def compute_config_digest(config: LabelConfig | None) -> str:
    """Identify a labelling config by content; empty without one."""
    if config is None:
        return ""
    # The names of an earlier release: journals of unfinished batches have digests made with them.
    content = (
        f"LabelConfig(control={config.control!r}, object={config.object!r}, "
        f"data_key={config.data_key!r}, labels={config.labels!r}, "
        f"spellings={config.names_by_spelling!r}, predicted={config.predicted_values!r}, "
        f"stored={config.text_encoding!r})"
    )
    content += config.template + "".join(map(repr, config.other_texts))
    return compute_text_digest(content).hex()


def build_label_maps(
    models: BatchModels, config: LabelConfig, config_name: str
) -> tuple[Mapping[str, LabelMap], tuple[str, ...]]:
    """Map the labels of each model to those of a labelling config.

    Returns:
        A map for each version, and a sentence about each version's labels without a counterpart.

    Raises:
        BatchError: If the config has none of a model's labels.
    """
    maps, notes = {}, []
    for model in models:
        label_map = maps[model.version] = map_labels(model.labels, config)
        if not label_map.project_labels:
            raise BatchError(
                f"{config_name} has none of the labels of {model.version} "
                f"({format_names(model.labels)}), but {format_names(config.labels)}: choose "
                "another model, or map them with predicted_values in the labelling config",
                code="config-without-model-labels",
            )
        if label_map.unmapped:
            notes.append(
                f"{config_name} has no label for {format_names(label_map.unmapped)}: these "
                f"entities of {model.version} are left out."
            )
    return maps, tuple(notes)


def format_names(names: Iterable[str], most: int = MAX_LISTED_NAMES) -> str:
    """The first names, and the number of the others."""
    listed = list(names)
    rest = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest
