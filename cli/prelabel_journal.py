"""The journal of a batch: whether it goes on, begins anew, or is of another batch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from backend.batch.entries import State
from backend.batch.journal import BatchJournal
from cli.console import errors
from cli.prelabel_places import Place
from cli.prelabel_readers import Readers
from ner.errors import BatchError


@contextmanager
def begun(path: Path, place: Place, readers: Readers) -> Iterator[BatchJournal]:
    """The journal of a batch, which goes on or begins.

    Args:
        path: Of the journal.
        place: What is read, and where predictions go.
        readers: Who reads.

    Yields:
        The journal.

    Raises:
        BatchError: If it is of another source or kind of output, or answers wait in it in the
            labels of another config.
        JournalError: If it cannot be used.
    """
    place.check(path)
    about = {
        "source": place.name,
        "labels": place.labels,
        "output": place.output,
        "readers": str(readers),
    }
    with BatchJournal(path) as journal:
        was = journal.about()
        if was:
            check_same(path, was, about)
            if was["labels"] != about["labels"]:
                check_free(path, journal)
                journal.describe(was := {**was, "labels": about["labels"]})
        place.target.recover(journal)
        if was != about:
            place.target.settle(journal)
            announce_new_pass(was, about)
            journal.begin(about)
        journal.forget_aside()
        if done := sum(journal.count().values()):
            errors.print(f"{done:,} documents were done before.")
        yield journal


def check_same(path: Path, was: Mapping[str, str], about: Mapping[str, str]) -> None:
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


def check_free(path: Path, journal: BatchJournal) -> None:
    """See to it that no answer waits, which would be one in the labels of another config.

    Args:
        path: Of the journal.
        journal: Of a batch whose labelling config has changed.

    Raises:
        BatchError: If one does.
    """
    counts = journal.count()
    waiting = sum(counts.get(one, 0) for one in (State.PREDICTED, State.HELD, State.SENDING))
    if waiting:
        raise BatchError(
            f"the journal {path} is of another labelling config, in whose labels {waiting:,} "
            "answers wait: bring that back, name another --journal, or remove it"
        )


def announce_new_pass(was: Mapping[str, str], about: Mapping[str, str]) -> None:
    """Say that what was done counts no more, where something was.

    Args:
        was: What the journal was of; empty for a new one.
        about: What it is of now.
    """
    if was:
        errors.print(
            f"{was['readers']} had begun this batch, and {about['readers']} begins it anew.",
            markup=False,
            soft_wrap=True,
        )
