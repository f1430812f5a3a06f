"""What is known of trainings: one waits, one runs, and what has ended stays as it ended."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.retraining.run import Outcome, Run, RunState, Stratum
from backend.retraining.runs import Runs, server_home
from ner.errors import JournalError

ROOT = Path(__file__).parents[3]
OUTCOME = Outcome(
    "it is better",
    promote=True,
    version="v-1",
    against="v-0",
    documents=30,
    held_out=7,
    strata=(Stratum("all", 40, 0.8, 0.7, -0.01, 0.2), Stratum("3+", 2, 0.5)),
    notes=("Something.",),
    promoted=True,
)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path / "models")
    yield runs
    runs.close()


def known(runs: Runs, number: int) -> Run:
    run = runs.run(number)
    assert run is not None
    return run


def test_one_waits_and_answers_for_all_that_ask(runs: Runs) -> None:
    first = runs.ask(7, "encoder", reason="the train button", upto=3)
    assert runs.ask(7, "encoder", reason="9 annotations", upto=12) == first
    assert runs.ask(7, "encoder", reason="the train button", upto=5) == first
    assert known(runs, first).upto == 12
    assert known(runs, first).reason == "the train button"
    assert runs.ask(7, "llm", reason="the train button") != first
    assert runs.ask(8, "encoder", reason="the train button") != first
    assert runs.answered_for("encoder") == {7: 12, 8: 0}


def test_events_while_one_runs_lead_to_one_more(runs: Runs) -> None:
    first = runs.ask(7, "encoder", reason="x", upto=3)
    runs.begin(first)
    second = runs.ask(7, "encoder", reason="x", upto=4)
    assert second != first
    assert runs.ask(7, "encoder", reason="x", upto=5) == second
    assert [run.id for run in runs.unfinished()] == [first, second]
    with pytest.raises(JournalError):  # of one project and tier, one runs
        runs.begin(second)
    runs.end(first, RunState.KEPT, OUTCOME)
    runs.begin(second)
    answering = [runs.answering(7, event) for event in (1, 3, 4, 5, 6)]
    assert [run and run.id for run in answering] == [first, first, second, second, None]


def test_what_has_ended_stays_as_it_ended(runs: Runs) -> None:
    number = runs.ask(7, "encoder", reason="x")
    runs.begin(number)
    runs.tell(number, "epoch 1 of 9")
    assert known(runs, number).standing == "epoch 1 of 9"
    runs.end(number, RunState.PROMOTED, OUTCOME)
    ended = known(runs, number)
    assert ended.outcome == OUTCOME
    assert ended.ended is not None
    assert ended.standing == ""
    runs.end(number, RunState.FAILED, Outcome("no"))
    runs.begin(number)
    assert known(runs, number) == ended
    assert runs.cancel(7) == 0


def test_what_is_decided_outlives_its_process(runs: Runs) -> None:
    number = runs.ask(7, "encoder", reason="x")
    runs.begin(number)
    runs.decide(number, OUTCOME)
    runs.begin(number)  # it was killed, and is begun again
    again = known(runs, number)
    assert (again.state, again.tries, again.outcome) == (RunState.RUNNING, 2, OUTCOME)


def test_a_lock_ends_with_its_process(runs: Runs, tmp_path: Path) -> None:
    number = runs.ask(7, "encoder", reason="x")
    program = (
        "import sys\nfrom pathlib import Path\nfrom backend.retraining.runs import Runs\n"
        f"with Runs(Path({str(tmp_path / 'models')!r})).alone(7, 'encoder') as ours:\n"
        "    print(ours, flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    assert runs.is_held(known(runs, number))
    process.kill()
    process.communicate()
    assert not runs.is_held(known(runs, number))


def test_no_training_fails_for_a_note_that_cannot_be_written(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    number = runs.ask(7, "encoder", reason="x")
    with closing(sqlite3.connect(server_home(tmp_path) / "runs.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")  # as a backup or a stalled disk would
        runs.tell(number, "training, epoch 1 of 9")
        other.rollback()
    assert known(runs, number).standing == ""
    runs.tell(number, "training, epoch 2 of 9")
    assert known(runs, number).standing == "training, epoch 2 of 9"
    runs.close()


def test_a_file_that_cannot_be_used_says_what_that_costs(tmp_path: Path) -> None:
    server_home(tmp_path).mkdir(parents=True)
    (server_home(tmp_path) / "runs.sqlite").write_text("something else altogether" * 99)
    with pytest.raises(JournalError, match="nothing can be retrained: make its folder writable"):
        Runs(tmp_path).latest(limit=1)


@given(
    st.builds(
        Outcome,
        reason=st.text(),
        promote=st.booleans(),
        strata=st.lists(
            st.builds(
                Stratum,
                name=st.sampled_from(["all", "1", "2", "3+"]),
                support=st.integers(0),
                new=st.floats(0, 1),
                old=st.none() | st.floats(0, 1),
            )
        ).map(tuple),
        notes=st.lists(st.text()).map(tuple),
    )
)
def test_an_outcome_comes_back_from_json(outcome: Outcome) -> None:
    assert Outcome.from_json(outcome.to_json()) == outcome
