"""CPU engines as commands make them: whether they are wanted, and what is said of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner.document import Document
from ner.errors import EngineError
from training.sides import Sides

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from backend.engine.cache import Kept

SWITCH = "TAGALONG_CPU_ENGINE"
ENOUGH = 48  # documents that an engine is checked on
OFF = frozenset({"0", "false", "f", "no", "n", "off"})  # as Typer reads them
NONE_THERE = (
    "No CPU engine is made, since OpenVINO is not installed: where no GPU serves, pip install -e "
    "'.[cpu]' in Tagalong's folder makes encoders faster."
)


def engines_wanted() -> bool:
    """Whether engines are of use here: unless they are switched off, or a GPU serves anyway."""
    from backend.tier import default_device

    return os.environ.get(SWITCH, "").lower() not in OFF and default_device().type == "cpu"


def engine_of(folder: Path, sides: Sides) -> str:
    """Make the engine of a version that was just published, if one is of use here.

    Args:
        folder: Of the version, an encoder.
        sides: What it was trained on: the engine is checked on dev, and on documents of train as
            well where dev has few. It is to find what its own model finds, right or wrong.

    Returns:
        What came of it, a sentence; empty where none is of use.
    """
    from backend.engine.library import library_version

    if not engines_wanted():
        return ""
    if not library_version():
        return NONE_THERE
    try:
        judged = [*sides.dev, *sides.train[: max(0, ENOUGH - len(sides.dev))]]
        return describe_engine(make_engine(folder, examples=sides.train, judged=judged))
    except EngineError as error:
        return f"PyTorch will run it, as no CPU engine can: {error}."
    except Exception as error:  # noqa: BLE001 - what was published serves without it
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"PyTorch will run it, as no CPU engine could be made ({why})."


def make_engine(
    folder: Path, *, examples: Sequence[Document] = (), judged: Sequence[Document] = ()
) -> "Kept":
    """Make the engine of a version.

    Args:
        folder: Of the version.
        examples: What to go by; none for the abstracts that Tagalong comes with.
        judged: What to check it on; likewise.

    Returns:
        The engine.

    Raises:
        StoreError: If there is no such version, or it is damaged.
        BaseModelError: If its base is not there.
        EngineError: If none can be made.
    """
    from backend.engine.build import build_engine
    from backend.engine.samples import sample_documents

    return build_engine(
        folder,
        examples=examples or sample_documents(),
        judged=judged or sample_documents(),
    )


def describe_engine(kept: "Kept") -> str:
    """Say what an engine is, and how it did.

    Args:
        kept: The engine.

    Returns:
        Some sentences.
    """
    check = kept.record.check
    quantised = "in 8 bits" if kept.record.form == "int8" else "not quantised"
    sentences = [
        f"Its CPU engine ({quantised}) thinks the same tag as PyTorch of {check.agreement:.2%} of "
        f"{check.words:,} words"
        + (
            "."
            if check.f1 is None or check.reference_f1 is None
            else f", and has strict F1 {check.f1:.4f} where PyTorch in fp32 has "
            f"{check.reference_f1:.4f}."
        ),
        *kept.record.notes,
    ]
    return " ".join(sentences)
