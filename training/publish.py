"""A trained model to a model version: weights, and everything that made them what they are."""

import platform
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import Any

from backend.checkpoint import save_model
from backend.llm.layout import FORMAT
from ner.manifest import Draft, Manifest
from ner.scoring import Counts
from ner.store import Store
from training.encoder import TrainedEncoder
from training.evaluate import Options, evaluate
from training.llm import TrainedLLM
from training.recipe import LLMRecipe, Recipe
from training.report import Report
from training.sides import Sides

NO_SCORES: Mapping[str, Any] = {}
PACKAGES = ("tagalong", "torch", "transformers", "tokenizers", "peft", "accelerate")


Published = tuple[Manifest, Report]


def publish_encoder(
    trained: TrainedEncoder,
    sides: Sides,
    *,
    store: Store,
    name: str,
    scores: Mapping[str, Any] = NO_SCORES,
) -> Published:
    """Judge a trained encoder on dev and publish it, without making it current.

    Args:
        trained: What a training made, on the process that publishes.
        sides: The documents it was made from.
        store: Where to publish.
        name: What the version's name starts with.
        scores: Of other splits, each as `summary` gives it.

    Returns:
        The manifest, and the whole report on dev.

    Raises:
        PublishError: If the version cannot be written; the store is as it was before.
    """
    draft = partial(
        Draft,
        tier="encoder",
        name=name,
        config=_config(trained.recipe),
        calibration=_calibration(trained) | trained.tier.coupling.to_json(),
    )
    return _publish(trained, sides, store=store, draft=draft, scores=scores)


def publish_llm(
    trained: TrainedLLM,
    sides: Sides,
    *,
    store: Store,
    name: str,
    scores: Mapping[str, Any] = NO_SCORES,
) -> Published:
    """Judge a trained LLM on dev and publish it, without making it current.

    Args:
        trained: What a training made, on the process that publishes.
        sides: The documents it was made from.
        store: Where to publish.
        name: What the version's name starts with.
        scores: Of other splits, each as `summary` gives it.

    Returns:
        The manifest, which tells how the model is asked, and the whole report on dev.

    Raises:
        PublishError: If the version cannot be written; the store is as it was before.
    """
    verbalisers = trained.tier.planner.verbalisers.to_json(trained.tier.tag_set)
    config = {**_config(trained.recipe), "prompt": FORMAT, "verbalisers": verbalisers}
    calibration = _calibration(trained)
    draft = partial(Draft, tier="llm", name=name, config=config, calibration=calibration)
    return _publish(trained, sides, store=store, draft=draft, scores=scores)


def _publish(
    trained: TrainedEncoder | TrainedLLM,
    sides: Sides,
    *,
    store: Store,
    draft: Callable[..., Draft],
    scores: Mapping[str, Any],
) -> Published:
    """Judge and publish, whatever the tier."""
    tier, base = trained.tier, trained.recipe.base
    report = evaluate(sides.dev, tier.predict(sides.dev), options=Options(labels=tier.labels))
    whole = draft(
        base=base.reference,
        base_revision=base.revision,
        labels=tier.labels,
        data=_data(sides, trained),
        scores={**scores, "dev": summary(report)},
        environment=_environment(),
    )
    with store.staging(whole.tier) as folder:
        save_model(trained.model, trained.tokenizer, folder, base=base)
        return store.publish(folder, whole), report


def summary(report: Report) -> dict[str, Any]:
    """The figures of a report that a list of versions shows.

    Args:
        report: Of any evaluation.

    Returns:
        Ratios from 0 to 1, None where there is nothing to find and nothing was found; ``support``
        is how many gold spans there are of each length.
    """
    return {
        "documents": report.documents,
        "strict_f1": _rounded(report.overall.strict.counts),
        "relaxed_f1": _rounded(report.overall.relaxed.counts),
        "by_length": {
            length: _rounded(figures.strict.counts) for length, figures in report.by_length.items()
        },
        "support": {
            length: figures.strict.counts.gold for length, figures in report.by_length.items()
        },
        "ece": round(report.calibration.ece, 4) if report.calibration else None,
    }


def _rounded(counts: Counts) -> float | None:
    """F1, where there is anything to judge."""
    return round(counts.f1, 4) if counts.gold or counts.predicted else None


def _calibration(trained: TrainedEncoder | TrainedLLM) -> dict[str, Any]:
    """What turns scores into probabilities."""
    return {"temperature": round(trained.tier.temperature, 4)}


def _config(recipe: Recipe | LLMRecipe) -> Mapping[str, Any]:
    """The recipe as plain values; the base has a place of its own in the manifest."""
    return {name: value for name, value in asdict(recipe).items() if name != "base"}


def _data(sides: Sides, trained: TrainedEncoder | TrainedLLM) -> Mapping[str, Any]:
    """What was learnt from, counted."""
    return {
        **sides.to_json(),
        "lost": dict(Counter(lost.reason for lost in trained.lost)),
        "epochs": [round(score, 4) for score in trained.outcome.scores],
        "best_epoch": trained.outcome.best + 1,
    }


def _environment() -> Mapping[str, str]:
    """What it was made with."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package: version(package) for package in PACKAGES},
    }
