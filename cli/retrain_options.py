"""Options of ``tagalong retrain``."""

from typing import Annotated

import typer

from tagalong.backend.retraining.job import PromotionPolicy
from tagalong.ner.tiers import TierName

RetrainProjectOption = Annotated[
    int | None, typer.Option(min=1, help="Project id: the number in the project's address.")
]
RetrainTierOption = Annotated[TierName, typer.Option(help="Model type to train.")]
RetrainRecipeFromOption = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION",
        help="Version whose base model and hyperparameters to use.",
        show_default="those of the current version",
    ),
]
RetrainPromoteOption = Annotated[
    PromotionPolicy,
    typer.Option(
        help="When to make the new version the current one. With auto, it must find held-out "
        "entities and not be significantly worse than the version that serves the project."
    ),
]
HoldoutShareOption = Annotated[
    float,
    typer.Option(
        min=0.01, max=0.9, help="Share of the documents held out for comparing both versions."
    ),
]
RetrainVersionNameOption = Annotated[
    str | None, typer.Option(help="Prefix of the new version's name.", show_default="project-N")
]
WarmStartOption = Annotated[
    bool,
    typer.Option(
        "--warm-start",
        help="Start from the current version instead of its base model: faster, but errors "
        "accumulate.",
    ),
]
PrelabelOption = Annotated[
    int, typer.Option(min=0, help="Number of unannotated tasks to predict after a promotion.")
]
CancelOption = Annotated[
    bool, typer.Option("--cancel", help="Cancel the project's training jobs, then exit.")
]
