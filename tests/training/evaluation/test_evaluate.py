"""Evaluation: scores, intervals, comparisons and warnings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import InputError
from tagalong.ner.length_buckets import LENGTH_BUCKETS
from tagalong.ner.scoring import Counts, Scores, score_spans
from tagalong.ner.tags import TagSet
from tagalong.training.evaluation.counts import count_by_document
from tagalong.training.evaluation.evaluate import EvaluationOptions, compute_dev_strict_f1, evaluate
from tests.errors import raises
from tests.spans import count_cells

# BC5CDR, test, document 8701013 (public domain).
TEXT = (
    "Famotidine-associated delirium. A series of six cases. Famotidine is a histamine H2-receptor"
)
LABELS = ("Chemical", "Disease")
GOLD = Document("1", TEXT, (Span(0, 10, "Chemical"), Span(22, 30, "Disease")))
QUICK = EvaluationOptions(resamples=50)


def prediction_of(*spans: Span, version: str = "v") -> Prediction:
    return Prediction(spans, 1.0, version)


spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, min(start + length, len(TEXT)), label),
        st.integers(0, len(TEXT) - 1),
        st.integers(1, 30),
        st.sampled_from(LABELS),
    ),
    max_size=6,
)
corpora = st.lists(st.tuples(spans, spans), min_size=1, max_size=5)


def as_corpus(pairs):
    gold = [Document(str(i), TEXT, tuple(one)) for i, (one, _) in enumerate(pairs)]
    return gold, [prediction_of(*other) for _, other in pairs]


@given(corpora)
@settings(max_examples=40)
def test_scores_equal_the_scorer(pairs):
    gold, predicted = as_corpus(pairs)
    report = evaluate(gold, predicted, options=EvaluationOptions(labels=LABELS, resamples=5))
    total = sum((score_spans(TEXT, *pair) for pair in pairs), Scores())
    for scheme in ("strict", "relaxed"):
        tally = getattr(total, scheme)
        assert getattr(report.overall, scheme).counts == tally.total
        for length in LENGTH_BUCKETS:
            assert getattr(report.by_length[length], scheme).counts == count_cells(tally, length)
        for label in LABELS:
            assert getattr(report.by_label[label], scheme).counts == count_cells(tally, label)
            for length in LENGTH_BUCKETS:
                cell = tally.cells.get((label, length), Counts())
                of_label = report.by_label_and_length[label]
                assert getattr(of_label[length], scheme).counts == cell


@given(corpora)
@settings(max_examples=40)
def test_errors_sum_to_false_negatives_and_false_positives(pairs):
    gold, predicted = as_corpus(pairs)
    report = evaluate(gold, predicted, options=EvaluationOptions(resamples=5))
    counts = report.overall.strict.counts
    kinds = {kind: entry.count for kind, entry in report.errors_by_type.items()}
    paired = sum(kinds.values()) - kinds["missed"] - kinds["spurious"]
    assert (paired + kinds["missed"], paired + kinds["spurious"]) == (counts.fn, counts.fp)


def test_intervals_contain_the_score_and_narrow_with_documents():
    chance = np.random.default_rng(0)
    gold, predicted = [], []
    for i in range(400):
        gold.append(Document(str(i), TEXT, GOLD.spans))
        predicted.append(prediction_of(*(span for span in GOLD.spans if chance.random() < 0.7)))
    widths = []
    for documents in (40, 400):
        figure = evaluate(gold[:documents], predicted[:documents]).overall.strict
        low, high = figure.interval
        assert low < figure.counts.f1 < high
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / np.sqrt(10), rel=0.4)


def test_perfect_prediction_has_score_1_and_no_interval_width():
    figure = evaluate([GOLD] * 3, [prediction_of(*GOLD.spans)] * 3, options=QUICK).overall.strict
    assert figure.counts.f1 == 1.0
    assert figure.interval == (1.0, 1.0)


def test_rare_label_always_found_has_no_interval_width():
    common = Document("1", TEXT, (Span(55, 65, "Chemical"),))
    gold = [*[common] * 38, *[Document("2", TEXT, (*common.spans, Span(22, 30, "Disease")))] * 2]
    better = [prediction_of(*document.spans) for document in gold]
    worse = [prediction_of(*common.spans), *[prediction_of()] * 39]
    report = evaluate(gold, better, against=worse, options=EvaluationOptions(resamples=200))
    assert report.by_label["Disease"].strict.interval == (1.0, 1.0)
    assert report.by_label_and_length["Disease"]["1"].relaxed.interval == (1.0, 1.0)
    assert report.comparison is not None
    strict = report.comparison.by_label["Disease"].strict
    assert strict.other_f1_interval == (0.0, 0.0)
    assert strict.interval == (1.0, 1.0)
    # About 13 % of the resamples have neither document and are undefined.
    assert 1 / 185 < strict.p_value < 1 / 160
    missed = evaluate(gold, worse, options=QUICK)
    assert missed.by_label["Disease"].strict.interval == (0.0, 0.0)


@given(corpora)
@settings(max_examples=30)
def test_perfect_prediction_has_score_1_in_every_stratum(pairs):
    gold, _ = as_corpus(pairs)
    report = evaluate(gold, [prediction_of(*document.spans) for document in gold], options=QUICK)
    strata = [report.overall, *report.by_label.values(), *report.by_length.values()]
    for figures in strata:
        sure = (1.0, 1.0) if figures.strict.counts.gold else (0.0, 0.0)
        assert figures.strict.interval == figures.relaxed.interval == sure


def test_system_does_not_differ_from_itself():
    half = [
        prediction_of(*GOLD.spans),
        prediction_of(),
        prediction_of(GOLD.spans[0]),
    ]  # other documents and another score
    report = evaluate([GOLD] * 3, half, against=half, options=QUICK)
    low, high = report.overall.strict.interval
    assert low < high
    assert report.comparison is not None
    for differences in (report.comparison.overall, *report.comparison.by_length.values()):
        assert (differences.strict.difference, differences.strict.p_value) == (0.0, 1.0)
        assert differences.relaxed.interval == (0.0, 0.0)


def test_better_system_is_significantly_better():
    gold = [Document(str(i), TEXT, GOLD.spans) for i in range(30)]
    better = [prediction_of(*GOLD.spans, version="better")] * 30
    worse = [prediction_of(GOLD.spans[0], version="worse")] * 15 + better[15:]
    report = evaluate(gold, better, against=worse, options=EvaluationOptions(resamples=200))
    assert report.model == "better"
    assert report.comparison is not None
    assert report.comparison.model == "better, worse"
    strict = report.comparison.overall.strict
    assert strict.other_f1 == pytest.approx(6 / 7)  # recall 45 / 60, precision 1
    assert strict.difference == pytest.approx(1 / 7)
    low, high = strict.interval
    assert 0 < low < strict.difference < high
    assert strict.p_value == 1 / 201
    their_low, their_high = strict.other_f1_interval
    assert (
        their_low < strict.other_f1 < their_high < 1
    )  # the better system has 1 without an interval
    chemical, disease = (report.comparison.by_label[label].strict for label in LABELS)
    assert (chemical.other_f1, chemical.difference, chemical.p_value) == (1.0, 0.0, 1.0)
    assert chemical.interval == (0.0, 0.0)
    assert disease.other_f1 == pytest.approx(2 / 3)  # recall 15 / 30
    assert disease.difference == pytest.approx(1 / 3)
    low, high = disease.interval
    assert 0 < low < disease.difference < high
    # "Famotidine" and "delirium" have one word each, so the other strata are empty.
    assert report.comparison.by_length["3+"].strict.p_value == 1.0


def test_gold_dropped_by_flat_bio_is_reported_and_counted():
    nested = Document("1", TEXT, (*GOLD.spans, Span(0, 30, "Disease"), Span(2, 10, "Chemical")))
    flat = prediction_of(Span(0, 30, "Disease"))
    report = evaluate([nested], [flat], options=QUICK)
    assert report.dropped_by_flat_bio.by_reason == {"overlap": 2, "edge inside a word": 1}
    assert report.overall.strict.counts == Counts(tp=1, tp_predicted=1, fp=0, fn=3)
    (told,) = (one for one in report.warnings if "3 of 4 gold entities do not fit flat BIO" in one)
    assert told.endswith("missed unless predicted.")  # as by a finer word rule


def test_labels_of_only_one_side_are_named():
    predicted = prediction_of(Span(0, 10, "Chemical"), Span(55, 65, "Drug"))
    report = evaluate(
        [GOLD], [predicted], options=EvaluationOptions(("Chemical", "Drug"), resamples=5)
    )
    assert report.unknown_labels == {"Disease": 1}
    assert report.by_label["Disease"].strict.counts == Counts(fn=1)
    assert list(report.by_label) == ["Chemical", "Drug", "Disease"]
    assert any("are missed: Disease (1)." in one for one in report.warnings)
    assert any("are spurious: Drug (1)." in one for one in report.warnings)


def test_predictions_in_masked_ranges_are_counted_and_reported():
    open_truth = Document("1", TEXT, (Span(0, 10, "Chemical"),), masked_ranges=((22, 30), (50, 53)))
    answers = prediction_of(
        Span(0, 10, "Chemical"), Span(11, 30, "Disease"), Span(31, 35, "Disease")
    )
    report = evaluate([open_truth], [answers], options=QUICK)
    assert report.overall.strict.counts.fp == 2
    closed = evaluate([GOLD], [answers], options=QUICK)
    assert sum("truth" in warning for warning in report.warnings) == 1
    assert not any("truth" in warning for warning in closed.warnings)


def test_without_gold_entities_every_prediction_is_a_false_positive_with_warning():
    report = evaluate(
        [Document("1", TEXT)], [prediction_of(Span(0, 10, "Chemical"))], options=QUICK
    )
    assert report.overall.strict.counts == Counts(fp=1)
    assert report.overall.strict.interval == (0.0, 0.0)
    assert any("Gold has no entities" in one for one in report.warnings)


def test_empty_gold_and_predictions_report_zeros():
    report = evaluate([Document("1", "")], [prediction_of()], options=QUICK)
    assert report.overall.strict.counts == Counts()
    assert report.by_label == {}
    assert report.calibration is None


def test_no_documents_are_refused():
    with raises(InputError, "gold-without-documents"):
        evaluate([], [])


def test_missing_prediction_is_a_value_error():
    with pytest.raises(ValueError, match="zip"):
        evaluate([GOLD, GOLD], [prediction_of()])


def test_document_counts_have_the_documented_shape():
    table = count_by_document(
        [GOLD, GOLD], [prediction_of(), prediction_of(Span(0, 10, "Chemical"))], LABELS
    )
    assert table.shape == (2, 2, 2, 3, 4)
    assert table[1, 0, 0, 0].tolist() == [1, 1, 0, 0]
    assert table.sum(axis=(1, 2, 3, 4)).tolist() == [2 * 2, 2 * 3]


def test_dev_score_equals_seqeval_without_dropped_spans():
    tag_set = TagSet(LABELS)
    nested = Document("1", TEXT, (*GOLD.spans, Span(0, 21, "Disease")))  # "Famotidine" is lost
    half = prediction_of(GOLD.spans[1])
    assert compute_dev_strict_f1([GOLD], [half], tag_set) == pytest.approx(2 / 3)
    assert compute_dev_strict_f1([nested], [half], tag_set) == pytest.approx(2 / 3)
    inside = Document("1", TEXT, (GOLD.spans[1], Span(2, 10, "Chemical")))  # starts inside a word
    assert compute_dev_strict_f1([inside], [half], tag_set) == 1.0
    assert evaluate([nested], [half], options=QUICK).overall.strict.counts.f1 == 0.5


@pytest.mark.parametrize("documents", [[], [Document("1", "")], [Document("1", TEXT)]])
def test_dev_score_is_zero_without_entities(documents):
    assert (
        compute_dev_strict_f1(documents, [prediction_of()] * len(documents), TagSet(LABELS)) == 0.0
    )
