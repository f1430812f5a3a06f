"""Running a batch from source to sink, in one pass or as a cascade; its summary and dry run."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tagalong.backend.batch.engine import Engine, make_local_engine
from tagalong.backend.batch.entry import DocumentState
from tagalong.backend.batch.journal import BatchState
from tagalong.backend.batch.models import BatchModels, ModelReference
from tagalong.backend.batch.run import BatchProgressCallback, BatchRunner
from tagalong.backend.batch.source_and_sink import SourceAndSink
from tagalong.ner.document import Document

DRY_RUN_DOCUMENTS = 32  # documents that a dry run predicts to measure the time

EngineOpener = Callable[[ModelReference], AbstractContextManager[Engine]]
PassReporter = Callable[[str, int], AbstractContextManager[BatchProgressCallback]]


@contextmanager
def open_local_engine(model: ModelReference) -> Iterator[Engine]:
    """An engine in this process."""
    yield make_local_engine(model.tier)


@contextmanager
def report_nothing(_title: str, _total: int) -> Iterator[BatchProgressCallback]:
    """Progress that nobody watches."""
    yield lambda _: None


def run_batch(
    journal: BatchState,
    source_and_sink: SourceAndSink,
    models: BatchModels,
    *,
    open_engine: EngineOpener = open_local_engine,
    report_pass: PassReporter = report_nothing,
) -> None:
    """Run a batch to its end; an error leaves finished work in the journal."""
    batch = BatchRunner(journal, source_and_sink.sink)
    total, second = source_and_sink.total_items, models.second_pass
    with (
        open_engine(models.first_pass) as engine,
        report_pass(f"Predicting with {models.first_pass.version}", total) as report,
    ):
        batch.predict(source_and_sink.items, engine, defer=second is not None, on_progress=report)
    if second is not None:
        count = journal.select_for_second_tier(models.second_pass_share)
        title = f"Predicting {count:,} again with {second.version}"
        with open_engine(second) as engine, report_pass(title, total) as report:
            batch.predict_selected(source_and_sink.items, engine, on_progress=report)
    source_and_sink.sink.finish(journal)


def summarize_batch(
    journal: BatchState, models: BatchModels, *, cost_per_hour: float | None = None
) -> dict[str, Any]:
    """Count what a batch did.

    Args:
        journal: The batch's journal.
        models: The models of this run.
        cost_per_hour: The machine's price.

    Returns:
        Plain JSON values: documents, each version's share of them, decoding in this run by an LLM,
        and the failed documents with their reasons.
    """
    count = journal.count_by_state()
    failed = journal.read_entries(DocumentState.FAILED)
    predicted = sum(count.values()) - len(failed)
    versions: dict[str, dict[str, Any]] = {}
    for version, totals in journal.read_version_totals().items():
        versions[version] = {
            "documents": totals.documents,
            "share": totals.documents / predicted if predicted else 0.0,
            "entities": totals.entities,
            **_time_and_price(totals.seconds, cost_per_hour),
        }
    for model in models:
        if model.decoding_stats is not None and model.version in versions:
            versions[model.version]["decoding"] = model.decoding_stats.to_json()
    return {
        "documents": sum(count.values()),
        "versions": versions,
        "aside": [{"id": entry.key, "reason": entry.payload} for entry in failed],
    }


def sort_versions_by_share(summary: dict[str, Any], models: BatchModels) -> list[str]:
    """The models' versions, the one that predicted most documents first."""
    shares = summary["versions"]
    versions = [model.version for model in models]
    return sorted(versions, key=lambda version: -shares.get(version, {"documents": 0})["documents"])


def estimate_batch(
    source_and_sink: SourceAndSink, models: BatchModels, *, cost_per_hour: float | None = None
) -> dict[str, Any]:
    """Estimate the time of a batch from a few predicted documents; nothing is kept.

    Args:
        source_and_sink: The source.
        models: The models that would predict.
        cost_per_hour: The machine's price.

    Returns:
        Plain JSON values: documents to predict, predicted before and unreadable, and the time of
        each version.
    """
    sample: list[Document] = []
    counts: Counter[str] = Counter()
    for item in source_and_sink.items:
        if item.is_predicted:
            counts["done"] += 1
        elif item.document is None:
            counts["unreadable"] += 1
        else:
            counts["documents"] += 1
            if len(sample) < DRY_RUN_DOCUMENTS:
                sample.append(item.document)
    versions = {}
    for model, share in zip(models, (1.0, models.second_pass_share), strict=False):
        model.tier.predict(sample[:1])  # the first call loads and compiles
        began = time.monotonic()
        model.tier.predict(sample)
        documents = counts["documents"] * share
        seconds = (time.monotonic() - began) / max(len(sample), 1) * documents
        versions[model.tier.version] = {
            "documents": round(documents),
            **_time_and_price(seconds, cost_per_hour),
        }
    return {
        **{name: counts[name] for name in ("documents", "done", "unreadable")},
        "versions": versions,
    }


def _time_and_price(seconds: float, cost_per_hour: float | None) -> dict[str, float]:
    price = {} if cost_per_hour is None else {"dollars": seconds / 3600 * cost_per_hour}
    return {"seconds": seconds, **price}
