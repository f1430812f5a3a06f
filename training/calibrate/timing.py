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

from backend.encoder import EncoderTier
from backend.forward import TorchForward
from backend.memory import memory_told
from backend.tier import Tier, load_tier
from ner.document import Document
from ner.errors import OutOfMemoryError
from ner.words import word_offsets

Way = Literal["engine", "torch", "fp32", "llm"]
LEAST, MOST = 5, 500  # documents asked one at a time
ENOUGH = 20  # of them, so that 95 of 100 are not all of them
AT_ONCE = 64  # documents of a batch
KIB = 1 if sys.platform == "darwin" else 1024  # what the system counts a process's memory in


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to serve a version.

    Attributes:
        version: Its name.
        folder: Where it is.
        way: An encoder on its CPU engine, by PyTorch as it is served or in fp32; or an LLM.
        drafter: Folder of the encoder that drafts for an LLM; None for none.
        engines: Whether that may run on its CPU engine.
    """

    version: str
    folder: Path
    way: Way
    drafter: Path | None = None
    engines: bool = True

    @property
    def tier(self) -> str:
        """``encoder`` or ``llm``."""
        return tier_of(self.way)


@dataclass(frozen=True, slots=True)
class Timing:
    """What a way to serve takes.

    Attributes:
        version: That served.
        way: As it was set.
        runs_on: What ran it, in words.
        load_seconds: From nothing to the first answer, with what only this way has to import.
        p50: Seconds for one document by itself, the median.
        p95: What 95 of 100 documents took at most; of fewer than 20, what all of them did.
        asked: Documents that were asked one at a time.
        per_second: Documents of average length, many at once.
        memory: Bytes of the process at its most, libraries included.
        gpu_memory: Bytes of a GPU at its most; 0 where none is used.
    """

    version: str
    way: Way
    runs_on: str
    load_seconds: float
    p50: float
    p95: float
    asked: int
    per_second: float
    memory: int
    gpu_memory: int = 0

    @property
    def tier(self) -> str:
        """``encoder`` or ``llm``."""
        return tier_of(self.way)


def tier_of(way: Way) -> str:
    """The tier that is served in a way."""
    return "llm" if way == "llm" else "encoder"


def measure_apart(
    setting: Setting,
    texts: Sequence[str],
    *,
    seconds: float,
    prepare: Callable[[], None] | None = None,
) -> Timing:
    """Measure in a process of its own, so that what others left in memory does not count.

    Args:
        setting: What to measure.
        texts: To be read, at least one with a word in it.
        seconds: For each of both measurements, of one and of many at a time.
        prepare: Called in the process first; None for nothing.

    Returns:
        What it took.

    Raises:
        TagalongError: If the version cannot be loaded.
        OutOfMemoryError: If the system ended the process.
    """
    context = get_context("spawn")  # threads do not survive a fork
    try:
        with ProcessPoolExecutor(1, mp_context=context, initializer=prepare) as apart:
            return apart.submit(measure, setting, texts, seconds=seconds).result()
    except BrokenProcessPool as error:
        raise OutOfMemoryError(
            f"measuring {setting.version} was ended by the system, most likely because there is "
            "too little memory: choose another version or a larger machine"
        ) from error


def measure(setting: Setting, texts: Sequence[str], *, seconds: float) -> Timing:
    """Measure in this process.

    Texts are taken in a random order, the same for every way: who is slow reads fewer of them, and
    these should be like the others.

    Args:
        setting: What to measure.
        texts: To be read, at least one with a word in it; again where there is time left.
        seconds: For each of both measurements.

    Returns:
        What it took.

    Raises:
        TagalongError: If the version cannot be loaded, or does not fit into memory.
    """
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    Random(0).shuffle(documents)  # noqa: S311 - an order, not a secret
    with memory_told(
        f"{setting.version} needs more memory than there is: choose another version, or a larger "
        "machine or GPU"
    ):
        start = time.perf_counter()
        tier = _opened(setting)
        tier.predict(documents[:1])
        load_seconds = time.perf_counter() - start
        taken = _one_at_a_time(tier, documents, seconds)
        median = nearest_rank(taken, 0.5)
        # A slow LLM is given no batch that it would need hours for.
        count = max(1, min(AT_ONCE, len(documents), ceil(2 * seconds / median)))
        words_per_second = _many_at_once(tier, documents[:count], seconds)
    return Timing(
        version=setting.version,
        way=setting.way,
        runs_on=tier.forward.name if isinstance(tier, EncoderTier) else "PyTorch",
        load_seconds=load_seconds,
        p50=median,
        p95=nearest_rank(taken, 0.95),
        asked=len(taken),
        per_second=words_per_second * len(documents) / sum(map(_words, documents)),
        memory=_peak(),
        gpu_memory=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    )


def _words(document: Document) -> int:
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


def _peak() -> int:
    """Bytes that this process has had in memory at its most."""
    status = Path("/proc/self/status")
    if status.is_file():  # what a process was before it began this program is not in it
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def _opened(setting: Setting) -> Tier:
    """Load a version so that it serves in a certain way."""
    if setting.way == "llm":
        if setting.drafter is None:
            return load_tier(setting.folder)
        drafter = load_tier(setting.drafter, engine=setting.engines)
        return load_tier(setting.folder, drafter=drafter.predict)
    tier = load_tier(setting.folder, engine=setting.way == "engine")
    if setting.way == "fp32" and isinstance(tier, EncoderTier):
        assert isinstance(tier.forward, TorchForward)  # noqa: S101 (no engine was asked for)
        tier.forward.precision = "fp32"
    return tier


def _one_at_a_time(tier: Tier, documents: Sequence[Document], seconds: float) -> list[float]:
    """What documents take by themselves."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for document in cycle(documents):
        start = time.perf_counter()
        tier.predict([document])
        now = time.perf_counter()
        taken.append(now - start)
        if len(taken) >= MOST or (now > end and len(taken) >= LEAST):
            break
    return taken


def _many_at_once(tier: Tier, documents: Sequence[Document], seconds: float) -> float:
    """Words per second: of a few documents, some are longer than others."""
    start = time.perf_counter()
    read, words = 0, sum(map(_words, documents))
    while True:
        tier.predict(documents)
        read += words
        if (taken := time.perf_counter() - start) > seconds:
            return read / taken
