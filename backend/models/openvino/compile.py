"""Compile a version for OpenVINO: convert, quantize if that loses nothing, check, and cache it.

Quantisation puts matrices and their inputs in 8 bits, with ranges measured on example windows
(post-training static quantisation, as in Jacob et al. 2018, "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference"). Before that, outliers are moved from
activations to weights (SmoothQuant, Xiao et al. 2023).
"""

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tagalong.backend.models.base_models.precision import int8_instruction_set
from tagalong.backend.models.encoder.checkpoint import load_encoder, max_positions
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.openvino import is_openvino_enabled
from tagalong.backend.models.openvino.cache import (
    EMBEDDINGS_FILE_NAME,
    MODEL_FILE_NAME,
    WEIGHTS_FILE_NAME,
    CachedOpenVINOModel,
    OpenVINOCheck,
    OpenVINORecord,
    cache_openvino_model,
)
from tagalong.backend.models.openvino.check import compare_encoders, rejection_reason
from tagalong.backend.models.openvino.embeddings import split_word_embeddings
from tagalong.backend.models.openvino.library import (
    choose_precision,
    first_error_line,
    import_nncf,
    import_openvino,
    openvino_version,
)
from tagalong.backend.models.openvino.load import load_openvino_encoder
from tagalong.backend.models.openvino.runner import INPUT_NAMES
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import OpenVINOError
from tagalong.ner.manifest import (
    Manifest,
    hash_file,
    manifest_digest,
    read_manifest,
    read_word_rule,
)
from tagalong.ner.tiers import ENCODER

COMPILED_TIERS = (ENCODER,)  # their taggers may set `can_use_openvino`
MAX_QUANTIZATION_WINDOWS = 100  # twice as many changed no F1 by a tenth of a point
MAX_CHECK_DOCUMENTS = 500
ABSTRACTS_PATH = Path(__file__).parent / "abstracts.jsonl"
CPU = torch.device("cpu")
# One row is padded: a model traced without padding may leave out the mask.
EXAMPLE_INPUTS = {
    "input_ids": torch.ones(2, 16, dtype=torch.long),
    "attention_mask": torch.tensor([[1] * 16, [1] * 12 + [0] * 4]),
}


class _LogitsModule(nn.Module):
    """A token classifier as a function of two tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def should_use_openvino() -> bool:
    """Whether OpenVINO is of use: it is enabled, and no GPU runs the models."""
    return is_openvino_enabled() and not torch.cuda.is_available()


def compile_version(
    folder: Path,
    *,
    quantization_documents: Sequence[Document] = (),
    check_documents: Sequence[Document] = (),
) -> CachedOpenVINOModel:
    """Compile a version, and cache the fastest model that passes the check.

    The ranges of values are measured on `quantization_documents`. The check compares with PyTorch
    in fp32 on `check_documents`, by their spans too where the model knows the labels. Without
    documents, both are done on the abstracts that come with Tagalong.

    Raises `RegistryError` if there is no such version, or it is damaged. Raises `BaseModelError` if
    its base model is not there, and `OpenVINOError` if no compiled model passes the check.
    """
    manifest = read_manifest(folder)
    if manifest.tier not in COMPILED_TIERS:
        raise OpenVINOError(
            f"{manifest.version} is of tier {manifest.tier!r}: only encoders can be compiled",
            code="openvino-not-an-encoder",
        )
    if manifest.config.get("four_bit"):
        raise OpenVINOError(
            f"{manifest.version} has its base model in 4 bits, which OpenVINO cannot read",
            code="openvino-four-bit",
        )
    quantization_documents = quantization_documents or read_sample_documents()
    find_words = read_word_rule(manifest).find_words
    with_words = (one for one in check_documents or read_sample_documents() if find_words(one.text))
    check_documents = [*islice(with_words, MAX_CHECK_DOCUMENTS)]
    if not check_documents:
        raise OpenVINOError(
            "there is no text to check the compiled model on: give some documents",
            code="openvino-without-documents",
        )
    reference = load_encoder(folder, manifest, device=CPU, precision="fp32")
    torch_model = cast(TorchRunner, reference.runner).model
    notes: list[str] = []
    with _suppress_output(), tempfile.TemporaryDirectory(prefix="tagalong-openvino-") as made:
        plain = _convert(torch_model, manifest)
        for weight_format in _candidate_formats(notes):
            try:
                is_plain = weight_format == "plain"
                model = plain if is_plain else _quantize(plain, reference, quantization_documents)
                record = _save(model, Path(made), manifest, weight_format, torch_model)
                compiled = CachedOpenVINOModel(Path(made), record)
                candidate = load_openvino_encoder(folder, manifest, compiled)
                check = compare_encoders(reference, candidate, check_documents)
            except Exception as error:  # noqa: BLE001 - both libraries raise errors of any class
                problem: str | None = f"failed ({first_error_line(error)})"
            else:
                problem = rejection_reason(check)
            if problem is None:
                record = replace(record, check=check, notes=tuple(notes))
                return cache_openvino_model(manifest, Path(made), record)
            notes.append(f"The format {weight_format} is not used: it {problem}.")
    raise OpenVINOError(
        f"{manifest.version} stays with PyTorch. {' '.join(notes).removesuffix('.')}",
        code="openvino-rejected",
    )


def _candidate_formats(notes: list[str]) -> Iterator[str]:
    """The weight formats to try, the fastest first; adds a note on a format left out."""
    if int8_instruction_set():
        yield "int8"
    else:
        notes.append("This CPU has no fast arithmetic in 8 bits, so nothing is quantized.")
    yield "plain"


def _convert(model: PreTrainedModel, manifest: Manifest) -> Any:
    """Convert a model to OpenVINO, for batches of any shape."""
    model.config.use_cache = False  # decoders would return keys and values
    try:
        return import_openvino().convert_model(_LogitsModule(model), example_input=EXAMPLE_INPUTS)
    except Exception as error:  # OpenVINO raises errors of any class
        raise OpenVINOError(
            f"OpenVINO cannot read the architecture of {manifest.version} "
            f"({first_error_line(error)})",
            code="openvino-architecture-unsupported",
        ) from error


def _quantize(plain: Any, reference: EncoderTagger, documents: Sequence[Document]) -> Any:
    """Put the matrices of a converted model in 8 bits."""
    nncf = import_nncf()
    find_words = reference.tag_set.word_rule.find_words
    with_words = (document.text for document in documents if find_words(document.text))
    texts = [*islice(with_words, MAX_QUANTIZATION_WINDOWS)]  # each has at least one window
    words = [find_words(text) for text in texts]
    windows = reference.window_encoder.encode(texts, words)[:MAX_QUANTIZATION_WINDOWS]
    rows = [reference.window_encoder.pad([window]) for window in windows]
    return nncf.quantize(
        plain.clone(),
        nncf.Dataset([[row[name] for name in INPUT_NAMES] for row in rows]),
        subset_size=len(rows),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
    )


def _save(
    model: Any, folder: Path, manifest: Manifest, weight_format: str, source: PreTrainedModel
) -> OpenVINORecord:
    """Write a converted model; its check comes later."""
    names = [MODEL_FILE_NAME, WEIGHTS_FILE_NAME]
    if (embeddings := split_word_embeddings(model)) is not None:
        embeddings.save(folder / EMBEDDINGS_FILE_NAME)
        names.append(EMBEDDINGS_FILE_NAME)
    written = folder / "model.xml"
    import_openvino().save_model(model, str(written), compress_to_fp16=False)
    written.replace(folder / MODEL_FILE_NAME)
    written.with_suffix(".bin").replace(folder / WEIGHTS_FILE_NAME)
    return OpenVINORecord(
        version=manifest.version,
        manifest_digest=manifest_digest(manifest.to_json()),
        openvino_version=openvino_version(),
        precision=choose_precision(),
        int8_instruction_set=int8_instruction_set(),
        weight_format=weight_format,
        max_positions=max_positions(source),
        check=OpenVINOCheck(0, 0, 0.0),
        notes=(),
        files={name: hash_file(folder / name) for name in names},
    )


@contextmanager
def _suppress_output() -> Iterator[None]:
    """Keep the progress bars, tracing warnings and advice of both libraries from the terminal."""
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def describe_openvino_model(cached_model: CachedOpenVINOModel) -> str:
    """Describe a compiled model and its check, in some sentences."""
    record = cached_model.record
    check = record.check
    weights = "in 8 bits" if record.weight_format == "int8" else "not quantized"
    sentence = (
        f"Its OpenVINO model ({weights}) predicts the same tag as PyTorch for "
        f"{check.agreement:.2%} of {pluralize(check.words, 'word')}"
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
