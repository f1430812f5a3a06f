"""Checks and counts of corpora."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import DROP_REASONS, Document, DroppedAnnotation, Span
from tagalong.ner.length_buckets import LENGTH_BUCKETS
from tagalong.training.corpus import Corpus, check_corpus, count_entities
from tests.odd_documents import LABELS, odd_documents

TEXT = "Acute renal failure after Ca2+."
DOCUMENTS = (
    Document("1", TEXT, (Span(0, 19, "Disease"), Span(6, 19, "Disease"), Span(26, 28, "Chemical"))),
    Document("2", "ACUTE renal failure  after Ca2+.", (Span(6, 19, "Disease"),)),
    Document("3", "😀"),
)
OUTVOTED = DroppedAnnotation("Disease", "after", "outvoted", 20, 25, "1")
CORPUS = Corpus(DOCUMENTS, (OUTVOTED,), (), ("Chemical", "Disease"), ())


def test_check_reports_dropped_spans_with_reasons() -> None:
    check = check_corpus(CORPUS)
    assert (check.documents, check.documents_without_entities, check.repeated_documents) == (
        3,
        1,
        1,
    )
    assert (check.kept_entities, check.dropped_count) == (3, 2)
    assert {reason: [lost.text for lost in group] for reason, group in check.dropped.items()} == {
        "overlap": ["renal failure"],
        "outvoted": ["after"],
    }
    assert check.word_rule_choice.lost == {"scripts": 1, "parts": 0, "characters": 0}
    assert check.word_rule_choice.rule.name == "parts"  # by it, "Ca" of "Ca2" is an entity
    report = json.loads(json.dumps(check.to_json()))
    assert report["entities"] == report["kept"] + sum(
        one["count"] for one in report["lost"].values()
    )
    assert report["lost"]["outvoted"] == {
        "count": 1,
        "by_label": {"Disease": 1},
        "examples": [
            {"document": "1", "label": "Disease", "text": "after", "start": 20, "end": 25}
        ],
    }
    assert report["fingerprint"] == CORPUS.fingerprint


@given(st.lists(odd_documents(), max_size=4), st.sets(st.sampled_from(LABELS), min_size=1))
def test_each_entity_is_kept_or_dropped(documents: list[Document], known: set[str]) -> None:
    check = check_corpus(Corpus(tuple(documents), (), (), tuple(sorted(known)), ()))
    assert check.kept_entities + check.dropped_count == sum(
        len(document.spans) for document in documents
    )
    assert list(check.dropped) == [reason for reason in DROP_REASONS if reason in check.dropped]


def test_counts_by_label_and_length() -> None:
    stats = count_entities(DOCUMENTS, ["Disease", "Gene"])
    assert stats.labels == ("Disease", "Gene", "Chemical")
    assert (stats.documents, stats.documents_without_entities, stats.words) == (3, 1, 15)
    assert stats.characters == sum(len(document.text) for document in DOCUMENTS)
    assert stats.count_by_length("Disease") == [0, 2, 1]
    assert stats.count_by_length("Gene") == [0, 0, 0]
    assert stats.count_by_length() == [1, 2, 1]
    report = json.loads(json.dumps(stats.to_json()))
    assert report["by_label"]["Chemical"] == {"entities": 1, "by_length": {"1": 1, "2": 0, "3+": 0}}
    assert report["entities"] == 4


@given(st.lists(odd_documents(), max_size=4))
def test_strata_add_up(documents: list[Document]) -> None:
    stats = count_entities(documents)
    by_label = [stats.count_by_length(label) for label in stats.labels]
    assert [sum(column) for column in zip(*by_label, strict=True)] == (
        stats.count_by_length() if by_label else []
    )
    assert sum(stats.count_by_length()) == sum(len(document.spans) for document in documents)
    assert len(stats.count_by_length()) == len(LENGTH_BUCKETS)
