"""What a tier is, and how a model version becomes one."""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from tagalong.backend.models.llm.decoding_stats import DecodingStats
from tagalong.backend.models.llm.load_options import BaseModelCache, Drafter, WeightsMode
from tagalong.backend.models.openvino.cache import find_openvino_model
from tagalong.backend.models.openvino.load import load_openvino_encoder
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import read_manifest

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
class SupportsTimeEstimate(Protocol):
    """A tier that takes its time, and says so beforehand."""

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        """Seconds that each document will take."""


@runtime_checkable
class SupportsDecodingStats(Protocol):
    """A tier that counts what it takes, and knows its pace once it is warm."""

    decoding_stats: DecodingStats

    def warm_up(self) -> None:
        """Predict something, to measure the pace."""


def load_tier(
    folder: Path,
    *,
    device: torch.device | None = None,
    use_openvino: bool = False,
    drafter: Drafter | None = None,
    weights_mode: WeightsMode | None = None,
    base_model_cache: BaseModelCache | None = None,
) -> Tier:
    """Verify a model version and make it a tier.

    Args:
        folder: Of the version.
        device: Where to compute; None for the first GPU if there is one, else the CPU.
        use_openvino: Have an encoder's passes run by its CPU engine, where there is one of use.
        drafter: Says what an LLM's tags may be; None drafts O everywhere.
        weights_mode: How an LLM's are kept; None for as it was trained.
        base_model_cache: Where the base of an LLM may be already.

    Returns:
        The tier, ready to predict.

    Raises:
        VersionInvalid: If a file is missing or changed, or this release cannot serve such a tier.
        BaseModelError: If the version is an adapter and its base is not there.
    """
    manifest = read_manifest(folder)
    device = device or default_device()
    if manifest.tier == "encoder":
        if (
            use_openvino
            and device.type == "cpu"
            and (found := find_openvino_model(folder, manifest))
        ):
            try:
                return load_openvino_encoder(folder, manifest, found)
            except VersionInvalid:
                raise
            except Exception as error:  # noqa: BLE001 - a library's: PyTorch can do without it
                log.warning("%s: %s; it is served by PyTorch", manifest.version, error)
        return _import_loader("tagalong.backend.models.encoder.checkpoint").load_encoder(
            folder, manifest, device=device
        )
    if manifest.tier == "llm":
        return _import_loader("tagalong.backend.models.llm.checkpoint").load_llm(
            folder,
            manifest,
            device=device,
            weights=weights_mode,
            drafter=drafter,
            kept=base_model_cache,
        )
    raise VersionInvalid(
        f"version {manifest.version} is of tier {manifest.tier!r}, which this release of "
        "Tagalong does not serve; choose an encoder version, or update Tagalong"
    )


def _import_loader(name: str) -> Any:
    """A module of loaders, imported when the first version is to be loaded by it.

    The models of transformers take two seconds to import, and an encoder's engine needs none.
    """
    return import_module(name)


def default_device() -> torch.device:
    """The first GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
