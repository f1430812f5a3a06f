"""Publication of a trained model as a version: weights, manifest, and a model for OpenVINO."""

import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tagalong.backend.models.openvino import OPENVINO_MISSING_MESSAGE
from tagalong.backend.models.openvino.compile import (
    COMPILED_TIERS,
    compile_version,
    describe_openvino_model,
    should_use_openvino,
)
from tagalong.backend.models.openvino.library import openvino_version
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import OpenVINOError
from tagalong.ner.manifest import Manifest, VersionMetadata
from tagalong.ner.scoring import Counts
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.loop.trainer import AnyTrainResult
from tagalong.training.recipes.recipe import recipe_to_json

MIN_CHECK_DOCUMENTS = 48  # documents of the comparison of OpenVINO with PyTorch
NO_SCORES: Mapping[str, Any] = {}
RECORDED_PACKAGES = ("tagalong", "torch", "transformers", "tokenizers", "peft", "accelerate")


def publish(
    trained: AnyTrainResult,
    split: TrainDevSplit,
    *,
    store: ModelStore,
    tier: str,
    name: str,
    model: str | None = None,
    scores: Mapping[str, Any] = NO_SCORES,
) -> Manifest:
    """Evaluate a trained model on dev and publish it, without promoting it.

    `name` is the prefix of the version name. `model` is the one that receives the version; None for
    the default one of the tier. `scores` has the scores on other documents, each from
    `summarize_report`. Raises `PublishError` if the version cannot be written; the store is
    unchanged.
    """
    tagger, base = trained.tagger, trained.recipe.base
    options = EvaluationOptions(labels=tagger.labels)
    report = evaluate(split.dev, tagger.predict(split.dev), options=options)
    recipe = recipe_to_json(trained.recipe)
    del recipe["base"]  # the manifest has fields of its own for it
    metadata = VersionMetadata(
        tier=tier,
        name=name,
        base=base.reference,
        base_revision=base.revision,
        labels=tagger.labels,
        config={**recipe, **tagger.config_to_json()},
        calibration=tagger.calibration_to_json(),
        data={
            **split.to_json(),
            "lost": dict(Counter(lost.reason for lost in trained.dropped)),
            "epochs": [round(score, 4) for score in trained.history.dev_scores],
            "best_epoch": trained.history.best_epoch + 1,
        },
        scores={**scores, "dev": summarize_report(report)},
        environment={
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{package: version(package) for package in RECORDED_PACKAGES},
        },
    )
    with store.staging_folder(model or tier) as folder:
        trained.save(folder)
        return store.publish(folder, metadata, model=model)


def compile_published_version(folder: Path, manifest: Manifest, split: TrainDevSplit) -> str:
    """Compile a published version for OpenVINO, if that is of use here.

    The compiled model is compared with PyTorch on dev, and on documents of train too if dev has
    few: only agreement counts, not correctness.

    Returns the result in a sentence; empty if OpenVINO is of no use.
    """
    if manifest.tier not in COMPILED_TIERS or not should_use_openvino():
        return ""
    if not openvino_version():
        return OPENVINO_MISSING_MESSAGE
    check = [*split.dev, *split.train[: max(0, MIN_CHECK_DOCUMENTS - len(split.dev))]]
    try:
        compiled = compile_version(
            folder, quantization_documents=split.train, check_documents=check
        )
    except OpenVINOError as error:
        return f"PyTorch will run it, because it cannot be compiled for OpenVINO: {error}."
    except Exception as error:  # noqa: BLE001 - the version is published and served without it
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"PyTorch will run it, because compiling it for OpenVINO failed ({reason})."
    return describe_openvino_model(compiled)


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
