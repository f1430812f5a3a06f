"""Passes of a batch: resuming after interruptions, failing documents and cascades."""

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
from tests.lexicon_tagger import LexiconTagger

WORDS = ("naloxone", "clonidine", "asthma", "and", "hypertension")
DOCUMENTS = [
    Document(f"d{number}", f"{WORDS[number % 5]} {WORDS[number % 3]} {number}")
    for number in range(3 * CHUNK_DOCUMENTS + 5)
]


class Killed(BaseException):
    """An interruption that no `except Exception` catches, like Ctrl-C."""


class CountingTagger(LexiconTagger):
    """Counts the predictions of each document. It fails on some documents and is killed at one."""

    def __init__(
        self, *, failing_loader: Sequence[str] = (), fails: int = 99, ends_at: int = 0
    ) -> None:
        super().__init__("lexicon-1")
        self.asked: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._failing, self._fails = failing_loader, fails
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
            make_items(DOCUMENTS), make_local_engine(LexiconTagger("lexicon-1"))
        )
        return answers(journal)


@given(ends=st.lists(st.integers(1, len(DOCUMENTS)), max_size=3))
def test_interrupted_batch_resumes_without_predicting_twice(ends: list[int]) -> None:
    asked: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        for end in ends:
            tagger = CountingTagger(ends_at=end)
            with BatchJournal(Path(folder) / "j") as journal, suppress(Killed):
                BatchPasses(journal, JournalSink()).predict(
                    make_items(DOCUMENTS), make_local_engine(tagger)
                )
            asked += tagger.asked
        tagger = CountingTagger()
        with BatchJournal(Path(folder) / "j") as journal:
            BatchPasses(journal, JournalSink()).predict(
                make_items(DOCUMENTS), make_local_engine(tagger)
            )
            assert answers(journal) == run_undisturbed()
        asked += tagger.asked
    assert asked == Counter(document.id for document in DOCUMENTS)


def test_failing_document_does_not_affect_others(path: Path) -> None:
    tagger = CountingTagger(failing_loader=["d3", "d70"])
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS), make_local_engine(tagger)
        )
        aside = journal.read_entries(DocumentState.FAILED)
        assert [entry.key for entry in aside] == ["d3", "d70"]
        assert all("(ValueError at " in entry.payload for entry in aside)
        kept = [pair for pair in answers(journal) if pair[0] not in ("d3", "d70")]
        assert kept == [pair for pair in run_undisturbed() if pair[0] not in ("d3", "d70")]

        journal.reset_failed()  # a repaired tagger predicts them
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS), make_local_engine(LexiconTagger("lexicon-1"))
        )
        assert answers(journal) == run_undisturbed()


@given(failing_loader=st.sets(st.integers(0, 19)), fails=st.integers(1, MAX_ATTEMPTS + 6))
def test_failing_documents_are_isolated(failing_loader: set[int], fails: int) -> None:
    documents = DOCUMENTS[:20]
    names = [documents[number].id for number in failing_loader]
    found = predict_isolating_failures(CountingTagger(failing_loader=names, fails=fails), documents)
    expected = LexiconTagger("lexicon-1").predict(documents)
    for document, got, right in zip(documents, found, expected, strict=True):
        if isinstance(got, PredictionFailure):
            assert document.id in names
            assert fails >= MAX_ATTEMPTS
        else:
            assert got == right


def test_unreadable_documents_fail_with_their_reason(path: Path) -> None:
    items = [*make_items(DOCUMENTS[:2]), SourceItem(2, "bad", None, "there is no text")]
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(items, make_local_engine(LexiconTagger("v")))
        [entry] = journal.read_entries(DocumentState.FAILED)
        assert (entry.key, entry.payload) == ("bad", "there is no text")


def test_batch_ends_if_no_document_can_be_predicted(path: Path) -> None:
    tagger = CountingTagger(failing_loader=[document.id for document in DOCUMENTS])
    with BatchJournal(path) as journal:
        with raises(BatchError, "batch-nothing-predicted") as raised:
            BatchPasses(journal, JournalSink()).predict(
                make_items(DOCUMENTS), make_local_engine(tagger)
            )
        assert f" {MAX_CONSECUTIVE_FAILURES} " in str(raised.value)
        assert journal.count_by_state() == {}  # so that the next run predicts all


@pytest.mark.parametrize("apart", [1, CHUNK_DOCUMENTS])
def test_duplicate_ids_are_refused(path: Path, apart: int) -> None:
    documents = list(DOCUMENTS)
    documents[1 + apart] = Document("d1", documents[1].text)
    with (
        BatchJournal(path) as journal,
        raises(BatchError, "batch-duplicate-id") as raised,
    ):
        BatchPasses(journal, JournalSink()).predict(
            make_items(documents), make_local_engine(LexiconTagger("v"))
        )
    assert f"documents 2 and {2 + apart} " in str(raised.value)


def test_source_in_another_order_is_refused(path: Path) -> None:
    documents = list(DOCUMENTS[: CHUNK_DOCUMENTS + 1])
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(documents), make_local_engine(LexiconTagger("v"))
        )
        documents[:2] = [Document("new", "other"), documents[0]]
        with raises(BatchError, "batch-source-changed"):
            BatchPasses(journal, JournalSink()).predict(
                make_items(documents), make_local_engine(LexiconTagger("v"))
            )


def test_changed_text_is_predicted_again(path: Path) -> None:
    documents = list(DOCUMENTS)
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(documents), make_local_engine(LexiconTagger("lexicon-1"))
        )
        documents[70] = Document("d70", "naloxone")
        tagger = CountingTagger()
        BatchPasses(journal, JournalSink()).predict(
            make_items(documents), make_local_engine(tagger)
        )
        assert tagger.asked == Counter(["d70"])
        assert answers(journal)[70] == ("d70", "d70 ['Chemical']")


def test_documents_done_elsewhere_are_skipped(path: Path) -> None:
    items = [replace(item, is_predicted=item.position % 2 == 0) for item in make_items(DOCUMENTS)]
    tagger = CountingTagger()
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(items, make_local_engine(tagger))
    assert tagger.asked == Counter(document.id for document in DOCUMENTS[1::2])


class UncertainTagger(CountingTagger):
    """The confidence falls with the distance of the document's number from 100."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        return [
            replace(prediction, score=1 / (1 + abs(int(document.id[1:]) - 100)), tag_confidences=())
            for document, prediction in zip(documents, super().predict(documents), strict=True)
        ]


class SecondPassTagger(CountingTagger):
    """The tagger of the second pass."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        return [replace(one, version="better-1") for one in super().predict(documents)]


def cascade(
    journal: BatchJournal, first: CountingTagger, second: CountingTagger, budget: float
) -> None:
    batch = BatchPasses(journal, JournalSink())
    batch.predict(make_items(DOCUMENTS), make_local_engine(first), defer=True)
    journal.select_for_second_pass(budget)
    batch.predict_selected(make_items(DOCUMENTS), make_local_engine(second))


@pytest.mark.slow
@given(ends=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), max_size=3))
def test_interrupted_cascade_resumes_without_predicting_twice(ends: list[tuple[int, int]]) -> None:
    first, second = Counter[str](), Counter[str]()
    with TemporaryDirectory() as folder:
        for of_first, of_second in [*ends, (0, 0)]:
            one, other = UncertainTagger(ends_at=of_first), SecondPassTagger(ends_at=of_second)
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


def test_document_that_fails_in_the_second_pass_keeps_its_prediction(path: Path) -> None:
    with BatchJournal(path) as journal:
        cascade(journal, UncertainTagger(), SecondPassTagger(failing_loader=["d0", "d196"]), 0.1)
        kept = {entry.key: entry.version for entry in journal.iterate_entries()}
    assert kept["d0"] == kept["d196"] == "lexicon-1"
    assert Counter(kept.values())["better-1"] == 18


def test_batch_ends_if_the_second_pass_predicts_nothing(path: Path) -> None:
    names = [document.id for document in DOCUMENTS]
    with BatchJournal(path) as journal:
        with raises(BatchError, "batch-nothing-predicted"):
            cascade(journal, UncertainTagger(), SecondPassTagger(failing_loader=names), 1.0)
        assert journal.count_by_state() == {DocumentState.DEFERRED: len(DOCUMENTS)}


def test_document_removed_before_the_second_pass_is_forgotten(path: Path) -> None:
    with BatchJournal(path) as journal:
        batch = BatchPasses(journal, JournalSink())
        batch.predict(make_items(DOCUMENTS), make_local_engine(UncertainTagger()), defer=True)
        journal.select_for_second_pass(1.0)
        left = [item for item in make_items(DOCUMENTS) if item.position not in (3, 64, 65)]
        batch.predict_selected(left, make_local_engine(SecondPassTagger()))
        assert [one.position for one in journal.iterate_entries()] == [
            item.position for item in left
        ]
        assert {(one.version, one.state) for one in journal.iterate_entries()} == {
            ("better-1", DocumentState.PREDICTED)
        }


def test_progress_is_reported(path: Path) -> None:
    reports: list[BatchProgress] = []
    with BatchJournal(path) as journal:
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS[:CHUNK_DOCUMENTS]), make_local_engine(LexiconTagger("v"))
        )
        engine = make_local_engine(LexiconTagger("v"))
        BatchPasses(journal, JournalSink()).predict(
            make_items(DOCUMENTS), engine, on_progress=reports.append
        )
    assert [now.finished for now in reports] == [64, 128, 192, 197]
    assert [now.finished_before for now in reports] == [64] * 4
    assert reports[-1].entities > 0


def test_source_is_read_lazily(path: Path) -> None:
    taken = 0

    def source() -> Iterator[SourceItem]:
        nonlocal taken
        for item in make_items(DOCUMENTS):
            taken += 1
            yield item

    seen: list[int] = []
    with BatchJournal(path) as journal:
        engine = make_local_engine(LexiconTagger("v"))
        BatchPasses(journal, JournalSink()).predict(
            source(), engine, on_progress=lambda _: seen.append(taken)
        )
    assert seen == [64, 128, 192, 197]
