"""Opening the journal of a batch: continue the batch, start it again, or refuse."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tagalong.backend.batch.entry import DocumentState
from tagalong.backend.batch.journal import BatchState
from tagalong.backend.batch.models import BatchModels
from tagalong.backend.batch.source_and_sink import SourceAndSink
from tagalong.ner.errors import BatchError

WAITING_STATES = (DocumentState.PREDICTED, DocumentState.DEFERRED, DocumentState.SENDING)


@contextmanager
def open_batch_journal(
    path: Path,
    source_and_sink: SourceAndSink,
    models: BatchModels,
    *,
    notify: Callable[[str], None],
) -> Iterator[BatchState]:
    """Open a journal, refuse another batch's, and settle what an earlier run left open."""
    source_and_sink.check_journal_path(path)
    description = {
        "source": source_and_sink.source_name,
        "labels": source_and_sink.config_digest,
        "output": source_and_sink.output_kind,
        "readers": str(models),
    }
    with BatchState(path) as journal:
        previous = journal.read_description()
        if previous:
            _check_same_batch(path, previous, description)
            if previous["labels"] != description["labels"]:
                _check_nothing_waits(path, journal)
                previous = {**previous, "labels": description["labels"]}
                journal.write_description(previous)
        is_reset = previous != description
        source_and_sink.sink.recover(journal, is_reset=is_reset)
        if is_reset:
            if previous:
                notify(
                    f"{previous['readers']} began this batch; {description['readers']} starts it "
                    "again."
                )
            journal.reset(description)
        journal.reset_failed()
        if done := sum(journal.count_by_state().values()):
            notify(f"{done:,} documents were done before.")
        yield journal


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


def _check_nothing_waits(path: Path, journal: BatchState) -> None:
    # A waiting prediction is already serialized in the labels of the config of its time.
    counts = journal.count_by_state()
    if waiting := sum(counts.get(state, 0) for state in WAITING_STATES):
        raise BatchError(
            f"the journal {path} is of another labelling config, in whose labels {waiting:,} "
            "predictions wait: restore that config, name another --journal, or remove it",
            code="journal-of-another-config",
        )
