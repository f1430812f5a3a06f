"""Mapping from the labels of a model to the labels of a project."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, Prediction


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The project's label for each label of a model."""

    project_labels: Mapping[str, str] = field(hash=False)  # by model label; several may share one
    unmapped: tuple[str, ...] = ()  # model labels without a project label, in the model's order

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

    The first match counts: ``predicted_values``, alias, value, and last an alias or value that
    differs only by case. If several differ by case, none is chosen: a guess would annotate wrongly.
    """
    folded: defaultdict[str, set[str]] = defaultdict(set)
    for spelling, name in config.names_by_spelling.items():
        folded[spelling.casefold()].add(name)
    alike = {key: next(iter(found)) for key, found in folded.items() if len(found) == 1}
    names = {}
    for label in model_labels:
        # `names_by_spelling` prefers aliases to values already.
        exact = config.predicted_values.get(label) or config.names_by_spelling.get(label)
        if chosen := exact or alike.get(label.casefold()):
            names[label] = chosen
    unmapped = tuple(label for label in dict.fromkeys(model_labels) if label not in names)
    return LabelMap(MappingProxyType(names), unmapped)
