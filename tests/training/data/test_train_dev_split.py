"""The train and dev split: no text on both sides, fingerprints and labels."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, DroppedAnnotation, Span
from tagalong.ner.errors import LabelError
from tagalong.training.corpus import Corpus, read_corpus
from tagalong.training.corpus.corpus import CorpusSource
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.data.train_dev_split import split_train_dev
from tests.errors import raises
from tests.toy_corpus import LABELS, toy_documents


def corpus_of(documents, path="somewhere/export.json"):
    source = CorpusSource(path, "JSON lines", len(documents))
    return Corpus(tuple(documents), (), (), LABELS, (source,))


def keys(documents):
    return {normalize_text(document.text) for document in documents}


@given(share=st.floats(0.05, 0.5), copies=st.integers(1, 3))
def test_held_out_texts_are_never_in_train(share, copies):
    documents = [
        Document(f"{one.id}/{copy}", one.text + " " * copy, one.spans)
        for one in toy_documents(30)
        for copy in range(copies)
    ]
    sides = split_train_dev(corpus_of(documents), dev_share=share)
    assert keys(sides.train).isdisjoint(keys(sides.dev))
    assert len(sides.train) + len(sides.dev) == len(documents)


def test_copies_of_dev_texts_are_removed_from_train():
    ours = toy_documents(10)
    again = [Document(f"{one.id}-again", one.text.upper(), one.spans) for one in ours[:4]]
    sides = split_train_dev(corpus_of([*ours, *again]), corpus_of(ours[:4], "dev.jsonl"))
    assert keys(sides.train).isdisjoint(keys(sides.dev))
    assert sides.overlapping_documents == 8
    assert [document.id for document in sides.train] == [one.id for one in ours[4:]]


def test_fingerprint_covers_documents_and_sides_but_not_files_or_order():
    documents = toy_documents(12)
    here = split_train_dev(corpus_of(documents[:9]), corpus_of(documents[9:]))
    there = split_train_dev(
        corpus_of(documents[8::-1], "elsewhere.json"), corpus_of(documents[9:], "x")
    )
    swapped = split_train_dev(corpus_of(documents[9:]), corpus_of(documents[:9]))
    assert here.fingerprint == there.fingerprint
    assert here.fingerprint != swapped.fingerprint
    assert "somewhere" not in str(here.to_json())  # paths of this machine are not published


def test_dev_labels_missing_from_train_are_counted():
    ours, foreign = toy_documents(10), Span(0, 4, "Gene")
    dev = [Document("d1", "Case 1, here.", (foreign, Span(5, 6, "Disease"))),
           Document("d2", "Case 2, there.", (foreign,))]  # fmt: skip
    sides = split_train_dev(corpus_of(ours), corpus_of(dev))
    assert sides.dev_only_labels == {"Gene": 2}
    assert split_train_dev(corpus_of(ours), corpus_of(ours[:4])).dev_only_labels == {}
    # Held out of the same corpus: in the label set, but not in train.
    only = [Document(f"{number}", f"Case {number}") for number in range(30)]
    marked = next(iter(split_train_dev(corpus_of(only)).dev))
    only = [Document(one.id, one.text, (foreign,) if one == marked else ()) for one in only]
    assert split_train_dev(corpus_of(only)).dev_only_labels == {"Gene": 1}


def all_unknown(*labels, path="somewhere/export.json"):
    lost = [DroppedAnnotation(label, "Case", "label unknown", 0, 4, "1") for label in labels]
    empty = [replace(one, spans=()) for one in toy_documents(6)]
    return replace(corpus_of(empty, path), dropped=tuple(lost))


def test_labels_outside_the_config_are_named():
    foreign = all_unknown("Drug", "Gene", "Drug")
    with raises(LabelError, "labels-outside-config") as raised:
        split_train_dev(foreign)
    assert "export.json" in str(raised.value)
    assert "'Drug' (2), 'Gene' (1)" in str(raised.value)
    with raises(LabelError, "labels-outside-config") as raised:
        split_train_dev(corpus_of(toy_documents(6)), all_unknown("Gene", path="dev.jsonl"))
    assert "dev.jsonl" in str(raised.value)
    assert "Chemical" in str(raised.value)
    with raises(LabelError, "labels-outside-config") as raised:
        split_train_dev(all_unknown(*(f"L{number}" for number in range(8))))
    assert "'L4' (1) and 3 more" in str(raised.value)


def test_some_unknown_labels_are_accepted():
    some = replace(all_unknown("Gene"), documents=tuple(toy_documents(6)))
    assert split_train_dev(some).train
    # A corpus without annotations is refused by the training.
    assert split_train_dev(all_unknown()).train


def test_config_of_another_project_is_refused(tmp_path):
    path = tmp_path / "export.jsonl"
    entity = {"start": 0, "end": 7, "label": "Drug"}
    path.write_text(json.dumps({"text": "Aspirin.", "entities": [entity]}))
    config = LabelConfig("label", "text", "text", ("Disease",), {"Disease": "Disease"})
    corpus = read_corpus([path], ReadOptions(label_config=config))
    with raises(LabelError, "labels-outside-config"):
        split_train_dev(corpus)


def test_manifest_counts_train_entities_by_label():
    data = split_train_dev(
        corpus_of(toy_documents(10)), corpus_of(toy_documents(5, seed=4))
    ).to_json()
    counts = data["train"]["labels"]
    assert set(counts) == set(LABELS)
    assert sum(counts.values()) == data["train"]["entities"]
    assert "labels" not in data["dev"]
