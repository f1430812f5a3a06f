"""The scheduler of a tier: chunks in order, small requests between large ones, and batches."""

import copy
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import ModelInputs, TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.models.text.windows import WindowConfig, WindowEncoder
from tagalong.backend.server.prediction import scheduler as scheduler_module
from tagalong.backend.server.prediction.request import RequestError
from tagalong.backend.server.prediction.scheduler import (
    MAX_BATCH_PARTS,
    Batcher,
    RequestScheduler,
)
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError
from tagalong.ner.model_registry import ModelRegistry
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@pytest.fixture
def scheduler() -> Iterator[RequestScheduler]:
    made = RequestScheduler("encoder", on_decoded=lambda _: None)
    yield made
    made.close()


@pytest.mark.parametrize("count", [0, 1, MAX_BATCH_PARTS, 3 * MAX_BATCH_PARTS + 1])
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
    batch = [Document(f"batch-{n}", "Naloxone") for n in range(20 * MAX_BATCH_PARTS)]
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


class BlockedRunner(TorchRunner):
    """Runs batches when it is allowed to, and counts their windows."""

    def __init__(self, model: "PreTrainedModel") -> None:
        super().__init__(model)
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self.windows = 0

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        self.windows += len(batch["input_ids"])
        return super().compute_logits(batch)


@pytest.fixture(scope="module")
def encoder() -> EncoderTagger:
    folder = ModelRegistry(Path("none"), bundled_root=BUNDLED_MODELS_FOLDER).resolve("encoder")
    tagger = load_tagger(folder)
    assert isinstance(tagger, EncoderTagger)
    tokenizer = tagger.window_encoder.tokenizer
    tagger.window_encoder = WindowEncoder(tokenizer, WindowConfig(window=32, context=4))
    return tagger


def blocked(encoder: EncoderTagger) -> tuple[EncoderTagger, BlockedRunner]:
    assert isinstance(encoder.runner, TorchRunner)
    tagger, runner = copy.copy(encoder), BlockedRunner(encoder.runner.model)
    tagger.runner = runner
    return tagger, runner


LONG_TEXT = "Naloxone reverses the antihypertensive effect of clonidine. " * 200


def test_small_request_does_not_wait_for_a_long_text(
    scheduler: RequestScheduler, encoder: EncoderTagger
) -> None:
    tagger, runner = blocked(encoder)
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(scheduler.predict, tagger, [Document("long", LONG_TEXT)])
        time.sleep(0.5)  # so that the long text is queued first
        small = pool.submit(scheduler.predict, tagger, [Document("small", "Lithium")])
        time.sleep(0.1)
        runner.may_go_on.set()
        assert small.result(60)[0].spans
        before_small = runner.windows
        (prediction,) = long.result(60)
    assert before_small <= runner.windows / 3
    (whole,) = encoder.predict([Document("long", LONG_TEXT)])
    assert prediction.spans == whole.spans
    assert prediction.score == pytest.approx(whole.score, rel=1e-4)


def test_work_of_a_client_that_has_gone_stops(
    scheduler: RequestScheduler, encoder: EncoderTagger
) -> None:
    tagger, runner = blocked(encoder)
    has_gone = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(
            scheduler.predict,
            tagger,
            [Document("long", LONG_TEXT)] * 10,
            has_client_gone=has_gone.is_set,
        )
        time.sleep(0.2)
        has_gone.set()
        runner.may_go_on.set()
        with raises(RequestError, "client-gone"):
            long.result(60)
    assert scheduler.predict(tagger, [Document("small", "Lithium")])[0].spans
    assert runner.windows < 60  # one text has about as many
    assert scheduler._active_seconds == []


def test_waiting_work_of_a_client_that_has_gone_is_dropped(
    scheduler: RequestScheduler, encoder: EncoderTagger
) -> None:
    tagger, runner = blocked(encoder)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(scheduler.predict, tagger, [Document("before", "Lithium")])
        try:
            assert runner.has_begun.wait(30)
            waiting = pool.submit(
                scheduler.predict,
                tagger,
                [Document("waiting", "Lithium")],
                has_client_gone=iter([False] + [True] * 9).__next__,
            )
            with raises(RequestError, "client-gone"):
                waiting.result(30)
        finally:
            runner.may_go_on.set()
        assert before.result(60)[0].spans
    assert runner.windows == 1
    assert scheduler._active_seconds == []


def test_cancelled_work_is_not_run() -> None:
    tagger = LexiconTagger("v")
    with batching() as (batcher, watched):
        first = batcher.submit(tagger, texts("first", 1))
        assert watched.began.wait(30)
        waiting = [batcher.submit(tagger, texts(name, 1)) for name in "abc"]
        assert waiting[1].cancel()
        watched.may_go_on.set()
        for answer in (first, waiting[0], waiting[2]):
            assert len(answer.result(30)) == 1
    assert watched.calls[1:] == [(tagger, ["a0", "c0"])]


@pytest.mark.parametrize(("own", "expected"), [(3, 3 + 1), (20, 7 + 1)])
def test_requests_wait_for_no_more_of_another_than_their_own_work(
    scheduler: RequestScheduler, own: int, expected: int
) -> None:
    may_go_on, backlogs = threading.Event(), []

    class Slow(LexiconTagger):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            assert may_go_on.wait(30)
            return super().predict(documents)

        def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
            return [float(document.id) for document in documents]

    def ask(seconds: int) -> None:
        document = Document(str(seconds), "Naloxone")
        scheduler.predict(
            Slow("1"), [document], check_admission=lambda _, backlog: backlogs.append(backlog)
        )

    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(ask, seconds) for seconds in (7, 1)]
        until(lambda: len(scheduler._active_seconds) == 2)
        last = pool.submit(ask, own)
        until(lambda: len(backlogs) == 3)
        may_go_on.set()
        for one in (*others, last):
            one.result(30)
    assert backlogs[-1] == expected


def test_replaced_tagger_is_used_for_the_next_chunk(scheduler: RequestScheduler) -> None:
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
    documents = [Document(str(n), "Naloxone") for n in range(5 * MAX_BATCH_PARTS)]
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


class RecordingRun:
    """Predicts when it is allowed to, and records its batches."""

    def __init__(self) -> None:
        self.calls: list[tuple[DocumentTagger, list[str]]] = []
        self.may_go_on = threading.Event()
        self.began = threading.Event()

    def __call__(self, tagger: DocumentTagger, documents: Sequence[Document]) -> list[Prediction]:
        self.calls.append((tagger, [document.id for document in documents]))
        self.began.set()
        assert self.may_go_on.wait(30)
        if any(document.text == "bad" for document in documents):
            raise InputError("a bad text")
        return tagger.predict(documents)


@contextmanager
def batching(threads: int = 1) -> Iterator[tuple[Batcher, RecordingRun]]:
    watched = RecordingRun()
    batcher = Batcher(watched, "forward", threads=threads)
    try:
        yield batcher, watched
    finally:
        watched.may_go_on.set()
        batcher.close()


def texts(name: str, count: int, text: str = "Naloxone") -> list[Document]:
    return [Document(f"{name}{number}", text) for number in range(count)]


def behind_one(
    batcher: Batcher,
    watched: RecordingRun,
    asked: Sequence[tuple[DocumentTagger, Sequence[Document]]],
) -> list[Future[list[Prediction]]]:
    """Queue all requests while one is predicted."""
    first = batcher.submit(LexiconTagger("first"), texts("first", 1))
    assert watched.began.wait(30)
    waiting = [batcher.submit(*one) for one in asked]
    watched.may_go_on.set()
    assert len(first.result(30)) == 1
    return waiting


@pytest.mark.parametrize(
    ("counts", "together"),
    [
        ([1] * 5, [5]),
        ([1] * 20, [16, 4]),
        ([16, 1, 1], [16, 2]),
        ([1, 16, 1], [1, 16, 1]),
        ([40, 1], [40, 1]),  # a larger request is a batch of its own
        ([10, 10, 6], [10, 16]),
        ([0, 1], [1]),
    ],
)
def test_waiting_requests_are_batched_in_order_up_to_max_batch(
    counts: list[int], together: list[int]
) -> None:
    tagger = LexiconTagger("v")
    with batching() as (batcher, watched):
        asked = [texts(f"{number}-", count) for number, count in enumerate(counts)]
        answers = behind_one(batcher, watched, [(tagger, documents) for documents in asked])
        for documents, answer in zip(asked, answers, strict=True):
            assert answer.result(30) == tagger.predict(documents)
    ids = [document.id for documents in asked for document in documents]
    assert [name for _, called in watched.calls[1:] for name in called] == ids
    assert [len(called) for _, called in watched.calls[1:]] == together


@pytest.mark.parametrize(
    ("counts", "together"),
    [([1] * 7, [4, 2, 1]), ([1] * 40, [16, 12, 6, 3, 2, 1]), ([3, 3], [3, 3])],
)
def test_every_thread_takes_its_share(counts: list[int], together: list[int]) -> None:
    tagger = LexiconTagger("v")
    with batching(threads=2) as (batcher, watched):
        busy = [batcher.submit(LexiconTagger(name), texts(name, 1)) for name in "ab"]
        until(lambda: len(watched.calls) == 2)
        waiting = [batcher.submit(tagger, texts(f"{n}-", count)) for n, count in enumerate(counts)]
        watched.may_go_on.set()
        for answer in (*busy, *waiting):
            answer.result(30)
    sizes = [len(called) for _, called in watched.calls[2:]]
    assert sorted(sizes, reverse=True) == together  # two batches may start at once


def test_batches_do_not_mix_versions() -> None:
    old, new = LexiconTagger("old"), LexiconTagger("new")
    with batching() as (batcher, watched):
        order = [old, old, new, old]
        answers = behind_one(batcher, watched, [(tagger, texts("x", 2)) for tagger in order])
        versions = [{one.version for one in answer.result(30)} for answer in answers]
    assert versions == [{"old"}, {"old"}, {"new"}, {"old"}]
    assert [tagger for tagger, _ in watched.calls[1:]] == [old, new, old]


def test_bad_text_does_not_fail_the_rest_of_its_batch() -> None:
    tagger = LexiconTagger("v")
    with batching() as (batcher, watched):
        asked = [texts("a", 2), texts("b", 1, "bad"), texts("c", 1)]
        good, bad, other = behind_one(batcher, watched, [(tagger, one) for one in asked])
        assert len(good.result(30)) == 2
        assert len(other.result(30)) == 1
        with pytest.raises(InputError):
            bad.result(30)
        assert len(batcher.submit(tagger, texts("d", 1)).result(30)) == 1


def test_clients_of_one_batch_are_batched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_module, "MAX_QUEUE_DELAY_SECONDS", 3600.0)
    tagger = LexiconTagger("v")
    with batching() as (batcher, watched):
        wave = [(tagger, texts(name, 1)) for name in "abc"]
        for answer in behind_one(batcher, watched, wave):
            answer.result(30)
        again = []
        for one in wave:  # requests arrive one after the other
            again.append(batcher.submit(*one))
            time.sleep(0.05)
        for answer in again:
            assert len(answer.result(10)) == 1
    assert [len(called) for _, called in watched.calls] == [1, 3, 3]
    # A closed batcher does not wait for further requests.
    until(lambda: not any(thread.name == "forward" for thread in threading.enumerate()))


def test_two_threads_predict_concurrently(monkeypatch: pytest.MonkeyPatch) -> None:
    tagger, both = LexiconTagger("v"), threading.Barrier(2)

    def meet(tagger: DocumentTagger, documents: Sequence[Document]) -> list[Prediction]:
        both.wait(30)
        return tagger.predict(documents)

    monkeypatch.setattr(scheduler_module, "MAX_BATCH_PARTS", 1)
    batcher = Batcher(meet, "forward", threads=2)
    try:
        asked = [texts(f"{number}-", 1) for number in range(8)]
        answers = [batcher.submit(tagger, documents) for documents in asked]
        for documents, answer in zip(asked, answers, strict=True):
            assert answer.result(30) == tagger.predict(documents)
    finally:
        batcher.close()
    until(lambda: not any(thread.name == "forward" for thread in threading.enumerate()))


def test_replaced_tagger_is_released() -> None:
    tagger = LexiconTagger("v")
    kept = weakref.ref(tagger)
    with batching() as (batcher, watched):
        watched.may_go_on.set()
        batcher.submit(tagger, texts("a", 1)).result(30)
        watched.calls.clear()
        del tagger
        until(lambda: gc.collect() is not None and kept() is None)


def test_concurrent_requests_get_their_own_predictions() -> None:
    tagger = LexiconTagger("v")
    with batching() as (batcher, watched):
        watched.may_go_on.set()

        def ask(number: int) -> None:
            for turn in range(20):
                documents = texts(f"{number}-{turn}-", 1 + turn % 3, "Lithium " * number)
                assert batcher.submit(tagger, documents).result(30) == tagger.predict(documents)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(16)))
    assert len(watched.calls) < 16 * 20
    assert max(len(called) for _, called in watched.calls) <= scheduler_module.MAX_BATCH_PARTS


def test_close_finishes_waiting_requests_and_ends_threads() -> None:
    tagger = LexiconTagger("v")
    with batching() as (batcher, watched):
        answers = behind_one(batcher, watched, [(tagger, texts("a", 1)), (tagger, texts("b", 20))])
        batcher.close()
        assert [len(answer.result(30)) for answer in answers] == [1, 20]
        until(lambda: not any(thread.name == "forward" for thread in threading.enumerate()))


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)
