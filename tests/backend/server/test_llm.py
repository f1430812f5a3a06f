"""An LLM version behind ``/llm/predict``: drafts of the encoder, metrics and time limits."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger, ThroughputEstimate
from tagalong.backend.server.prediction.request import Limits, RequestError, check_latency_budget
from tagalong.backend.server.service import draft
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import OutOfMemoryError
from tests.backend.server.app_client import (
    ABSTRACT,
    assert_refused,
    assert_valid,
    post_json,
    request_for,
    serve_app,
    service_of,
    settings_in,
)
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger
from tests.llm_versions import CPU, publish_llm_version
from tests.tiny_bases import CORPUS
from tests.tiny_llms import save_llm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two LLM versions on one base model; the first is current."""
    folder = tmp_path_factory.mktemp("llm")
    base = save_llm(folder / "base", CORPUS, initializer_range=0.15)
    store = ModelStore(folder / "models")
    versions = [publish_llm_version(store, base, seed=seed).name for seed in (0, 1)]
    (folder / "versions").write_text(" ".join(versions))
    store.promote("llm", versions[0])
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[FlaskClient]:
    with serve_app(settings_in(folder, llm_weights="adapter"), load=None) as client:
        service_of(client).model_pool.find("llm")._first_load_done.wait(60)
        yield client


def metric(client: FlaskClient, name: str) -> float:
    text = client.get("/metrics").get_data(as_text=True)
    found = re.search(rf'^tagalong_decoding_{name}_total{{tier="llm"}} (\S+)$', text, re.MULTILINE)
    assert found, f"no {name}"
    return float(found[1])


def test_llm_predicts_with_encoder_drafts_and_reports_cost(
    client: FlaskClient, folder: Path
) -> None:
    answer = post_json(client, "/llm/predict", request_for(ABSTRACT, "", ABSTRACT * 3))
    assert answer.status_code == 200
    assert_valid(answer.json)
    results = answer.json["results"]
    first = (folder / "versions").read_text().split()[0]
    assert [result["model_version"] for result in results] == [first] * 3
    alone = load_tagger(folder / "models" / "llm" / first, device=CPU, weights_mode="adapter")
    [expected] = alone.predict([Document("1", ABSTRACT)])
    shown = [(item["value"]["start"], item["value"]["end"]) for item in results[0]["result"]]
    assert shown == [(span.start, span.end) for span in expected.spans]
    assert metric(client, "documents") == 3
    slots, passes = metric(client, "slots"), metric(client, "passes")
    assert slots == 4 * len(expected.tag_confidences)
    assert 2 <= passes <= slots
    assert 0 <= metric(client, "agreed") <= slots
    assert metric(client, "tokens") > slots


def test_promoted_adapter_is_served_on_the_same_base_model(
    client: FlaskClient, folder: Path
) -> None:
    service = service_of(client)
    before = service.model_pool.find("llm").tagger
    assert before is not None
    asked = [Document("1", ABSTRACT)]
    predictions = before.predict(asked)
    _, second = (folder / "versions").read_text().split()
    store = ModelStore(folder / "models")
    store.promote("llm", second)
    try:
        service.model_pool.find("llm").refresh()
        after = service.model_pool.find("llm").tagger
        assert after is not None
        assert after.version == second
        weights = [
            loaded.slot_decoder.scorer.model.get_decoder().embed_tokens.weight  # type: ignore[attr-defined]
            for loaded in (before, after)
        ]
        assert weights[0] is weights[1]
        assert before.predict(asked) == predictions
    finally:
        store.rollback("llm")


def test_request_that_would_take_too_long_is_refused_in_advance(folder: Path) -> None:
    limits = Limits(predict_budget_seconds=2.0)
    with serve_app(settings_in(folder, limits=limits), load=None) as client:
        holder = service_of(client).model_pool.find("llm")
        holder._first_load_done.wait(60)
        assert holder.tagger is not None
        holder.tagger.throughput.update(len(ABSTRACT), 0.3, reset=True)  # type: ignore[attr-defined]
        answer = post_json(client, "/llm/predict", request_for(*[ABSTRACT] * 7))
        assert_refused(answer, 413, "model-too-slow")
        assert re.findall(r"\d+", answer.json["error"]) == ["7", "2", "100", "6"]
        assert metric(client, "slots") == 0
        assert post_json(client, "/llm/predict", request_for(ABSTRACT, ABSTRACT)).status_code == 200


@pytest.mark.parametrize(
    ("seconds", "backlog", "status", "code"),
    [
        ([], 500, None, ""),
        ([30, 50], 0, None, ""),
        ([30, 51], 0, 413, "model-too-slow"),
        ([81], 0, 413, "model-too-slow"),
        ([30], 60, 503, "model-busy"),
    ],
)  # fmt: skip
def test_request_within_the_time_limit_is_accepted(
    seconds: list[float], backlog: float, status: int | None, code: str
) -> None:
    if status is None:
        check_latency_budget(seconds, backlog, max_seconds=80)
        return
    with raises(RequestError, code) as raised:
        check_latency_budget(seconds, backlog, max_seconds=80)
    assert isinstance(raised.value, RequestError)
    assert raised.value.status == status


class Slow(DocumentTagger):
    """A tagger that accepts work and is slow."""

    labels, version = ("Chemical",), "slow-1"

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.fails = False

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        return [0.9] * len(documents)

    def warm_up(self) -> None:
        """Nothing to do."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        assert self.may_go_on.wait(60)
        if self.fails:
            raise OutOfMemoryError("no memory")
        return [Prediction((), 1.0, self.version) for _ in documents]


def test_concurrent_requests_share_the_time_budget(folder: Path) -> None:
    """Each request fits alone, but the second arrives while the first is being admitted."""
    with serve_app(settings_in(folder), load=None) as client:
        holder, tagger = service_of(client).model_pool.find("llm"), Slow()
        first_is_asked, seen = threading.Event(), []

        def admit(seconds: Sequence[float], owed: float) -> None:
            seen.append(owed)
            first_is_asked.set()
            time.sleep(0.2 if owed == 0 else 0)  # until the other request arrives
            check_latency_budget(seconds, owed, max_seconds=2.0)

        def ask() -> list[Prediction]:
            return holder.scheduler.predict(
                tagger, [Document("1", ABSTRACT)] * 2, check_admission=admit
            )

        with ThreadPoolExecutor(1) as other:
            first = other.submit(ask)
            assert first_is_asked.wait(60)
            try:
                with pytest.raises(RequestError) as raised:
                    ask()
            finally:
                tagger.may_go_on.set()
            assert raised.value.status == 503
            assert seen == [0, pytest.approx(1.8)]
            assert len(first.result(60)) == 2
        assert len(ask()) == 2  # the backlog is done
        tagger.fails = True
        with pytest.raises(OutOfMemoryError):
            ask()
        tagger.fails = False
        assert len(ask()) == 2
        assert seen[2:] == pytest.approx([0, 0, 0])


def test_reading_time_reduces_prediction_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(predict_budget_seconds=2.0)
    with serve_app(settings_in(folder, limits=limits), load=None) as client:
        holder = service_of(client).model_pool.find("llm")
        holder.wait_for_tagger(timeout_seconds=60).throughput.update(len(ABSTRACT), 0.9, reset=True)  # type: ignore[attr-defined]
        plain = holder.wait_for_tagger

        def slow(*, timeout_seconds: float) -> Any:
            time.sleep(1.5)
            return plain(timeout_seconds=timeout_seconds)

        monkeypatch.setattr(holder, "wait_for_tagger", slow)
        answer = post_json(client, "/llm/predict", request_for(ABSTRACT))  # 0.9 of the 0.5 s left
        assert_refused(answer, 413, "model-too-slow")


def test_throughput_estimate_ignores_short_work_and_pauses() -> None:
    throughput = ThroughputEstimate(min_characters=100, min_seconds=0.1)
    documents = [Document("1", "x" * 200), Document("2", "")]
    assert throughput.estimate_seconds(documents) == []
    throughput.update(10, 0.05, reset=True)
    assert throughput.estimate_seconds(documents) == pytest.approx([1, 0])
    for characters, seconds in ((2, 0.5), (100, 0.05)):  # both measure overhead
        throughput.update(characters, seconds)
    assert throughput.estimate_seconds(documents) == pytest.approx([1, 0])
    for _ in range(9):
        throughput.update(1000, 10)
    assert throughput.estimate_seconds(documents) == pytest.approx([2, 0])
    for _ in range(4):
        throughput.update(1000, 600)  # the machine was suspended
    assert throughput.estimate_seconds(documents) == pytest.approx([2, 0])


def test_runs_at_the_same_time_share_the_measured_time() -> None:
    throughput, pause = ThroughputEstimate(), threading.Barrier(2)

    def run() -> None:
        with throughput.measure(100):
            pause.wait(60)
            time.sleep(0.3)
            pause.wait(60)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(run), pool.submit(run)]:
            future.result(60)
    (seconds,) = throughput.estimate_seconds([Document("1", "x" * 100)])
    assert 0.15 <= seconds < 0.3


class FakeHolder:
    """The part of the encoder's holder and scheduler that drafts use."""

    def __init__(self, tagger: Any, error: Exception | None = None) -> None:
        self.tagger = tagger
        self.scheduler = self
        self.was_used = threading.Event()
        self._error = error

    def predict(self, tagger: Any, documents: Sequence[Document]) -> list[Prediction]:
        self.was_used.set()
        if self._error is not None:
            raise self._error
        found: list[Prediction] = tagger.predict(documents)
        return found


@pytest.mark.parametrize(
    ("holder", "labels", "is_used", "spans"),
    [
        (FakeHolder(LexiconTagger("e-1")), ("Chemical",), True, 2),
        (FakeHolder(LexiconTagger("e-1")), ("Gene",), False, 0),
        (FakeHolder(None), ("Chemical",), False, 0),
        (FakeHolder(LexiconTagger("e-1"), OutOfMemoryError("full")), ("Chemical",), True, 0),
        (FakeHolder(LexiconTagger("e-1"), RuntimeError("shut down")), ("Chemical",), True, 0),
    ],
)
def test_drafts_come_from_a_matching_encoder_or_are_empty(
    holder: FakeHolder, labels: tuple[str, ...], is_used: bool, spans: int
) -> None:
    drafts = draft(holder, labels, [Document("1", ABSTRACT)] * 2)  # type: ignore[arg-type]
    assert [len(prediction.spans) for prediction in drafts] == [spans] * 2
    assert holder.was_used.is_set() == is_used
