"""Turns at a tier: in order, in portions, and none waits for a whole batch of somebody else's."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.server.errors import Refusal
from backend.server.turns import PORTION, Turns, giving_way
from ner.document import Document, Prediction
from tests.lexicon_tier import LexiconTier


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns("encoder", spent=lambda _: None)
    yield made
    made.close()


@pytest.mark.parametrize("count", [0, 1, PORTION, 3 * PORTION + 1])
def test_predictions_come_in_order_whatever_the_portions(turns: Turns, count: int) -> None:
    documents = [Document(str(n), "Naloxone " * (n % 3)) for n in range(count)]
    tier = LexiconTier("1")
    assert turns.predict(tier, documents) == tier.predict(documents)


def test_a_small_request_does_not_wait_for_a_whole_batch(turns: Turns) -> None:
    order: list[str] = []
    may_go_on = threading.Event()

    class Slow(LexiconTier):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            may_go_on.wait(30)
            order.append(documents[0].id)
            return super().predict(documents)

    tier = Slow("1")
    batch = [Document(f"batch-{n}", "Naloxone") for n in range(20 * PORTION)]
    waiting = [
        threading.Thread(target=turns.predict, args=(tier, documents))
        for documents in (batch, [Document("single", "Lithium")])
    ]
    for thread in waiting:
        thread.start()
        threading.Event().wait(0.2)  # the batch is first in the queue
    may_go_on.set()
    for thread in waiting:
        thread.join(30)
    assert order.index("single") <= 3
    assert len(order) == 21


def test_a_tier_that_took_the_place_of_another_is_asked_next(turns: Turns) -> None:
    documents = [Document("1", "Naloxone")]
    for version in ("1", "2", "1"):
        assert turns.predict(LexiconTier(version), documents)[0].version == version


@pytest.mark.parametrize("was_asked", [True, False])
def test_nothing_is_begun_once_it_is_closed(turns: Turns, was_asked: bool) -> None:
    asked = LexiconTier("1"), [Document("1", "Naloxone")]
    if was_asked:
        turns.predict(*asked)
    turns.close()
    with pytest.raises(Refusal, match="being stopped"):
        turns.predict(*asked)
    assert len(turns._batchers) == was_asked


def test_a_request_in_work_is_finished_after_it_is_closed(turns: Turns) -> None:
    began, may_go_on = threading.Event(), threading.Event()

    class Slow(LexiconTier):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            began.set()
            may_go_on.wait(30)
            return super().predict(documents)

    tier = Slow("1")
    documents = [Document(str(n), "Naloxone") for n in range(5 * PORTION)]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(turns.predict, tier, documents)
        assert began.wait(30)
        turns.close()
        may_go_on.set()
        assert len(answer.result(30)) == len(documents)
    (batcher,) = turns._batchers.values()
    for thread in batcher._threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has it")
def test_who_has_to_wait_takes_no_cpu_from_a_pass(turns: Turns) -> None:
    may_go_on = threading.Event()

    class Slow(LexiconTier):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            may_go_on.wait(30)
            return super().predict(documents)

    asked = Slow("1"), [Document("1", "Naloxone")]
    askers = [threading.Thread(target=turns.predict, args=asked) for _ in range(3)]
    for number, asker in enumerate(askers, start=1):
        asker.start()
        deadline = time.monotonic() + 30
        while turns._inside < number and time.monotonic() < deadline:
            time.sleep(0.01)
    time.sleep(0.2)
    policies = [os.sched_getscheduler(asker.native_id or 0) for asker in askers]
    may_go_on.set()
    for asker in askers:
        asker.join(30)
    assert policies == [os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_BATCH]


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has it")
def test_it_is_over_with_the_answer_and_passes_never_give_way(turns: Turns) -> None:
    policies: list[int] = []

    class Watching(LexiconTier):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            policies.append(os.sched_getscheduler(0))
            return super().predict(documents)

    turns._inside = 1  # somebody else, who was first, and is not as far yet
    turns.predict(Watching("1"), [Document("1", "Naloxone")])
    assert policies == [os.SCHED_OTHER]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    turns._inside = 0


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has it")
def test_another_policy_stays() -> None:
    def within(policy: int) -> int:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        with giving_way():
            return os.sched_getscheduler(0)

    with ThreadPoolExecutor(1) as pool:  # its thread ends with what was set
        assert pool.submit(within, os.SCHED_OTHER).result() == os.SCHED_BATCH
        assert pool.submit(within, os.SCHED_IDLE).result() == os.SCHED_IDLE


def test_where_it_is_forbidden_all_goes_on(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid, raising=False)
    with giving_way():
        assert len(turns.predict(LexiconTier("1"), [Document("1", "Naloxone")])) == 1
