"""Whom ``tagalong curate review`` asks: a version that is there, or models it trains for that."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import error_console
from tagalong.cli.terminal.options import load_tier_version
from tagalong.cli.train.run import drop_none
from tagalong.ner.errors import InputError
from tagalong.ner.model_registry import ENCODER
from tagalong.ner.tags import TagSet
from tagalong.training.corpus import Corpus

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.curate.cross_validation import CrossValidationConfig
    from tagalong.training.curate.tag_distributions import TagDistribution
    from tagalong.training.recipes.schedule import TrainingProgress


@dataclass(frozen=True, slots=True)
class ReviewModel:
    """What was asked about every document, and what it said.

    Attributes:
        name: Of what was asked.
        tag_distributions: What it said of each document.
        tag_set: In these tags.
        note: What to know before trusting it, or nothing.
    """

    name: str
    tag_distributions: "Sequence[TagDistribution]"
    tag_set: TagSet
    note: str = ""


@contextmanager
def predict_with_version(
    corpus: Corpus, store: ModelStore, reference: str
) -> Iterator[ReviewModel]:
    """Ask a version that is there.

    Args:
        corpus: What it is asked about.
        store: Where it is.
        reference: What it is called.

    Yields:
        What it says.

    Raises:
        InputError: If it is no encoder.
        RegistryError: If there is none of that name, or it is not whole.
        BaseModelError: If it is an adapter and its base is not there.
    """
    from tagalong.backend.models.encoder.tier import EncoderTier
    from tagalong.training.curate.tag_distributions import predict_tag_distributions

    with error_console.status(f"Asking {escape(reference)}"):
        tier = load_tier_version(store, reference)
        if not isinstance(tier, EncoderTier):
            raise InputError(
                f"version {tier.version} is no encoder, and only encoders say at once how likely "
                "every tag of a word is: name one, or leave out --model"
            )
        opinions = predict_tag_distributions(tier, corpus.documents)
    note = (
        f"If {tier.version} has learnt from these very documents, it forgives their errors; "
        "without --model, every document is judged by a model that has not."
    )
    yield ReviewModel(tier.version, opinions, tier.tag_set, note)


@contextmanager
def predict_with_cross_validation(
    corpus: Corpus, store: ModelStore, config: "CrossValidationConfig"
) -> Iterator[ReviewModel]:
    """Ask models that have not learnt from what they are asked about.

    Args:
        corpus: What they are asked about.
        store: Folds are kept beside its encoders until what they say was used.
        config: How they are trained.

    Yields:
        What they say.

    Raises:
        InputError: If there is nothing to review, or there are fewer different texts than folds.
        TrainingError: If a fold leaves nothing to learn from, or the same is done elsewhere.
        BaseModelError: If the base is not there.
    """
    from tagalong.training.curate.cross_validation import cross_validate
    from tagalong.training.curate.review import check_annotated
    from tagalong.training.loop.training_state import lock_training

    check_annotated(corpus.documents, corpus.labels)
    folder = store.tier_folder(ENCODER) / f".review-{config.key(corpus.documents, corpus.labels)}"
    with lock_training(folder):
        with progress_bar() as report:
            opinions = cross_validate(
                corpus.documents,
                labels=corpus.labels,
                config=config,
                cache_dir=folder,
                on_progress=report,
            )
        yield ReviewModel(f"models of {config.n_folds} folds", opinions, TagSet(corpus.labels))
        shutil.rmtree(folder)  # not reached where using them failed: the next run finds them there


def build_cross_validation_config(
    folds: int, base: str | None, *, epochs: int | None, seed: int
) -> "CrossValidationConfig":
    """Fill in what was asked for on the command line.

    Args:
        folds: How many.
        base: What is trained; None for the default.
        epochs: Of every training; None for the default.
        seed: Of every training.

    Returns:
        How to cross-validate.
    """
    from tagalong.backend.models.base_models.base_model import BaseModelRef
    from tagalong.training.curate.cross_validation import CrossValidationConfig

    crossing = CrossValidationConfig(n_folds=folds)
    recipe = crossing.recipe
    least = None if epochs is None else 0
    schedule = replace(recipe.schedule, **drop_none(epochs=epochs, min_steps=least, seed=seed))
    chosen = recipe.base if base is None else BaseModelRef(base)
    return replace(crossing, recipe=replace(recipe, base=chosen, schedule=schedule))


@contextmanager
def progress_bar() -> Iterator["Callable[[TrainingProgress], None]"]:
    """A bar over all folds, with the time left.

    Yields:
        What a cross-validation reports to.
    """
    texts = ("[progress.description]{task.description}", "{task.fields[figures]}")
    columns = (TextColumn(texts[0]), BarColumn(), TextColumn(texts[1]), TimeRemainingColumn())
    with Progress(*columns, console=error_console, transient=True) as bar:
        task = bar.add_task("Loading", total=None, figures="")

        def report(now: "TrainingProgress") -> None:
            best = f", dev F1 {max(now.dev_scores):.4f}" if now.dev_scores else ""
            bar.update(
                task,
                description=f"Fold {now.fold} of {now.folds}",
                total=now.folds,
                completed=now.fold - 1 + now.step / now.steps,
                figures=f"epoch {now.epoch} of {now.epochs}{best}",
            )

        yield report
