"""Labels of gold and of systems, in the names of the project."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from unicodedata import normalize

from tagalong.backend.batch.source_and_sink import format_names
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import accept_model_labels, map_labels
from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span

MAX_LISTED_LABELS = 20  # most projects have fewer; a terminology may have thousands


def map_gold(
    gold: Sequence[Document], config: LabelConfig
) -> tuple[tuple[Document, ...], tuple[DroppedAnnotation, ...]]:
    """Rename the labels of gold to those of the project, whose own names stay.

    Returns the documents, and the spans of labels that the project lacks.
    """
    names = accept_model_labels(config).names_by_spelling
    documents, dropped = [], []
    for document in gold:
        known = [span for span in document.spans if span.label in names]
        spans = tuple(replace(span, label=names[span.label]) for span in known)
        documents.append(replace(document, spans=spans))
        unknown = [span for span in document.spans if span.label not in names]
        dropped += [document.drop_span(span, "label unknown") for span in unknown]
    return tuple(documents), tuple(dropped)


def map_predictions(
    gold: Sequence[Document], predicted: Sequence[Prediction], config: LabelConfig
) -> tuple[Prediction, ...]:
    """Rename predicted labels as serving does; spans without a label of the project are dropped."""
    labels = sorted({span.label for one in predicted for span in one.spans})
    return tuple(map(map_labels(labels, config).apply, gold, predicted))


def map_system_labels(labels: Sequence[str], config: LabelConfig | None) -> tuple[str, ...]:
    """The labels of a system in the names of the project, without those that the project lacks."""
    if config is None:
        return tuple(labels)
    return tuple(dict.fromkeys(map_labels(labels, config).project_labels.values()))


def describe_unmapped(name: str, spans: Iterable[Span], config: LabelConfig) -> Iterator[str]:
    """Count the spans of a system whose labels the project lacks, if there are any."""
    counts = Counter(span.label for span in spans)
    unmapped = Counter({label: counts[label] for label in map_labels([*counts], config).unmapped})
    if unmapped:
        yield describe_unknown_labels(f"predicted entities of {name}", unmapped, config)


def describe_unknown_labels(entities: str, counts: Counter[str], config: LabelConfig) -> str:
    """Say that entities of these labels are not scored, and how to map them."""
    listed = format_label_counts(dict(counts.most_common()))
    return (
        f"{counts.total()} {entities} are not scored, because the project lacks their labels: "
        f"{listed}. It has {format_labels(config.labels)}; predicted_values in the labelling "
        "config maps other names to them."
    )


def format_labels(labels: Iterable[str]) -> str:
    """Labels for a sentence, as many as most projects have."""
    return format_names(labels, MAX_LISTED_LABELS)


def format_label_counts(counts: Mapping[str, int]) -> str:
    """Labels with their counts, in the order of the mapping."""
    return format_labels(f"{label} ({count})" for label, count in counts.items())


def describe_without_common_label(
    name: str, gold_labels: Collection[str], labels: Sequence[str], config: LabelConfig | None
) -> Iterator[str]:
    """Say how to map the labels of a system if gold has none of them.

    `gold_labels` are names of the project, `labels` those of the system.
    """
    mapped = map_system_labels(labels, config)
    if not gold_labels or not labels or not set(gold_labels).isdisjoint(mapped):
        return
    first = min(gold_labels)
    way = "give a labelling config with" if config is None else "write into the labelling config"
    option = " as --label-config" if config is None else ""
    yield (
        f"Gold and {name} have no label in common: gold has {format_labels(sorted(gold_labels))}, "
        f"{name} has {format_labels(labels)}. If these are other names for the same, {way} "
        f'<Label value="{first}" predicted_values="LABEL"/>{option}; LABEL is that of {name}.'
    )


def choose_labels(
    values: Iterable[str], known: Collection[str], config: LabelConfig | None = None
) -> tuple[str, ...]:
    """Read names of labels, several of them separated by commas, which names may have too.

    The longest name among `known` labels and those of the config counts. With a config, names are
    those of the project or of a model; the project's are returned.
    """
    names: Mapping[str, str] = {}
    if config is not None:
        names = accept_model_labels(config).names_by_spelling
        known = {*known, *names, *config.predicted_values}
    chosen = [name for value in values for name in _split_names(value, known)]
    return tuple(dict.fromkeys(names.get(name, name) for name in chosen))


def _split_names(value: str, known: Collection[str]) -> Iterator[str]:
    parts, first = value.split(","), 0
    # A terminal may compose accents in another way than the files.
    names = {normalize("NFC", name): name for name in known} | {name: name for name in known}
    while first < len(parts):
        ends = range(len(parts), first, -1)
        wholes = [(",".join(parts[first:end]), end) for end in ends]
        candidates = [(text, end) for whole, end in wholes for text in (whole, whole.strip())]
        candidates += [(normalize("NFC", text), end) for text, end in candidates]
        alone = parts[first].strip(), first + 1
        found = ((names[text], end) for text, end in candidates if text in names)
        name, first = next(found, alone)
        if name:
            yield name
