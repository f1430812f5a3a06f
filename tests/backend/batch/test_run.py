"""A batch that is ended anywhere goes on; what cannot be predicted costs nobody else anything."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.batch.entries import State
from backend.batch.journal import BatchJournal
from backend.batch.predicting import TRIES, Trouble, local_engine, predict_each
from backend.batch.run import CHUNK, PATIENCE, Batch, Item, Standing, numbered
from ner.document import Document, Prediction
from ner.errors import BatchError
from tests.lexicon_tier import LexiconTier
from tests.plain_target import Plain

WORDS = ("naloxone", "clonidine", "asthma", "and", "hypertension")
DOCUMENTS = [
    Document(f"d{number}", f"{WORDS[number % 5]} {WORDS[number % 3]} {number}")
    for number in range(3 * CHUNK + 5)
]


class Ended(BaseException):
    """What no `except Exception` holds up, like Ctrl-C."""


class Counting(LexiconTier):
    """Counts how often each text was predicted; fails on some, and is ended at one."""

    def __init__(self, *, failing: Sequence[str] = (), fails: int = 99, ends_at: int = 0) -> None:
        super().__init__("lexicon-1")
        self.asked: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._failing, self._fails = failing, fails
        self._ends_at, self._seen = ends_at, 0

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        before, self._seen = self._seen, self._seen + len(documents)
        if before < self._ends_at <= self._seen:
            raise Ended
        for document in documents:
            if document.id in self._failing and self.failed[document.id] < self._fails:
                self.failed[document.id] += 1
                raise ValueError("no")
        self.asked.update(document.id for document in documents)
        return super().predict(documents)


def answers(journal: BatchJournal) -> list[tuple[str, str]]:
    return [(entry.key, entry.answer) for entry in journal.in_order()]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.journal"


def undisturbed() -> list[tuple[str, str]]:
    with TemporaryDirectory() as folder, BatchJournal(Path(folder) / "j") as journal:
        Batch(journal, Plain()).read(numbered(DOCUMENTS), local_engine(LexiconTier("lexicon-1")))
        return answers(journal)


@given(ends=st.lists(st.integers(1, len(DOCUMENTS)), max_size=3))
def test_ended_anywhere_it_goes_on_and_predicts_nothing_twice(ends: list[int]) -> None:
    asked: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        for end in ends:
            tier = Counting(ends_at=end)
            with BatchJournal(Path(folder) / "j") as journal, suppress(Ended):
                Batch(journal, Plain()).read(numbered(DOCUMENTS), local_engine(tier))
            asked += tier.asked
        tier = Counting()
        with BatchJournal(Path(folder) / "j") as journal:
            Batch(journal, Plain()).read(numbered(DOCUMENTS), local_engine(tier))
            assert answers(journal) == undisturbed()
        asked += tier.asked
    assert asked == Counter(document.id for document in DOCUMENTS)


def test_one_that_fails_is_set_aside_and_costs_nobody_else_anything(place: Path) -> None:
    tier = Counting(failing=["d3", "d70"])
    with BatchJournal(place) as journal:
        Batch(journal, Plain()).read(numbered(DOCUMENTS), local_engine(tier))
        aside = journal.entries(State.ASIDE)
        assert [entry.key for entry in aside] == ["d3", "d70"]
        assert all("ValueError: no" in entry.answer for entry in aside)
        kept = [pair for pair in answers(journal) if pair[0] not in ("d3", "d70")]
        assert kept == [pair for pair in undisturbed() if pair[0] not in ("d3", "d70")]

        journal.forget_aside()  # and a tier that has been mended reads them
        Batch(journal, Plain()).read(numbered(DOCUMENTS), local_engine(LexiconTier("lexicon-1")))
        assert answers(journal) == undisturbed()


@given(failing=st.sets(st.integers(0, 19)), fails=st.integers(1, TRIES + 6))
def test_who_fails_is_found(failing: set[int], fails: int) -> None:
    documents = DOCUMENTS[:20]
    names = [documents[number].id for number in failing]
    found = predict_each(Counting(failing=names, fails=fails), documents)
    expected = LexiconTier("lexicon-1").predict(documents)
    for document, got, right in zip(documents, found, expected, strict=True):
        if isinstance(got, Trouble):
            assert document.id in names
            assert fails >= TRIES
        else:
            assert got == right


def test_what_cannot_be_read_is_set_aside_with_the_reason(place: Path) -> None:
    items = [*numbered(DOCUMENTS[:2]), Item(2, "bad", None, "there is no text")]
    with BatchJournal(place) as journal:
        Batch(journal, Plain()).read(items, local_engine(LexiconTier("v")))
        [entry] = journal.entries(State.ASIDE)
        assert (entry.key, entry.answer) == ("bad", "there is no text")


def test_when_nothing_can_be_predicted_it_is_not_the_documents(place: Path) -> None:
    tier = Counting(failing=[document.id for document in DOCUMENTS])
    with BatchJournal(place) as journal:
        with pytest.raises(BatchError, match=rf"not one of {PATIENCE} documents in a row"):
            Batch(journal, Plain()).read(numbered(DOCUMENTS), local_engine(tier))
        assert journal.count() == {}  # so that the next run tries them all


@pytest.mark.parametrize("apart", [1, CHUNK])
def test_two_documents_of_one_id(place: Path, apart: int) -> None:
    documents = list(DOCUMENTS)
    documents[1 + apart] = Document("d1", documents[1].text)
    with (
        BatchJournal(place) as journal,
        pytest.raises(BatchError, match=rf"documents 2 and {2 + apart} of the source .* 'd1'"),
    ):
        Batch(journal, Plain()).read(numbered(documents), local_engine(LexiconTier("v")))


def test_a_source_in_another_order_is_refused(place: Path) -> None:
    documents = list(DOCUMENTS[: CHUNK + 1])
    with BatchJournal(place) as journal:
        Batch(journal, Plain()).read(numbered(documents), local_engine(LexiconTier("v")))
        documents[:2] = [Document("new", "other"), documents[0]]
        with pytest.raises(BatchError, match="source has changed"):
            Batch(journal, Plain()).read(numbered(documents), local_engine(LexiconTier("v")))


def test_a_text_that_has_changed_is_predicted_anew(place: Path) -> None:
    documents = list(DOCUMENTS)
    with BatchJournal(place) as journal:
        Batch(journal, Plain()).read(numbered(documents), local_engine(LexiconTier("lexicon-1")))
        documents[70] = Document("d70", "naloxone")
        tier = Counting()
        Batch(journal, Plain()).read(numbered(documents), local_engine(tier))
        assert tier.asked == Counter(["d70"])
        assert answers(journal)[70] == ("d70", "d70 ['Chemical']")


def test_what_is_done_elsewhere_is_passed_over(place: Path) -> None:
    items = [replace(item, done=item.place % 2 == 0) for item in numbered(DOCUMENTS)]
    tier = Counting()
    with BatchJournal(place) as journal:
        Batch(journal, Plain()).read(items, local_engine(tier))
    assert tier.asked == Counter(document.id for document in DOCUMENTS[1::2])


class Unsure(Counting):
    """Is less sure the longer a text's number is behind 100."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        return [
            replace(prediction, score=1 / (1 + abs(int(document.id[1:]) - 100)), confidences=())
            for document, prediction in zip(documents, super().predict(documents), strict=True)
        ]


class Again(Counting):
    """A better tier."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        return [replace(one, version="better-1") for one in super().predict(documents)]


def cascade(journal: BatchJournal, first: Counting, second: Counting, budget: float) -> None:
    batch = Batch(journal, Plain())
    batch.read(numbered(DOCUMENTS), local_engine(first), hold=True)
    journal.choose(budget)
    batch.reread(numbered(DOCUMENTS), local_engine(second))


@given(ends=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), max_size=3))
def test_a_cascade_that_is_ended_anywhere_reads_nothing_twice(ends: list[tuple[int, int]]) -> None:
    first, second = Counter[str](), Counter[str]()
    with TemporaryDirectory() as folder:
        for of_first, of_second in [*ends, (0, 0)]:
            one, other = Unsure(ends_at=of_first), Again(ends_at=of_second)
            with BatchJournal(Path(folder) / "j") as journal, suppress(Ended):
                cascade(journal, one, other, 0.25)
            first, second = first + one.asked, second + other.asked
        with BatchJournal(Path(folder) / "j") as journal:
            by = {entry.key: entry.tier for entry in journal.in_order()}
            assert {entry.state for entry in journal.in_order()} == {State.PREDICTED}
    least_sure = sorted(range(len(DOCUMENTS)), key=lambda n: (-abs(n - 100), n))[:50]
    assert {key for key, tier in by.items() if tier == "better-1"} == {f"d{n}" for n in least_sure}
    assert first == Counter(document.id for document in DOCUMENTS)
    assert second == Counter(f"d{n}" for n in least_sure)


def test_what_the_better_tier_cannot_read_keeps_its_answer(place: Path) -> None:
    with BatchJournal(place) as journal:
        cascade(journal, Unsure(), Again(failing=["d0", "d196"]), 0.1)
        kept = {entry.key: entry.tier for entry in journal.in_order()}
    assert kept["d0"] == kept["d196"] == "lexicon-1"
    assert Counter(kept.values())["better-1"] == 18


def test_a_better_tier_that_can_read_nothing_ends_the_batch(place: Path) -> None:
    names = [document.id for document in DOCUMENTS]
    with BatchJournal(place) as journal:
        with pytest.raises(BatchError, match="in a row could be predicted"):
            cascade(journal, Unsure(), Again(failing=names), 1.0)
        assert journal.count() == {State.HELD: len(DOCUMENTS)}


def test_what_has_left_the_source_before_it_was_read_again_is_forgotten(place: Path) -> None:
    with BatchJournal(place) as journal:
        batch = Batch(journal, Plain())
        batch.read(numbered(DOCUMENTS), local_engine(Unsure()), hold=True)
        journal.choose(1.0)
        left = [item for item in numbered(DOCUMENTS) if item.place not in (3, 64, 65)]
        batch.reread(left, local_engine(Again()))
        assert [one.place for one in journal.in_order()] == [item.place for item in left]
        assert {(one.tier, one.state) for one in journal.in_order()} == {
            ("better-1", State.PREDICTED)
        }


def test_it_says_how_far_it_is(place: Path) -> None:
    told: list[Standing] = []
    with BatchJournal(place) as journal:
        Batch(journal, Plain()).read(numbered(DOCUMENTS[:CHUNK]), local_engine(LexiconTier("v")))
        engine = local_engine(LexiconTier("v"))
        Batch(journal, Plain()).read(numbered(DOCUMENTS), engine, report=told.append)
    assert [now.done for now in told] == [64, 128, 192, 197]
    assert [now.before for now in told] == [64] * 4
    assert told[-1].entities > 0


def test_a_source_is_read_as_it_is_needed(place: Path) -> None:
    taken = 0

    def source() -> Iterator[Item]:
        nonlocal taken
        for item in numbered(DOCUMENTS):
            taken += 1
            yield item

    seen: list[int] = []
    with BatchJournal(place) as journal:
        engine = local_engine(LexiconTier("v"))
        Batch(journal, Plain()).read(source(), engine, report=lambda _: seen.append(taken))
    assert seen == [64, 128, 192, 197]
