"""Publication of a trained model as a version: weights, and a manifest of how they were made."""

import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from tagalong.backend.models.encoder.checkpoint import save_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import Manifest, VersionMetadata
from tagalong.ner.scoring import Counts
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.loop.trainer import AnyTrainResult
from tagalong.training.recipes.recipe import recipe_to_json

NO_SCORES: Mapping[str, Any] = {}
RECORDED_PACKAGES = ("tagalong", "torch", "transformers", "tokenizers", "peft", "accelerate")


def publish(
    trained: AnyTrainResult,
    split: TrainDevSplit,
    *,
    store: ModelStore,
    tier: str,
    name: str,
    scores: Mapping[str, Any] = NO_SCORES,
) -> Manifest:
    """Evaluate a trained model on dev and publish it, without promoting it.

    Args:
        trained: From the main process of the training.
        split: Documents of the training.
        store: Receives the version.
        tier: Tier of the version.
        name: Prefix of the version name.
        scores: Scores on other documents, each from `summarize_report`.

    Returns:
        The manifest.

    Raises:
        PublishError: If the version cannot be written; the store is unchanged.
    """
    model, base = trained.tier, trained.recipe.base
    options = EvaluationOptions(labels=model.labels)
    report = evaluate(split.dev, model.predict(split.dev), options=options)
    recipe = recipe_to_json(trained.recipe)
    del recipe["base"]  # the manifest has fields of its own for it
    metadata = VersionMetadata(
        tier=tier,
        name=name,
        base=base.reference,
        base_revision=base.revision,
        labels=model.labels,
        config={**recipe, **model.config_to_json()},
        calibration=model.calibration_to_json(),
        data=_data_to_json(split, trained),
        scores={**scores, "dev": summarize_report(report)},
        environment=_environment_to_json(),
    )
    with store.staging_folder(tier) as folder:
        save_model(trained.model, trained.tokenizer, folder, base=base)
        return store.publish(folder, metadata)


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
    return None if counts.is_empty else round(counts.f1, 4)


def _data_to_json(split: TrainDevSplit, trained: AnyTrainResult) -> Mapping[str, Any]:
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
