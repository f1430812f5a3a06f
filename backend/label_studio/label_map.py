"""Mapping from the labels of a model to the labels of a project."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Prediction


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The project's label for each label of a model."""

    project_labels: Mapping[str, str] = field(hash=False)  # by model label; several may share one
    unmapped: tuple[str, ...] = ()  # model labels without a project label, in the model's order
    unpredicted: tuple[str, ...] = ()  # labels of the project that the model does not predict

    def apply(self, document: Document, prediction: Prediction) -> Prediction:
        """Translate a prediction; spans without a project label are in `dropped`."""
        kept = [
            replace(span, label=self.project_labels[span.label])
            for span in prediction.spans
            if span.label in self.project_labels
        ]
        dropped = [
            document.drop_span(span, "label unknown")
            for span in prediction.spans
            if span.label not in self.project_labels
        ]
        return replace(prediction, spans=tuple(kept), dropped=(*prediction.dropped, *dropped))


def map_labels(model_labels: Sequence[str], config: LabelConfig) -> LabelMap:
    """Find the project's label for every label of a model.

    The first match counts: ``predicted_values``, alias, value, and last, in this order, one that
    differs only by case and blanks. If several do, none is chosen: a guess would annotate wrongly.
    """
    claims, names_alike = map(_find_unique, (config.predicted_values, config.names_by_spelling))
    names = {}
    for label in model_labels:
        # `names_by_spelling` prefers aliases to values already.
        exact = _find_claim(label, config) or config.names_by_spelling.get(label)
        folded = _fold(label)
        if chosen := exact or claims.get(folded) or names_alike.get(folded):
            names[label] = chosen
    unmapped = tuple(label for label in dict.fromkeys(model_labels) if label not in names)
    found = {*names.values()}
    unpredicted = tuple(label for label in config.labels if label not in found)
    return LabelMap(MappingProxyType(names), unmapped, unpredicted)


def _find_unique(names: Mapping[str, str]) -> dict[str, str]:
    """The names by folded spelling, without spellings that two names share."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for spelling, name in names.items():
        found[_fold(spelling)].add(name)
    return {spelling: next(iter(one)) for spelling, one in found.items() if len(one) == 1}


def _fold(spelling: str) -> str:
    return " ".join(spelling.split()).casefold()


def _find_claim(label: str, config: LabelConfig) -> str | None:
    """The name that claims a model label; ``predicted_values`` splits a label with commas."""
    if claimed := config.predicted_values.get(label):
        return claimed
    parts = {config.predicted_values.get(part.strip()) for part in label.split(",")}
    return parts.pop() if len(parts) == 1 else None


def accept_any_label(config: LabelConfig) -> LabelConfig:
    """The config with every spelling as a label of its own, for reading predictions."""
    return replace(config, names_by_spelling=_AnySpelling())


class _AnySpelling(Mapping[str, str]):
    """Every text by itself; iteration has none."""

    def __getitem__(self, spelling: str) -> str:
        return spelling

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def accept_model_labels(config: LabelConfig) -> LabelConfig:
    """The config with spellings that include the labels of a model, for reading gold.

    A name, alias or value of the project itself comes first, then `map_labels`.
    """
    return replace(config, names_by_spelling=_AcceptedSpellings(config))


class _AcceptedSpellings(Mapping[str, str]):
    """The project's label by any accepted spelling; iteration has the project's own alone."""

    def __init__(self, config: LabelConfig) -> None:
        self._config = config
        self._names: dict[str, str | None] = dict(config.names_by_spelling)

    def __getitem__(self, spelling: str) -> str:
        if spelling not in self._names:
            found = map_labels([spelling], self._config).project_labels
            self._names[spelling] = found.get(spelling)
        name = self._names[spelling]
        if name is None:
            raise KeyError(spelling)
        return name

    def __iter__(self) -> Iterator[str]:
        return iter(self._config.names_by_spelling)

    def __len__(self) -> int:
        return len(self._config.names_by_spelling)
