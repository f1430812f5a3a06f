"""Mapping of model labels: claimed, named, alike, or dropped and counted."""

from typing import Literal
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.label_map import accept_model_labels, map_labels
from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span
from tests.odd_documents import odd_documents

WORDS = ["Chemical", "CHEMICAL", "chemical", "CHEM", "Disease", "disease", "Straße", "STRASSE"]


def project(*labels: str) -> LabelConfig:
    tags = "".join(f"<Label {label}/>" for label in labels)
    return parse_label_config(
        f'<View><Text name="t" value="$t"/><Labels name="l" toName="t">{tags}</Labels></View>'
    )


@pytest.mark.parametrize(
    ("labels", "model", "name"),
    [
        (['value="Chemical"'], "Chemical", "Chemical"),
        (['value="Chemical" alias="CHEM"'], "Chemical", "CHEM"),
        (['value="Chemical" alias="CHEM"'], "CHEM", "CHEM"),
        (['value="Chemical"'], "CHEMICAL", "Chemical"),
        (['value="Chemical" alias="X"'], "chemical", "X"),
        (['value="Straße"'], "STRASSE", "Straße"),
        # A predicted value precedes a similar name.
        (['value="Drug" predicted_values="Chemical"', 'value="Chemical"'], "Chemical", "Drug"),
        (['value="Drug" alias="D" predicted_values="a, Chemical"'], "Chemical", "D"),
        # An alias goes before a value.
        (['value="A" alias="B"', 'value="B" alias="C"'], "B", "B"),
        # An exact match precedes one that ignores case.
        (['value="DISEASE"', 'value="Disease"'], "Disease", "Disease"),
        # Two labels match: no result. Two spellings of one label match: the label.
        (['value="DISEASE"', 'value="Disease"'], "disease", None),
        (['value="DISEASE" alias="Disease"'], "disease", "Disease"),
        # A name that two labels claim belongs to neither.
        (['value="A" predicted_values="x"', 'value="B" predicted_values="x"'], "x", None),
        (['value="A" predicted_values="b"', 'value="B" predicted_values="b"'], "b", "B"),
        (['value="Chemical"'], "Disease", None),
        # Blanks at edges, and the case of predicted values.
        (['value=" Chemical "'], "Chemical", " Chemical "),
        (['value="Cell&#160;line"'], "Cell line", "Cell\u00a0line"),
        (['value="Drug" predicted_values="chemical"'], "Chemical", "Drug"),
        (['value="A" predicted_values="x"', 'value="B" predicted_values="X"'], "x", "A"),
        (['value="A" predicted_values="xy"', 'value="B" predicted_values="XY"'], "Xy", None),
        # A model label with a comma is one of the list, or two parts of it.
        (['value="Drug" predicted_values="drug, small molecule"'], "drug, small molecule", "Drug"),
        (['value="A" predicted_values="drug"', 'value="B" predicted_values="b"'], "drug, b", None),
        (['value="Drug" predicted_values="drug"'], "drug, b", None),
    ],
)
def test_label_matching(labels: list[str], model: str, name: str | None) -> None:
    found = map_labels([model], project(*labels))
    assert found.project_labels == ({} if name is None else {model: name})
    assert found.unmapped == (() if name is not None else (model,))


@pytest.mark.parametrize(
    ("label", "name"),
    [("Drug", "Drug"), ("Chemical", "Chemical"), ("Reagent", "Chemical"), ("DRUG", "Drug")],
)
def test_gold_is_read_in_names_of_the_project_first(label: str, name: str) -> None:
    config = project(
        'value="Drug" predicted_values="Chemical"', 'value="Chemical" predicted_values="Reagent"'
    )
    assert accept_model_labels(config).names_by_spelling[label] == name
    assert "Gene" not in accept_model_labels(config).names_by_spelling


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_label_may_be_composed_in_another_way(form: Literal["NFC", "NFD"]) -> None:
    name = normalize(form, "Médicament")
    config = project(f'value="{name}"')
    others = [normalize(one, "Médicament") for one in ("NFC", "NFD")]
    assert map_labels(others, config).project_labels == dict.fromkeys(others, name)
    assert [config.names_by_spelling.get(other) for other in others] == [name, name]
    claimed = project(f'value="Drug" predicted_values="{name}"')
    assert map_labels(others, claimed).project_labels == dict.fromkeys(others, "Drug")
    both = project(*(f'value="{other}"' for other in others))
    assert map_labels(others, both).project_labels == dict(zip(others, others, strict=True))


@st.composite
def projects(draw: st.DrawFn) -> LabelConfig:
    words = st.sampled_from(WORDS)
    claims = st.lists(words, max_size=2).map(",".join)
    labels = draw(st.lists(st.tuples(words, st.one_of(st.just(""), words), claims), min_size=1))
    return project(
        *(
            f'value="{value}" predicted_values="{claimed}"' + (f' alias="{alias}"' if alias else "")
            for value, alias, claimed in labels
        )
    )


@given(odd_documents(), projects(), st.lists(st.sampled_from(WORDS), max_size=5))
def test_mapped_labels_are_project_labels_and_dropped_are_counted(
    document: Document, config: LabelConfig, model: list[str]
) -> None:
    label_map = map_labels(model, config)
    assert set(label_map.project_labels) | set(label_map.unmapped) == set(model)
    assert not set(label_map.project_labels) & set(label_map.unmapped)
    known = model or ["Chemical"]
    spans = tuple(
        Span(span.start, span.end, known[i % len(known)], 0.5)
        for i, span in enumerate(document.spans)
    )
    before = Prediction(spans, 0.5, "v", (0.5,), (DroppedAnnotation("x", "y", "overlap", 0, 1),))
    after = label_map.apply(document, before)
    assert {span.label for span in after.spans} <= set(config.labels)
    assert {span.score for span in after.spans} <= {0.5}
    assert (after.score, after.version, after.tag_confidences) == (0.5, "v", (0.5,))
    assert after.dropped[:1] == before.dropped
    lost = [(one.start, one.end, one.label) for one in after.dropped[1:]]
    assert all(one.reason == "label unknown" for one in after.dropped[1:])
    assert [one.text for one in after.dropped[1:]] == [document.text[s:e] for s, e, _ in lost]
    renamed = [
        (span.start, span.end, label_map.project_labels[span.label])
        for span in spans
        if span.label in label_map.project_labels
    ]
    assert [(span.start, span.end, span.label) for span in after.spans] == renamed
    assert len(lost) + len(renamed) == len(spans)


@given(projects(), st.lists(st.sampled_from(WORDS), max_size=5))
def test_predicted_values_take_precedence(config: LabelConfig, model: list[str]) -> None:
    names = map_labels(model, config).project_labels
    assert all(
        names[label] == config.predicted_values[label]
        for label in model
        if label in config.predicted_values
    )


def test_undeclared_label_is_dropped_too() -> None:
    document = Document("1", "naloxone")
    prediction = Prediction((Span(0, 8, "Odd", 0.9),), 0.9, "v")
    after = map_labels(["Chemical"], project('value="Chemical"')).apply(document, prediction)
    assert after.spans == ()
    assert after.dropped == (DroppedAnnotation("Odd", "naloxone", "label unknown", 0, 8, "1"),)
