"""A trained encoder to a model version: weights, and everything that made them what they are."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backend.checkpoint import save_encoder
from ner.document import Document
from ner.manifest import Draft, Manifest
from ner.store import Store
from training.corpus import fingerprint
from training.encoder import Recipe, TrainedEncoder
from training.evaluate import Options, evaluate
from training.report import Report

PACKAGES = ("tagalong", "torch", "transformers", "tokenizers", "peft", "accelerate")


@dataclass(frozen=True, slots=True)
class Split:
    """What a training learnt from and what it was judged by.

    Attributes:
        train: Documents learnt from.
        dev: Documents judged by.
        sources: Names of the files they came from.
    """

    train: Sequence[Document]
    dev: Sequence[Document]
    sources: Sequence[str]

    @property
    def fingerprint(self) -> str:
        """Names both sides by content: another split of the same documents is other data."""
        return f"{fingerprint(self.train)[:16]}-{fingerprint(self.dev)[:16]}"


def publish_encoder(
    trained: TrainedEncoder, split: Split, *, recipe: Recipe, store: Store, name: str
) -> tuple[Manifest, Report]:
    """Judge a trained encoder on dev and publish it, without making it current.

    Args:
        trained: What a training made, on the process that publishes.
        split: The documents it was made from.
        recipe: How it was made.
        store: Where to publish.
        name: What the version's name starts with.

    Returns:
        The manifest, and the whole report on dev.

    Raises:
        PublishError: If the version cannot be written; the store is as it was before.
    """
    tier, base = trained.tier, recipe.base.pinned()
    report = evaluate(split.dev, tier.predict(split.dev), options=Options(labels=tier.labels))
    draft = Draft(
        tier="encoder",
        name=name,
        base=base.reference,
        base_revision=base.revision,
        labels=tier.labels,
        config=_config(recipe),
        data=_data(split, trained),
        scores={"dev": summary(report)},
        calibration={"temperature": round(tier.temperature, 4)},
        environment=_environment(),
    )
    with store.staging("encoder") as folder:
        save_encoder(trained.model, trained.tokenizer, folder, base=base)
        return store.publish(folder, draft), report


def summary(report: Report) -> dict[str, Any]:
    """The figures of a report that a list of versions shows.

    Args:
        report: Of any evaluation.

    Returns:
        Ratios from 0 to 1.
    """
    return {
        "documents": report.documents,
        "strict_f1": round(report.overall.strict.counts.f1, 4),
        "relaxed_f1": round(report.overall.relaxed.counts.f1, 4),
        "by_length": {
            length: round(figures.strict.counts.f1, 4)
            for length, figures in report.by_length.items()
        },
        "ece": round(report.calibration.ece, 4) if report.calibration else None,
    }


def _config(recipe: Recipe) -> Mapping[str, Any]:
    """The recipe as plain values; the base has a place of its own in the manifest."""
    return {name: value for name, value in asdict(recipe).items() if name != "base"}


def _data(split: Split, trained: TrainedEncoder) -> Mapping[str, Any]:
    """What was learnt from, counted."""
    return {
        "fingerprint": split.fingerprint,
        "sources": [Path(source).name for source in split.sources],
        "train": _size(split.train),
        "dev": _size(split.dev),
        "lost": dict(Counter(lost.reason for lost in trained.lost)),
        "epochs": [round(score, 4) for score in trained.outcome.scores],
        "best_epoch": trained.outcome.best + 1,
    }


def _size(documents: Sequence[Document]) -> Mapping[str, int]:
    """How much there is."""
    return {
        "documents": len(documents),
        "entities": sum(len(document.spans) for document in documents),
    }


def _environment() -> Mapping[str, str]:
    """What it was made with."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package: version(package) for package in PACKAGES},
    }
