"""Who reads a batch, and where: in this process or on a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from backend.batch.predicting import Engine, local_engine
from backend.llm.cost import Cost
from cli.options import load_model
from ner.errors import BatchError, InputError
from ner.manifest import read_manifest
from ner.store import Store

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from backend.tier import Tier

TierName = Literal["encoder", "llm", "cascade"]
EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Reader:
    """A model version that reads, loaded where it does.

    Attributes:
        version: What it is called in predictions.
        labels: What it finds.
        load: Makes the tier; can be sent to another machine.
    """

    version: str
    labels: tuple[str, ...]
    load: "Callable[[], Tier]"

    @cached_property
    def tier(self) -> "Tier":
        """The tier, in this process."""
        return self.load()

    @property
    def cost(self) -> Cost | None:
        """What decoding has taken in this process; None for an encoder, and where none was done."""
        cost = getattr(self.__dict__.get("tier"), "cost", None)
        return cost if isinstance(cost, Cost) else None


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads.

    Attributes:
        first: Reads every document.
        second: Reads what pays again; None where nobody does.
        budget: The share of documents that pay most, from 0 to 1.
    """

    first: Reader
    second: Reader | None = None
    budget: float = 0.0

    def __iter__(self) -> Iterator[Reader]:
        """All of them, in the order in which they read.

        Yields:
            One or two.
        """
        yield self.first
        if self.second is not None:
            yield self.second

    def __str__(self) -> str:
        """What tells a batch of theirs from another."""
        if self.second is None:
            return self.first.version
        return f"{self.first.version}, then {self.second.version} for {self.budget:.4g} of them"


def choose_readers(
    store: Store, tier: TierName, encoder: str | None, llm: str, budget: float
) -> Readers:
    """Find who reads; nothing is loaded.

    Args:
        store: Where versions are.
        tier: Which of them.
        encoder: A reference to an encoder; None for the default.
        llm: A reference to an LLM.
        budget: Of a cascade.

    Returns:
        The readers.

    Raises:
        StoreError: If there is no such version.
        InputError: If both of a cascade are the same.
    """
    # Other machines may see the folder at the same path, but none is where this process is.
    there = Store(store.root.resolve(), store.bundled)

    def reader(reference: str) -> Reader:
        manifest = read_manifest(there.resolve(reference), verify=False)
        return Reader(
            manifest.version,
            tuple(manifest.labels),
            partial(load_model, there, reference, engine=True),
        )

    if tier == "llm":
        return Readers(reader(llm))
    first = reader(encoder or there.default())
    if tier == "encoder":
        return Readers(first)
    second = reader(llm)
    if first.version == second.version:
        raise InputError(
            f"{first.version} would read everything twice: name two versions, with --encoder and "
            "--llm"
        )
    return Readers(first, second, budget)


@contextmanager
def engine_for(reader: Reader, engine: EngineName, address: str | None) -> Iterator[Engine]:
    """Something that predicts.

    Args:
        reader: Who reads.
        engine: Where.
        address: Of a Ray cluster; None for one on this machine.

    Yields:
        The engine.

    Raises:
        BatchError: If there is no Ray, or no such cluster.
    """
    if engine == "local":
        yield local_engine(reader.tier)
        return
    try:
        from backend.batch.on_ray import ray_engine
    except ImportError as error:
        raise BatchError(
            f"--engine ray needs {error.name}: install Tagalong with its extra ray, or leave it out"
        ) from error
    with ray_engine(reader.load, address=address) as found:
        yield found
