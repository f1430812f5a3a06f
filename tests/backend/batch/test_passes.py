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

from tagalong.backend.batch.journal import BatchJournal, DocumentState
from tagalong.backend.batch.local_engine import (
    MAX_ATTEMPTS,
    PredictionFailure,
    make_local_engine,
    predict_isolating_failures,
)
from tagalong.backend.batch.passes import (
    CHUNK_DOCUMENTS,
    MAX_CONSECUTIVE_FAILURES,
    BatchPasses,
    BatchProgress,
)
from tagalong.backend.documents.source_item import SourceItem
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError
from tests.errors import raises
from tests.journal_sink import JournalSink, make_items
from tests.lexicon_tier import LexiconTier

WORDS = ("naloxone", "clonidine", "asthma", "and", "hypertension")
DOCUMENTS = [
    Document(f"d{number}", f"{WORDS[number % 5]} {WORDS[number % 3]} {number}")
    for number in range(3 * CHUNK_DOCUMENTS + 5)
]


class Killed(BaseException):
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
            raise Killed
        for document in documents:
            if document.id in self._failing and self.failed[document.id] < self._fails:
                self.failed[document.id] += 1
                raise ValueError("no")
        self.asked.update(document.id for document in documents)
        return super().predict(documents)


def answers(journal: BatchJournal) -> list[tuple[str, str]]:
    return [(entry.key, entry.payload) for entry in journal.iterate_entries()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.journal"


def run_undisturbed() -> list[tuple[str, str]]:
    with TemporaryDirectory() as folder, BatchJournal(Path(folder) / "j") as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS), make_local_engine(LexiconTier("lexicon-1"))
        )
        return answers(journal)


@given(ends=st.lists(st.integers(1, len(DOCUMENTS)), max_size=3))
def test_ended_anywhere_it_goes_on_and_predicts_nothing_twice(ends: list[int]) -> None:
    asked: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        for end in ends:
            tier = Counting(ends_at=end)
            with BatchJournal(Path(folder) / "j") as journal, suppress(Killed):
                BatchPasses(journal, JournalSink()).predict(
                    make_items(DOCUMENTS), make_local_engine(tier)
                )
            asked += tier.asked
        tier = Counting()
        with BatchJournal(Path(folder) / "j") as journal:
            BatchPasses(journal, JournalSink()).predict(
                make_items(DOCUMENTS), make_local_engine(tier)
            )
            assert answers(journal) == run_undisturbed()
        asked += tier.asked
    assert asked == Counter(document.id for document in DOCUMENTS)


def test_one_that_fails_is_set_aside_and_costs_nobody_else_anything(path: Path) -> None:
    tier = Counting(failing=["d3", "d70"])
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(make_items(DOCUMENTS), make_local_engine(tier))
        aside = journal.read_entries(DocumentState.FAILED)
        assert [entry.key for entry in aside] == ["d3", "d70"]
        assert all("ValueError: no" in entry.payload for entry in aside)
        kept = [pair for pair in answers(journal) if pair[0] not in ("d3", "d70")]
        assert kept == [pair for pair in run_undisturbed() if pair[0] not in ("d3", "d70")]

        journal.reset_failed()  # and a tier that has been mended reads them
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS), make_local_engine(LexiconTier("lexicon-1"))
        )
        assert answers(journal) == run_undisturbed()


@given(failing=st.sets(st.integers(0, 19)), fails=st.integers(1, MAX_ATTEMPTS + 6))
def test_who_fails_is_found(failing: set[int], fails: int) -> None:
    documents = DOCUMENTS[:20]
    names = [documents[number].id for number in failing]
    found = predict_isolating_failures(Counting(failing=names, fails=fails), documents)
    expected = LexiconTier("lexicon-1").predict(documents)
    for document, got, right in zip(documents, found, expected, strict=True):
        if isinstance(got, PredictionFailure):
            assert document.id in names
            assert fails >= MAX_ATTEMPTS
        else:
            assert got == right


def test_what_cannot_be_read_is_set_aside_with_the_reason(path: Path) -> None:
    items = [*make_items(DOCUMENTS[:2]), SourceItem(2, "bad", None, "there is no text")]
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(items, make_local_engine(LexiconTier("v")))
        [entry] = journal.read_entries(DocumentState.FAILED)
        assert (entry.key, entry.payload) == ("bad", "there is no text")


def test_when_nothing_can_be_predicted_it_is_not_the_documents(path: Path) -> None:
    tier = Counting(failing=[document.id for document in DOCUMENTS])
    with BatchJournal(path) as journal:
        with raises(BatchError, "batch-nothing-predicted") as raised:
            BatchPasses(journal, JournalSink()).predict(
                make_items(DOCUMENTS), make_local_engine(tier)
            )
        assert f" {MAX_CONSECUTIVE_FAILURES} " in str(raised.value)
        assert journal.count_by_state() == {}  # so that the next run tries them all


@pytest.mark.parametrize("apart", [1, CHUNK_DOCUMENTS])
def test_two_documents_of_one_id(path: Path, apart: int) -> None:
    documents = list(DOCUMENTS)
    documents[1 + apart] = Document("d1", documents[1].text)
    with (
        BatchJournal(path) as journal,
        raises(BatchError, "batch-duplicate-id") as raised,
    ):
        BatchPasses(journal, JournalSink()).predict(
            make_items(documents), make_local_engine(LexiconTier("v"))
        )
    assert f"documents 2 and {2 + apart} " in str(raised.value)


def test_a_source_in_another_order_is_refused(path: Path) -> None:
    documents = list(DOCUMENTS[: CHUNK_DOCUMENTS + 1])
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(documents), make_local_engine(LexiconTier("v"))
        )
        documents[:2] = [Document("new", "other"), documents[0]]
        with raises(BatchError, "batch-source-changed"):
            BatchPasses(journal, JournalSink()).predict(
                make_items(documents), make_local_engine(LexiconTier("v"))
            )


def test_a_text_that_has_changed_is_predicted_anew(path: Path) -> None:
    documents = list(DOCUMENTS)
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(documents), make_local_engine(LexiconTier("lexicon-1"))
        )
        documents[70] = Document("d70", "naloxone")
        tier = Counting()
        BatchPasses(journal, JournalSink()).predict(make_items(documents), make_local_engine(tier))
        assert tier.asked == Counter(["d70"])
        assert answers(journal)[70] == ("d70", "d70 ['Chemical']")


def test_what_is_done_elsewhere_is_passed_over(path: Path) -> None:
    items = [replace(item, is_predicted=item.position % 2 == 0) for item in make_items(DOCUMENTS)]
    tier = Counting()
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(items, make_local_engine(tier))
    assert tier.asked == Counter(document.id for document in DOCUMENTS[1::2])


class Unsure(Counting):
    """Is less sure the longer a text's number is behind 100."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        return [
            replace(prediction, score=1 / (1 + abs(int(document.id[1:]) - 100)), tag_confidences=())
            for document, prediction in zip(documents, super().predict(documents), strict=True)
        ]


class Again(Counting):
    """A better tier."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        return [replace(one, version="better-1") for one in super().predict(documents)]


def cascade(journal: BatchJournal, first: Counting, second: Counting, budget: float) -> None:
    batch = BatchPasses(journal, JournalSink())
    batch.predict(make_items(DOCUMENTS), make_local_engine(first), defer=True)
    journal.select_for_second_pass(budget)
    batch.predict_selected(make_items(DOCUMENTS), make_local_engine(second))


@given(ends=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), max_size=3))
def test_a_cascade_that_is_ended_anywhere_reads_nothing_twice(ends: list[tuple[int, int]]) -> None:
    first, second = Counter[str](), Counter[str]()
    with TemporaryDirectory() as folder:
        for of_first, of_second in [*ends, (0, 0)]:
            one, other = Unsure(ends_at=of_first), Again(ends_at=of_second)
            with BatchJournal(Path(folder) / "j") as journal, suppress(Killed):
                cascade(journal, one, other, 0.25)
            first, second = first + one.asked, second + other.asked
        with BatchJournal(Path(folder) / "j") as journal:
            by = {entry.key: entry.version for entry in journal.iterate_entries()}
            assert {entry.state for entry in journal.iterate_entries()} == {DocumentState.PREDICTED}
    least_sure = sorted(range(len(DOCUMENTS)), key=lambda n: (-abs(n - 100), n))[:50]
    assert {key for key, tier in by.items() if tier == "better-1"} == {f"d{n}" for n in least_sure}
    assert first == Counter(document.id for document in DOCUMENTS)
    assert second == Counter(f"d{n}" for n in least_sure)


def test_what_the_better_tier_cannot_read_keeps_its_answer(path: Path) -> None:
    with BatchJournal(path) as journal:
        cascade(journal, Unsure(), Again(failing=["d0", "d196"]), 0.1)
        kept = {entry.key: entry.version for entry in journal.iterate_entries()}
    assert kept["d0"] == kept["d196"] == "lexicon-1"
    assert Counter(kept.values())["better-1"] == 18


def test_a_better_tier_that_can_read_nothing_ends_the_batch(path: Path) -> None:
    names = [document.id for document in DOCUMENTS]
    with BatchJournal(path) as journal:
        with raises(BatchError, "batch-nothing-predicted"):
            cascade(journal, Unsure(), Again(failing=names), 1.0)
        assert journal.count_by_state() == {DocumentState.DEFERRED: len(DOCUMENTS)}


def test_what_has_left_the_source_before_it_was_read_again_is_forgotten(path: Path) -> None:
    with BatchJournal(path) as journal:
        batch = BatchPasses(journal, JournalSink())
        batch.predict(make_items(DOCUMENTS), make_local_engine(Unsure()), defer=True)
        journal.select_for_second_pass(1.0)
        left = [item for item in make_items(DOCUMENTS) if item.position not in (3, 64, 65)]
        batch.predict_selected(left, make_local_engine(Again()))
        assert [one.position for one in journal.iterate_entries()] == [
            item.position for item in left
        ]
        assert {(one.version, one.state) for one in journal.iterate_entries()} == {
            ("better-1", DocumentState.PREDICTED)
        }


def test_it_says_how_far_it_is(path: Path) -> None:
    told: list[BatchProgress] = []
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS[:CHUNK_DOCUMENTS]), make_local_engine(LexiconTier("v"))
        )
        engine = make_local_engine(LexiconTier("v"))
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS), engine, on_progress=told.append
        )
    assert [now.finished for now in told] == [64, 128, 192, 197]
    assert [now.finished_before for now in told] == [64] * 4
    assert told[-1].entities > 0


def test_a_source_is_read_as_it_is_needed(path: Path) -> None:
    taken = 0

    def source() -> Iterator[SourceItem]:
        nonlocal taken
        for item in make_items(DOCUMENTS):
            taken += 1
            yield item

    seen: list[int] = []
    with BatchJournal(path) as journal:
        engine = make_local_engine(LexiconTier("v"))
        BatchPasses(journal, JournalSink()).predict(
            source(), engine, on_progress=lambda _: seen.append(taken)
        )
    assert seen == [64, 128, 192, 197]
