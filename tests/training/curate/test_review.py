"""Review: folds, findings, qualities and planted errors."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.text.windows import WindowConfig
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import InputError, LabelError, TrainingError
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.ner.words import PARTS, word_offsets
from tagalong.training.corpus import Corpus
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.curate.cross_validation import (
    CrossValidationConfig,
    assign_folds,
    cross_validate,
)
from tagalong.training.curate.encoder_outputs import TagDistribution
from tagalong.training.curate.findings import find_differences
from tagalong.training.curate.phrase_counts import count_phrases, phrase_from_text
from tagalong.training.curate.review import rate_word_labels, review_annotations
from tagalong.training.curate.review_model import predict_with_cross_validation
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import Schedule
from tests.errors import raises
from tests.toy_corpus import LABELS, toy_documents

TAGS = TagSet(LABELS)
TEXT = "alpha beta gamma delta epsilon zeta"  # six words
WORDS = word_offsets(TEXT)
CROSSING = CrossValidationConfig(
    recipe=EncoderRecipe(
        window_config=WindowConfig(96, 8),
        train_window_config=WindowConfig(64, 8),
        schedule=Schedule(
            epochs=8, learning_rate=3e-3, batch_tokens=256, ema_decay=0.9, precision="fp32"
        ),
        mask_probability=0.05,
    ),
    n_folds=2,
)


def opinion(document: Document, spans, *, sure: float = 0.9) -> TagDistribution:
    """Output of a model that has this confidence in some spans."""
    tags = np.array(
        TAGS.encode(replace(document, spans=tuple(spans), masked_ranges=())).tags, np.intp
    )
    probabilities = np.full((len(tags), len(TAGS)), (1 - sure) / (len(TAGS) - 1))
    probabilities[np.arange(len(tags)), tags] = sure
    return TagDistribution(np.log(probabilities), tags)


def chunk(first: int, last: int, label: str) -> Span:
    return Span(WORDS[first][0], WORDS[last - 1][1], label)


# Flat spans over the six words of the text, as gaps and lengths.
pieces = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(LABELS)), max_size=4
)


def laid_out(given_pieces) -> list[Span]:
    spans, word = [], 0
    for gap, length, label in given_pieces:
        word += gap
        if word + length <= len(WORDS):
            spans.append(chunk(word, word + length, label))
        word += length
    return spans


texts = st.lists(st.sampled_from(["one", "two", "Two ", "three", "four", "five"]), min_size=5)


@given(texts, st.randoms(use_true_random=False))
def test_folds_depend_only_on_content(texts: list[str], chance) -> None:
    documents = [Document(str(i), text) for i, text in enumerate([*texts, "six", "seven"])]
    numbers = assign_folds(documents, 2)
    assert set(numbers) == {0, 1}
    keys = [document.text.strip().lower() for document in documents]
    of_text = dict(zip(keys, numbers, strict=True))
    assert [of_text[key] for key in keys] == numbers
    sizes = Counter(of_text.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1
    order = chance.sample(range(len(documents)), len(documents))
    shuffled = assign_folds([documents[place] for place in order], 2)
    assert shuffled == [numbers[place] for place in order]


@pytest.mark.parametrize("n_folds", [1, 3])
def test_folds_need_enough_texts(n_folds: int) -> None:
    documents = [Document("1", "One text."), Document("2", "one  text."), Document("3", "Another.")]
    with raises(InputError, "too-few-texts-for-folds"):
        assign_folds(documents, n_folds)


@given(pieces, pieces)
def test_each_difference_is_in_one_finding(drawn, read) -> None:
    document = Document("1", TEXT, tuple(laid_out(drawn)))
    tags = TAGS.encode(replace(document, spans=tuple(laid_out(read)))).tags
    found = find_differences(document, TAGS.encode(document), tags, TAGS)
    gold, predictions = set(laid_out(drawn)), set(laid_out(read))
    assert Counter(one.predicted for one in found if one.predicted) == Counter(gold - predictions)
    assert Counter(one.gold for one in found if one.gold) == Counter(predictions - gold)


@given(pieces, pieces, st.integers(0, 5), st.integers(1, 3))
def test_masked_ranges_have_no_findings(drawn, read, first: int, length: int) -> None:
    unknown = chunk(first, min(first + length, len(WORDS)), "unknown")
    document = Document(
        "1", TEXT, tuple(laid_out(drawn)), masked_ranges=((unknown.start, unknown.end),)
    )
    tagged = TAGS.encode(document)
    tags = TAGS.encode(Document("1", TEXT, tuple(laid_out(read)))).tags
    for one in find_differences(document, tagged, tags, TAGS):
        start, end = one.extent
        inside = [
            tag for (a, b), tag in zip(WORDS, tagged.tags, strict=True) if a < end and start < b
        ]
        assert IGNORE_INDEX not in inside


@pytest.mark.parametrize(
    ("drawn", "read", "kinds"),
    [
        ([], [(0, 2, "Disease")], ["missed"]),
        ([(0, 2, "Disease")], [], ["spurious"]),
        ([(0, 2, "Disease")], [(0, 3, "Disease")], ["boundary"]),
        ([(0, 2, "Disease")], [(0, 2, "Chemical")], ["type"]),
        ([(0, 2, "Disease")], [(1, 3, "Chemical")], ["type"]),
        ([(1, 2, "Disease")], [(2, 3, "Disease")], ["boundary"]),  # annotated one word too early
        ([(1, 2, "Disease")], [(2, 3, "Chemical")], ["missed", "spurious"]),
        ([(0, 1, "Disease")], [(2, 3, "Disease")], ["missed", "spurious"]),
    ],
)
def test_finding_kinds(drawn, read, kinds) -> None:
    document = Document("1", TEXT, tuple(chunk(*one) for one in drawn))
    others = [Document("2", "gamma", (Span(0, 5, "Disease"),))]
    predictions = [
        opinion(document, [chunk(*one) for one in read]),
        opinion(others[0], others[0].spans),
    ]
    found = review_annotations([document, *others], predictions, TAGS)
    assert sorted(finding.kind for finding in found.findings) == kinds
    for finding in found.findings:
        for span in (finding.gold, finding.suggested):
            assert span is None or finding.span_text(span) == document.span_text(span)


def test_quality_is_relative_to_the_class_mean() -> None:
    document = Document("1", "alpha beta", (Span(0, 5, "Disease"),), masked_ranges=((6, 10),))
    others = [Document("2", "beta", (Span(0, 4, "Disease"),)), Document("3", "")]
    documents = [document, *others]
    predictions = [
        opinion(document, document.spans, sure=0.2),
        opinion(others[0], others[0].spans, sure=0.8),
        opinion(others[1], ()),
    ]
    ratings = rate_word_labels([TAGS.encode(one) for one in documents], predictions)
    assert np.exp(ratings[0]) == pytest.approx([0.2 / 0.5, np.nan], nan_ok=True)
    assert np.exp(ratings[1]) == pytest.approx([0.8 / 0.5])
    assert ratings[2].shape == (0,)


def test_quality_has_a_minimum() -> None:
    document = Document("1", "alpha beta")
    prediction = opinion(document, ())
    prediction.log_probs[:, 0] = np.log([0.001, 0.999])
    [ratings] = rate_word_labels([TAGS.encode(document)], [prediction])
    # The mean probability of O is 0.5; 0.02 is the minimum.
    assert np.exp(ratings) == pytest.approx([0.02 / 0.5, 0.999 / 0.5])


def test_only_differing_words_lower_the_quality() -> None:
    """Annotated "alpha beta", predicted "alpha beta gamma": only "gamma" has another tag."""
    document = Document("1", TEXT, (chunk(0, 2, "Disease"),))
    prediction = opinion(document, [chunk(0, 3, "Disease")], sure=0.6)
    [finding] = review_annotations([document], [prediction], TAGS).findings
    # "gamma", annotated O, has probability 0.1; three other O have 0.6: a mean of 1.9 / 4. Without
    # phrase counts, the odds are 0.1 / 0.475 = 4 / 19, so the score is 4 / (4 + 19).
    assert (finding.kind, finding.score) == ("boundary", pytest.approx(4 / 23))


def test_document_suspicion_sums_its_findings() -> None:
    one, two = Document("one", "alpha"), Document("two", "beta gamma")
    right = Document("right", "delta epsilon zeta", (Span(0, 5, "Disease"),))
    predictions = [
        opinion(one, [Span(0, 5, "Disease")], sure=0.6),  # and 0.1 for O and each other tag
        opinion(two, [Span(0, 4, "Disease"), Span(5, 10, "Disease")], sure=0.2),  # and 0.2 for O
        opinion(right, right.spans, sure=0.75),
    ]
    found = review_annotations([one, two, right], predictions, TAGS)
    # The mean probability of O is (0.1 + 2 * 0.2 + 2 * 0.75) / 5 = 0.4.
    scores = {"one": 0.1 / (0.1 + 0.4), "two": 0.2 / (0.2 + 0.4)}  # 1/5 and 1/3
    for finding in found.findings:
        assert finding.score == pytest.approx(scores[finding.document])
    assert found.findings[0].document == "one"
    assert [
        (suspect.document_id, suspect.finding_count) for suspect in found.suspect_documents
    ] == [
        ("two", 2),
        ("one", 1),
    ]
    suspicions = [suspect.suspicion for suspect in found.suspect_documents]
    assert suspicions == pytest.approx([2 * np.log(3), np.log(5)])  # 2.2 and 1.6


def test_phrase_counts_exclude_the_finding_and_masked_ranges() -> None:
    texts = ["Renal failure, renal failure.", "renal  failure", "RENAL FAILURE"]
    documents = [
        Document("1", texts[0], (Span(0, 13, "Disease"), Span(15, 28, "Disease"))),
        Document("2", texts[1]),
        Document("3", texts[2], masked_ranges=((0, 5),)),
    ]
    phrase = phrase_from_text("renal failure")
    tagged = [TAGS.encode(document) for document in documents]
    phrase_counts = count_phrases(documents, tagged, {phrase}, TAGS)
    assert phrase_counts.occurrence_counts == {phrase: 3}
    assert phrase_counts.annotated_counts == {(phrase, "Disease"): 2}
    even = phrase_counts.log_odds(
        phrase, "Disease", is_annotated=True
    )  # one is annotated, and one is not
    assert even == pytest.approx(0)
    assert phrase_counts.log_odds(phrase, "Disease", is_annotated=False) == pytest.approx(np.log(5))
    assert phrase_counts.log_odds(phrase, "Chemical", is_annotated=False) == pytest.approx(
        np.log(0.2)
    )


def test_suspicion_rises_with_contrary_phrase_counts() -> None:
    forgotten = Document("1", "alpha beta")
    others = [Document(f"{i}", "alpha", (Span(0, 5, "Disease"),)) for i in range(2, 9)]
    documents = [forgotten, *others]
    predictions = [
        opinion(forgotten, [Span(0, 5, "Disease"), Span(6, 10, "Disease")]),
        *(opinion(one, one.spans) for one in others),
    ]
    first, second = review_annotations(documents, predictions, TAGS).findings
    assert (first.text, second.text) == ("alpha", "beta")
    assert first.score < 0.1 < second.score


@given(st.randoms(use_true_random=False))
def test_review_ignores_document_order(chance) -> None:
    documents = toy_documents(8, seed=3)
    predictions = [
        opinion(one, chance.sample(one.spans, len(one.spans) // 2) if i % 2 else one.spans)
        for i, one in enumerate(documents)
    ]
    order = chance.sample(range(8), 8)
    shuffled = review_annotations(
        [documents[i] for i in order], [predictions[i] for i in order], TAGS
    )
    assert shuffled.findings == (found := review_annotations(documents, predictions, TAGS)).findings
    assert shuffled.suspect_documents == found.suspect_documents
    assert sum(suspect.finding_count for suspect in found.suspect_documents) == len(found.findings)


def test_agreeing_model_has_no_findings_and_dropped_spans_are_counted() -> None:
    documents = toy_documents(3)
    foreign = Document("x", "alpha beta", (Span(0, 5, "Drug"),))
    predictions = [*(opinion(one, one.spans) for one in documents), opinion(foreign, ())]
    found = review_annotations([*documents, foreign], predictions, TAGS)
    assert (found.findings, found.suspect_documents) == ((), ())
    assert [entry.reason for entry in found.dropped] == ["label unknown"]
    assert found.to_json()["annotations"] == sum(len(one.spans) for one in documents)


@pytest.mark.parametrize(
    ("spans", "error", "code"),
    [
        ((), InputError, "no-annotations"),
        ((Span(0, 5, "Drug"),), LabelError, "labels-unknown-to-model"),
        ((Span(0, 8, "Disease"),), InputError, "no-known-words"),
    ],
)
def test_nothing_to_review_is_refused(spans, error, code: str) -> None:
    document = Document("1", "alpha beta", spans)
    with raises(error, code):
        review_annotations([document], [opinion(document, ())], TAGS)


@pytest.fixture(scope="module")
def crossing(tiny_base) -> CrossValidationConfig:
    base = BaseModelRef(str(tiny_base("bert-uncased")))
    return replace(CROSSING, recipe=replace(CROSSING.recipe, base=base))


def test_planted_errors_are_found_by_cross_validation(crossing, tmp_path) -> None:
    documents = toy_documents(40, seed=5)
    forgotten, mistyped = documents[3], documents[11]
    gone, kept = forgotten.spans[0], forgotten.spans[1:]
    retyped = replace(mistyped.spans[0], label=LABELS[1 - LABELS.index(mistyped.spans[0].label)])
    documents[3] = replace(forgotten, spans=kept)
    documents[11] = replace(mistyped, spans=(retyped, *mistyped.spans[1:]))
    seen = []
    predictions = cross_validate(
        documents, tag_set=TAGS, config=crossing, cache_dir=tmp_path, on_progress=seen.append
    )
    top = review_annotations(documents, predictions, TAGS).findings[:2]
    assert {(finding.document, finding.kind) for finding in top} == {
        (forgotten.id, "missed"),
        (mistyped.id, "type"),
    }
    assert {finding.suggested for finding in top} == {gone, mistyped.spans[0]}
    assert {now.fold for now in seen} == {1, 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold-1", "fold-2"]

    def never(_) -> None:
        raise AssertionError

    order = list(range(len(documents)))[::-1]  # finished folds are found again in any order
    again = cross_validate(
        [documents[place] for place in order],
        tag_set=TAGS,
        config=crossing,
        cache_dir=tmp_path,
        on_progress=never,
    )
    for place, one in zip(order, again, strict=True):
        assert np.array_equal(one.log_probs, predictions[place].log_probs)
        assert np.array_equal(one.predicted_tags, predictions[place].predicted_tags)


def test_folds_train_on_other_documents_only(monkeypatch, tmp_path) -> None:
    """No fold trains on a text that differs only in case and white space."""
    documents = toy_documents(12, seed=6)
    documents += [
        replace(one, id=f"again-{one.id}", text=f" {one.text.upper()}", spans=())
        for one in documents[:5]
    ]
    learnt: list[set[str]] = []
    judged: list[list[Document]] = []

    def train(split, **_):
        learnt.append({normalize_text(one.text) for one in (*split.train, *split.dev)})
        return SimpleNamespace(tagger=None)

    def judge(_, held):
        judged.append(held)
        return [opinion(one, ()) for one in held]

    monkeypatch.setattr("tagalong.training.curate.cross_validation.train_encoder", train)
    monkeypatch.setattr(
        "tagalong.training.curate.cross_validation.predict_tag_distributions", judge
    )
    crossing = replace(CROSSING, n_folds=3)
    cross_validate(documents, tag_set=TAGS, config=crossing, cache_dir=tmp_path)
    every = {normalize_text(one.text) for one in documents}
    assert len(judged) == 3
    for others, held in zip(learnt, judged, strict=True):
        assert others == every - {normalize_text(one.text) for one in held}
    assert Counter(one.id for held in judged for one in held) == Counter(
        one.id for one in documents
    )


def test_cross_validation_takes_the_word_rule_that_the_data_needs(monkeypatch, tmp_path) -> None:
    texts = [f"p53null mouse {number}" for number in range(6)]
    documents = tuple(Document(text, text, (Span(0, 3, LABELS[0]),)) for text in texts)
    rules = []

    def train(split, **_):
        rules.append(split.word_rule)
        return SimpleNamespace(tagger=split.tag_set)

    def judge(tags, held):
        sizes = [len(tags.word_rule.find_words(one.text)) for one in held]
        even = -np.log(len(tags))
        return [
            TagDistribution(np.full((size, len(tags)), even), np.zeros(size, np.intp))
            for size in sizes
        ]

    place = "tagalong.training.curate.cross_validation"
    monkeypatch.setattr(f"{place}.train_encoder", train)
    monkeypatch.setattr(f"{place}.predict_tag_distributions", judge)
    corpus = Corpus(documents, (), (), LABELS, ())
    store = ModelStore(tmp_path)
    with predict_with_cross_validation(corpus, store, CROSSING, lambda _: None) as model:
        [folder] = (tmp_path / "encoder").glob(".review-*[0-9a-f]")
        stored = cross_validate(documents, tag_set=model.tag_set, config=CROSSING, cache_dir=folder)
    assert rules == [PARTS] * CROSSING.n_folds  # stored folds are not trained again
    assert [len(one.predicted_tags) for one in stored] == [5] * len(documents)
    assert "parts" in model.note
    review = review_annotations(documents, model.tag_distributions, model.tag_set)
    assert not review.dropped
    assert len(review.findings) == len(documents)


def test_fold_needs_annotations_in_other_folds(crossing, tmp_path) -> None:
    documents = [Document(f"{i}", f"Text {i}.") for i in range(6)]
    with pytest.raises(TrainingError):
        cross_validate(documents, tag_set=TAGS, config=crossing, cache_dir=tmp_path)


def test_crossing_spans_have_the_deciding_kind() -> None:
    documents = toy_documents(3)
    key = CROSSING.key(documents, TAGS)
    assert CROSSING.key(documents[::-1], TAGS) == key
    assert replace(CROSSING, n_folds=3).key(documents, TAGS) != key
    assert CROSSING.key(documents[1:], TAGS) != key
    assert CROSSING.key(documents, TagSet(LABELS[::-1])) != key
    assert CROSSING.key(documents, TagSet(LABELS, PARTS)) != key
