"""No text is on both sides of a training, however it is given."""

from hypothesis import given
from hypothesis import strategies as st

from ner.document import Document, Span
from tests.toy_corpus import LABELS, toy_documents
from training.corpus import Corpus
from training.corpus.corpus import Source
from training.corpus.split import text_key
from training.sides import choose_sides


def corpus_of(documents, path="somewhere/export.json"):
    source = Source(path, "JSON lines", len(documents))
    return Corpus(tuple(documents), (), (), LABELS, (source,))


def keys(documents):
    return {text_key(document.text) for document in documents}


@given(share=st.floats(0.05, 0.5), copies=st.integers(1, 3))
def test_held_out_texts_are_never_learnt_from(share, copies):
    documents = [
        Document(f"{one.id}/{copy}", one.text + " " * copy, one.spans)
        for one in toy_documents(30)
        for copy in range(copies)
    ]
    sides = choose_sides(corpus_of(documents), dev_share=share)
    assert keys(sides.train).isdisjoint(keys(sides.dev))
    assert len(sides.train) + len(sides.dev) == len(documents)


def test_every_copy_of_a_dev_text_leaves_train():
    ours = toy_documents(10)
    again = [Document(f"{one.id}-again", one.text.upper(), one.spans) for one in ours[:4]]
    sides = choose_sides(corpus_of([*ours, *again]), corpus_of(ours[:4], "dev.jsonl"))
    assert keys(sides.train).isdisjoint(keys(sides.dev))
    assert sides.dropped == 8
    assert [document.id for document in sides.train] == [one.id for one in ours[4:]]


def test_the_fingerprint_knows_documents_and_sides_but_not_files_and_order():
    documents = toy_documents(12)
    here = choose_sides(corpus_of(documents[:9]), corpus_of(documents[9:]))
    there = choose_sides(
        corpus_of(documents[8::-1], "elsewhere.json"), corpus_of(documents[9:], "x")
    )
    swapped = choose_sides(corpus_of(documents[9:]), corpus_of(documents[:9]))
    assert here.fingerprint == there.fingerprint
    assert here.fingerprint != swapped.fingerprint
    assert "somewhere" not in str(here.to_json())  # a folder of this machine is nobody's business


def test_what_dev_has_and_train_lacks_is_counted():
    ours, foreign = toy_documents(10), Span(0, 4, "Gene")
    dev = [Document("d1", "Case 1, here.", (foreign, Span(5, 6, "Disease"))),
           Document("d2", "Case 2, there.", (foreign,))]  # fmt: skip
    sides = choose_sides(corpus_of(ours), corpus_of(dev))
    assert sides.unlearnt == {"Gene": 2}
    assert choose_sides(corpus_of(ours), corpus_of(ours[:4])).unlearnt == {}
    # Held out of the very corpus: in the label set, but nothing teaches it.
    only = [Document(f"{number}", f"Case {number}") for number in range(30)]
    marked = next(iter(choose_sides(corpus_of(only)).dev))
    only = [Document(one.id, one.text, (foreign,) if one == marked else ()) for one in only]
    assert choose_sides(corpus_of(only)).unlearnt == {"Gene": 1}
