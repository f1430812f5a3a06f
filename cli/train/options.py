"""Options of ``tagalong train``, and the conversion of their values."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tagalong.backend.formats.registry import describe_formats
from tagalong.backend.models.base_models.load_options import Precision
from tagalong.backend.retraining.job import PromotionPolicy
from tagalong.cli.terminal.options import MAX_SEED
from tagalong.training.data.silver import DEFAULT_SILVER_WEIGHT, SilverOptions

ExistingFiles = partial(typer.Option, exists=True)
ExportsArgument = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        help=f"Annotated documents to train on: {describe_formats('annotations')}.",
    ),
]
DevOption = Annotated[
    list[Path] | None,
    ExistingFiles(
        help="Development set, for early stopping.", show_default="a share of the exports"
    ),
]
DevShareOption = Annotated[
    float,
    typer.Option(min=0.01, max=0.9, help="Share of the documents used as the development set."),
]
WordRuleOption = Annotated[
    Literal["scripts", "parts", "characters"] | None,
    typer.Option(
        help="Rule of words; entities begin and end with a word.",
        show_default="by what each would lose",
    ),
]
AllowLossesOption = Annotated[
    bool,
    typer.Option(
        "--allow-losses", help="Train even if flat tags cannot hold more than 5 % of the entities."
    ),
]
RevisionOption = Annotated[str | None, typer.Option(help="Commit or tag of the base model.")]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Maximum number of epochs.")]
PatienceOption = Annotated[
    int | None, typer.Option(min=1, help="Epochs without a better dev F1 before training stops.")
]
LearningRateOption = Annotated[float | None, typer.Option(min=0.0, help="Peak learning rate.")]
BatchTokensOption = Annotated[
    int | None, typer.Option(min=64, help="Tokens per optimizer step and process.")
]
RecipeFromOption = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION",
        help="Reuse the base model and hyperparameters of this version; other settings are "
        "ignored.",
    ),
]
SeedOption = Annotated[
    int, typer.Option(min=0, max=MAX_SEED, help="Random seed (data order, dropout, initial head).")
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Training precision; auto: bf16 where the hardware supports it.")
]
VersionNameOption = Annotated[
    str | None,
    typer.Option(help="Prefix of the new version's name.", show_default="the model's name"),
]
TargetModelOption = Annotated[
    str,
    typer.Option(metavar="NAME", help="Model that receives the version; a new name makes one."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Resume an interrupted training run.")]
PromoteOption = Annotated[
    PromotionPolicy,
    typer.Option(
        help="When to make the new version the current one. With auto, it must find entities in "
        "dev, and not be worse than the baseline, if there is one."
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        help="Base model: Hugging Face Hub id, folder, or package:MODULE/PATH.",
        show_default="MiniLM, included",
    ),
]
DecoderBaseOption = Annotated[
    str,
    typer.Option(
        help="Base model, a decoder: Hugging Face Hub id, folder, or package:MODULE/PATH."
    ),
]
LoraOption = Annotated[
    bool,
    typer.Option("--lora", help="Train a LoRA adapter of a few MB instead of the whole model."),
]
QLoraOption = Annotated[
    bool, typer.Option("--qlora", help="Train a LoRA adapter on a base model in 4 bits (QLoRA).")
]
RankOption = Annotated[int, typer.Option(min=1, help="LoRA rank; alpha is twice the rank.")]
DecoderRankOption = Annotated[
    int | None, typer.Option(min=1, help="LoRA rank; alpha is twice the rank.", show_default="128")
]
FourBitOption = Annotated[bool, typer.Option(help="Keep the base model in 4 bits (QLoRA).")]
FullOption = Annotated[
    bool,
    typer.Option("--full", help="Train all weights instead of an adapter, for small base models."),
]
WindowOption = Annotated[
    int | None, typer.Option(min=32, help="Maximum sequence length, in tokens.")
]
PromptWindowOption = Annotated[
    int | None,
    typer.Option(
        min=64, help="Maximum prompt length, in tokens; each word occurs twice in a prompt."
    ),
]
TrainWindowOption = Annotated[
    int | None,
    typer.Option(
        min=64, help="Maximum prompt length while training, in tokens.", show_default="as --window"
    ),
]
DropoutOption = Annotated[
    float | None, typer.Option(min=0.0, max=0.9, help="Dropout rate of the hidden layers.")
]
TagNoiseOption = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, help="Share of input tags corrupted in training (scheduled sampling)."
    ),
]
SilverOption = Annotated[
    list[Path] | None,
    ExistingFiles(
        help="Another system's predictions for other texts, as extra training data; the format is "
        "that of `tagalong prelabel --out`."
    ),
]
SilverWeightOption = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Loss weight of a silver word at full confidence; words of the exports weigh 1.",
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
    ExistingFiles(
        help="Leave out silver documents that are also in these files, such as a test set."
    ),
]
NoBaselineOption = Annotated[
    bool,
    typer.Option(
        "--no-baseline",
        help="Skip the baseline, a training run on the exports alone for comparison.",
    ),
]


def drop_none(**settings: Any) -> dict[str, Any]:
    """Settings that were given; the recipe has the defaults of the others."""
    return {name: value for name, value in settings.items() if value is not None}


def schedule_settings(
    epochs: int | None,
    patience: int | None,
    learning_rate: float | None,
    batch_tokens: int | None,
    seed: int,
    precision: Precision,
) -> dict[str, Any]:
    """Settings of the schedule that were given."""
    return drop_none(
        epochs=epochs,
        patience=patience,
        learning_rate=learning_rate,
        batch_tokens=batch_tokens,
        seed=seed,
        precision=precision,
    )


def build_silver_options(
    files: Sequence[Path] | None,
    weight: float | None,
    min_score: float | None,
    excluded_files: Sequence[Path] | None,
    no_baseline: bool,
) -> SilverOptions | None:
    """Build the options of silver data; None without silver files."""
    if files:
        return SilverOptions(
            files=files,
            weight=DEFAULT_SILVER_WEIGHT if weight is None else weight,
            min_score=min_score or 0.0,
            excluded_files=excluded_files or (),
            with_baseline=not no_baseline,
        )
    if weight is not None or min_score is not None or excluded_files or no_baseline:
        raise typer.BadParameter(
            "--silver-weight, --silver-min-score, --exclude and --no-baseline are options of "
            "--silver: add --silver and a file of predictions"
        )
    return None
