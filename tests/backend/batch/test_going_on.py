"""A batch that goes on: what was edited, deleted or removed meanwhile is not what it was."""

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

from tagalong.backend.batch.journal import BatchState, DocumentState
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
from tagalong.backend.models.tier import Tier
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError, TagalongError
from tests.backend.batch.studio import (
    CONFIG,
    PROJECT,
    VERSION,
    Clock,
    Ended,
    Studio,
    predicted,
    project_of,
)
from tests.lexicon_tier import LexiconTier

BETTER = "better-1"
EDITED = "he took plenty of naloxone today"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("tagalong.backend.batch.label_studio_project.time", found)
    return found


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


def ahead(tier: Tier) -> Engine:
    """One that takes all chunks before it answers, as a cluster takes some."""
    return lambda chunks: (predict_isolating_failures(tier, chunk) for chunk in list(chunks))


class Runs:
    """A batch on a studio, as often as it takes."""

    def __init__(self, studio: Any, folder: str | Path, *, budget: float | None = None) -> None:
        self.studio, self.path = studio, Path(folder) / "j"
        self.budget = budget
        self.engine: Callable[[Tier], Engine] = make_local_engine
        self.waited = 0.0  # seconds that loading the models takes

    def run(self, *, until: str = "finished") -> Counter[DocumentState]:
        """Run it on, up to a step."""
        tiers = [LexiconTier(VERSION), LexiconTier(BETTER)]
        maps = {tier.version: map_labels(tier.labels, CONFIG) for tier in tiers}
        project = project_of(self.studio)
        target = ProjectSink(project, maps)
        target._last_sent_at -= self.waited
        tasks = ProjectSource(project, PROJECT, versions=list(maps))
        with BatchState(self.path) as journal:
            target.recover(journal, is_reset=False)
            journal.reset_failed()
            batch = BatchPasses(journal, target)
            batch.predict(tasks, self.engine(tiers[0]), defer=self.budget is not None)
            if self.budget is not None and until != "read":
                journal.select_for_second_pass(self.budget)
                if until != "chosen":
                    batch.predict_selected(tasks, self.engine(tiers[1]))
            if until == "finished":
                target.finish(journal)
            return Counter(journal.count_by_state())


def noting(studio: Studio) -> list[int]:
    """The tasks of all predictions that are sent from now on."""
    sent: list[int] = []
    add = studio.predictions.add

    def noted(project: int, items: Sequence[dict[str, Any]]) -> int:
        sent.extend(item["task"] for item in items)
        return int(add(project, items))

    studio.predictions.add = noted
    return sent


def assert_right(studio: Studio) -> None:
    """Each task has one prediction, and it is of the text that the task has now."""
    assert predicted(studio) == dict.fromkeys(studio.texts, 1)
    for one in studio.stored:
        [region] = one.result
        start, end = region["value"]["start"], region["value"]["end"]
        assert studio.texts[one.task][start:end] == region["value"]["text"] == "naloxone"


@pytest.mark.parametrize("engine", [make_local_engine, ahead])
def test_predictions_that_were_deleted_are_made_again(
    tmp_path: Path, clock: Clock, engine: Callable[[Tier], Engine]
) -> None:
    studio = Studio(250)
    studio.forbidden = {9}  # which keeps the journal
    runs = Runs(studio, tmp_path)
    runs.engine = engine
    assert runs.run() == {DocumentState.DELIVERED: 249, DocumentState.FAILED: 1}
    for number in list(studio.texts)[::3]:
        studio.lose(number)
    studio.forbidden.clear()
    before = {one.id for one in studio.stored}
    assert runs.run() == {DocumentState.DELIVERED: 250}
    assert_right(studio)
    assert before < {one.id for one in studio.stored}  # the others are left as they are


@pytest.mark.parametrize("tasks", [90, 250])  # on the first page, which is fetched, and behind it
@pytest.mark.parametrize("engine", [make_local_engine, ahead])
@pytest.mark.parametrize("sent_at_once", [False, True])
def test_what_waits_is_sent_only_when_its_task_was_looked_at_again(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    engine: Callable[[Tier], Engine],
    tasks: int,
    sent_at_once: bool,
) -> None:
    studio = Studio(tasks)
    runs = Runs(studio, tmp_path)
    assert runs.run(until="read") == {DocumentState.PREDICTED: tasks}
    gone, edited = (tasks - 9) * 3, (tasks - 8) * 3
    studio.texts[edited] = EDITED
    studio.delete(gone)
    other = tasks * 3  # has got one from elsewhere
    studio._store([{"task": other, "model_version": VERSION, "score": 1.0, "result": ()}])
    runs.engine, runs.waited = engine, SEND_INTERVAL_SECONDS + 1 if sent_at_once else 0.0
    if sent_at_once:
        monkeypatch.setattr(
            "tagalong.backend.batch.label_studio_project.MAX_PREDICTIONS_PER_REQUEST", 7
        )
    sent = noting(studio)
    assert runs.run() == {DocumentState.DELIVERED: tasks - 1}
    assert Counter(sent) == dict.fromkeys(studio.texts.keys() - {other}, 1)
    assert predicted(studio) == dict.fromkeys(studio.texts, 1)
    studio.delete(other)
    assert_right(studio)


@pytest.mark.parametrize("until", ["read", "chosen", "reread"])
def test_a_cascade_looks_at_what_waits_again(tmp_path: Path, clock: Clock, until: str) -> None:
    studio = Studio(150)
    runs = Runs(studio, tmp_path, budget=0.2)
    runs.run(until=until)
    studio.texts[6] = studio.texts[300] = EDITED
    studio.delete(447)
    studio.delete(450)
    assert runs.run() == {DocumentState.DELIVERED: 148}
    assert_right(studio)
    assert Counter(one.model_version for one in studio.stored)[BETTER] == 30


def test_a_cascade_that_goes_on_reads_no_fewer_again(tmp_path: Path, clock: Clock) -> None:
    studio = Studio(100)
    runs = Runs(studio, tmp_path, budget=0.2)
    runs.waited = SEND_INTERVAL_SECONDS + 1  # so that the first chunk is sent
    runs.run(until="reread")
    assert studio.stored
    runs.waited = 0.0
    runs.run()
    assert_right(studio)
    assert Counter(one.model_version for one in studio.stored)[BETTER] == 20


@pytest.mark.parametrize("engine", [make_local_engine, ahead])
def test_a_cascade_looks_at_everything_again_before_it_is_sent(
    tmp_path: Path, clock: Clock, engine: Callable[[Tier], Engine]
) -> None:
    studio = Studio(150)
    runs = Runs(studio, tmp_path, budget=0.2)

    def edited_meanwhile(tier: Tier) -> Engine:
        if tier.version == BETTER:  # which is read hours after the first tier has begun
            studio.texts[6] = studio.texts[300] = EDITED  # the first is chosen, the other is not
            studio.delete(447)
            studio.delete(450)
        return engine(tier)

    runs.engine = edited_meanwhile
    sent = noting(studio)
    assert runs.run() == {DocumentState.DELIVERED: 148}
    assert_right(studio)
    assert Counter(sent) == dict.fromkeys(studio.texts, 1)
    assert Counter(one.model_version for one in studio.stored)[BETTER] == 31


class Choosy(LexiconTier):
    """Cannot read what was edited."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        if any(document.text == EDITED for document in documents):
            raise TagalongError("too odd")
        return super().predict(documents)


def test_an_answer_to_another_text_is_no_answer_where_none_can_be_had(
    tmp_path: Path, clock: Clock
) -> None:
    studio = Studio(50)
    runs = Runs(studio, tmp_path, budget=0.2)

    def edited_meanwhile(tier: Tier) -> Engine:
        if tier.version == BETTER:
            studio.texts[6] = studio.texts[150] = EDITED
            return make_local_engine(Choosy(BETTER))
        return make_local_engine(tier)

    runs.engine = edited_meanwhile
    assert runs.run() == {DocumentState.DELIVERED: 48, DocumentState.FAILED: 2}
    assert not {6, 150} & predicted(studio).keys()


@pytest.mark.parametrize("late", [False, True])
def test_what_could_not_be_read_for_a_while_is_read_in_the_end(
    tmp_path: Path, clock: Clock, late: bool
) -> None:
    studio = Studio(20, ["", "late"] if late else [])
    studio.forbidden = {9}
    runs = Runs(studio, tmp_path)
    runs.run()
    studio.texts[6] = EDITED
    runs.engine = lambda tier: make_local_engine(Choosy(tier.version))
    assert runs.run() == {DocumentState.DELIVERED: 18, DocumentState.FAILED: 2}
    runs.engine = make_local_engine
    assert runs.run() == {DocumentState.DELIVERED: 19, DocumentState.FAILED: 1}
    studio.forbidden.clear()
    runs.run()
    assert_right(studio)


def test_a_task_that_is_on_two_pages_of_a_tab_is_read_once(tmp_path: Path, clock: Clock) -> None:
    studio = Studio(150)
    shown = [*sorted(studio.texts), 300]  # moved on by a task that was added meanwhile
    studio.tasks.list_ids_in_view = lambda project, view: shown
    tier = LexiconTier(VERSION)
    maps = {VERSION: map_labels(tier.labels, CONFIG)}
    project = project_of(studio)
    tasks = ProjectSource(project, replace(PROJECT, view_id=4), versions=[VERSION])
    assert tasks.count_tasks() == 150
    with BatchState(tmp_path / "j") as journal:
        target = ProjectSink(project, maps)
        BatchPasses(journal, target).predict(tasks, make_local_engine(tier))
        target.finish(journal)
    assert_right(studio)


class Slow:
    """A Label Studio whose answers to some requests do not come, and that stores them later."""

    def __init__(self, studio: Studio, clock: Clock, delays: Sequence[float]) -> None:
        self._studio, self._clock = studio, clock
        self._delays, self._add = iter(delays), studio.predictions.add
        self.ends = False  # whether who asks is killed meanwhile

    def add(self, project: int, items: Sequence[dict[str, Any]]) -> int:
        delay = next(self._delays, None)
        if delay is None:
            return int(self._add(project, items))
        self._clock.after(delay, lambda: self._studio._store(items))
        raise Ended if self.ends else LabelStudioError("no answer", "slow", "no answer")


@pytest.mark.parametrize("delay", [0.0, 1.0, MAX_IN_FLIGHT_SECONDS - 1])
def test_a_late_request_of_an_old_text_gives_way(
    tmp_path: Path, clock: Clock, delay: float
) -> None:
    studio = Studio(2)
    slow = Slow(studio, clock, [delay])
    studio.predictions.add, slow.ends = slow.add, True
    runs = Runs(studio, tmp_path)
    with pytest.raises(Ended):
        runs.run()
    studio.texts[6] = EDITED
    if delay == 1.0:
        clock.sleep(delay)  # it arrives before the batch goes on
    runs.run()
    clock.sleep(100)
    assert_right(studio)


def test_one_that_is_later_than_any_should_be_gives_way_too(tmp_path: Path, clock: Clock) -> None:
    studio = Studio(2, ["", "late", "killed"])  # it arrives just before the next request
    runs = Runs(studio, tmp_path)
    with pytest.raises(Ended):
        runs.run()
    studio.texts[6] = EDITED
    runs.run()
    assert_right(studio)


def test_an_old_text_that_was_delivered_gives_way(tmp_path: Path, clock: Clock) -> None:
    studio = Studio(20)
    studio.forbidden = {9}
    runs = Runs(studio, tmp_path)
    runs.run()
    studio.texts[6] = EDITED
    studio.forbidden.clear()
    runs.run()
    assert_right(studio)


def test_a_task_that_cannot_be_read_any_more_keeps_its_prediction(
    tmp_path: Path, clock: Clock
) -> None:
    studio = Studio(20)
    studio.forbidden = {9}
    runs = Runs(studio, tmp_path)
    runs.run()
    studio.texts[6] = None  # type: ignore[assignment]
    assert runs.run() == {DocumentState.DELIVERED: 19, DocumentState.FAILED: 1}
    assert predicted(studio)[6] == 1


def test_what_is_in_doubt_is_looked_at_once_all_has_arrived(tmp_path: Path, clock: Clock) -> None:
    studio = Studio(3)
    studio.predictions.add = Slow(studio, clock, [MAX_IN_FLIGHT_SECONDS - 1]).add
    Runs(studio, tmp_path).run()
    clock.sleep(100)
    assert_right(studio)


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_set_aside_may_have_arrived_all_the_same(
    tmp_path: Path, clock: Clock, killed: bool
) -> None:
    studio = Studio(1)
    studio.predictions.add = Slow(studio, clock, [5.0, 5.0, 5.0]).add
    runs = Runs(studio, tmp_path)
    if killed:
        runs.waited = SEND_INTERVAL_SECONDS + 1  # so that it is sent
        assert runs.run(until="read") == {DocumentState.FAILED: 1}
    assert runs.run() == {DocumentState.DELIVERED: 1}
    with BatchState(runs.path) as journal:
        assert journal.read_version_totals()[VERSION].documents == 1
        assert journal.read_possible_duplicates(limit=9) == []
    clock.sleep(100)
    assert_right(studio)


def test_what_was_set_aside_and_never_arrived_stays_there(tmp_path: Path, clock: Clock) -> None:
    studio = Studio(3)
    studio.failing = {6}
    studio._store([{"task": 6, "model_version": "", "score": 1.0, "result": ()}] * 2)
    assert Runs(studio, tmp_path).run() == {DocumentState.DELIVERED: 2, DocumentState.FAILED: 1}
    assert predicted(studio) == {3: 1, 6: 2, 9: 1}  # others' are nobody's business
    with BatchState(tmp_path / "j") as journal:
        assert journal.read_version_totals()[VERSION].documents == 2
        assert journal.read_possible_duplicates(limit=9) == []


def test_fewer_than_a_request_takes_are_sent_after_a_while(tmp_path: Path, clock: Clock) -> None:
    studio = Studio(200)
    runs = Runs(studio, tmp_path)
    sent: list[tuple[float, int]] = []
    add = studio.predictions.add

    def noted(project: int, items: Sequence[dict[str, Any]]) -> int:
        sent.append((clock.now, len(items)))
        return int(add(project, items))

    def slowly(tier: Tier) -> Engine:
        def engine(chunks: Any) -> Any:
            for chunk in chunks:
                clock.sleep(SEND_INTERVAL_SECONDS / 2)
                yield predict_isolating_failures(tier, chunk)

        return engine

    studio.predictions.add, runs.engine = noted, slowly
    runs.run(until="read")
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
    engine=st.sampled_from([make_local_engine, ahead]),
    data=st.data(),
)
def test_whatever_happens_between_its_runs_each_task_ends_with_the_right_prediction(
    tasks: int,
    faults: list[str],
    budget: float | None,
    engine: Callable[[Tier], Engine],
    data: st.DataObject,
) -> None:
    studio = Studio(tasks, faults)
    clock = Clock()
    some = st.lists(st.integers(1, max(tasks, 1)).map(lambda number: number * 3), max_size=5)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tagalong.backend.batch.label_studio_project.time", clock)
        patch.setattr("tagalong.backend.batch.label_studio_project.MAX_PREDICTIONS_PER_REQUEST", 7)
        patch.setattr(clock, "sleep", lambda _: studio.land())
        runs = Runs(studio, folder, budget=budget)
        runs.engine = engine
        while True:
            runs.waited = data.draw(st.sampled_from([0.0, SEND_INTERVAL_SECONDS]))
            with suppress(Ended):
                runs.run()
                break
            for number in data.draw(some):
                if number in studio.texts:
                    studio.texts[number] = "so " * data.draw(st.integers(1, 9)) + "naloxone"
            for number in data.draw(some):
                studio.lose(number)
            for number in data.draw(some):
                studio.delete(number)
    assert_right(studio)
