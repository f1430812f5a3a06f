"""Silver data: excluded texts, weights by confidence, and masked labels."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.documents.jsonl import document_to_json, prediction_to_json
from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span
from tagalong.ner.errors import FormatError, InputError, LabelError
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.corpus import write_documents
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.data.silver import SilverOptions, read_silver, select_silver
from tagalong.training.data.train_dev_split import TrainDevSplit
from tests.errors import raises
from tests.toy_corpus import LABELS, toy_documents

TAGS = TagSet(LABELS)
GOLD, DEV = toy_documents(6, seed=1), toy_documents(4, seed=2)
RESERVED = {"text in dev": DEV, "text in gold": GOLD}
TEXT = "aspirin caused severe asthma"
ASPIRIN, ASTHMA = Span(0, 7, "Chemical", 0.9), Span(22, 28, "Disease", 0.6)


def predict(documents, *, score=0.8, of_spans=0.9, version="llm-1"):
    """Predictions of a system that is always correct."""
    return [
        (
            Document(one.id, one.text),
            Prediction(tuple(replace(span, score=of_spans) for span in one.spans), score, version),
        )
        for one in documents
    ]


def select(predicted, **rules):
    return select_silver(predicted, SilverOptions(**rules), RESERVED, TagSet(LABELS))


def only(prediction, **rules):
    """The one silver document of a prediction for `TEXT`."""
    silver = select([(Document("d", TEXT), prediction)], **rules)
    [document] = silver.documents
    return document, silver


def texts(silver):
    return {normalize_text(one.document.text) for one in silver.documents}


def test_word_weight_is_entity_score_or_document_score():
    silver, _ = only(Prediction((ASPIRIN, ASTHMA), 0.8, "v"), weight=0.5)
    assert silver.word_weights == pytest.approx((0.45, 0.4, 0.4, 0.3))
    surer = Prediction((ASPIRIN,), 0.8, "v", tag_confidences=(0.1, 0.7, 0.6, 0.5))
    silver, _ = only(surer, weight=1.0)
    assert silver.word_weights == (0.9, 0.7, 0.6, 0.5)


def test_predictions_without_scores_have_full_weight():
    bare = replace(ASPIRIN, score=None)
    silver, report = only(Prediction((bare, ASTHMA), 1.0, "v"), weight=0.5)
    assert silver.word_weights == (0.5, 0.5, 0.5, 0.3)
    assert report.unscored_entities == 1


def test_kept_one_of_overlapping_entities_sets_the_weight():
    whole = Span(15, 28, "Disease", 0.4)
    silver, report = only(Prediction((whole, ASTHMA, ASPIRIN), 0.8, "v"), weight=1.0)
    assert silver.word_weights == (0.9, 0.8, 0.4, 0.4)
    assert [entry.reason for entry in report.dropped] == ["overlap"]


@given(st.data())
def test_one_weight_per_word_between_0_and_the_factor(data):
    odd = st.floats(-1, 2, allow_nan=False)
    prediction = Prediction(
        tuple(replace(span, score=data.draw(st.none() | odd)) for span in (ASPIRIN, ASTHMA)),
        data.draw(odd),
        "v",
        tag_confidences=tuple(data.draw(st.just([]) | st.lists(odd, min_size=4, max_size=4))),
    )
    factor = data.draw(st.floats(0, 1))
    silver, _ = only(prediction, weight=factor, min_score=-1.0)
    assert len(silver.word_weights) == len(word_offsets(TEXT))
    assert all(0 <= weight <= factor for weight in silver.word_weights)


@given(st.data())
def test_gold_and_dev_texts_are_excluded_from_silver(data):
    sides = {name: toy_documents(6, seed=seed) for seed, name in enumerate(("gold", "dev", "test"))}
    others = toy_documents(6, seed=9)
    known = data.draw(st.lists(st.sampled_from([*sides["gold"], *sides["dev"], *sides["test"]])))
    written = st.sampled_from([str, str.upper, lambda text: f" {text}\n"])
    copies = [Document(f"{n}", data.draw(written)(one.text)) for n, one in enumerate(known)]
    reasons = ("text in gold", "text in dev", "text held out")
    reserved = dict(zip(reasons, sides.values(), strict=True))
    silver = select_silver(predict([*copies, *others]), SilverOptions(), reserved, TagSet(LABELS))
    assert texts(silver) == {normalize_text(one.text) for one in others}
    assert sum(silver.excluded_counts.values()) == len(known)
    assert silver.excluded_counts.keys() <= set(reasons)


def test_low_scores_and_duplicates_are_excluded_and_counted():
    ours = toy_documents(5, seed=9)
    again = predict(ours[:2], score=0.9, version="llm-2")
    predicted = [*predict(ours[:4]), *again, *predict(ours[4:], score=0.3)]
    silver = select(predicted, min_score=0.5)
    assert silver.excluded_counts == {"score too low": 1, "text repeated": 2}
    assert silver.versions == ("llm-1", "llm-2")  # of the repeated ones the surer prediction counts
    assert texts(silver) == {normalize_text(one.text) for one in ours[:4]}


@given(st.randoms(use_true_random=False))
def test_silver_ignores_prediction_order(chance):
    ours = toy_documents(8, seed=9)
    unsure = predict([replace(one, spans=one.spans[1:]) for one in ours[:4]], of_spans=None)
    predicted = [*predict(ours), *unsure, *predict(ours[2:5], of_spans=0.5), *predict(GOLD[:2])]
    silver = select(predicted)
    chance.shuffle(predicted)
    other = select(predicted)
    assert other == silver
    assert other.fingerprint == silver.fingerprint


def test_fingerprint_covers_texts_entities_and_weights():
    ours = toy_documents(3, seed=9)
    bare = [replace(one, spans=one.spans[1:]) for one in ours]
    kinds = [
        select(predicted, weight=weight).fingerprint
        for weight in (0.5, 0.25)
        for predicted in (
            predict(ours),
            predict(ours[:2]),
            predict(bare),
            predict(ours, of_spans=0.7),
        )
    ]
    assert len(set(kinds)) == len(kinds)


def test_labels_missing_from_gold_are_masked_and_counted():
    silver, report = only(Prediction((ASPIRIN, replace(ASTHMA, label="Gene")), 0.8, "v"))
    assert TAGS.encode(silver.document).tags == (1, 0, 0, IGNORE_INDEX)
    assert Counter(entry.reason for entry in report.dropped) == {"label unknown": 1}


def test_labels_unknown_to_the_system_are_masked_and_counted():
    lost = (
        DroppedAnnotation("Disease", "severe asthma", "overlap", 15, 28, "d"),
        DroppedAnnotation("Disease", "fever", "offset outside the text", 40, 45, "d"),
    )
    silver, report = only(Prediction((ASPIRIN,), 0.8, "v", dropped=lost))
    assert TAGS.encode(silver.document).tags == (1, 0, IGNORE_INDEX, IGNORE_INDEX)
    assert report.dropped == lost


@pytest.mark.parametrize(
    ("predicted", "error", "code", "counts"),
    [
        ([], InputError, "no-silver-documents", ""),
        (
            predict(GOLD[:2]) + predict(DEV[:1]),
            *(InputError, "no-silver-documents", "1 text in dev, 2 text in gold"),
        ),
        (
            predict(toy_documents(2, seed=9), score=0.1),
            *(InputError, "no-silver-documents", "2 score too low"),
        ),
        (predict([Document("d", TEXT)]), InputError, "silver-without-entities", "1"),
        (
            predict([Document("d", TEXT, (replace(ASPIRIN, label="Gene"),))]),
            *(LabelError, "silver-labels-not-in-gold", "'Gene' (1)"),
        ),
    ],
)
def test_silver_without_training_value_is_refused(predicted, error, code, counts):
    with raises(error, code) as raised:
        select(predicted, min_score=0.5)
    assert counts in str(raised.value)


def test_both_file_forms_are_equal_and_scores_are_optional(tmp_path):
    pairs = predict(toy_documents(5, seed=9))
    lines, tasks, bare = (tmp_path / name for name in ("a.jsonl", "a.json", "bare.jsonl"))
    lines.write_text("\n".join(json.dumps(prediction_to_json(*pair)) for pair in pairs))
    made = [
        replace(document, spans=one.spans, meta={"model_version": one.version, "score": one.score})
        for document, one in pairs
    ]
    write_documents(made, tasks, "label-studio")

    def read(*files, **rules):
        return read_silver(SilverOptions(files=files, **rules), RESERVED, TagSet(LABELS))

    silver = read(lines)
    assert silver.to_json()["sources"] == ["a.jsonl"]
    assert read(tasks) == replace(silver, options=SilverOptions(files=(tasks,)))
    twice = read(lines, tasks)
    assert (twice.fingerprint, twice.excluded_counts) == (silver.fingerprint, {"text repeated": 5})
    bare.write_text("\n".join(json.dumps(document_to_json(one)) for one in toy_documents(5)))
    unsure = read(bare, weight=0.5)
    assert {weight for one in unsure.documents for weight in one.word_weights} == {0.5}
    assert unsure.unscored_entities == unsure.entity_count > 0
    bare.write_text("")
    with pytest.raises(FormatError):
        read(bare)


def test_manifest_has_silver_only_if_used():
    sides = TrainDevSplit(GOLD, DEV, LABELS, sources=())
    assert "silver" not in sides.to_json()
    silver = select(predict(toy_documents(5, seed=9)))
    both = replace(sides, silver=silver)
    assert both.to_json()["fingerprint"] == sides.fingerprint
    report = both.to_json()["silver"]
    assert report["documents"] == 5
    assert report["versions"] == ["llm-1"]
    assert report["fingerprint"] == silver.fingerprint[:16]
