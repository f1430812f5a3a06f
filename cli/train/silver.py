"""``tagalong train encoder --silver``: what another system said, learnt from beside gold.

Two trainings, unless told otherwise: of gold alone, to compare with, then of gold and silver, which
is published. What dev says of both is the report.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from tagalong.cli.terminal.reports import RenderedReport, print_report
from tagalong.cli.train.run import (
    TierTrainer,
    TrainJob,
    finish_training,
    lock_states,
    prepare_split,
    run_training,
    state_path_for,
)
from tagalong.ner.document import Prediction
from tagalong.ner.manifest import Manifest
from tagalong.training.corpus import read_corpus
from tagalong.training.data.silver import (
    DEFAULT_SILVER_WEIGHT,
    SilverData,
    SilverOptions,
    read_silver,
)
from tagalong.training.data.train_dev_split import TrainDevSplit

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.evaluation.report import EvaluationReport

GOLD_ONLY = "gold alone"  # what the other system is called in the report

SilverOption = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help=(
            "Another system's predictions for other texts, as extra training data; the "
            "format is that of `tagalong prelabel --out`."
        ),
    ),
]
SilverWeightOption = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help=("Loss weight of a silver word at full confidence; words of the exports weigh 1."),
        show_default=str(DEFAULT_SILVER_WEIGHT),
    ),
]
SilverMinScoreOption = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, help="Minimum document score for silver data.", show_default="0.0"
    ),
]
ExcludeOption = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help=("Leave out silver documents that are also in these files, such as a test set."),
    ),
]
NoBaselineOption = Annotated[
    bool,
    typer.Option(
        "--no-baseline",
        help=("Skip the baseline, a training run on the exports alone for comparison."),
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverArguments:
    """What was asked for on the command line."""

    files: Sequence[Path]
    weight: float
    min_score: float
    excluded_files: Sequence[Path]
    with_baseline: bool


@dataclass(frozen=True, slots=True)
class SilverTrainResult:
    """What a training with silver has made.

    Attributes:
        manifest: Of the version.
        report: Its predictions on dev, against those of gold alone; None without a baseline.
    """

    manifest: Manifest
    report: "EvaluationReport | None"

    def to_json(self) -> dict[str, Any]:
        """The manifest, and the report as `tagalong evaluate` prints it."""
        from tagalong.training.evaluation.report import report_to_json

        report = None if self.report is None else report_to_json(self.report)
        return {**self.manifest.to_json(), "report": report}


def build_silver_arguments(
    *,
    files: Sequence[Path] | None,
    weight: float | None,
    least: float | None,
    held_out: Sequence[Path] | None,
    baseline: bool,
) -> SilverArguments | None:
    """Fill in the defaults of what was asked for; None without silver."""
    if files:
        return SilverArguments(
            files=files,
            weight=DEFAULT_SILVER_WEIGHT if weight is None else weight,
            min_score=least or 0.0,
            excluded_files=held_out or [],
            with_baseline=baseline,
        )
    if weight is not None or least is not None or held_out or not baseline:
        raise typer.BadParameter(
            "--silver-weight, --silver-min-score, --exclude and --no-baseline say what to do with "
            "--silver: name a file of predictions with it"
        )
    return None


def train_with_silver(
    trainer: TierTrainer, train_job: TrainJob, arguments: SilverArguments
) -> SilverTrainResult | None:
    """Train on gold alone, then on gold and silver; publish the latter, promote it if no worse.

    Args:
        trainer: How.
        train_job: What is gold, and what to do with the version.
        arguments: What is silver.

    Returns:
        What was made; None on a process that only helps another one.

    Raises:
        InputError: If there is nothing to learn from in the silver.
        TrainingError: If there is nothing to learn from or to judge by in gold.
    """
    from tagalong.training.loop.validation import check_annotated_splits

    sides, talk = prepare_split(trainer, train_job)
    check_annotated_splits(
        sides.train, sides.dev
    )  # before the labels of silver are held against none
    silver = _read_silver(arguments, train_job, sides)
    talk.print(describe_silver(silver), soft_wrap=True)
    both = replace(sides, silver=silver)
    trainings = [sides, both] if arguments.with_baseline else [both]
    # All are kept to the end: whoever is stopped in the second training has done the first one.
    states = [state_path_for(trainer, train_job.store, one) for one in trainings]
    with lock_states(states, resume=train_job.resume, console=talk):
        alone = None
        if arguments.with_baseline:
            talk.print("First on gold alone, to compare with.")
            alone = _predict_with_gold_only(
                trainer, train_job, sides, state_path=states[0], console=talk
            )
        talk.print("On gold and silver.")
        beside = replace(trainer, train=partial(trainer.train, silver=silver.documents))
        trained = run_training(beside, train_job, both, state_path=states[-1], console=talk)
        if not trained.is_main:
            return None
        manifest, _ = trainer.publish(trained, both, store=train_job.store, name=train_job.name)
        report = (
            None
            if alone is None
            else _evaluate_against_gold_only(trained.tier, sides, manifest, alone)
        )
        worse = _report_if_worse(report, talk)
        finish_training(
            beside, train_job, trained, manifest, states=states, console=talk, worse=worse
        )
    return SilverTrainResult(manifest, report)


def _read_silver(order: SilverArguments, assignment: TrainJob, sides: TrainDevSplit) -> SilverData:
    """Read what is silver."""
    held_out = (
        read_corpus(order.excluded_files, assignment.read_options).documents
        if order.excluded_files
        else ()
    )
    rules = SilverOptions(
        labels=sides.labels,
        train_documents=sides.train,
        dev_documents=sides.dev,
        excluded_documents=held_out,
        weight=order.weight,
        min_score=order.min_score,
    )
    return read_silver(order.files, rules)


def _predict_with_gold_only(
    trade: TierTrainer,
    assignment: TrainJob,
    sides: TrainDevSplit,
    *,
    state_path: Path,
    console: Console,
) -> list[Prediction]:
    """Train on gold alone: only what it says of dev is kept, not the model."""
    trained = run_training(trade, assignment, sides, state_path=state_path, console=console)
    return [replace(one, version=GOLD_ONLY) for one in trained.tier.predict(sides.dev)]


def _evaluate_against_gold_only(
    tier: Any, sides: TrainDevSplit, manifest: Manifest, alone: Sequence[Prediction]
) -> "EvaluationReport":
    """Judge a version on dev against gold alone."""
    from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate

    said = [replace(one, version=manifest.version) for one in tier.predict(sides.dev)]
    options = EvaluationOptions(labels=tier.labels)
    return evaluate(sides.dev, said, source="dev", against=alone, options=options)


def _report_if_worse(report: "EvaluationReport | None", talk: Console) -> bool:
    """Whether dev prefers gold alone, which is said then."""
    if report is None or report.comparison is None:
        return False
    found = report.comparison.overall.strict
    if found.difference >= 0:
        return False
    talk.print(
        f"With silver strict F1 on dev is {found.other_f1 + found.difference:.3f}, with gold alone "
        f"{found.other_f1:.3f}, so the version is not made current: try a lower --silver-weight, or "
        "train without --silver.",
        soft_wrap=True,
    )
    return True


def describe_silver(silver: SilverData) -> str:
    """Say what there is to learn from beside gold, and what of it is not learnt from.

    Args:
        silver: Of the training.

    Returns:
        Lines in Rich's markup.
    """
    lines = [
        f"Silver: {len(silver.documents)} documents ({silver.entity_count} entities) as "
        f"{', '.join(silver.versions)} labelled them; a word it was sure of counts "
        f"{silver.weight:g}, one of gold 1."
    ]
    if silver.left_out:
        told = ", ".join(f"{count} {why}" for why, count in silver.left_out.items())
        lines.append(f"Silver left out, in documents: {told}.")
    if silver.lost:
        reasons = Counter(entry.reason for entry in silver.lost)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"Entities of silver not learnt from, their words left open: {told}.")
    if silver.unscored_entities:
        lines.append(
            f"{silver.unscored_entities} entities of silver have no score and count as their documents do."
        )
    return "\n".join(escape(line) for line in lines)


def render_comparison(result: SilverTrainResult) -> None:
    """Show what silver has brought on dev, as ``tagalong evaluate`` shows two systems.

    Args:
        result: What a training with silver has made.
    """
    from tagalong.training.evaluation.report import report_to_json
    from tagalong.training.evaluation.tables import report_tables

    if result.report is not None:
        tables = [one for one in report_tables(result.report) if one.title.endswith(GOLD_ONLY)]
        warnings = result.report.warnings
        print_report(RenderedReport(report_to_json(result.report), "", None, tables, warnings))
