"""Documents and models -> what to annotate next, wherever the documents come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import track

from backend.label_map import map_labels
from backend.label_studio import LabelConfig
from cli.console import errors
from cli.prelabel_places import listed
from ner.document import Document, Prediction
from ner.errors import InputError, LabelError
from ner.printable import on_one_line
from training.corpus import Corpus
from training.curate.choices import Choice, Options, StrategyName

if TYPE_CHECKING:  # what imports numpy, scikit-learn or torch would make `tagalong --help` slow
    from backend.tier import Tier
    from training.curate.pool import Sifted
    from training.curate.strategies import Evidence

BATCH = 64  # documents a tier gets at once, for a smooth bar


@dataclass(frozen=True, slots=True)
class Chosen:
    """What to annotate next.

    Attributes:
        choices: In order.
        sifted: The documents they were chosen from.
        version: Of the model that was asked.
        strategy: By which they were chosen.
    """

    choices: list[Choice]
    sifted: "Sifted"
    version: str
    strategy: StrategyName

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "model": self.version,
            "strategy": self.strategy,
            "pool": len(self.sifted.documents),
            "annotated": self.sifted.annotated,
            "repeated": self.sifted.repeated,
            "wordless": self.sifted.wordless,
            "chosen": [choice.to_json(rank) for rank, choice in enumerate(self.choices, start=1)],
        }


def check_labels(tier: "Tier", corpus: Corpus, config: LabelConfig | None = None) -> None:
    """Tell which labels were annotated that a model knows nothing of.

    Args:
        tier: The model.
        corpus: What is annotated already.
        config: A labelling config, which may call the model's labels by other names.

    Raises:
        LabelError: If that is all of them.
    """
    used = sorted({span.label for document in corpus.documents for span in document.spans})
    known = tier.labels if config is None else map_labels(tier.labels, config).names.values()
    unknown = [label for label in used if label not in known]
    if unknown and len(unknown) == len(used):
        raise LabelError(
            f"{tier.version} finds {listed(tier.labels)}, but what was annotated is "
            f"{listed(used)}, of which it can be neither sure nor unsure: name a --model that was "
            "trained on them"
        )
    if unknown:
        said = f"{tier.version} does not know {listed(unknown)}: nothing is chosen for these."
        errors.print(on_one_line(said), style="yellow", markup=False, soft_wrap=True)


def choose_next(
    documents: Sequence[Document],
    tier: "Tier",
    options: Options,
    *,
    labelled: Sequence[Document] = (),
    other: "Tier | None" = None,
) -> Chosen:
    """Ask models about documents, and choose.

    Args:
        documents: Wherever they come from.
        tier: The current model.
        options: How to choose.
        labelled: What is annotated already.
        other: A second model, where the strategy compares.

    Returns:
        What to annotate next.

    Raises:
        InputError: If nothing is left to choose from, or the strategy needs another model.
        LabelError: If two models have no label in common.
    """
    from training.curate.disagreement import shared_only
    from training.curate.pool import sift
    from training.curate.strategies import choose

    sifted = sift(documents, labelled, seed=options.seed)
    if not sifted.documents:
        raise InputError(
            f"of {len(documents):,} documents {sifted.annotated:,} are annotated already and "
            f"{sifted.wordless:,} have no words, so none is left to choose: add documents"
        )
    evidence = look_into(tier, options.strategy)
    labels = [] if other is None else shared_labels(tier, other)
    # In the order of the lots: what shares a batch is the same then, whatever order they came in.
    predictions = ask(tier, sifted.documents)
    if other is not None:
        said = shared_only(predictions, ask(other, sifted.documents), labels)
        predictions, evidence = said[0], replace(evidence, against=said[1])
    with errors.status("Choosing"):
        choices = choose(
            sifted.documents, predictions, options, labelled=labelled, evidence=evidence
        )
    return Chosen(choices, sifted, tier.version, options.strategy)


def shared_labels(one: "Tier", other: "Tier") -> list[str]:
    """What two models can disagree on.

    Args:
        one: A model.
        other: Another.

    Returns:
        The labels that both know.

    Raises:
        InputError: If they are the same model.
        LabelError: If there are none.
    """
    if one.version == other.version:
        raise InputError(f"{one.version} agrees with itself: name another model with --against")
    if labels := [label for label in one.labels if label in other.labels]:
        return labels
    raise LabelError(
        f"{one.version} finds {listed(one.labels)}, and {other.version} {listed(other.labels)}: "
        "compare two models that have a label in common"
    )


def ask(tier: "Tier", documents: Sequence[Document]) -> list[Prediction]:
    """Have a model predict, with a bar.

    Args:
        tier: The model.
        documents: What for.

    Returns:
        One prediction per document, in the same order.
    """
    batches = [documents[first : first + BATCH] for first in range(0, len(documents), BATCH)]
    progress = track(batches, f"Asking {escape(tier.version)}", console=errors, transient=True)
    return [prediction for batch in progress for prediction in tier.predict(batch)]


def look_into(tier: "Tier", name: StrategyName) -> "Evidence":
    """What a strategy may look at beside what models predict.

    Args:
        tier: The current model.
        name: Of the strategy.

    Returns:
        What an encoder has; nothing where the model is none.

    Raises:
        InputError: If the strategy cannot do without.
    """
    from backend.encoder import EncoderTier
    from training.curate.embeddings import embed
    from training.curate.opinions import ask as ask_words
    from training.curate.strategies import STRATEGIES, Evidence

    if isinstance(tier, EncoderTier):
        return Evidence(vectors=partial(embed, tier), opinions=partial(ask_words, tier))
    if needs := STRATEGIES[name].needs - {"against"}:
        raise InputError(
            f"the strategy {name} asks for {' and '.join(sorted(needs))}, which only an encoder "
            f"has, and {tier.version} is none: name an encoder with --model, or choose another "
            "strategy, such as uncertainty"
        )
    return Evidence()
