"""Resumed batches on a project whose tasks were edited or deleted in between."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.batch.journal import BatchJournal, DocumentState
from tagalong.backend.batch.label_studio_project import (
    MAX_IN_FLIGHT_SECONDS,
    SEND_INTERVAL_SECONDS,
    ProjectSink,
    ProjectSource,
)
from tagalong.backend.batch.local_engine import (
    Engine,
    make_local_engine,
    predict_isolating_failures,
)
from tagalong.backend.batch.passes import BatchPasses
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError, TagalongError
from tests.backend.batch.fake_label_studio import (
    CONFIG,
    PROJECT,
    VERSION,
    FakeClock,
    FakeLabelStudio,
    Killed,
    connect_project,
    count_predictions,
)
from tests.lexicon_tagger import LexiconTagger

BETTER = "better-1"
EDITED = "he took plenty of naloxone today"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    found = FakeClock()
    monkeypatch.setattr("tagalong.backend.batch.label_studio_project.time", found)
    return found


@pytest.fixture(autouse=True)
def no_retry_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


def make_prefetching_engine(tagger: DocumentTagger) -> Engine:
    """An engine that reads all chunks before it yields, as a cluster reads some ahead."""
    return lambda chunks: (predict_isolating_failures(tagger, chunk) for chunk in list(chunks))


class ResumableBatch:
    """A batch on a fake Label Studio that can run several times."""

    def __init__(
        self, label_studio: Any, folder: str | Path, *, budget: float | None = None
    ) -> None:
        self.label_studio, self.path = label_studio, Path(folder) / "j"
        self.budget = budget
        self.engine: Callable[[DocumentTagger], Engine] = make_local_engine
        self.load_seconds = 0.0  # duration of loading the models

    def run(self, *, until: str = "finished") -> Counter[DocumentState]:
        """Run the batch up to a step."""
        taggers = [LexiconTagger(VERSION), LexiconTagger(BETTER)]
        maps = {tagger.version: map_labels(tagger.labels, CONFIG) for tagger in taggers}
        project = connect_project(self.label_studio)
        target = ProjectSink(project, maps)
        target._last_sent_at -= self.load_seconds
        tasks = ProjectSource(project, PROJECT, versions=list(maps))
        with BatchJournal(self.path) as journal:
            target.recover(journal, is_reset=False)
            journal.reset_failed()
            passes = BatchPasses(journal, target)
            passes.predict(tasks, self.engine(taggers[0]), defer=self.budget is not None)
            if self.budget is not None and until != "read":
                journal.select_for_second_pass(self.budget)
                if until != "chosen":
                    passes.predict_selected(tasks, self.engine(taggers[1]))
            if until == "finished":
                target.finish(journal)
            return Counter(journal.count_by_state())


def record_sent_tasks(label_studio: FakeLabelStudio) -> list[int]:
    """Record the tasks of all predictions that are sent from now on."""
    sent: list[int] = []
    add = label_studio.predictions.add

    def add_recorded(project: int, items: Sequence[dict[str, Any]]) -> int:
        sent.extend(item["task"] for item in items)
        return int(add(project, items))

    label_studio.predictions.add = add_recorded
    return sent


def assert_one_current_prediction_each(label_studio: FakeLabelStudio) -> None:
    """Check that each task has one prediction, of its current text."""
    assert count_predictions(label_studio) == dict.fromkeys(label_studio.texts, 1)
    for one in label_studio.stored:
        [region] = one.result
        start, end = region["value"]["start"], region["value"]["end"]
        assert label_studio.texts[one.task][start:end] == region["value"]["text"] == "naloxone"


@pytest.mark.parametrize("engine", [make_local_engine, make_prefetching_engine])
def test_deleted_predictions_are_made_again(
    tmp_path: Path, clock: FakeClock, engine: Callable[[DocumentTagger], Engine]
) -> None:
    label_studio = FakeLabelStudio(250)
    label_studio.forbidden = {9}  # keeps the journal after the run
    batch = ResumableBatch(label_studio, tmp_path)
    batch.engine = engine
    assert batch.run() == {DocumentState.DELIVERED: 249, DocumentState.FAILED: 1}
    for number in list(label_studio.texts)[::3]:
        label_studio.delete_predictions(number)
    label_studio.forbidden.clear()
    before = {one.id for one in label_studio.stored}
    assert batch.run() == {DocumentState.DELIVERED: 250}
    assert_one_current_prediction_each(label_studio)
    assert before < {one.id for one in label_studio.stored}  # other predictions are unchanged


@pytest.mark.parametrize("tasks", [90, 250])  # on the first page and beyond it
@pytest.mark.parametrize("engine", [make_local_engine, make_prefetching_engine])
@pytest.mark.parametrize("sent_at_once", [False, True])
def test_waiting_predictions_are_sent_after_their_task_is_read_again(
    tmp_path: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    engine: Callable[[DocumentTagger], Engine],
    tasks: int,
    sent_at_once: bool,
) -> None:
    label_studio = FakeLabelStudio(tasks)
    batch = ResumableBatch(label_studio, tmp_path)
    assert batch.run(until="read") == {DocumentState.PREDICTED: tasks}
    gone, edited = (tasks - 9) * 3, (tasks - 8) * 3
    label_studio.texts[edited] = EDITED
    label_studio.delete_task(gone)
    other = tasks * 3  # has a prediction from elsewhere
    label_studio._store([{"task": other, "model_version": VERSION, "score": 1.0, "result": ()}])
    batch.engine, batch.load_seconds = engine, SEND_INTERVAL_SECONDS + 1 if sent_at_once else 0.0
    if sent_at_once:
        monkeypatch.setattr(
            "tagalong.backend.batch.label_studio_project.MAX_PREDICTIONS_PER_REQUEST", 7
        )
    sent = record_sent_tasks(label_studio)
    assert batch.run() == {DocumentState.DELIVERED: tasks - 1}
    assert Counter(sent) == dict.fromkeys(label_studio.texts.keys() - {other}, 1)
    assert count_predictions(label_studio) == dict.fromkeys(label_studio.texts, 1)
    label_studio.delete_task(other)
    assert_one_current_prediction_each(label_studio)


@pytest.mark.parametrize("until", ["read", "chosen", "reread"])
def test_cascade_reads_waiting_tasks_again(tmp_path: Path, clock: FakeClock, until: str) -> None:
    label_studio = FakeLabelStudio(150)
    batch = ResumableBatch(label_studio, tmp_path, budget=0.2)
    batch.run(until=until)
    label_studio.texts[6] = label_studio.texts[300] = EDITED
    label_studio.delete_task(447)
    label_studio.delete_task(450)
    assert batch.run() == {DocumentState.DELIVERED: 148}
    assert_one_current_prediction_each(label_studio)
    assert Counter(one.model_version for one in label_studio.stored)[BETTER] == 30


def test_resumed_cascade_predicts_the_same_share_again(tmp_path: Path, clock: FakeClock) -> None:
    label_studio = FakeLabelStudio(100)
    batch = ResumableBatch(label_studio, tmp_path, budget=0.2)
    batch.load_seconds = SEND_INTERVAL_SECONDS + 1  # sends the first chunk
    batch.run(until="reread")
    assert label_studio.stored
    batch.load_seconds = 0.0
    batch.run()
    assert_one_current_prediction_each(label_studio)
    assert Counter(one.model_version for one in label_studio.stored)[BETTER] == 20


@pytest.mark.parametrize("engine", [make_local_engine, make_prefetching_engine])
def test_cascade_reads_all_tasks_again_before_sending(
    tmp_path: Path, clock: FakeClock, engine: Callable[[DocumentTagger], Engine]
) -> None:
    label_studio = FakeLabelStudio(150)
    batch = ResumableBatch(label_studio, tmp_path, budget=0.2)

    def edit_before_second_pass(tagger: DocumentTagger) -> Engine:
        if tagger.version == BETTER:  # predicts hours after the first tagger
            label_studio.texts[6] = label_studio.texts[300] = (
                EDITED  # only the first is selected for the second pass
            )
            label_studio.delete_task(447)
            label_studio.delete_task(450)
        return engine(tagger)

    batch.engine = edit_before_second_pass
    sent = record_sent_tasks(label_studio)
    assert batch.run() == {DocumentState.DELIVERED: 148}
    assert_one_current_prediction_each(label_studio)
    assert Counter(sent) == dict.fromkeys(label_studio.texts, 1)
    assert Counter(one.model_version for one in label_studio.stored)[BETTER] == 31


class RejectsEdited(LexiconTagger):
    """Fails on edited texts."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        if any(document.text == EDITED for document in documents):
            raise TagalongError("too odd")
        return super().predict(documents)


def test_prediction_of_an_outdated_text_is_not_sent(tmp_path: Path, clock: FakeClock) -> None:
    label_studio = FakeLabelStudio(50)
    batch = ResumableBatch(label_studio, tmp_path, budget=0.2)

    def edit_before_second_pass(tagger: DocumentTagger) -> Engine:
        if tagger.version == BETTER:
            label_studio.texts[6] = label_studio.texts[150] = EDITED
            return make_local_engine(RejectsEdited(BETTER))
        return make_local_engine(tagger)

    batch.engine = edit_before_second_pass
    assert batch.run() == {DocumentState.DELIVERED: 48, DocumentState.FAILED: 2}
    assert not {6, 150} & count_predictions(label_studio).keys()


@pytest.mark.parametrize("late", [False, True])
def test_failed_document_is_retried_in_the_next_run(
    tmp_path: Path, clock: FakeClock, late: bool
) -> None:
    label_studio = FakeLabelStudio(20, ["", "late"] if late else [])
    label_studio.forbidden = {9}
    batch = ResumableBatch(label_studio, tmp_path)
    batch.run()
    label_studio.texts[6] = EDITED
    batch.engine = lambda tagger: make_local_engine(RejectsEdited(tagger.version))
    assert batch.run() == {DocumentState.DELIVERED: 18, DocumentState.FAILED: 2}
    batch.engine = make_local_engine
    assert batch.run() == {DocumentState.DELIVERED: 19, DocumentState.FAILED: 1}
    label_studio.forbidden.clear()
    batch.run()
    assert_one_current_prediction_each(label_studio)


def test_task_on_two_pages_of_a_tab_is_read_once(tmp_path: Path, clock: FakeClock) -> None:
    label_studio = FakeLabelStudio(150)
    shown = [*sorted(label_studio.texts), 300]  # the last task of page 1 moves to page 2
    label_studio.tasks.list_ids_in_view = lambda project, view: shown
    tagger = LexiconTagger(VERSION)
    maps = {VERSION: map_labels(tagger.labels, CONFIG)}
    project = connect_project(label_studio)
    tasks = ProjectSource(project, replace(PROJECT, view_id=4), versions=[VERSION])
    assert tasks.count_tasks() == 150
    with BatchJournal(tmp_path / "j") as journal:
        target = ProjectSink(project, maps)
        BatchPasses(journal, target).predict(tasks, make_local_engine(tagger))
        target.finish(journal)
    assert_one_current_prediction_each(label_studio)


class SlowLabelStudio:
    """Loses the answers to some requests and stores their predictions later."""

    def __init__(
        self, label_studio: FakeLabelStudio, clock: FakeClock, delays: Sequence[float]
    ) -> None:
        self._studio, self._clock = label_studio, clock
        self._delays, self._add = iter(delays), label_studio.predictions.add
        self.kills = False  # whether the client is killed while it waits

    def add(self, project: int, items: Sequence[dict[str, Any]]) -> int:
        delay = next(self._delays, None)
        if delay is None:
            return int(self._add(project, items))
        self._clock.after(delay, lambda: self._studio._store(items))
        raise Killed if self.kills else LabelStudioError("no answer", "slow", "no answer")


@pytest.mark.parametrize("delay", [0.0, 1.0, MAX_IN_FLIGHT_SECONDS - 1])
def test_late_prediction_of_an_old_text_is_replaced(
    tmp_path: Path, clock: FakeClock, delay: float
) -> None:
    label_studio = FakeLabelStudio(2)
    slow = SlowLabelStudio(label_studio, clock, [delay])
    label_studio.predictions.add, slow.kills = slow.add, True
    batch = ResumableBatch(label_studio, tmp_path)
    with pytest.raises(Killed):
        batch.run()
    label_studio.texts[6] = EDITED
    if delay == 1.0:
        clock.sleep(delay)  # it arrives before the batch resumes
    batch.run()
    clock.sleep(100)
    assert_one_current_prediction_each(label_studio)


def test_very_late_prediction_of_an_old_text_is_replaced(tmp_path: Path, clock: FakeClock) -> None:
    label_studio = FakeLabelStudio(
        2, ["", "late", "killed"]
    )  # it arrives just before the next request
    batch = ResumableBatch(label_studio, tmp_path)
    with pytest.raises(Killed):
        batch.run()
    label_studio.texts[6] = EDITED
    batch.run()
    assert_one_current_prediction_each(label_studio)


def test_delivered_prediction_of_an_old_text_is_replaced(tmp_path: Path, clock: FakeClock) -> None:
    label_studio = FakeLabelStudio(20)
    label_studio.forbidden = {9}
    batch = ResumableBatch(label_studio, tmp_path)
    batch.run()
    label_studio.texts[6] = EDITED
    label_studio.forbidden.clear()
    batch.run()
    assert_one_current_prediction_each(label_studio)


def test_task_that_becomes_unreadable_keeps_its_prediction(
    tmp_path: Path, clock: FakeClock
) -> None:
    label_studio = FakeLabelStudio(20)
    label_studio.forbidden = {9}
    batch = ResumableBatch(label_studio, tmp_path)
    batch.run()
    label_studio.texts[6] = None  # type: ignore[assignment]
    assert batch.run() == {DocumentState.DELIVERED: 19, DocumentState.FAILED: 1}
    assert count_predictions(label_studio)[6] == 1


def test_possible_duplicates_are_checked_after_the_in_flight_time(
    tmp_path: Path, clock: FakeClock
) -> None:
    label_studio = FakeLabelStudio(3)
    label_studio.predictions.add = SlowLabelStudio(
        label_studio, clock, [MAX_IN_FLIGHT_SECONDS - 1]
    ).add
    ResumableBatch(label_studio, tmp_path).run()
    clock.sleep(100)
    assert_one_current_prediction_each(label_studio)


@pytest.mark.parametrize("killed", [False, True])
def test_failed_prediction_that_arrived_late_is_delivered(
    tmp_path: Path, clock: FakeClock, killed: bool
) -> None:
    label_studio = FakeLabelStudio(1)
    label_studio.predictions.add = SlowLabelStudio(label_studio, clock, [5.0, 5.0, 5.0]).add
    batch = ResumableBatch(label_studio, tmp_path)
    if killed:
        batch.load_seconds = SEND_INTERVAL_SECONDS + 1  # sends it in the first run
        assert batch.run(until="read") == {DocumentState.FAILED: 1}
    assert batch.run() == {DocumentState.DELIVERED: 1}
    with BatchJournal(batch.path) as journal:
        assert journal.read_version_totals()[VERSION].documents == 1
        assert journal.read_possible_duplicates(limit=9) == []
    clock.sleep(100)
    assert_one_current_prediction_each(label_studio)


def test_failed_prediction_that_never_arrived_stays_failed(
    tmp_path: Path, clock: FakeClock
) -> None:
    label_studio = FakeLabelStudio(3)
    label_studio.failing_loader = {6}
    label_studio._store([{"task": 6, "model_version": "", "score": 1.0, "result": ()}] * 2)
    assert ResumableBatch(label_studio, tmp_path).run() == {
        DocumentState.DELIVERED: 2,
        DocumentState.FAILED: 1,
    }
    assert count_predictions(label_studio) == {
        3: 1,
        6: 2,
        9: 1,
    }  # predictions of other versions are ignored
    with BatchJournal(tmp_path / "j") as journal:
        assert journal.read_version_totals()[VERSION].documents == 2
        assert journal.read_possible_duplicates(limit=9) == []


def test_partial_requests_are_sent_after_an_interval(tmp_path: Path, clock: FakeClock) -> None:
    label_studio = FakeLabelStudio(200)
    batch = ResumableBatch(label_studio, tmp_path)
    sent: list[tuple[float, int]] = []
    add = label_studio.predictions.add

    def add_recorded(project: int, items: Sequence[dict[str, Any]]) -> int:
        sent.append((clock.now, len(items)))
        return int(add(project, items))

    def make_slow_engine(tagger: DocumentTagger) -> Engine:
        def engine(chunks: Any) -> Any:
            for chunk in chunks:
                clock.sleep(SEND_INTERVAL_SECONDS / 2)
                yield predict_isolating_failures(tagger, chunk)

        return engine

    label_studio.predictions.add, batch.engine = add_recorded, make_slow_engine
    batch.run(until="read")
    assert sent == [(1000 + SEND_INTERVAL_SECONDS, 128), (1000 + 2 * SEND_INTERVAL_SECONDS, 72)]


FAULTS = st.lists(
    st.sampled_from(["", "", "", "before", "after", "late", "killed", "killed after"]),
    min_size=1,
    max_size=40,
)


@given(
    tasks=st.integers(0, 140),
    faults=FAULTS,
    budget=st.sampled_from([None, 0.3]),
    engine=st.sampled_from([make_local_engine, make_prefetching_engine]),
    data=st.data(),
)
def test_each_task_ends_with_one_current_prediction_after_any_changes(
    tasks: int,
    faults: list[str],
    budget: float | None,
    engine: Callable[[DocumentTagger], Engine],
    data: st.DataObject,
) -> None:
    label_studio = FakeLabelStudio(tasks, faults)
    clock = FakeClock()
    some = st.lists(st.integers(1, max(tasks, 1)).map(lambda number: number * 3), max_size=5)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tagalong.backend.batch.label_studio_project.time", clock)
        patch.setattr("tagalong.backend.batch.label_studio_project.MAX_PREDICTIONS_PER_REQUEST", 7)
        patch.setattr(clock, "sleep", lambda _: label_studio.deliver_late())
        batch = ResumableBatch(label_studio, folder, budget=budget)
        batch.engine = engine
        while True:
            batch.load_seconds = data.draw(st.sampled_from([0.0, SEND_INTERVAL_SECONDS]))
            with suppress(Killed):
                batch.run()
                break
            for number in data.draw(some):
                if number in label_studio.texts:
                    label_studio.texts[number] = "so " * data.draw(st.integers(1, 9)) + "naloxone"
            for number in data.draw(some):
                label_studio.delete_predictions(number)
            for number in data.draw(some):
                label_studio.delete_task(number)
    assert_one_current_prediction_each(label_studio)
