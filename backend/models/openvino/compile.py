"""Compile a version for OpenVINO, and describe the result."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from tagalong.backend.models.openvino import is_openvino_enabled
from tagalong.backend.models.openvino.build import build_openvino_model
from tagalong.backend.models.openvino.cache import CachedOpenVINOModel
from tagalong.ner.document import Document, Span

ABSTRACTS_PATH = Path(__file__).parent / "abstracts.jsonl"


def should_use_openvino() -> bool:
    """Whether OpenVINO is of use: it is enabled, and no GPU runs the models."""
    return is_openvino_enabled() and not torch.cuda.is_available()


def compile_version(
    folder: Path,
    *,
    quantization_documents: Sequence[Document] = (),
    check_documents: Sequence[Document] = (),
) -> CachedOpenVINOModel:
    """Compile a version; without documents, on the abstracts that come with Tagalong.

    Args:
        folder: Folder of the version.
        quantization_documents: Texts that set the ranges of quantization.
        check_documents: Documents that the compiled model is compared with PyTorch on.

    Returns:
        The compiled model, in the cache.

    Raises:
        RegistryError: If there is no such version, or it is damaged.
        BaseModelError: If its base is not available.
        OpenVINOError: If it cannot be compiled.
    """
    return build_openvino_model(
        folder,
        quantization_documents=quantization_documents or read_sample_documents(),
        check_documents=check_documents or read_sample_documents(),
    )


def describe_openvino_model(cached_model: CachedOpenVINOModel) -> str:
    """Describe a compiled model and its check, in some sentences."""
    record = cached_model.record
    check = record.check
    weights = "in 8 bits" if record.weight_format == "int8" else "not quantized"
    sentence = (
        f"Its OpenVINO model ({weights}) predicts the same tag as PyTorch for "
        f"{check.agreement:.2%} of {check.words:,} words"
    )
    if check.f1 is not None and check.reference_f1 is not None:
        sentence += f", with strict F1 {check.f1:.4f} against {check.reference_f1:.4f}"
    return " ".join([f"{sentence}.", *record.notes])


def read_sample_documents() -> list[Document]:
    """Read the documents for compiling a version, where the user gives none.

    Titles and abstracts of BC5CDR (Li et al., Database 2016, baw068; public domain): 48 documents
    of its train and dev sets that the bundled version was not trained on, as they were its dev
    split. Each has its chemicals and diseases.
    """
    with ABSTRACTS_PATH.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Document(row["id"], row["text"], tuple(Span(**entity) for entity in row["entities"]))
        for row in rows
    ]
