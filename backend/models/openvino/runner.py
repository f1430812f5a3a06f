"""Passes run by OpenVINO."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import ModelInputs
from tagalong.backend.models.openvino.concurrency import ConcurrencyGauge
from tagalong.backend.models.openvino.library import (
    OpenVINOPrecision,
    choose_precision,
    count_usable_cpus,
    cpu_capabilities,
    first_error_line,
    import_openvino,
)
from tagalong.ner.errors import OpenVINOError

MAX_BATCH_SUBWORDS = 1024  # sub-words of a batch
MAX_CACHED_SHAPES = (
    512  # of batches, whose kernels each kind of layer keeps: 40 MB more than 48 of them
)
INPUT_NAMES = ("input_ids", "attention_mask")  # in the order the engine takes them
MAX_STREAMS = 8  # with more CPUs, each lane gets several
MIN_CONCURRENT_BATCHES = 64  # batches in a crowd, before lanes are made for them

log = logging.getLogger(__name__)


class OpenVINORunner:
    """Runs an engine on the CPUs that this process may use.

    One batch at a time on all of them is soonest done, but for that they wait for each other at
    every layer, and while Python works on one of them, for that. So once many come at the same
    time, each is run by itself on one CPU: a quarter more of them in as much time. The lanes for
    that take some hundred megabytes, and are made when they are first needed.

    Args:
        path: Of the model in OpenVINO's format.
        weights: Of its weights.
        weight_format: ``int8`` where its matrices are quantised, else ``plain``.
        precision: Arithmetic of the rest; None for what this CPU is good at.

    Attributes:
        streams: Batches that run at the same time when many come.
        precision: Arithmetic of what is not quantised.

    Raises:
        OpenVINOError: If OpenVINO is not there, or cannot read it.
    """

    # The first batch of a shape takes half again as long as the next ones, and every shape that is
    # kept takes 3 MB: padding to a multiple of 8 made more of them than 2 % less of it was worth.
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
        try:  # once, into memory: whatever becomes of the files, what runs is what was checked
            core.set_property({"ENABLE_MMAP": False})
            self._model = core.read_model(str(path), str(weights))
        except RuntimeError as error:
            raise OpenVINOError(
                f"the engine {path} cannot be read ({first_error_line(error)})"
            ) from error
        (self._single_request,) = self._compile_requests(streams=1)
        self._single_request_lock = threading.Lock()
        self._concurrency = ConcurrencyGauge(self.streams)
        self._stream_requests: SimpleQueue[Any] | None = None  # lanes
        self._stream_thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """OpenVINO, and its arithmetic."""
        precision = {"bf16": "bf16", "f32": "fp32"}[self.precision]
        return f"OpenVINO, {'int8 and ' if self._weight_format == 'int8' else ''}{precision}"

    def plan_batches(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Which windows to run together: only those that are padded to the same length.

        One row by itself runs nearly as fast as many, so nothing is worth more padding; beyond a
        thousand sub-words, more took as long; and rows are 1, 2, 4, ..., so that shapes recur.
        """
        alike: dict[int, list[int]] = {}
        for place, length in enumerate(lengths):
            alike.setdefault(length + -length % self.pad_to_multiple_of, []).append(place)
        for length, places in sorted(alike.items()):
            first = 0
            while first < len(places):
                most = max(1, min(len(places) - first, MAX_BATCH_SUBWORDS // length))
                rows = 1 << (most.bit_length() - 1)
                yield places[first : first + rows]
                first += rows

    def warm_up(self, max_subwords: int) -> None:
        """Make the kernels for one text at a time, so that nobody waits for them.

        Args:
            max_subwords: Sub-words that a row has at most.

        Raises:
            OpenVINOError: If it cannot be run.
        """
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
                f"the engine {self._path} cannot be run ({first_error_line(error)})"
            ) from error

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags).

        Any number of threads may ask at once.
        """
        with self._concurrency.track() as is_crowd:
            if is_crowd and self._stream_requests is None:
                self._start_adding_streams()
            with self._acquire_request(wide=is_crowd) as request:
                found = request.infer([batch[name] for name in INPUT_NAMES], share_inputs=True)
                array: FloatArray = np.array(found[0], np.float32)
        return array

    @contextmanager
    def _acquire_request(self, *, wide: bool) -> Iterator[Any]:
        """What to run a batch with: all CPUs, or one of the lanes."""
        free = self._stream_requests if wide else None
        if free is None:
            with self._single_request_lock:
                yield self._single_request
            return
        request = free.get()
        try:
            yield request
        finally:
            free.put(request)

    def _start_adding_streams(self) -> None:
        """Have lanes made, beside the passes, once it is worth it."""
        if self._concurrency.concurrent_batches < MIN_CONCURRENT_BATCHES:
            return
        with self._concurrency.lock:
            if self._stream_thread is not None:
                return
            # No daemon: the library ends a process in which it is interrupted.
            self._stream_thread = threading.Thread(target=self.add_streams, name="engine-lanes")
        self._stream_thread.start()

    def add_streams(self) -> None:
        """Make the lanes; where that fails, all goes on as it was."""
        try:
            free: SimpleQueue[Any] = SimpleQueue()
            for request in self._compile_requests(streams=self.streams):
                free.put(request)
        except (OpenVINOError, MemoryError) as error:
            log.warning("many batches at once are run one after the other: %s", error)
            return
        self._stream_requests = free

    def _compile_requests(self, *, streams: int) -> list[Any]:
        """What to run so many batches at once with, one each."""
        try:
            compiled = (
                import_openvino()
                .Core()
                .compile_model(
                    self._model,
                    "CPU",
                    {
                        "INFERENCE_PRECISION_HINT": self.precision,
                        "INFERENCE_NUM_THREADS": count_usable_cpus(),
                        "NUM_STREAMS": streams,
                        "ENABLE_CPU_PINNING": False,  # other processes may be on the same ones
                        "CPU_RUNTIME_CACHE_CAPACITY": MAX_CACHED_SHAPES,
                    },
                )
            )
            return [compiled.create_infer_request() for _ in range(streams)]
        except RuntimeError as error:
            raise OpenVINOError(
                f"the engine {self._path} cannot be loaded ({first_error_line(error)})"
            ) from error
