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

from cli.evaluate import Verdict, render_verdict
from cli.training import Assignment, Trade, conclude, held, learn, prepare, unfinished
from ner.document import Prediction
from ner.manifest import Manifest
from training.corpus import read_corpus
from training.sides import Sides
from training.silver import WEIGHT, Rules, Silver, read_silver

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from training.report import Report

GOLD_ALONE = "gold alone"  # what the other system is called in the report

SilverFiles = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="What another system said of other texts, to learn from beside the exports: as "
        "'tagalong prelabel --out' writes it.",
    ),
]
SilverWeight = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="What a word of it that is sure counts, where one of the exports counts 1.",
        show_default=str(WEIGHT),
    ),
]
SilverLeast = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, help="Leave out its documents that score less.", show_default="0.0"
    ),
]
HeldOut = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Leave out its documents that this has too, such as a test side to judge by later.",
    ),
]
NoBaseline = Annotated[
    bool, typer.Option("--no-baseline", help="Do not train on the exports alone first, to compare.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverOrder:
    """What was asked for on the command line."""

    files: Sequence[Path]
    weight: float
    least: float
    held_out: Sequence[Path]
    baseline: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What a training with silver has made.

    Attributes:
        manifest: Of the version.
        report: Its predictions on dev, against those of gold alone; None without a baseline.
    """

    manifest: Manifest
    report: "Report | None"

    def to_json(self) -> dict[str, Any]:
        """The manifest, and the report as `tagalong evaluate` prints it."""
        from training.report import report_to_json

        report = None if self.report is None else report_to_json(self.report)
        return {**self.manifest.to_json(), "report": report}


def silver_order(
    *,
    files: Sequence[Path] | None,
    weight: float | None,
    least: float | None,
    held_out: Sequence[Path] | None,
    baseline: bool,
) -> SilverOrder | None:
    """Fill in the defaults of what was asked for; None without silver."""
    if files:
        return SilverOrder(
            files=files,
            weight=WEIGHT if weight is None else weight,
            least=least or 0.0,
            held_out=held_out or [],
            baseline=baseline,
        )
    if weight is not None or least is not None or held_out or not baseline:
        raise typer.BadParameter(
            "--silver-weight, --silver-least, --held-out and --no-baseline say what to do with "
            "--silver: name a file of predictions with it"
        )
    return None


def train_with_silver(trade: Trade, assignment: Assignment, order: SilverOrder) -> Made | None:
    """Train on gold alone, then on gold and silver; publish the latter, promote it if no worse.

    Args:
        trade: How.
        assignment: What is gold, and what to do with the version.
        order: What is silver.

    Returns:
        What was made; None on a process that only helps another one.

    Raises:
        InputError: If there is nothing to learn from in the silver.
        TrainingError: If there is nothing to learn from or to judge by in gold.
    """
    from training.dev_side import check_sides

    sides, talk = prepare(trade, assignment)
    check_sides(sides.train, sides.dev)  # before the labels of silver are held against none
    silver = _read(order, assignment, sides)
    talk.print(describe_silver(silver), soft_wrap=True)
    both = replace(sides, silver=silver)
    trainings = [sides, both] if order.baseline else [both]
    # All are kept to the end: whoever is stopped in the second training has done the first one.
    states = [unfinished(trade, assignment.store, one) for one in trainings]
    with held(states, resume=assignment.resume, talk=talk):
        alone = None
        if order.baseline:
            talk.print("First on gold alone, to compare with.")
            alone = _said_alone(trade, assignment, sides, state_path=states[0], talk=talk)
        talk.print("On gold and silver.")
        beside = replace(trade, train=partial(trade.train, silver=silver.documents))
        trained = learn(beside, assignment, both, state_path=states[-1], talk=talk)
        if not trained.is_main:
            return None
        manifest, _ = trade.publish(trained, both, store=assignment.store, name=assignment.name)
        report = None if alone is None else _compare(trained.tier, sides, manifest, alone)
        worse = _told_if_worse(report, talk)
        conclude(beside, assignment, trained, manifest, states=states, talk=talk, worse=worse)
    return Made(manifest, report)


def _read(order: SilverOrder, assignment: Assignment, sides: Sides) -> Silver:
    """Read what is silver."""
    held_out = read_corpus(order.held_out, assignment.reading).documents if order.held_out else ()
    rules = Rules(
        labels=sides.labels,
        gold=sides.train,
        dev=sides.dev,
        held_out=held_out,
        weight=order.weight,
        least=order.least,
    )
    return read_silver(order.files, rules)


def _said_alone(
    trade: Trade, assignment: Assignment, sides: Sides, *, state_path: Path, talk: Console
) -> list[Prediction]:
    """Train on gold alone: only what it says of dev is kept, not the model."""
    trained = learn(trade, assignment, sides, state_path=state_path, talk=talk)
    return [replace(one, version=GOLD_ALONE) for one in trained.tier.predict(sides.dev)]


def _compare(tier: Any, sides: Sides, manifest: Manifest, alone: Sequence[Prediction]) -> "Report":
    """Judge a version on dev against gold alone."""
    from training.evaluate import Options, evaluate

    said = [replace(one, version=manifest.version) for one in tier.predict(sides.dev)]
    options = Options(labels=tier.labels)
    return evaluate(sides.dev, said, source="dev", against=alone, options=options)


def _told_if_worse(report: "Report | None", talk: Console) -> bool:
    """Whether dev prefers gold alone, which is said then."""
    if report is None or report.against is None:
        return False
    found = report.against.overall.strict
    if found.difference >= 0:
        return False
    talk.print(
        f"With silver strict F1 on dev is {found.f1 + found.difference:.3f}, with gold alone "
        f"{found.f1:.3f}, so the version is not made current: try a lower --silver-weight, or "
        "train without --silver.",
        soft_wrap=True,
    )
    return True


def describe_silver(silver: Silver) -> str:
    """Say what there is to learn from beside gold, and what of it is not learnt from.

    Args:
        silver: Of the training.

    Returns:
        Lines in Rich's markup.
    """
    lines = [
        f"Silver: {len(silver.documents)} documents ({silver.entities} entities) as "
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
    if silver.unscored:
        lines.append(
            f"{silver.unscored} entities of silver have no score and count as their documents do."
        )
    return "\n".join(escape(line) for line in lines)


def render_gain(made: Made) -> None:
    """Show what silver has brought on dev, as ``tagalong evaluate`` shows two systems.

    Args:
        made: What a training with silver has made.
    """
    from training.report import report_to_json
    from training.tables import report_tables

    if made.report is not None:
        tables = [one for one in report_tables(made.report) if one.title.endswith(GOLD_ALONE)]
        warnings = made.report.warnings
        render_verdict(Verdict(report_to_json(made.report), "", None, tables, warnings))
