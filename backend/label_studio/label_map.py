"""The labels of a model -> the labels of a project, which may spell them in its own way."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Which label of the project stands for which label of the model.

    Attributes:
        project_labels: Labels of the model, with the project's name for each; several may share one.
        unmapped: Labels of the model that the project does not have, in the model's order.
    """

    project_labels: Mapping[str, str] = field(hash=False)
    unmapped: tuple[str, ...] = ()

    def apply(self, document: Document, prediction: Prediction) -> Prediction:
        """Say a prediction in the project's labels.

        Args:
            document: What was predicted for.
            prediction: With the model's labels.

        Returns:
            The same spans under their new names, none merged; those whose label the project does
            not have are among what was lost.
        """
        kept = [
            replace(span, label=self.project_labels[span.label])
            for span in prediction.spans
            if span.label in self.project_labels
        ]
        lost = [
            _dropped_span(document, span)
            for span in prediction.spans
            if span.label not in self.project_labels
        ]
        return replace(prediction, spans=tuple(kept), dropped=(*prediction.dropped, *lost))


def map_labels(model_labels: Sequence[str], config: LabelConfig) -> LabelMap:
    """Find the project's label for every label of a model.

    In this order: the label whose ``predicted_values`` name it, the one with such an alias, the
    one with such a value, and the only one whose alias or value differs by upper and lower case.
    Where several differ by case, none is chosen: a guess would annotate wrongly.

    Args:
        model_labels: What the model can find.
        config: The project's labelling config.

    Returns:
        The map; what has no counterpart is named in it too.
    """
    folded: defaultdict[str, set[str]] = defaultdict(set)
    for spelling, name in config.names_by_spelling.items():
        folded[spelling.casefold()].add(name)
    alike = {key: next(iter(found)) for key, found in folded.items() if len(found) == 1}
    names = {}
    for label in model_labels:
        # Among the spellings, an alias goes before a value already.
        said = config.predicted_values.get(label) or config.names_by_spelling.get(label)
        if chosen := said or alike.get(label.casefold()):
            names[label] = chosen
    unmapped = tuple(label for label in dict.fromkeys(model_labels) if label not in names)
    return LabelMap(MappingProxyType(names), unmapped)


def _dropped_span(document: Document, span: Span) -> DroppedAnnotation:
    """A span that the project has no label for."""
    text = document.span_text(span)
    return DroppedAnnotation(span.label, text, "label unknown", span.start, span.end, document.id)
