"""Run the forward passes of an encoder with OpenVINO."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import ModelInputs
from tagalong.backend.models.openvino.library import (
    OpenVINOPrecision,
    choose_precision,
    count_usable_cpus,
    cpu_capabilities,
    first_error_line,
    import_openvino,
)
from tagalong.ner.errors import OpenVINOError

MAX_BATCH_SUBWORDS = 1024
MAX_CACHED_SHAPES = 512  # batch shapes with cached kernels: 40 MB more than for 48 shapes
INPUT_NAMES = ("input_ids", "attention_mask")  # in the order of the model's inputs
MAX_STREAMS = 8  # with more CPUs, each stream gets several
MIN_CONCURRENT_BATCHES = 64  # before streams are added for them

COOLDOWN_SECONDS = 0.05  # between two batches of busy threads, which do other work as well

log = logging.getLogger(__name__)


class ConcurrencyGauge:
    """Tells each call whether enough calls are in progress to keep every CPU at work.

    Args:
        threshold: Calls that are enough; one never is.

    Attributes:
        lock: Held for moments only.
        concurrent_batches: Calls so far that came at the same time as enough others.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self.lock = threading.Lock()
        self.concurrent_batches = 0
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
    many batches have come at the same time.

    Args:
        path: The model in OpenVINO's format.
        weights: The file of its weights.
        weight_format: ``int8`` where its matrices are quantised, else ``plain``.
        precision: Arithmetic of the rest; None for the best of this CPU.

    Attributes:
        streams: Batches that run at the same time under load.
        precision: Arithmetic of what is not quantised.

    Raises:
        OpenVINOError: If OpenVINO is not installed, or cannot read the model.
    """

    # The first batch of a shape takes half again as long as the next ones, and each cached shape
    # takes 3 MB. Rounding to 8 made more shapes than its 2 % less padding was worth.
    pad_to_multiple_of = 32
    documents_per_request_chunk = 1
    can_use_openvino = False  # it does already

    def __init__(
        self,
        path: Path,
        weights: Path,
        *,
        weight_format: str,
        precision: OpenVINOPrecision | None = None,
    ) -> None:
        core = import_openvino().Core()
        self.precision = precision or choose_precision(cpu_capabilities())
        self.streams = min(count_usable_cpus(), MAX_STREAMS)
        self._path, self._weight_format = path, weight_format
        try:  # reads all into memory, so that later changes to the files have no effect
            core.set_property({"ENABLE_MMAP": False})
            self._model = core.read_model(str(path), str(weights))
        except RuntimeError as error:
            raise OpenVINOError(
                f"the OpenVINO model {path} cannot be read ({first_error_line(error)})",
                code="openvino-model-unreadable",
            ) from error
        (self._single_request,) = self._compile_requests(streams=1)
        self._single_request_lock = threading.Lock()
        self._concurrency = ConcurrencyGauge(self.streams)
        self._stream_requests: SimpleQueue[Any] | None = None  # one per stream
        self._stream_thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """OpenVINO, and its arithmetic."""
        precision = {"bf16": "bf16", "f32": "fp32"}[self.precision]
        return f"OpenVINO, {'int8 and ' if self._weight_format == 'int8' else ''}{precision}"

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
        try:
            for length in range(
                self.pad_to_multiple_of,
                max_subwords + self.pad_to_multiple_of,
                self.pad_to_multiple_of,
            ):
                row = np.ones((1, min(length, max_subwords)), np.int64)
                self.compute_logits(dict.fromkeys(INPUT_NAMES, row))
        except RuntimeError as error:
            raise OpenVINOError(
                f"the OpenVINO model {self._path} cannot be run ({first_error_line(error)})",
                code="openvino-model-not-runnable",
            ) from error

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags).

        Any number of threads may call it at the same time.
        """
        with self._concurrency.track() as is_concurrent:
            if is_concurrent and self._stream_requests is None:
                self._start_adding_streams()
            with self._acquire_request(on_stream=is_concurrent) as request:
                outputs = request.infer([batch[name] for name in INPUT_NAMES], share_inputs=True)
                array: FloatArray = np.array(outputs[0], np.float32)
        return array

    @contextmanager
    def _acquire_request(self, *, on_stream: bool) -> Iterator[Any]:
        """The inference request for a batch: the one on all CPUs, or one of a stream."""
        idle = self._stream_requests if on_stream else None
        if idle is None:
            with self._single_request_lock:
                yield self._single_request
            return
        request = idle.get()
        try:
            yield request
        finally:
            idle.put(request)

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
            idle: SimpleQueue[Any] = SimpleQueue()
            for request in self._compile_requests(streams=self.streams):
                idle.put(request)
        except (OpenVINOError, MemoryError) as error:
            log.warning("concurrent batches run one after the other: %s", error)
            return
        self._stream_requests = idle

    def _compile_requests(self, *, streams: int) -> list[Any]:
        """Compile the model, and make one inference request per stream."""
        properties = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": count_usable_cpus(),
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # other processes may use the same CPUs
            "CPU_RUNTIME_CACHE_CAPACITY": MAX_CACHED_SHAPES,
        }
        try:
            compiled = import_openvino().Core().compile_model(self._model, "CPU", properties)
            return [compiled.create_infer_request() for _ in range(streams)]
        except RuntimeError as error:
            raise OpenVINOError(
                f"the OpenVINO model {self._path} cannot be loaded ({first_error_line(error)})",
                code="openvino-model-unreadable",
            ) from error
