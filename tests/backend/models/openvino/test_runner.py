"""Concurrent callers get the same predictions as single ones, with streams or without."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.openvino import runner
from tagalong.backend.models.openvino.compile import compile_version
from tagalong.backend.models.openvino.runner import MAX_STREAMS, ConcurrencyGauge, OpenVINORunner
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.errors import OpenVINOError
from tagalong.ner.model_registry import ModelRegistry
from tests.backend.models.openvino.test_compile import publish, scores_of
from tests.toy_corpus import toy_documents

pytestmark = pytest.mark.usefixtures("shared_cache")
CPUS = 3
DOCUMENTS = [*toy_documents(40), Document("empty", ""), *toy_documents(9, sentences=12)]


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for the compiled model of all tests here."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return ModelStore(tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(tiny_base: Callable[[str], Path], store: ModelStore) -> Path:
    """A compiled version; its base model has room for windows."""
    if not store.model_folder("encoder").exists():
        made = publish(tiny_base("biomedbert"), store)
        compile_version(made, quantization_documents=DOCUMENTS[:9], check_documents=DOCUMENTS[:9])
        store.promote("encoder", made.name)
    (only,) = store.manifests("encoder")
    return store.model_folder("encoder") / only.version


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda count: monkeypatch.setattr(runner, "count_usable_cpus", lambda: count)


def compiled_tagger(folder: Path) -> tuple[EncoderTagger, OpenVINORunner]:
    tagger = load_tagger(folder, use_openvino=True)
    assert isinstance(tagger, EncoderTagger)
    assert isinstance(tagger.runner, OpenVINORunner)
    return tagger, tagger.runner


def spans(found) -> list[list[tuple[int, int, str]]]:
    return [[(one.start, one.end, one.label) for one in each.spans] for each in found]


class RecordingStream:
    """A stream that counts its batches."""

    def __init__(self, request) -> None:
        self._request = request
        self.batches = 0

    def infer(self, *inputs, **options):
        self.batches += 1
        return self._request.infer(*inputs, **options)


def add_load(tagger: EncoderTagger, compiled: OpenVINORunner, *, expected: list) -> None:
    """Predict concurrently until streams are being added, and wait for those."""
    for _ in range(100):
        assert spans(tagger.predict(DOCUMENTS)) == expected
        if compiled._stream_thread is not None:
            compiled._stream_thread.join(60)
            return
    pytest.fail("no stream was added")


def test_streams_are_added_under_load_without_changing_predictions(
    folder, cpus, monkeypatch
) -> None:
    monkeypatch.setattr(runner, "MIN_CONCURRENT_BATCHES", 3)
    cpus(CPUS)
    tagger, compiled = compiled_tagger(folder)
    assert compiled.streams == CPUS
    alone = [tagger.predict([document])[0] for document in DOCUMENTS]
    assert compiled._stream_thread is None  # no call was concurrent
    add_load(tagger, compiled, expected=spans(alone))
    assert compiled._stream_requests is not None
    streams = [RecordingStream(compiled._stream_requests.get()) for _ in range(CPUS)]
    for stream in streams:
        compiled._stream_requests.put(stream)
    assert spans(tagger.predict(DOCUMENTS * 3)) == spans(alone * 3)
    assert all(stream.batches for stream in streams)
    assert compiled._stream_requests.qsize() == CPUS  # all are idle again


def test_concurrent_requests_get_their_own_predictions(folder, store, cpus) -> None:
    cpus(CPUS)
    holder = ModelHolder(
        "encoder",
        ModelRegistry(store.root, bundled_root=BUNDLED_MODELS_FOLDER),
        telemetry=Telemetry(),
        load=lambda path: compiled_tagger(path)[0],
    )
    holder.refresh()
    tagger = holder.wait_for_tagger(timeout_seconds=0)
    tagger.runner.add_streams()
    assert tagger.runner._stream_requests is not None
    streams = [RecordingStream(tagger.runner._stream_requests.get()) for _ in range(CPUS)]
    for stream in streams:
        tagger.runner._stream_requests.put(stream)
    expected = dict(zip(DOCUMENTS, spans(tagger.predict(DOCUMENTS)), strict=True))

    def ask(number: int) -> None:
        for turn in range(10):
            asked = DOCUMENTS[(number + turn) % 7 :: 7][: 1 + number]
            assert spans(holder.scheduler.predict(tagger, asked)) == [
                expected[one] for one in asked
            ]

    before = sum(stream.batches for stream in streams)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(12)))
    holder.close()
    assert sum(stream.batches for stream in streams) > before
    assert all(stream.batches for stream in streams)


def test_predictions_continue_if_no_stream_can_be_added(folder, cpus, monkeypatch, caplog) -> None:
    monkeypatch.setattr(runner, "MIN_CONCURRENT_BATCHES", 0)
    cpus(CPUS)
    tagger, compiled = compiled_tagger(folder)
    alone = [tagger.predict([document])[0] for document in DOCUMENTS]
    tries = []

    def fail(*, streams: int) -> None:
        tries.append(streams)
        raise OpenVINOError("there is no memory for it")

    monkeypatch.setattr(compiled, "_compile_requests", fail)
    with caplog.at_level(logging.WARNING):
        add_load(tagger, compiled, expected=spans(alone))
        for _ in range(3):
            assert spans(tagger.predict(DOCUMENTS)) == spans(alone)
    assert tries == [CPUS]
    assert [record.levelname for record in caplog.records if record.name == runner.__name__] == [
        "WARNING"
    ]


@pytest.mark.parametrize("count", [2, 4, 8])
def test_large_batch_counts_as_load(folder, cpus, count: int) -> None:
    cpus(count)
    tagger, compiled = compiled_tagger(folder)
    asked = (DOCUMENTS * 2)[:64]
    for _ in range(20):
        tagger.predict(asked)
    assert compiled._concurrency.concurrent_batches


def overwritten(path: Path) -> None:
    """As `cp` and `rsync --inplace` do: a process that has it mapped sees the new content."""
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    "happens",
    [
        lambda weights: shutil.rmtree(weights.parents[2]),
        lambda weights: os.truncate(weights, 0),
        overwritten,
    ],
)
def test_streams_use_the_loaded_model_after_files_change(
    folder,
    cpus,
    tmp_path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Path], None],
) -> None:
    cpus(CPUS)
    shutil.copytree(shared_cache, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tagger, compiled = compiled_tagger(folder)
    alone = scores_of(tagger, DOCUMENTS)
    [weights] = (tmp_path / "cache").rglob("engine.weights")
    happens(weights)
    for ours, theirs in zip(alone, scores_of(tagger, DOCUMENTS), strict=True):
        assert theirs == pytest.approx(ours, abs=1e-3)
    compiled.add_streams()
    assert compiled._stream_requests is not None
    compiled._single_requests = compiled._stream_requests  # from now on, streams run everything
    for ours, theirs in zip(alone, scores_of(tagger, DOCUMENTS), strict=True):
        assert theirs == pytest.approx(ours, abs=1e-3)


ENDS_AT_ONCE = """
import os, sys
from pathlib import Path
from tagalong.backend.models.openvino import runner
from tagalong.backend.models.load import load_tagger
from tagalong.ner.document import Document
runner.MIN_CONCURRENT_BATCHES, runner.count_usable_cpus = 0, lambda: 2
for _ in range(3):  # each child ends as an interpreter does
    if child := os.fork():
        if os.waitpid(child, 0)[1]:
            raise SystemExit(1)
    else:
        break
else:
    raise SystemExit(0)
tagger = load_tagger(Path(sys.argv[1]), use_openvino=True)
while tagger.runner._stream_thread is None:
    tagger.predict([Document(str(n), "Aspirin and naloxone. " * 9) for n in range(40)])
"""


@pytest.mark.slow
def test_process_exits_cleanly_while_streams_are_added(folder) -> None:
    command = [sys.executable, "-W", "ignore", "-c", ENDS_AT_ONCE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("count", "streams"), [(1, 1), (2, 2), (64, MAX_STREAMS)])
def test_no_more_streams_than_cpus(folder, cpus, count: int, streams: int) -> None:
    cpus(count)
    assert compiled_tagger(folder)[1].streams == streams


def test_no_streams_on_one_cpu(folder, cpus, monkeypatch) -> None:
    monkeypatch.setattr(runner, "MIN_CONCURRENT_BATCHES", 0)
    cpus(1)
    tagger, compiled = compiled_tagger(folder)
    alone = [tagger.predict([document])[0] for document in DOCUMENTS]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: tagger.predict([one])[0], DOCUMENTS))
    assert spans(found) == spans(alone)
    assert compiled._stream_thread is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr(runner.time, "monotonic", lambda: now[0])
    return now


def test_concurrency_is_reported_for_a_moment_after_the_threshold(clock) -> None:
    few = ConcurrencyGauge(3)
    with ExitStack() as inside:
        assert [inside.enter_context(few.track()) for _ in range(4)] == [False, False, True, True]
    clock[0] += runner.COOLDOWN_SECONDS / 2
    with few.track() as is_concurrent:
        assert is_concurrent
    clock[0] += runner.COOLDOWN_SECONDS
    with few.track() as is_concurrent:
        assert not is_concurrent
    assert few.concurrent_batches == 3


def test_failed_calls_are_not_counted() -> None:
    crowded = ConcurrencyGauge(2)
    for _ in range(5):
        with suppress(ValueError), crowded.track() as is_concurrent:
            assert not is_concurrent
            raise ValueError


def test_concurrent_threads_are_counted() -> None:
    many, gate = ConcurrencyGauge(8), threading.Barrier(8)

    def come(_: int) -> bool:
        with many.track() as is_concurrent:
            gate.wait(30)
            return is_concurrent

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(come, range(8))) == [False] * 7 + [True]
