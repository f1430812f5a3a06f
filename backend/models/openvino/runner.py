"""Run the forward passes of an encoder with OpenVINO."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import ModelInputs
from tagalong.backend.models.openvino.embeddings import WordEmbeddings
from tagalong.backend.models.openvino.library import (
    choose_precision,
    count_usable_cpus,
    import_openvino,
    translate_runtime_errors,
)
from tagalong.backend.models.openvino.weights import PrivateWeights
from tagalong.ner.errors import OpenVINOError

MAX_BATCH_SUBWORDS = 1024
MAX_CACHED_SHAPES = 256  # batch shapes with cached kernels: as fast as 512, and 5 MB less
INPUT_NAMES = ("input_ids", "attention_mask")  # in the order of the model's inputs
MAX_STREAMS = 8  # with more CPUs, each stream gets several
MIN_CONCURRENT_BATCHES = 64  # before streams are added for them

# Memory of a compiled model without its weights, per byte of its description: of MiniLM, 34 MB.
GRAPH_BYTES_PER_BYTE = 90
COOLDOWN_SECONDS = 0.05  # between two batches of busy threads, which do other work as well

log = logging.getLogger(__name__)


class ConcurrencyGauge:
    """Tells each call whether enough calls are in progress to keep every CPU at work."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold  # calls that are enough; one never is
        self.lock = threading.Lock()  # held for moments only
        self.concurrent_batches = 0  # calls so far that came at the same time as enough others
        self._active = 0
        self._busy_until = 0.0

    @contextmanager
    def track(self) -> Iterator[bool]:
        """Track one call; yields whether concurrency has reached the threshold."""
        now = time.monotonic()
        with self.lock:
            self._active += 1
            if self._active >= self._threshold > 1:
                self._busy_until = now + COOLDOWN_SECONDS
            is_concurrent = now < self._busy_until
            self.concurrent_batches += is_concurrent
        try:
            yield is_concurrent
        finally:
            with self.lock:
                self._active -= 1


class OpenVINORunner:
    """Runs a compiled model on the CPUs that this process may use.

    A single batch on all CPUs has the lowest latency; under load, one batch per CPU has 25 % more
    throughput. The streams for the latter take some hundred megabytes, so they are added only when
    many batches have come at the same time. Raises `OpenVINOError` if OpenVINO is not installed, or
    cannot read the model.
    """

    # The first batch of a shape takes half again as long as the next ones, and each cached shape
    # takes 3 MB. Rounding to 8 made more shapes than its 2 % less padding was worth.
    pad_to_multiple_of = 32
    parts_per_turn = 1
    can_use_openvino = False  # it does already

    def __init__(
        self,
        path: Path,
        weights: Path,
        *,
        weight_format: str,
        embeddings: WordEmbeddings | None = None,
    ) -> None:
        self.precision = choose_precision()  # of what is not quantized
        self.streams = min(count_usable_cpus(), MAX_STREAMS)  # batches at the same time, under load
        self._path, self._weight_format = path, weight_format
        self._embeddings = embeddings  # where they are an input of the model
        self._weights = PrivateWeights(weights)
        graph = path.read_bytes()
        self._graph_bytes = GRAPH_BYTES_PER_BYTE * len(graph)
        with self._translate_errors("read"):
            self._model = import_openvino().Core().read_model(graph, self._weights.tensor)
        # Idle inference requests: the one on all CPUs, and one per stream.
        self._single_requests = self._compile_requests(streams=1)
        self._stream_requests: SimpleQueue[Any] | None = None
        self._concurrency = ConcurrencyGauge(self.streams)
        self._stream_thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """OpenVINO, and its arithmetic."""
        precision = self.precision.replace("f32", "fp32")
        return f"OpenVINO, {'int8 and ' if self._weight_format == 'int8' else ''}{precision}"

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of the model and its streams, without the word embeddings."""
        copies = 1 if self._stream_requests is None else 2  # of the packed weights
        graphs = 1 if self._stream_requests is None else 1 + self.streams
        return copies * self._weights.bytes + graphs * self._graph_bytes

    def plan_batches(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Group windows that are padded to the same length.

        A single row runs nearly as fast as many, so batches need no further padding. Batches over a
        thousand sub-words are not faster. Row counts are powers of two, so that shapes recur.
        """
        by_length: dict[int, list[int]] = {}
        for index, length in enumerate(lengths):
            by_length.setdefault(length + -length % self.pad_to_multiple_of, []).append(index)
        for length, indices in sorted(by_length.items()):
            first = 0
            while first < len(indices):
                limit = max(1, min(len(indices) - first, MAX_BATCH_SUBWORDS // length))
                rows = 1 << (limit.bit_length() - 1)
                yield indices[first : first + rows]
                first += rows

    def warm_up(self, max_subwords: int) -> None:
        """Make the kernels for rows of up to `max_subwords`, before the first request."""
        step = self.pad_to_multiple_of
        with self._translate_errors("run", code="openvino-model-not-runnable"):
            for length in range(step, max_subwords + step, step):
                row = np.ones((1, min(length, max_subwords)), np.int64)
                self.compute_logits(dict.fromkeys(INPUT_NAMES, row))
        self._weights.release_memory()

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        """Run one batch of `WindowEncoder.pad`, on any thread: (windows, longest, tags)."""
        inputs: list[Any] = [batch[name] for name in INPUT_NAMES]
        if self._embeddings is not None:
            inputs.append(self._embeddings.look_up(batch["input_ids"]))
        with self._concurrency.track() as is_concurrent:
            if is_concurrent and self._stream_requests is None:
                self._start_adding_streams()
            idle = (self._stream_requests if is_concurrent else None) or self._single_requests
            request = idle.get()
            try:
                outputs = request.infer(inputs, share_inputs=True)
                # A copy: the next batch overwrites the output.
                array: FloatArray = np.array(outputs[0], np.float32)
            finally:
                idle.put(request)
        return array

    def _start_adding_streams(self) -> None:
        """Add streams on another thread, once enough batches were concurrent."""
        if self._concurrency.concurrent_batches < MIN_CONCURRENT_BATCHES:
            return
        with self._concurrency.lock:
            if self._stream_thread is not None:
                return
            # No daemon: OpenVINO aborts the process when it is interrupted.
            self._stream_thread = threading.Thread(target=self.add_streams, name="openvino-streams")
        self._stream_thread.start()

    def add_streams(self) -> None:
        """Add the streams; where that fails, batches go on without them."""
        try:
            self._stream_requests = self._compile_requests(streams=self.streams)
        except (OpenVINOError, MemoryError) as error:
            log.warning("concurrent batches run one after the other: %s", error)

    def _compile_requests(self, *, streams: int) -> SimpleQueue[Any]:
        """Compile the model, and make one inference request per stream."""
        idle: SimpleQueue[Any] = SimpleQueue()
        properties = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": count_usable_cpus(),
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # other processes may use the same CPUs
            "CPU_RUNTIME_CACHE_CAPACITY": MAX_CACHED_SHAPES,
        }
        with self._translate_errors("loaded"):
            compiled = import_openvino().Core().compile_model(self._model, "CPU", properties)
            for _ in range(streams):
                idle.put(compiled.create_infer_request())
        return idle

    def _translate_errors(
        self, task: str, *, code: str = "openvino-model-unreadable"
    ) -> AbstractContextManager[None]:
        return translate_runtime_errors(f"the OpenVINO model {self._path} cannot be {task}", code)
