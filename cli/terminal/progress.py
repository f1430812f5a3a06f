"""Progress bars of all commands: one layout, and one place that writes them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, track

from tagalong.cli.terminal.console import error_console
from tagalong.ner.document import Document, Prediction

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.tagger import DocumentTagger
    from tagalong.training.recipes.schedule import TrainingProgress

DOCUMENTS_PER_UPDATE = 64  # large enough to sort by length, small enough for a smooth bar

BarUpdate = Callable[..., None]  # takes description, completed, total and details by name


@contextmanager
def progress_bar(
    description: str, *, total: int | None = None, console: Console = error_console
) -> Iterator[BarUpdate]:
    """Show a bar between a description and details; yields its update function."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[details]}")
    with Progress(*columns, console=console, transient=True) as bar:
        yield partial(bar.update, bar.add_task(description, total=total, details=""))


@contextmanager
def training_progress_bar(
    console: Console = error_console,
) -> Iterator[Callable[["TrainingProgress"], None]]:
    """Show loss, best dev F1 and time left of a training, and print a line after each epoch.

    A cross-validation has one bar over all folds, without a line per epoch. Yields the callback for
    progress.
    """
    with progress_bar("Loading", console=console) as update:

        def report(progress: "TrainingProgress") -> None:
            scores = progress.dev_scores
            best = f"dev F1 {max(scores):.4f}, " if scores else ""
            left = timedelta(seconds=round(progress.seconds_left))
            epoch = f"Epoch {progress.epoch} of {progress.epochs}"
            if progress.folds > 1:
                update(
                    description=f"Fold {progress.fold} of {progress.folds}",
                    completed=progress.fold - 1 + progress.step / progress.steps,
                    total=progress.folds,
                    details=f"{best}{epoch.lower()}, {left} left in this fold",
                )
                return
            update(
                description=epoch,
                completed=progress.step,
                total=progress.steps,
                details=f"loss {progress.loss:.4f}, {best}{left} left",
            )
            if len(scores) == progress.epoch:  # evaluated just now
                console.print(
                    f"{epoch}: loss {progress.loss:.4f}, dev F1 {scores[-1]:.4f}, "
                    f"{left} left at most"
                )

        yield report


def predict_with_progress(
    tagger: "DocumentTagger", documents: Sequence[Document]
) -> list[Prediction]:
    """Predict in batches, with a progress bar."""
    starts = track(
        range(0, len(documents), DOCUMENTS_PER_UPDATE),
        f"Predicting with {escape(tagger.version)}",
        console=error_console,
        transient=True,
    )
    batches = (documents[start : start + DOCUMENTS_PER_UPDATE] for start in starts)
    return [prediction for batch in batches for prediction in tagger.predict(batch)]
