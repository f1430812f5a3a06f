"""Measure latency, throughput and memory of a runtime on your own documents."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Literal

import torch

from tagalong.backend.models.base_models.memory import translate_memory_errors
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document
from tagalong.ner.errors import OutOfMemoryError
from tagalong.ner.tiers import DEFAULT_TIER, TIERS, TierName
from tagalong.ner.words import word_offsets

# An encoder on OpenVINO ("openvino"), on PyTorch as in serving, or in fp32. Another tier has one
# runtime, which is named like the tier.
Runtime = Literal["openvino", "torch", "fp32"] | TierName
MIN_TIMED_DOCUMENTS, MAX_TIMED_DOCUMENTS = 5, 500  # for latency
MIN_DOCUMENTS_FOR_P95 = 20  # with fewer, p95 is the maximum
THROUGHPUT_BATCH_DOCUMENTS = 64  # for throughput
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class BenchmarkConfig:
    """A model version and the runtime to measure."""

    version: str
    version_dir: Path
    runtime: Runtime
    drafter_dir: Path | None = None  # folder of the encoder that drafts for an LLM
    use_openvino: bool = True  # whether the drafter may run on OpenVINO

    @property
    def tier(self) -> str:
        """See `tier_of_runtime`."""
        return tier_of_runtime(self.runtime)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Measurements of one runtime."""

    version: str
    runtime: Runtime
    runtime_name: str  # for people
    load_seconds: float  # up to the first prediction, with imports only this runtime needs
    p50_seconds: float  # median latency of one document
    p95_seconds: float  # 95th percentile of the latency; below 20 documents, the maximum
    timed_documents: int  # number of latency measurements
    documents_per_second: float  # throughput, in documents of average length
    peak_memory_bytes: int  # of the process, including libraries
    peak_gpu_memory_bytes: int = 0  # 0 without a GPU

    @property
    def tier(self) -> str:
        """See `tier_of_runtime`."""
        return tier_of_runtime(self.runtime)


def tier_of_runtime(runtime: Runtime) -> str:
    """A tier's own name if it has one runtime; the others run the default tier."""
    return runtime if runtime in TIERS else DEFAULT_TIER


def benchmark_in_subprocess(
    config: BenchmarkConfig,
    texts: Sequence[str],
    *,
    seconds: float,
    initializer: Callable[[], None] | None = None,
) -> BenchmarkResult:
    """Call `run_benchmark` in a separate process, so that earlier memory use does not count.

    The initializer is called first in the process.

    Raises:
        TagalongError: If the version cannot be loaded.
        OutOfMemoryError: If the system killed the process.
    """
    context = get_context("spawn")  # threads do not survive a fork
    try:
        with ProcessPoolExecutor(1, mp_context=context, initializer=initializer) as executor:
            return executor.submit(run_benchmark, config, texts, seconds=seconds).result()
    except BrokenProcessPool as error:
        raise OutOfMemoryError(
            f"the system killed the benchmark of {config.version}, probably for lack of memory: "
            "use another version or a larger machine",
            code="out-of-memory",
        ) from error


def run_benchmark(
    config: BenchmarkConfig, texts: Sequence[str], *, seconds: float
) -> BenchmarkResult:
    """Measure in this process.

    Args:
        config: Version and runtime.
        texts: Texts, at least one with a word; repeated if time is left.
        seconds: Duration of each of two measurements, latency and throughput.

    Raises:
        TagalongError: If the version cannot be loaded, or needs too much memory.
    """
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    # One random order for all runtimes, because slow ones only see the first documents.
    Random(0).shuffle(documents)  # noqa: S311 - an order, not a secret
    with translate_memory_errors(
        f"{config.version} needs more memory than available: use another version, or a larger "
        "machine or GPU"
    ):
        start = time.perf_counter()
        tagger = _load_tagger(config)
        tagger.predict(documents[:1])
        load_seconds = time.perf_counter() - start
        latencies = _measure_latencies(tagger, documents, seconds)
        median = nearest_rank(latencies, 0.5)
        # Small batches for slow LLMs, which would take hours.
        count = max(1, min(THROUGHPUT_BATCH_DOCUMENTS, len(documents), ceil(2 * seconds / median)))
        words_per_second = _measure_words_per_second(tagger, documents[:count], seconds)
    return BenchmarkResult(
        version=config.version,
        runtime=config.runtime,
        runtime_name=tagger.runtime_name,
        load_seconds=load_seconds,
        p50_seconds=median,
        p95_seconds=nearest_rank(latencies, 0.95),
        timed_documents=len(latencies),
        documents_per_second=words_per_second * len(documents) / sum(map(_count_words, documents)),
        peak_memory_bytes=_peak_memory_bytes(),
        peak_gpu_memory_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    )


def _count_words(document: Document) -> int:
    return len(word_offsets(document.text))


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The smallest value such that at least `share` of all values do not exceed it."""
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


def _peak_memory_bytes() -> int:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status")
    if status.is_file():  # unlike ru_maxrss, it excludes the time before exec
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES


def _load_tagger(config: BenchmarkConfig) -> DocumentTagger:
    if config.tier != DEFAULT_TIER:
        if config.drafter_dir is None:
            return load_tagger(config.version_dir)
        drafter = load_tagger(config.drafter_dir, use_openvino=config.use_openvino)
        return load_tagger(config.version_dir, drafter=drafter.predict)
    return load_tagger(
        config.version_dir,
        use_openvino=config.runtime == "openvino",
        precision="fp32" if config.runtime == "fp32" else None,
    )


def _measure_latencies(
    tagger: DocumentTagger, documents: Sequence[Document], seconds: float
) -> list[float]:
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    for document in islice(cycle(documents), MAX_TIMED_DOCUMENTS):
        start = time.perf_counter()
        tagger.predict([document])
        now = time.perf_counter()
        latencies.append(now - start)
        if now > end and len(latencies) >= MIN_TIMED_DOCUMENTS:
            break
    return latencies


def _measure_words_per_second(
    tagger: DocumentTagger, documents: Sequence[Document], seconds: float
) -> float:
    """Throughput in words, because documents differ in length."""
    start = time.perf_counter()
    predicted, words = 0, sum(map(_count_words, documents))
    while True:
        tagger.predict(documents)
        predicted += words
        if (elapsed := time.perf_counter() - start) > seconds:
            return predicted / elapsed
