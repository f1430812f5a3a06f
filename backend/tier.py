"""What a tier is, and how a model version becomes one."""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from backend.engine.cache import find_engine
from backend.llm.cost import Cost
from backend.llm.kept import Drafter, KeptBase, Weights
from backend.served import load_engine
from ner.document import Document, Prediction
from ner.errors import VersionInvalid
from ner.manifest import read_manifest

log = logging.getLogger(__name__)


class Tier(Protocol):
    """Anything that finds entities in documents."""

    @property
    def version(self) -> str:
        """The model version, named in every prediction."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Entity types it can find, in the order of the label config."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document, in the same order, empty ones included."""


@runtime_checkable
class Estimating(Protocol):
    """A tier that takes its time, and says so beforehand."""

    def estimate(self, documents: Sequence[Document]) -> list[float]:
        """Seconds that each document will take."""


@runtime_checkable
class Costly(Protocol):
    """A tier that counts what it takes, and knows its pace once it is warm."""

    cost: Cost

    def warm_up(self) -> None:
        """Predict something, to measure the pace."""


def load_tier(
    folder: Path,
    *,
    device: torch.device | None = None,
    engine: bool = False,
    drafter: Drafter | None = None,
    weights: Weights | None = None,
    kept: KeptBase | None = None,
) -> Tier:
    """Verify a model version and make it a tier.

    Args:
        folder: Of the version.
        device: Where to compute; None for the first GPU if there is one, else the CPU.
        engine: Have an encoder's passes run by its CPU engine, where there is one of use.
        drafter: Says what an LLM's tags may be; None drafts O everywhere.
        weights: How an LLM's are kept; None for as it was trained.
        kept: Where the base of an LLM may be already.

    Returns:
        The tier, ready to predict.

    Raises:
        VersionInvalid: If a file is missing or changed, or this release cannot serve such a tier.
        BaseModelError: If the version is an adapter and its base is not there.
    """
    manifest = read_manifest(folder)
    device = device or default_device()
    if manifest.tier == "encoder":
        if engine and device.type == "cpu" and (found := find_engine(folder, manifest)):
            try:
                return load_engine(folder, manifest, found)
            except VersionInvalid:
                raise
            except Exception as error:  # noqa: BLE001 - a library's: PyTorch can do without it
                log.warning("%s: %s; it is served by PyTorch", manifest.version, error)
        return _loaders("backend.checkpoint").load_encoder(folder, manifest, device=device)
    if manifest.tier == "llm":
        return _loaders("backend.llm.checkpoint").load_llm(
            folder, manifest, device=device, weights=weights, drafter=drafter, kept=kept
        )
    raise VersionInvalid(
        f"version {manifest.version} is of tier {manifest.tier!r}, which this release of "
        "Tagalong does not serve; choose an encoder version, or update Tagalong"
    )


def _loaders(name: str) -> Any:
    """A module of loaders, imported when the first version is to be loaded by it.

    The models of transformers take two seconds to import, and an encoder's engine needs none.
    """
    return import_module(name)


def default_device() -> torch.device:
    """The first GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
