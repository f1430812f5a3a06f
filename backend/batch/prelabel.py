"""A batch from source to sink: opening or resuming it, running it, its summary and dry run."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tagalong.backend.batch.journal import BatchJournal, DocumentState
from tagalong.backend.batch.local_engine import Engine, make_local_engine
from tagalong.backend.batch.models import BatchModels, ModelReference
from tagalong.backend.batch.passes import BatchPasses, BatchProgressCallback
from tagalong.backend.batch.source_and_sink import SourceAndSink
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document
from tagalong.ner.errors import BatchError

DRY_RUN_DOCUMENTS = 32  # documents that a dry run predicts to measure the time
WAITING_STATES = (DocumentState.PREDICTED, DocumentState.DEFERRED, DocumentState.SENDING)

EngineOpener = Callable[[ModelReference], AbstractContextManager[Engine]]
PassReporter = Callable[[str, int], AbstractContextManager[BatchProgressCallback]]


@contextmanager
def open_batch_journal(
    path: Path,
    source_and_sink: SourceAndSink,
    models: BatchModels,
    *,
    notify: Callable[[str], None],
) -> Iterator[BatchJournal]:
    """Open a journal, refuse another batch's, and settle what an earlier run left open."""
    source_and_sink.check_journal_path(path)
    description = {
        "source": source_and_sink.source_name,
        "labels": source_and_sink.config_digest,
        "output": source_and_sink.output_kind,
        "readers": str(models),
        "models": models.names,  # journals of earlier releases have none
    }
    with BatchJournal(path) as journal:
        previous = journal.read_description()
        if previous:
            _check_same_batch(path, previous, description)
            if previous["labels"] != description["labels"]:
                _check_nothing_waits(path, journal)
                previous = {**previous, "labels": description["labels"]}
                journal.write_description(previous, keep_entries=True)
        # Models with the same versions predict the same.
        is_reset = any(
            previous.get(name) != value for name, value in description.items() if name != "models"
        )
        if not is_reset and previous != description:
            journal.write_description(description, keep_entries=True)
        source_and_sink.sink.recover(journal, is_reset=is_reset)
        if is_reset:
            if previous:
                old, new = _name_versions(previous), _name_versions(description)
                notify(f"{old} began this batch; {new} starts it again.")
            journal.write_description(description)
        journal.reset_failed()
        if done := sum(journal.count_by_state().values()):
            notify(f"{pluralize(done, 'document was', 'documents were')} done before.")
        yield journal


def _name_versions(description: Mapping[str, str]) -> str:
    models = description.get("models")
    return description["readers"] + (f" (model {models})" if models else "")


def _check_same_batch(
    path: Path, previous: Mapping[str, str], description: Mapping[str, str]
) -> None:
    for name, title in (("source", "source"), ("output", "kind of output")):
        if previous[name] != description[name]:
            raise BatchError(
                f"the journal {path} is of another {title}, {previous[name]}: finish that batch, "
                "name another --journal, or remove it",
                code=f"journal-of-another-{name}",
            )


def _check_nothing_waits(path: Path, journal: BatchJournal) -> None:
    # A waiting prediction is already serialized in the labels of the config of its time.
    counts = journal.count_by_state()
    if waiting := sum(counts.get(state, 0) for state in WAITING_STATES):
        raise BatchError(
            f"the journal {path} is of another labelling config, in whose labels "
            f"{pluralize(waiting, 'prediction waits', 'predictions wait')}: restore that config, "
            "name another --journal, or remove it",
            code="journal-of-another-config",
        )


def open_local_engine(model: ModelReference) -> AbstractContextManager[Engine]:
    """An engine in this process."""
    return nullcontext(make_local_engine(model.tagger))


def run_batch(
    journal: BatchJournal,
    source_and_sink: SourceAndSink,
    models: BatchModels,
    *,
    open_engine: EngineOpener = open_local_engine,
    report_pass: PassReporter = lambda _title, _total: nullcontext(lambda _progress: None),
) -> None:
    """Run a batch to its end; an error leaves finished work in the journal."""
    batch = BatchPasses(journal, source_and_sink.sink)
    total, second = source_and_sink.total_items, models.second_pass
    with (
        open_engine(models.first_pass) as engine,
        report_pass(f"Predicting with {models.first_pass.version}", total) as report,
    ):
        batch.predict(source_and_sink.items, engine, defer=second is not None, on_progress=report)
    if second is not None:
        count = journal.select_for_second_pass(models.second_pass_share)
        title = f"Predicting {count:,} again with {second.version}"
        with open_engine(second) as engine, report_pass(title, total) as report:
            batch.predict_selected(source_and_sink.items, engine, on_progress=report)
    source_and_sink.sink.finish(journal)


def summarize_batch(
    journal: BatchJournal, models: BatchModels, *, cost_per_hour: float | None = None
) -> dict[str, Any]:
    """Count what a batch did, and with a price per hour what it cost.

    Returns:
        Plain JSON values: documents, each version's share of them, decoding in this run by an LLM,
        and the failed documents with their reasons.
    """
    count = journal.count_by_state()
    failed = journal.read_entries(DocumentState.FAILED)
    predicted = sum(count.values()) - len(failed)
    versions: dict[str, dict[str, Any]] = {
        version: {
            "documents": totals.documents,
            "share": totals.documents / predicted if predicted else 0.0,
            "entities": totals.entities,
            **_time_and_price(totals.seconds, cost_per_hour),
        }
        for version, totals in journal.read_version_totals().items()
    }
    for model in models:
        if model.decoding_stats is not None and model.version in versions:
            versions[model.version]["decoding"] = model.decoding_stats.to_json()
    return {
        "documents": sum(count.values()),
        "versions": versions,
        "failed": [{"id": entry.key, "reason": entry.payload} for entry in failed],
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

    Returns:
        Plain JSON values: documents to predict, predicted before and unreadable, and the time of
        each version, with its price if the machine has one.
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
        model.tagger.predict(sample[:1])  # the first call loads and compiles
        began = time.monotonic()
        model.tagger.predict(sample)
        documents = counts["documents"] * share
        seconds = (time.monotonic() - began) / max(len(sample), 1) * documents
        versions[model.tagger.version] = {
            "documents": round(documents),
            **_time_and_price(seconds, cost_per_hour),
        }
    return {
        **{name: counts[name] for name in ("documents", "done", "unreadable")},
        "versions": versions,
    }


def _time_and_price(seconds: float, cost_per_hour: float | None) -> dict[str, float]:
    price = {} if cost_per_hour is None else {"cost": seconds / 3600 * cost_per_hour}
    return {"seconds": seconds, **price}
