"""Records whose annotations state their texts: how a file counts offsets, and what is lost."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tagalong.ner.document import Span
from tagalong.ner.errors import OffsetError
from tagalong.training.corpus import Corpus, read_corpus
from tests.errors import raises

TEXT = "\U0001f600 Fever & chills,\r\ncafé \U0001f600 or nausea."
WORDS = ("Fever", "chills", "café", "nausea")
SPANS = tuple(Span(TEXT.find(one), TEXT.find(one) + len(one), "Disease") for one in WORDS)
# What each tool would count as the length of a text.
WIDTHS: Mapping[str, Callable[[str], int]] = {
    "UTF-16 offsets": lambda text: len(text.encode("utf-16-le")) // 2,
    "byte offsets": lambda text: len(text.encode()),
    "CRLF counted as one": lambda text: len(text.replace("\r\n", "\n")),
    "HTML escapes counted": lambda text: len(text.replace("&", "&amp;")),
    "shifted offsets": lambda text: len(text) + 1,
}

Regions = list[tuple[int, int, str]]  # start, end and stated text


def to_line(text: str, regions: Regions) -> dict[str, Any]:
    entities = [{"start": a, "end": b, "label": "Disease", "text": c} for a, b, c in regions]
    return {"text": text, "entities": entities}


def to_prediction(text: str, regions: Regions) -> dict[str, Any]:
    return {**to_line(text, regions), "model_version": "1"}


def to_doccano(text: str, regions: Regions) -> dict[str, Any]:
    entities = [
        {"id": 1, "start_offset": a, "end_offset": b, "label": "Disease", "text": c}
        for a, b, c in regions
    ]
    return {"text": text, "entities": entities, "relations": []}


def to_prodigy(text: str, regions: Regions) -> dict[str, Any]:
    spans = [{"start": a, "end": b, "label": "Disease", "text": c} for a, b, c in regions]
    return {"text": text, "spans": spans, "answer": "accept"}


def to_tokenized_prodigy(text: str, regions: Regions) -> dict[str, Any]:
    tokens = [{"start": a, "end": b, "text": c} for a, b, c in regions]
    spans = [
        {"start": a, "end": b, "label": "Disease", "token_start": i, "token_end": i}
        for i, (a, b, _) in enumerate(regions)
    ]
    return {"text": text, "spans": spans, "tokens": tokens, "answer": "accept"}


def to_spacy(text: str, regions: Regions) -> dict[str, Any]:
    ents = [{"start": a, "end": b, "label": "Disease", "text": c} for a, b, c in regions]
    return {"text": text, "ents": ents}


FORMATS = (to_line, to_prediction, to_doccano, to_prodigy, to_tokenized_prodigy, to_spacy)


def count_regions(text: str, width: Callable[[str], int]) -> Regions:
    starts = ((text.find(one), one) for one in WORDS)
    return [(width(text[:at]), width(text[:at] + one), one) for at, one in starts if at >= 0]


@pytest.fixture
def read(tmp_path: Path):
    def read(*records: Any) -> Corpus:
        path = tmp_path / "x"
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
        return read_corpus([path])

    return read


@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize("counting", [*WIDTHS, "code points"])
def test_counting_that_fits_the_stated_texts_is_taken(read, make, counting: str) -> None:
    width = WIDTHS.get(counting, len)
    unstated = make(f"{TEXT} ", [(*one[:2], "") for one in count_regions(TEXT, width)])
    corpus = read(unstated, make(TEXT, count_regions(TEXT, width)), make("Nothing.", []))
    assert [one.spans for one in corpus.documents] == [SPANS, SPANS, ()]
    assert corpus.dropped == ()
    found = {one.kind: one.count for one in corpus.warnings}
    assert found.pop("made by a model", 0) in (0, 3)
    assert found.keys() == {counting} - {"code points"}


@pytest.mark.parametrize("make", FORMATS)
def test_region_that_contradicts_its_text_in_every_counting_is_unknown(read, make) -> None:
    regions = count_regions(TEXT, WIDTHS["UTF-16 offsets"])
    start, end, _ = regions[1]
    corpus = read(make(TEXT, [regions[0], (start, end, "tremor"), *regions[2:]]))
    (document,) = corpus.documents
    assert document.spans == (SPANS[0], *SPANS[2:])
    assert document.masked_ranges == ((SPANS[1].start, SPANS[1].end),)
    assert [(one.reason, one.text) for one in corpus.dropped] == [("text differs", "tremor")]


def test_one_region_far_off_shows_no_shift(read) -> None:
    near = read(to_line("The fever", [(2, 7, "fever")]))
    assert near.documents[0].spans == (Span(4, 9, "Disease"),)
    far = read(to_line("The patient had a fever", [(2, 7, "fever")]))
    assert far.documents[0].spans == ()
    assert [one.reason for one in far.dropped] == ["text differs"]


def test_text_that_few_regions_fit_is_not_taken(tmp_path: Path) -> None:
    regions = [
        {"type": "labels", "value": {"start": 0, "end": 5, "text": text, "labels": ["X"]}}
        for text in ("Fever", "Chill", "Heart")
    ]
    data = {"text": "Lithium was given.", "note": "Fever"}
    task = {"id": 1, "data": data, "annotations": [{"result": regions}]}
    (tmp_path / "x.json").write_text(json.dumps([task]))
    with raises(OffsetError, "task-with-another-text"):
        read_corpus([tmp_path / "x.json"])


def test_few_documents_wait_for_a_stated_text(read, monkeypatch: pytest.MonkeyPatch) -> None:
    regions = count_regions(TEXT, WIDTHS["UTF-16 offsets"])
    unstated = [to_line(f"{TEXT}{end}", [(*one[:2], "") for one in regions]) for end in "12"]
    records = [*unstated, to_line(TEXT, regions)]
    assert [one.spans for one in read(*records).documents] == [SPANS] * 3
    monkeypatch.setattr("tagalong.backend.annotations.annotators.MAX_WAITING_TASKS", 1)
    assert [one.spans == SPANS for one in read(*records).documents] == [False, False, True]


def test_document_whose_texts_all_differ_stays_with_unknown_stretches(read) -> None:
    other = to_line("Fever or chills", [(0, 5, "tremor"), (9, 15, "nausea")])
    corpus = read(other, to_line("Fever.", [(0, 5, "Fever")]))
    assert [one.masked_ranges for one in corpus.documents] == [((0, 5), (9, 15)), ()]
    assert len(corpus.dropped) == 2


def test_unknown_stretches_are_counted_alike(read) -> None:
    line = to_line(TEXT, count_regions(TEXT, WIDTHS["UTF-16 offsets"]))
    corpus = read({**line, "unknown": [[3, 8]]})
    assert corpus.documents[0].masked_ranges == ((2, 7),)


def test_file_is_read_once_where_offsets_are_code_points(read, monkeypatch) -> None:
    monkeypatch.setattr(
        "tagalong.backend.annotations.annotators.read_evidence", lambda _: pytest.fail("read again")
    )
    texts = [f"{number}: {TEXT}" for number in range(300)]
    corpus = read(*(to_line(one, count_regions(one, len)) for one in texts))
    assert len(corpus.documents) == 300
    unstated = {"start": 0, "end": 1, "label": "X"}
    corpus = read(*({"text": one, "entities": [unstated]} for one in texts))
    assert (len(corpus.documents), corpus.warnings) == (300, ())


def test_yes_or_no_questions_state_their_texts(read) -> None:
    record = {**to_prodigy(TEXT, count_regions(TEXT, WIDTHS["byte offsets"])), "_is_binary": True}
    (document,) = read(record).documents
    assert document.spans == SPANS
    assert document.masked_ranges[0] == (0, SPANS[0].start)


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("x.json", '[{"id": 1, "data": {"text": "Fever"}, "annotations": [{"result": [{"type": '
         '"labels", "value": {"start": 0, "end": 5, "text": "Lithium", "labels": ["X"]}}]}]}]',
         "--label-config"),
        ("x.ann", "T1\tX 0 5\tLithium\n", "NAME.txt"),
        ("x.bioc", '{"documents": [{"id": "1", "passages": [{"offset": 0, "text": "Fever", '
         '"annotations": [{"text": "Lithium", "infons": {"type": "X"}, "locations": '
         '[{"offset": 0, "length": 5}]}]}]}], "source": "", "key": ""}',
         "offsets count from the start of the document"),
        ("x.pubtator", "1|t|Fever\n1\t0\t5\tLithium\tX\n", "title and abstract"),
        ("x.tsv", "id\tstart\tend\ttext\tlabel\n1\t\t\tFever\t\n1\t0\t5\tLithium\tX\n", "ID.txt"),
    ],
)  # fmt: skip
def test_advice_suits_the_format(tmp_path: Path, name: str, content: str, advice: str) -> None:
    (tmp_path / "x.txt").write_text("Fever")
    (tmp_path / name).write_text(content)
    with raises(OffsetError, "task-with-another-text") as raised:
        read_corpus([tmp_path / name])
    assert advice in str(raised.value)
    assert ("--label-config" in str(raised.value)) == (name == "x.json")
