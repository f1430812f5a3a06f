"""A version's engine made: converted, quantised if nothing is lost by it, checked, and kept.

Quantised are the matrices and what they are multiplied with, in 8 bits, by ranges that example
windows are seen to need (post-training static quantisation, as in Jacob et al. 2018, "Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"), after outliers
have been moved from activations into weights (SmoothQuant, Xiao et al. 2023).
"""

import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tagalong.backend.models.base_models.precision import int8_instruction_set
from tagalong.backend.models.encoder.checkpoint import load_encoder, max_positions
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.openvino.cache import (
    MODEL_FILE_NAME,
    WEIGHTS_FILE_NAME,
    CachedOpenVINOModel,
    OpenVINOCheck,
    OpenVINORecord,
    cache_openvino_model,
)
from tagalong.backend.models.openvino.check import compare_encoders, rejection_reason
from tagalong.backend.models.openvino.library import (
    choose_precision,
    cpu_capabilities,
    first_error_line,
    import_nncf,
    import_openvino,
    openvino_version,
)
from tagalong.backend.models.openvino.load import load_openvino_encoder
from tagalong.backend.models.openvino.runner import INPUT_NAMES
from tagalong.ner.document import Document
from tagalong.ner.errors import OpenVINOError
from tagalong.ner.file_safety import hash_file
from tagalong.ner.manifest import Manifest, manifest_digest, read_manifest
from tagalong.ner.words import word_offsets

MAX_QUANTIZATION_WINDOWS = (
    100  # that ranges are seen in: twice as many changed no F1 by a tenth of a point
)
MAX_CHECK_DOCUMENTS = 500  # documents that an engine is checked on
CPU = torch.device("cpu")
# One row is padded: a model traced without padding may leave the mask out for good.
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
        """Scores: (windows, longest, tags)."""
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def build_openvino_model(
    folder: Path, *, quantization_documents: Sequence[Document], check_documents: Sequence[Document]
) -> CachedOpenVINOModel:
    """Make the engine of a version, and keep it in place of what there is.

    Args:
        folder: Of the version, an encoder.
        quantization_documents: Texts such as it is to read; what is quantised goes by them.
        check_documents: It is checked on them against PyTorch in fp32, and by their spans, where the model
            knows their labels. Quantising must not cost more than `MOST_LOST` of strict F1, else
            the engine is made without.

    Returns:
        The engine.

    Raises:
        RegistryError: If there is no such version, or it is damaged.
        BaseModelError: If its base is not there.
        OpenVINOError: If it cannot be run by OpenVINO, or finds something else there; why.
    """
    manifest = read_manifest(folder)
    if manifest.tier != "encoder":
        raise OpenVINOError(f"{manifest.version} is of tier {manifest.tier!r}, not an encoder")
    if manifest.config.get("four_bit"):
        raise OpenVINOError(
            f"{manifest.version} has its base in 4 bits, which OpenVINO cannot read"
        )
    reference = load_encoder(folder, manifest, device=CPU, precision="fp32")
    assert isinstance(reference.runner, TorchRunner)  # noqa: S101 (what load_encoder makes)
    check_documents = [document for document in check_documents if word_offsets(document.text)][
        :MAX_CHECK_DOCUMENTS
    ]
    if not check_documents:
        raise OpenVINOError("there is no text to check an engine on: give some documents")
    notes: list[str] = []
    with _suppress_output(), tempfile.TemporaryDirectory(prefix="tagalong-engine-") as made:
        plain = _convert(reference.runner.model, manifest)
        for form in _candidate_formats(notes):
            try:
                model = (
                    plain
                    if form == "plain"
                    else _quantize(plain, reference, quantization_documents)
                )
                record = _save(model, Path(made), manifest, form, reference.runner.model)
                engine = load_openvino_encoder(
                    folder, manifest, CachedOpenVINOModel(Path(made), record)
                )
                check = compare_encoders(reference, engine, check_documents)
            except Exception as error:  # noqa: BLE001 - both libraries raise whatever they meet
                notes.append(
                    f"The form {form} is not used, since it failed ({first_error_line(error)})."
                )
                continue
            if reason := rejection_reason(check):
                notes.append(f"The form {form} is not used, since it {reason}.")
                continue
            record = replace(record, check=check, notes=tuple(notes))
            return cache_openvino_model(folder, manifest, Path(made), record)
    why = " ".join(notes).removesuffix(".")  # a message goes without its full stop
    raise OpenVINOError(f"{manifest.version} stays with PyTorch. {why}")


def _candidate_formats(notes: list[str]) -> Iterator[str]:
    """The forms to try, the fastest first; why one is left out is noted."""
    if int8_instruction_set():
        yield "int8"
    else:
        notes.append("This CPU has no fast arithmetic in 8 bits, so nothing is quantised.")
    yield "plain"


def _convert(model: PreTrainedModel, manifest: Manifest) -> Any:
    """A model in OpenVINO's terms, for batches of any shape."""
    model.config.use_cache = False  # decoders would keep keys and values that nobody reads
    try:
        return import_openvino().convert_model(_LogitsModule(model), example_input=EXAMPLE_INPUTS)
    except Exception as error:  # it raises whatever it meets
        raise OpenVINOError(
            f"OpenVINO cannot read the architecture of {manifest.version} ({first_error_line(error)})"
        ) from error


def _quantize(plain: Any, reference: EncoderTier, examples: Sequence[Document]) -> Any:
    """A converted model with its matrices in 8 bits."""
    library = import_nncf()
    with_words = (document.text for document in examples if word_offsets(document.text))
    texts = [*islice(with_words, MAX_QUANTIZATION_WINDOWS)]  # each has a window at least
    words = [word_offsets(text) for text in texts]
    windows = reference.window_encoder.encode(texts, words)[:MAX_QUANTIZATION_WINDOWS]
    rows = [reference.window_encoder.pad([window]) for window in windows]
    return library.quantize(
        plain.clone(),
        library.Dataset([[row[name] for name in INPUT_NAMES] for row in rows]),
        subset_size=len(rows),
        model_type=library.ModelType.TRANSFORMER,
        preset=library.QuantizationPreset.MIXED,
    )


def _save(
    model: Any, folder: Path, manifest: Manifest, form: str, source: PreTrainedModel
) -> OpenVINORecord:
    """Write a converted model; its check is still to come."""
    written = folder / "model.xml"
    import_openvino().save_model(model, str(written), compress_to_fp16=False)
    written.replace(folder / MODEL_FILE_NAME)
    written.with_suffix(".bin").replace(folder / WEIGHTS_FILE_NAME)
    return OpenVINORecord(
        version=manifest.version,
        manifest_digest=manifest_digest(manifest.to_json()),
        openvino_version=openvino_version(),
        precision=choose_precision(cpu_capabilities()),
        int8_instruction_set=int8_instruction_set(),
        weight_format=form,
        max_positions=max_positions(source),
        check=OpenVINOCheck(0, 0, 0.0),
        notes=(),
        files={name: hash_file(folder / name) for name in (MODEL_FILE_NAME, WEIGHTS_FILE_NAME)},
    )


@contextmanager
def _suppress_output() -> Iterator[None]:
    """Keep progress bars, warnings of tracing and advice from the terminal."""
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
