"""Publication of a trained model as a version: weights, and a manifest of how they were made."""

import platform
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

from tagalong.backend.models.encoder.checkpoint import save_model
from tagalong.backend.models.llm.prompt import PROMPT_VERSION
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import Manifest, VersionMetadata
from tagalong.ner.scoring import Counts
from tagalong.ner.tiers import ENCODER, LLM
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import EncoderTrainResult
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.llm.train import LLMTrainResult
from tagalong.training.recipes.recipe import Recipe, recipe_to_json

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
    """Evaluate a trained encoder on dev and publish it, without promoting it.

    Args:
        trained: From the main process of the training.
        split: Documents of the training.
        store: Receives the version.
        name: Prefix of the version name.
        scores: Scores on other documents, each from `summarize_report`.

    Returns:
        The manifest, and the report on dev.

    Raises:
        PublishError: If the version cannot be written; the store is unchanged.
    """
    calibration = _calibration_to_json(trained) | trained.tier.score_refiner.to_json()
    metadata = partial(
        VersionMetadata,
        tier=ENCODER,
        name=name,
        config=_config_to_json(trained.recipe),
        calibration=calibration,
    )
    return _publish(trained, split, store=store, metadata=metadata, scores=scores)


def publish_llm(
    trained: LLMTrainResult,
    split: TrainDevSplit,
    *,
    store: ModelStore,
    name: str,
    scores: Mapping[str, Any] = NO_SCORES,
) -> PublishResult:
    """Evaluate a trained LLM on dev and publish it, as `publish_encoder` does."""
    config = {
        **_config_to_json(trained.recipe),
        "prompt": PROMPT_VERSION,
        "verbalisers": trained.tier.prompt_builder.verbalizers.to_json(trained.tier.tag_set),
    }
    metadata = partial(
        VersionMetadata,
        tier=LLM,
        name=name,
        config=config,
        calibration=_calibration_to_json(trained),
    )
    return _publish(trained, split, store=store, metadata=metadata, scores=scores)


def _publish(
    trained: EncoderTrainResult | LLMTrainResult,
    split: TrainDevSplit,
    *,
    store: ModelStore,
    metadata: Callable[..., VersionMetadata],
    scores: Mapping[str, Any],
) -> PublishResult:
    tier, base = trained.tier, trained.recipe.base
    report = evaluate(
        split.dev, tier.predict(split.dev), options=EvaluationOptions(labels=tier.labels)
    )
    complete = metadata(
        base=base.reference,
        base_revision=base.revision,
        labels=tier.labels,
        data=_data_to_json(split, trained),
        scores={**scores, "dev": summarize_report(report)},
        environment=_environment_to_json(),
    )
    with store.staging_folder(complete.tier) as folder:
        save_model(trained.model, trained.tokenizer, folder, base=base)
        return store.publish(folder, complete), report


def summarize_report(report: EvaluationReport) -> dict[str, Any]:
    """Summarize a report for a manifest.

    Returns ratios from 0 to 1, None without gold and predictions; ``support`` is the number of
    gold spans of each length.
    """
    by_length = {name: scores.strict.counts for name, scores in report.by_length.items()}
    return {
        "documents": report.documents,
        "strict_f1": _rounded_f1(report.overall.strict.counts),
        "relaxed_f1": _rounded_f1(report.overall.relaxed.counts),
        "by_length": {length: _rounded_f1(counts) for length, counts in by_length.items()},
        "support": {length: counts.gold for length, counts in by_length.items()},
        "ece": round(report.calibration.ece, 4) if report.calibration else None,
    }


def _rounded_f1(counts: Counts) -> float | None:
    return round(counts.f1, 4) if counts.gold or counts.predicted else None


def _calibration_to_json(trained: EncoderTrainResult | LLMTrainResult) -> dict[str, Any]:
    return {"temperature": round(trained.tier.temperature, 4)}


def _config_to_json(recipe: Recipe) -> Mapping[str, Any]:
    """The recipe as plain values, without the base, which has its own fields in the manifest."""
    return {name: value for name, value in recipe_to_json(recipe).items() if name != "base"}


def _data_to_json(
    split: TrainDevSplit, trained: EncoderTrainResult | LLMTrainResult
) -> Mapping[str, Any]:
    return {
        **split.to_json(),
        "lost": dict(Counter(lost.reason for lost in trained.dropped)),
        "epochs": [round(score, 4) for score in trained.history.dev_scores],
        "best_epoch": trained.history.best_epoch + 1,
    }


def _environment_to_json() -> Mapping[str, str]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package: version(package) for package in RECORDED_PACKAGES},
    }
