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

from backend.checkpoint import load_encoder, position_limit
from backend.encoder import EncoderTier
from backend.engine.cache import MODEL, WEIGHTS, Check, EngineRecord, Kept, keep_engine
from backend.engine.check import compare, refusal
from backend.engine.forward import INPUTS
from backend.engine.library import (
    arithmetic,
    capabilities,
    cause,
    library_version,
    nncf,
    openvino,
)
from backend.forward import TorchForward
from backend.precision import int8_arithmetic
from backend.served import load_engine
from ner.document import Document
from ner.errors import EngineError
from ner.manifest import Manifest, manifest_digest, read_manifest
from ner.payload import record_file
from ner.words import word_offsets

MOST_WINDOWS = 100  # that ranges are seen in: twice as many changed no F1 by a tenth of a point
MOST_JUDGED = 500  # documents that an engine is checked on
CPU = torch.device("cpu")
# One row is padded: a model traced without padding may leave the mask out for good.
EXAMPLE = {
    "input_ids": torch.ones(2, 16, dtype=torch.long),
    "attention_mask": torch.tensor([[1] * 16, [1] * 12 + [0] * 4]),
}


class _Logits(nn.Module):
    """A token classifier as a function of two tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Scores: (windows, longest, tags)."""
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def build_engine(folder: Path, *, examples: Sequence[Document], judged: Sequence[Document]) -> Kept:
    """Make the engine of a version, and keep it in place of what there is.

    Args:
        folder: Of the version, an encoder.
        examples: Texts such as it is to read; what is quantised goes by them.
        judged: It is checked on them against PyTorch in fp32, and by their spans, where the model
            knows their labels. Quantising must not cost more than `MOST_LOST` of strict F1, else
            the engine is made without.

    Returns:
        The engine.

    Raises:
        StoreError: If there is no such version, or it is damaged.
        BaseModelError: If its base is not there.
        EngineError: If it cannot be run by OpenVINO, or finds something else there; why.
    """
    manifest = read_manifest(folder)
    if manifest.tier != "encoder":
        raise EngineError(f"{manifest.version} is of tier {manifest.tier!r}, not an encoder")
    if manifest.config.get("four_bit"):
        raise EngineError(f"{manifest.version} has its base in 4 bits, which OpenVINO cannot read")
    reference = load_encoder(folder, manifest, device=CPU)
    assert isinstance(reference.forward, TorchForward)  # noqa: S101 (what load_encoder makes)
    reference.forward.precision = "fp32"
    judged = [document for document in judged if word_offsets(document.text)][:MOST_JUDGED]
    if not judged:
        raise EngineError("there is no text to check an engine on: give some documents")
    notes: list[str] = []
    with _quietly(), tempfile.TemporaryDirectory(prefix="tagalong-engine-") as made:
        plain = _converted(reference.forward.model, manifest)
        for form in _forms(notes):
            try:
                model = plain if form == "plain" else _quantised(plain, reference, examples)
                record = _saved(model, Path(made), manifest, form, reference.forward.model)
                engine = load_engine(folder, manifest, Kept(Path(made), record))
                check = compare(reference, engine, judged)
            except Exception as error:  # noqa: BLE001 - both libraries raise whatever they meet
                notes.append(f"The form {form} is not used, since it failed ({cause(error)}).")
                continue
            if reason := refusal(check):
                notes.append(f"The form {form} is not used, since it {reason}.")
                continue
            record = replace(record, check=check, notes=tuple(notes))
            return keep_engine(folder, manifest, Path(made), record)
    why = " ".join(notes).removesuffix(".")  # a message goes without its full stop
    raise EngineError(f"{manifest.version} stays with PyTorch. {why}")


def _forms(notes: list[str]) -> Iterator[str]:
    """The forms to try, the fastest first; why one is left out is noted."""
    if int8_arithmetic():
        yield "int8"
    else:
        notes.append("This CPU has no fast arithmetic in 8 bits, so nothing is quantised.")
    yield "plain"


def _converted(model: PreTrainedModel, manifest: Manifest) -> Any:
    """A model in OpenVINO's terms, for batches of any shape."""
    model.config.use_cache = False  # decoders would keep keys and values that nobody reads
    try:
        return openvino().convert_model(_Logits(model), example_input=EXAMPLE)
    except Exception as error:  # it raises whatever it meets
        raise EngineError(
            f"OpenVINO cannot read the architecture of {manifest.version} ({cause(error)})"
        ) from error


def _quantised(plain: Any, reference: EncoderTier, examples: Sequence[Document]) -> Any:
    """A converted model with its matrices in 8 bits."""
    library = nncf()
    with_words = (document.text for document in examples if word_offsets(document.text))
    texts = [*islice(with_words, MOST_WINDOWS)]  # each has a window at least
    words = [word_offsets(text) for text in texts]
    windows = reference.windows.encode(texts, words)[:MOST_WINDOWS]
    rows = [reference.windows.pad([window]) for window in windows]
    return library.quantize(
        plain.clone(),
        library.Dataset([[row[name] for name in INPUTS] for row in rows]),
        subset_size=len(rows),
        model_type=library.ModelType.TRANSFORMER,
        preset=library.QuantizationPreset.MIXED,
    )


def _saved(
    model: Any, folder: Path, manifest: Manifest, form: str, source: PreTrainedModel
) -> EngineRecord:
    """Write a converted model; its check is still to come."""
    written = folder / "model.xml"
    openvino().save_model(model, str(written), compress_to_fp16=False)
    written.replace(folder / MODEL)
    written.with_suffix(".bin").replace(folder / WEIGHTS)
    return EngineRecord(
        version=manifest.version,
        digest=manifest_digest(manifest.to_json()),
        library=library_version(),
        precision=arithmetic(capabilities()),
        int8=int8_arithmetic(),
        form=form,
        limit=position_limit(source),
        check=Check(0, 0, 0.0),
        notes=(),
        files={name: record_file(folder / name) for name in (MODEL, WEIGHTS)},
    )


@contextmanager
def _quietly() -> Iterator[None]:
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
