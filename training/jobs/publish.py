"""A trained model to a model version: weights, and everything that made them what they are."""

import platform
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import Any

from tagalong.backend.models.encoder.checkpoint import save_model
from tagalong.backend.models.llm.prompt import PROMPT_VERSION
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import Manifest, VersionMetadata
from tagalong.ner.model_registry import ENCODER, LLM
from tagalong.ner.scoring import Counts
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import EncoderTrainResult
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.llm.train import LLMTrainResult
from tagalong.training.recipes.recipe import EncoderRecipe, LLMRecipe

NO_SCORES: Mapping[str, Any] = {}
RECORDED_PACKAGES = ("tagalong", "torch", "transformers", "tokenizers", "peft", "accelerate")


PublishResult = tuple[Manifest, EvaluationReport]


def publish_encoder(
    trained: EncoderTrainResult,
    split: TrainDevSplit,
    *,
    store: ModelStore,
    name: str,
    scores: Mapping[str, Any] = NO_SCORES,
) -> PublishResult:
    """Judge a trained encoder on dev and publish it, without making it current.

    Args:
        trained: What a training made, on the process that publishes.
        split: The documents it was made from.
        store: Where to publish.
        name: What the version's name starts with.
        scores: Of other splits, each as `summarize_report` gives it.

    Returns:
        The manifest, and the whole report on dev.

    Raises:
        PublishError: If the version cannot be written; the store is as it was before.
    """
    draft = partial(
        VersionMetadata,
        tier=ENCODER,
        name=name,
        config=_recipe_to_json(trained.recipe),
        calibration=_calibration_to_json(trained) | trained.tier.score_refiner.to_json(),
    )
    return _publish(trained, split, store=store, draft=draft, scores=scores)


def publish_llm(
    trained: LLMTrainResult,
    split: TrainDevSplit,
    *,
    store: ModelStore,
    name: str,
    scores: Mapping[str, Any] = NO_SCORES,
) -> PublishResult:
    """Judge a trained LLM on dev and publish it, without making it current.

    Args:
        trained: What a training made, on the process that publishes.
        split: The documents it was made from.
        store: Where to publish.
        name: What the version's name starts with.
        scores: Of other splits, each as `summarize_report` gives it.

    Returns:
        The manifest, which tells how the model is asked, and the whole report on dev.

    Raises:
        PublishError: If the version cannot be written; the store is as it was before.
    """
    verbalisers = trained.tier.prompt_builder.verbalizers.to_json(trained.tier.tag_set)
    config = {
        **_recipe_to_json(trained.recipe),
        "prompt": PROMPT_VERSION,
        "verbalisers": verbalisers,
    }
    calibration = _calibration_to_json(trained)
    draft = partial(VersionMetadata, tier=LLM, name=name, config=config, calibration=calibration)
    return _publish(trained, split, store=store, draft=draft, scores=scores)


def _publish(
    trained: EncoderTrainResult | LLMTrainResult,
    sides: TrainDevSplit,
    *,
    store: ModelStore,
    draft: Callable[..., VersionMetadata],
    scores: Mapping[str, Any],
) -> PublishResult:
    """Judge and publish, whatever the tier."""
    tier, base = trained.tier, trained.recipe.base
    report = evaluate(
        sides.dev, tier.predict(sides.dev), options=EvaluationOptions(labels=tier.labels)
    )
    whole = draft(
        base=base.reference,
        base_revision=base.revision,
        labels=tier.labels,
        data=_data_to_json(sides, trained),
        scores={**scores, "dev": summarize_report(report)},
        environment=_environment_to_json(),
    )
    with store.staging_folder(whole.tier) as folder:
        save_model(trained.model, trained.tokenizer, folder, base=base)
        return store.publish(folder, whole), report


def summarize_report(report: EvaluationReport) -> dict[str, Any]:
    """The figures of a report that a list of versions shows.

    Args:
        report: Of any evaluation.

    Returns:
        Ratios from 0 to 1, None where there is nothing to find and nothing was found; ``support``
        is how many gold spans there are of each length.
    """
    return {
        "documents": report.documents,
        "strict_f1": _rounded_f1(report.overall.strict.counts),
        "relaxed_f1": _rounded_f1(report.overall.relaxed.counts),
        "by_length": {
            length: _rounded_f1(figures.strict.counts)
            for length, figures in report.by_length.items()
        },
        "support": {
            length: figures.strict.counts.gold for length, figures in report.by_length.items()
        },
        "ece": round(report.calibration.ece, 4) if report.calibration else None,
    }


def _rounded_f1(counts: Counts) -> float | None:
    """F1, where there is anything to judge."""
    return round(counts.f1, 4) if counts.gold or counts.predicted else None


def _calibration_to_json(trained: EncoderTrainResult | LLMTrainResult) -> dict[str, Any]:
    """What turns scores into probabilities."""
    return {"temperature": round(trained.tier.temperature, 4)}


def _recipe_to_json(recipe: EncoderRecipe | LLMRecipe) -> Mapping[str, Any]:
    """The recipe as plain values; the base has a place of its own in the manifest."""
    return {name: value for name, value in asdict(recipe).items() if name != "base"}


def _data_to_json(
    sides: TrainDevSplit, trained: EncoderTrainResult | LLMTrainResult
) -> Mapping[str, Any]:
    """What was learnt from, counted."""
    return {
        **sides.to_json(),
        "lost": dict(Counter(lost.reason for lost in trained.dropped)),
        "epochs": [round(score, 4) for score in trained.history.scores],
        "best_epoch": trained.history.best + 1,
    }


def _environment_to_json() -> Mapping[str, str]:
    """What it was made with."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package: version(package) for package in RECORDED_PACKAGES},
    }
