"""The journal of a batch: whether it goes on, begins anew, or is of another batch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tagalong.backend.batch.entry import DocumentState
from tagalong.backend.batch.journal import BatchJournal
from tagalong.cli.prelabel.models import PrelabelModels
from tagalong.cli.prelabel.source_and_sink import SourceAndSink
from tagalong.cli.terminal.console import error_console
from tagalong.ner.errors import BatchError


@contextmanager
def open_batch_journal(
    path: Path, source_and_sink: SourceAndSink, prelabel_models: PrelabelModels
) -> Iterator[BatchJournal]:
    """The journal of a batch, which goes on or begins.

    Args:
        path: Of the journal.
        source_and_sink: What is read, and where predictions go.
        prelabel_models: Who reads.

    Yields:
        The journal.

    Raises:
        BatchError: If it is of another source or kind of output, or answers wait in it in the
            labels of another config.
        JournalError: If it cannot be used.
    """
    source_and_sink.check_journal_path(path)
    about = {
        "source": source_and_sink.source_name,
        "labels": source_and_sink.label_config_digest,
        "output": source_and_sink.output_kind,
        "readers": str(prelabel_models),
    }
    with BatchJournal(path) as journal:
        was = journal.read_description()
        if was:
            check_same_batch(path, was, about)
            if was["labels"] != about["labels"]:
                check_no_pending_answers(path, journal)
                journal.write_description(was := {**was, "labels": about["labels"]})
        source_and_sink.sink.recover(journal)
        if was != about:
            source_and_sink.sink.remove_duplicates(journal)
            print_new_pass(was, about)
            journal.reset(about)
        journal.reset_failed()
        if done := sum(journal.count_by_state().values()):
            error_console.print(f"{done:,} documents were done before.")
        yield journal


def check_same_batch(path: Path, was: Mapping[str, str], about: Mapping[str, str]) -> None:
    """See to it that a journal is of the same source and kind of output, whoever reads.

    Args:
        path: Of the journal.
        was: What it is of.
        about: What it should be of.

    Raises:
        BatchError: If it is of another.
    """
    others = {
        "source": f"source, {was['source']}",
        "output": f"kind of output, {was['output']}",
    }
    for name, other in others.items():
        if was[name] != about[name]:
            raise BatchError(
                f"the journal {path} is of another {other}: finish that, name another --journal, "
                "or remove it"
            )


def check_no_pending_answers(path: Path, journal: BatchJournal) -> None:
    """See to it that no answer waits, which would be one in the labels of another config.

    Args:
        path: Of the journal.
        journal: Of a batch whose labelling config has changed.

    Raises:
        BatchError: If one does.
    """
    counts = journal.count_by_state()
    waiting = sum(
        counts.get(one, 0)
        for one in (DocumentState.PREDICTED, DocumentState.DEFERRED, DocumentState.SENDING)
    )
    if waiting:
        raise BatchError(
            f"the journal {path} is of another labelling config, in whose labels {waiting:,} "
            "answers wait: bring that back, name another --journal, or remove it"
        )


def print_new_pass(was: Mapping[str, str], about: Mapping[str, str]) -> None:
    """Say that what was done counts no more, where something was.

    Args:
        was: What the journal was of; empty for a new one.
        about: What it is of now.
    """
    if was:
        error_console.print(
            f"{was['readers']} had begun this batch, and {about['readers']} begins it anew.",
            markup=False,
            soft_wrap=True,
        )
