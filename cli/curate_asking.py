"""Whom ``tagalong curate review`` asks: a version that is there, or models it trains for that."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cli.console import errors
from cli.options import load_model
from cli.training import given
from ner.errors import InputError
from ner.store import Store
from ner.tags import TagSet
from training.corpus import Corpus

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from training.curate.crossed import Crossing, Standing
    from training.curate.opinions import Opinion


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked about every document, and what it said.

    Attributes:
        name: Of what was asked.
        opinions: What it said of each document.
        tag_set: In these tags.
        note: What to know before trusting it, or nothing.
    """

    name: str
    opinions: "Sequence[Opinion]"
    tag_set: TagSet
    note: str = ""


@contextmanager
def by_version(corpus: Corpus, store: Store, reference: str) -> Iterator[Asked]:
    """Ask a version that is there.

    Args:
        corpus: What it is asked about.
        store: Where it is.
        reference: What it is called.

    Yields:
        What it says.

    Raises:
        InputError: If it is no encoder.
        StoreError: If there is none of that name, or it is not whole.
        BaseModelError: If it is an adapter and its base is not there.
    """
    from backend.encoder import EncoderTier
    from training.curate.opinions import ask

    with errors.status(f"Asking {escape(reference)}"):
        tier = load_model(store, reference)
        if not isinstance(tier, EncoderTier):
            raise InputError(
                f"version {tier.version} is no encoder, and only encoders say at once how likely "
                "every tag of a word is: name one, or leave out --model"
            )
        opinions = ask(tier, corpus.documents)
    note = (
        f"If {tier.version} has learnt from these very documents, it forgives their errors; "
        "without --model, every document is judged by a model that has not."
    )
    yield Asked(tier.version, opinions, tier.tag_set, note)


@contextmanager
def by_folds(corpus: Corpus, store: Store, crossing: "Crossing") -> Iterator[Asked]:
    """Ask models that have not learnt from what they are asked about.

    Args:
        corpus: What they are asked about.
        store: Folds are kept beside its encoders until what they say was used.
        crossing: How they are trained.

    Yields:
        What they say.

    Raises:
        InputError: If there is nothing to review, or there are fewer different texts than folds.
        TrainingError: If a fold leaves nothing to learn from, or the same is done elsewhere.
        BaseModelError: If the base is not there.
    """
    from training.curate.crossed import cross_validate
    from training.curate.review import refuse_unannotated
    from training.state import alone

    refuse_unannotated(corpus.documents, corpus.labels)
    folder = store.home("encoder") / f".review-{crossing.key(corpus.documents, corpus.labels)}"
    with alone(folder):
        with progress_bar() as report:
            opinions = cross_validate(
                corpus.documents,
                labels=corpus.labels,
                crossing=crossing,
                folder=folder,
                report=report,
            )
        yield Asked(f"models of {crossing.n_folds} folds", opinions, TagSet(corpus.labels))
        shutil.rmtree(folder)  # not reached where using them failed: the next run finds them there


def crossing_of(folds: int, base: str | None, *, epochs: int | None, seed: int) -> "Crossing":
    """Fill in what was asked for on the command line.

    Args:
        folds: How many.
        base: What is trained; None for the default.
        epochs: Of every training; None for the default.
        seed: Of every training.

    Returns:
        How to cross-validate.
    """
    from backend.bases import Base
    from training.curate.crossed import Crossing

    crossing = Crossing(n_folds=folds)
    recipe = crossing.recipe
    least = None if epochs is None else 0
    schedule = replace(recipe.schedule, **given(epochs=epochs, least_steps=least, seed=seed))
    chosen = recipe.base if base is None else Base(base)
    return replace(crossing, recipe=replace(recipe, base=chosen, schedule=schedule))


@contextmanager
def progress_bar() -> Iterator["Callable[[Standing], None]"]:
    """A bar over all folds, with the time left.

    Yields:
        What a cross-validation reports to.
    """
    texts = ("[progress.description]{task.description}", "{task.fields[figures]}")
    columns = (TextColumn(texts[0]), BarColumn(), TextColumn(texts[1]), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("Loading", total=None, figures="")

        def report(now: "Standing") -> None:
            training = now.training
            best = f", dev F1 {max(training.scores):.4f}" if training.scores else ""
            bar.update(
                task,
                description=f"Fold {now.fold} of {now.n_folds}",
                total=now.n_folds,
                completed=now.fold - 1 + training.step / training.steps,
                figures=f"epoch {training.epoch} of {training.epochs}{best}",
            )

        yield report
