"""The source of a batch together with its sink, and the labels that predictions are written in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.batch.entry import compute_text_digest
from tagalong.backend.batch.models import BatchModels
from tagalong.backend.batch.sink import PredictionSink
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.label_studio.label_map import LabelMap, map_labels
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.errors import BatchError

MAX_LISTED_NAMES = 5
REQUESTS_PER_SECOND = 10.0  # to Label Studio, at most


@dataclass(frozen=True, slots=True)
class SourceAndSink:
    """The source of a batch, and the sink of its predictions.

    Attributes:
        source_name: Identifies the source in the journal.
        config_digest: Identifies the labels that predictions are written in.
        output_kind: The form of the output, for journals and sentences.
        items: The documents, from the first for each pass.
        total_items: Number of documents.
        sink: Stores the predictions.
        destination: Where the predictions are, for people.
        journal_path: Where the journal is unless the user names another path.
        notes: Sentences to show before the batch begins.
        show: Shows the predictions to annotators, given versions by their share; returns a
            sentence about it.
        check_journal_path: Raises OutputError if the output would overwrite another's.
    """

    source_name: str
    config_digest: str
    output_kind: str
    items: Iterable[SourceItem]
    total_items: int
    sink: PredictionSink
    destination: str
    journal_path: Path
    notes: tuple[str, ...] = ()
    show: Callable[[Sequence[str]], str] = lambda _: ""
    check_journal_path: Callable[[Path], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOptions:
    """Which tasks of which project to predict, and how.

    Attributes:
        project: The project's id.
        url: Label Studio's address.
        key: A token.
        allowed_hosts: Hosts from which texts may be downloaded.
        requests_per_second: At most, to Label Studio.
        unlabeled_only: Leave out tasks with annotations.
        view_id: Only the tasks in this tab of the Data Manager; None for all.
        replace_shown_version: Show annotators these predictions instead of another version's.
    """

    project: int
    url: str
    key: str
    allowed_hosts: frozenset[str] = frozenset()
    requests_per_second: float = REQUESTS_PER_SECOND
    unlabeled_only: bool = False
    view_id: int | None = None
    replace_shown_version: bool = False


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
    return compute_text_digest(content).hex()


def build_label_maps(
    models: BatchModels, config: LabelConfig, config_name: str
) -> tuple[Mapping[str, LabelMap], tuple[str, ...]]:
    """Map the labels of each model to those of a labelling config.

    Args:
        models: The models that predict.
        config: A labelling config.
        config_name: Its name in messages.

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


def format_names(names: Iterable[str]) -> str:
    """The first few names, and the number of the others."""
    listed = list(names)
    rest = f" and {len(listed) - MAX_LISTED_NAMES} more" if len(listed) > MAX_LISTED_NAMES else ""
    return ", ".join(listed[:MAX_LISTED_NAMES]) + rest
