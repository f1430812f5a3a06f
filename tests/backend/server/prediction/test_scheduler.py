"""The scheduler of a tier: chunks in order, and small requests between those of large ones."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tagalong.backend.server.prediction.request import RequestError
from tagalong.backend.server.prediction.scheduler import MAX_BATCH_DOCUMENTS, RequestScheduler
from tagalong.ner.document import Document, Prediction
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger


@pytest.fixture
def scheduler() -> Iterator[RequestScheduler]:
    made = RequestScheduler("encoder", on_decoded=lambda _: None)
    yield made
    made.close()


@pytest.mark.parametrize("count", [0, 1, MAX_BATCH_DOCUMENTS, 3 * MAX_BATCH_DOCUMENTS + 1])
def test_predictions_keep_order_for_any_chunk_size(scheduler: RequestScheduler, count: int) -> None:
    documents = [Document(str(n), "Naloxone " * (n % 3)) for n in range(count)]
    tagger = LexiconTagger("1")
    assert scheduler.predict(tagger, documents) == tagger.predict(documents)


def test_small_request_does_not_wait_for_a_large_one(scheduler: RequestScheduler) -> None:
    order: list[str] = []
    may_go_on = threading.Event()

    class Slow(LexiconTagger):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            may_go_on.wait(30)
            order.append(documents[0].id)
            return super().predict(documents)

    tagger = Slow("1")
    batch = [Document(f"batch-{n}", "Naloxone") for n in range(20 * MAX_BATCH_DOCUMENTS)]
    waiting = [
        threading.Thread(target=scheduler.predict, args=(tagger, documents))
        for documents in (batch, [Document("single", "Lithium")])
    ]
    for thread in waiting:
        thread.start()
        threading.Event().wait(0.2)  # so that the large request is queued first
    may_go_on.set()
    for thread in waiting:
        thread.join(30)
    assert order.index("single") <= 3
    assert len(order) == 21


def test_replaced_tier_is_used_for_the_next_chunk(scheduler: RequestScheduler) -> None:
    documents = [Document("1", "Naloxone")]
    for version in ("1", "2", "1"):
        assert scheduler.predict(LexiconTagger(version), documents)[0].version == version


@pytest.mark.parametrize("was_asked", [True, False])
def test_closed_scheduler_starts_no_work(scheduler: RequestScheduler, was_asked: bool) -> None:
    asked = LexiconTagger("1"), [Document("1", "Naloxone")]
    if was_asked:
        scheduler.predict(*asked)
    scheduler.close()
    with raises(RequestError, "server-stopping"):
        scheduler.predict(*asked)
    assert len(scheduler._batchers) == was_asked


def test_running_request_is_finished_after_close(scheduler: RequestScheduler) -> None:
    began, may_go_on = threading.Event(), threading.Event()

    class Slow(LexiconTagger):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            began.set()
            may_go_on.wait(30)
            return super().predict(documents)

    tagger = Slow("1")
    documents = [Document(str(n), "Naloxone") for n in range(5 * MAX_BATCH_DOCUMENTS)]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(scheduler.predict, tagger, documents)
        assert began.wait(30)
        scheduler.close()
        may_go_on.set()
        assert len(answer.result(30)) == len(documents)
    (batcher,) = scheduler._batchers.values()
    for thread in batcher._threads:
        thread.join(30)
        assert not thread.is_alive()
