"""CPU engines as commands make them: whether they are wanted, and what is said of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tagalong.ner.document import Document
from tagalong.ner.errors import OpenVINOError
from tagalong.training.data.train_dev_split import TrainDevSplit

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.openvino.cache import CachedOpenVINOModel

OPENVINO_SWITCH = "TAGALONG_OPENVINO"
MIN_CHECK_DOCUMENTS = 48  # documents that an engine is checked on
FALSE_VALUES = frozenset({"0", "false", "f", "no", "n", "off"})  # as Typer reads them
OPENVINO_MISSING_MESSAGE = (
    "No CPU engine is made, since OpenVINO is not installed: where no GPU serves, pip install -e "
    "'.[cpu]' in Tagalong's folder makes encoders faster."
)


def should_use_openvino() -> bool:
    """Whether engines are of use here: unless they are switched off, or a GPU serves anyway."""
    from tagalong.backend.models.load import default_device

    return (
        os.environ.get(OPENVINO_SWITCH, "").lower() not in FALSE_VALUES
        and default_device().type == "cpu"
    )


def compile_published_version(folder: Path, split: TrainDevSplit) -> str:
    """Make the engine of a version that was just published, if one is of use here.

    Args:
        folder: Of the version, an encoder.
        split: What it was trained on: the engine is checked on dev, and on documents of train as
            well where dev has few. It is to find what its own model finds, right or wrong.

    Returns:
        What came of it, a sentence; empty where none is of use.
    """
    from tagalong.backend.models.openvino.library import openvino_version

    if not should_use_openvino():
        return ""
    if not openvino_version():
        return OPENVINO_MISSING_MESSAGE
    try:
        judged = [*split.dev, *split.train[: max(0, MIN_CHECK_DOCUMENTS - len(split.dev))]]
        return describe_openvino_model(
            compile_version(folder, quantization_documents=split.train, check_documents=judged)
        )
    except OpenVINOError as error:
        return f"PyTorch will run it, as no CPU engine can: {error}."
    except Exception as error:  # noqa: BLE001 - what was published serves without it
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"PyTorch will run it, as no CPU engine could be made ({why})."


def compile_version(
    folder: Path,
    *,
    quantization_documents: Sequence[Document] = (),
    check_documents: Sequence[Document] = (),
) -> "CachedOpenVINOModel":
    """Make the engine of a version.

    Args:
        folder: Of the version.
        quantization_documents: What to go by; none for the abstracts that Tagalong comes with.
        check_documents: What to check it on; likewise.

    Returns:
        The engine.

    Raises:
        RegistryError: If there is no such version, or it is damaged.
        BaseModelError: If its base is not there.
        OpenVINOError: If none can be made.
    """
    from tagalong.backend.models.openvino.build import build_openvino_model
    from tagalong.backend.models.openvino.samples import read_sample_documents

    return build_openvino_model(
        folder,
        quantization_documents=quantization_documents or read_sample_documents(),
        check_documents=check_documents or read_sample_documents(),
    )


def describe_openvino_model(cached_model: "CachedOpenVINOModel") -> str:
    """Say what an engine is, and how it did.

    Args:
        cached_model: The engine.

    Returns:
        Some sentences.
    """
    check = cached_model.record.check
    quantised = "in 8 bits" if cached_model.record.weight_format == "int8" else "not quantised"
    sentences = [
        f"Its CPU engine ({quantised}) thinks the same tag as PyTorch of {check.agreement:.2%} of "
        f"{check.words:,} words"
        + (
            "."
            if check.f1 is None or check.reference_f1 is None
            else f", and has strict F1 {check.f1:.4f} where PyTorch in fp32 has "
            f"{check.reference_f1:.4f}."
        ),
        *cached_model.record.notes,
    ]
    return " ".join(sentences)
