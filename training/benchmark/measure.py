"""How long a way to serve takes, and how much memory, measured on documents of one's own."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import cycle
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Literal

import torch

from tagalong.backend.models.base_models.memory import translate_memory_errors
from tagalong.backend.models.load import load_tier
from tagalong.backend.models.tier import Tier
from tagalong.ner.document import Document
from tagalong.ner.errors import OutOfMemoryError
from tagalong.ner.model_registry import ENCODER, LLM
from tagalong.ner.words import word_offsets

Runtime = Literal["engine", "torch", "fp32", "llm"]
MIN_TIMED_DOCUMENTS, MAX_TIMED_DOCUMENTS = 5, 500  # documents asked one at a time
MIN_DOCUMENTS_FOR_P95 = 20  # of them, so that 95 of 100 are not all of them
THROUGHPUT_BATCH_DOCUMENTS = 64  # documents of a batch
MAXRSS_UNIT_BYTES = (
    1 if sys.platform == "darwin" else 1024
)  # what the system counts a process's memory in


@dataclass(frozen=True, slots=True)
class BenchmarkConfig:
    """A way to serve a version.

    Attributes:
        version: Its name.
        version_dir: Where it is.
        runtime: An encoder on its CPU engine, by PyTorch as it is served or in fp32; or an LLM.
        drafter_dir: Folder of the encoder that drafts for an LLM; None for none.
        use_openvino: Whether that may run on its CPU engine.
    """

    version: str
    version_dir: Path
    runtime: Runtime
    drafter_dir: Path | None = None
    use_openvino: bool = True

    @property
    def tier(self) -> str:
        """``encoder`` or ``llm``."""
        return tier_of_runtime(self.runtime)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What a way to serve takes.

    Attributes:
        version: That served.
        runtime: As it was set.
        runtime_name: What ran it, in words.
        load_seconds: From nothing to the first answer, with what only this way has to import.
        p50_seconds: Seconds for one document by itself, the median.
        p95_seconds: What 95 of 100 documents took at most; of fewer than 20, what all of them did.
        timed_documents: Documents that were asked one at a time.
        documents_per_second: Documents of average length, many at once.
        peak_memory_bytes: Bytes of the process at its most, libraries included.
        peak_gpu_memory_bytes: Bytes of a GPU at its most; 0 where none is used.
    """

    version: str
    runtime: Runtime
    runtime_name: str
    load_seconds: float
    p50_seconds: float
    p95_seconds: float
    timed_documents: int
    documents_per_second: float
    peak_memory_bytes: int
    peak_gpu_memory_bytes: int = 0

    @property
    def tier(self) -> str:
        """``encoder`` or ``llm``."""
        return tier_of_runtime(self.runtime)


def tier_of_runtime(runtime: Runtime) -> str:
    """The tier that is served in a way."""
    return LLM if runtime == "llm" else ENCODER


def benchmark_in_subprocess(
    config: BenchmarkConfig,
    texts: Sequence[str],
    *,
    seconds: float,
    initializer: Callable[[], None] | None = None,
) -> BenchmarkResult:
    """Measure in a process of its own, so that what others left in memory does not count.

    Args:
        config: What to measure.
        texts: To be read, at least one with a word in it.
        seconds: For each of both measurements, of one and of many at a time.
        initializer: Called in the process first; None for nothing.

    Returns:
        What it took.

    Raises:
        TagalongError: If the version cannot be loaded.
        OutOfMemoryError: If the system ended the process.
    """
    context = get_context("spawn")  # threads do not survive a fork
    try:
        with ProcessPoolExecutor(1, mp_context=context, initializer=initializer) as apart:
            return apart.submit(run_benchmark, config, texts, seconds=seconds).result()
    except BrokenProcessPool as error:
        raise OutOfMemoryError(
            f"measuring {config.version} was ended by the system, most likely because there is "
            "too little memory: choose another version or a larger machine"
        ) from error


def run_benchmark(
    config: BenchmarkConfig, texts: Sequence[str], *, seconds: float
) -> BenchmarkResult:
    """Measure in this process.

    Texts are taken in a random order, the same for every way: who is slow reads fewer of them, and
    these should be like the others.

    Args:
        config: What to measure.
        texts: To be read, at least one with a word in it; again where there is time left.
        seconds: For each of both measurements.

    Returns:
        What it took.

    Raises:
        TagalongError: If the version cannot be loaded, or does not fit into memory.
    """
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    Random(0).shuffle(documents)  # noqa: S311 - an order, not a secret
    with translate_memory_errors(
        f"{config.version} needs more memory than there is: choose another version, or a larger "
        "machine or GPU"
    ):
        start = time.perf_counter()
        tier = _load_tier(config)
        tier.predict(documents[:1])
        load_seconds = time.perf_counter() - start
        taken = _measure_latencies(tier, documents, seconds)
        median = nearest_rank(taken, 0.5)
        # A slow LLM is given no batch that it would need hours for.
        count = max(1, min(THROUGHPUT_BATCH_DOCUMENTS, len(documents), ceil(2 * seconds / median)))
        words_per_second = _measure_words_per_second(tier, documents[:count], seconds)
    return BenchmarkResult(
        version=config.version,
        runtime=config.runtime,
        runtime_name=tier.runtime_name,
        load_seconds=load_seconds,
        p50_seconds=median,
        p95_seconds=nearest_rank(taken, 0.95),
        timed_documents=len(taken),
        documents_per_second=words_per_second * len(documents) / sum(map(_count_words, documents)),
        peak_memory_bytes=_peak_memory_bytes(),
        peak_gpu_memory_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    )


def _count_words(document: Document) -> int:
    """How many there are."""
    return len(word_offsets(document.text))


def nearest_rank(values: Sequence[float], share: float) -> float:
    """A quantile that is one of the values.

    Args:
        values: At least one.
        share: From 0 to 1.

    Returns:
        The smallest value that this share of them does not exceed.
    """
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


def _peak_memory_bytes() -> int:
    """Bytes that this process has had in memory at its most."""
    status = Path("/proc/self/status")
    if status.is_file():  # what a process was before it began this program is not in it
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES


def _load_tier(setting: BenchmarkConfig) -> Tier:
    """Load a version so that it serves in a certain way."""
    if setting.runtime == "llm":
        if setting.drafter_dir is None:
            return load_tier(setting.version_dir)
        drafter = load_tier(setting.drafter_dir, use_openvino=setting.use_openvino)
        return load_tier(setting.version_dir, drafter=drafter.predict)
    return load_tier(
        setting.version_dir,
        use_openvino=setting.runtime == "engine",
        precision="fp32" if setting.runtime == "fp32" else None,
    )


def _measure_latencies(tier: Tier, documents: Sequence[Document], seconds: float) -> list[float]:
    """What documents take by themselves."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for document in cycle(documents):
        start = time.perf_counter()
        tier.predict([document])
        now = time.perf_counter()
        taken.append(now - start)
        if len(taken) >= MAX_TIMED_DOCUMENTS or (now > end and len(taken) >= MIN_TIMED_DOCUMENTS):
            break
    return taken


def _measure_words_per_second(tier: Tier, documents: Sequence[Document], seconds: float) -> float:
    """Words per second: of a few documents, some are longer than others."""
    start = time.perf_counter()
    read, words = 0, sum(map(_count_words, documents))
    while True:
        tier.predict(documents)
        read += words
        if (taken := time.perf_counter() - start) > seconds:
            return read / taken
