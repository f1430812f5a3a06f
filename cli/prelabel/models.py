"""Who reads a batch, and where: in this process or on a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from tagalong.backend.batch.engine import Engine, make_local_engine
from tagalong.backend.models.tier.decoding_stats import DecodingStats
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.options import load_tier_version
from tagalong.ner.errors import BatchError, InputError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import ENCODER, LLM, TierName

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.tier import Tier

PrelabelTier = Literal[TierName, "cascade"]
EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class ModelReference:
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
    def cost(self) -> DecodingStats | None:
        """What decoding has taken in this process; None for an encoder, and where none was done."""
        cost = getattr(self.__dict__.get("tier"), "decoding_stats", None)
        return cost if isinstance(cost, DecodingStats) else None


@dataclass(frozen=True, slots=True)
class PrelabelModels:
    """Who reads.

    Attributes:
        first_pass: Reads every document.
        second_pass: Reads what pays again; None where nobody does.
        second_pass_share: The share of documents that pay most, from 0 to 1.
    """

    first_pass: ModelReference
    second_pass: ModelReference | None = None
    second_pass_share: float = 0.0

    def __iter__(self) -> Iterator[ModelReference]:
        """All of them, in the order in which they read.

        Yields:
            One or two.
        """
        yield self.first_pass
        if self.second_pass is not None:
            yield self.second_pass

    def __str__(self) -> str:
        """What tells a batch of theirs from another."""
        if self.second_pass is None:
            return self.first_pass.version
        return f"{self.first_pass.version}, then {self.second_pass.version} for {self.second_pass_share:.4g} of them"


def choose_models(
    store: ModelStore, tier: PrelabelTier, encoder: str | None, llm: str, second_pass_share: float
) -> PrelabelModels:
    """Find who reads; nothing is loaded.

    Args:
        store: Where versions are.
        tier: Which of them.
        encoder: A reference to an encoder; None for the default.
        llm: A reference to an LLM.
        second_pass_share: Of a cascade.

    Returns:
        The readers.

    Raises:
        StoreError: If there is no such version.
        InputError: If both of a cascade are the same.
    """
    # Other machines may see the folder at the same path, but none is where this process is.
    there = ModelStore(store.root.resolve(), store.bundled_root)

    def reader(reference: str) -> ModelReference:
        manifest = read_manifest(there.resolve(reference), verify=False)
        return ModelReference(
            manifest.version,
            tuple(manifest.labels),
            partial(load_tier_version, there, reference, use_openvino=True),
        )

    if tier == LLM:
        return PrelabelModels(reader(llm))
    first = reader(encoder or there.default_reference())
    if tier == ENCODER:
        return PrelabelModels(first)
    second = reader(llm)
    if first.version == second.version:
        raise InputError(
            f"{first.version} would read everything twice: name two versions, with --encoder and "
            "--llm"
        )
    return PrelabelModels(first, second, second_pass_share)


@contextmanager
def open_engine(model: ModelReference, engine: EngineName, address: str | None) -> Iterator[Engine]:
    """Something that predicts.

    Args:
        model: Who reads.
        engine: Where.
        address: Of a Ray cluster; None for one on this machine.

    Yields:
        The engine.

    Raises:
        BatchError: If there is no Ray, or no such cluster.
    """
    if engine == "local":
        yield make_local_engine(model.tier)
        return
    try:
        from tagalong.backend.batch.ray_engine import open_ray_engine
    except ImportError as error:
        raise BatchError(
            f"--engine ray needs {error.name}: install Tagalong with its extra ray, or leave it out"
        ) from error
    with open_ray_engine(model.load, address=address) as found:
        yield found
