"""What a version's folder holds: weights or an adapter, the tokenizer, the manifest.

Written by training, read by serving, and both ends are here so that they cannot drift apart.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from backend.bases import Base
from backend.coupling import Coupling
from backend.encoder import EncoderTier
from backend.engine.cache import MODEL, WEIGHTS, Kept
from backend.engine.forward import EngineForward
from backend.forward import Forward, TorchForward
from backend.window_encoder import Reading, WindowEncoder
from ner.durable import refusals_told
from ner.errors import VersionInvalid
from ner.manifest import Manifest
from ner.tags import TagSet

ADAPTER_CONFIG = "adapter_config.json"
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # what Rust adds to what the system refuses


def save_model(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    base: Base,
) -> None:
    """Write the weights and the tokenizer of a version.

    Args:
        model: A whole model, or an adapter on its base; of the latter only the adapter is written.
        tokenizer: Of the base.
        folder: Where to; exists.
        base: Named in the adapter, instead of wherever the base lay on this machine.

    Raises:
        PublishError: If the file system refuses, for instance because the disk is full.
    """
    if isinstance(model, PeftModel):
        for config in model.peft_config.values():
            config.base_model_name_or_path = base.reference
            config.revision = base.revision
    else:
        model.config._name_or_path = base.reference
    with refusals_told(f"write the model to {folder}"), _system_errors():
        if isinstance(model, PeftModel):
            # An adapter on the output layer is no reason to store that layer, whatever peft thinks.
            model.save_pretrained(folder, save_embedding_layers=False)
        else:
            model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        tokenizer.save_pretrained(folder)
        # safetensors writes for the owner alone; the server may run as somebody else.
        usual = (folder / "tokenizer_config.json").stat().st_mode
        for path in folder.glob("*.safetensors"):
            path.chmod(usual)


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise what the system refuses to libraries written in Rust as the OSError that it is.

    safetensors makes a SafetensorError of it and tokenizers a bare Exception, so nothing narrower
    can be caught; whatever has no error number of the system goes on as it is.
    """
    try:
        yield
    except Exception as error:
        number = SYSTEM_ERROR.search(str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code)) from error


def load_encoder(folder: Path, manifest: Manifest, *, device: torch.device) -> EncoderTier:
    """Read a version's weights and make them a tier.

    Args:
        folder: Of the version; its manifest has been verified.
        manifest: What it says.
        device: Where to compute.

    Returns:
        The tier, ready to predict as it was judged: same windows, same arithmetic.

    Raises:
        BaseModelError: If the version is an adapter and its base is not there.
        VersionInvalid: If the weights do not fit what the manifest says.
    """
    tag_set = TagSet(tuple(manifest.labels))
    four_bit = bool(manifest.config.get("four_bit"))
    with unloadable_told(folder, manifest):
        model = _load_model(folder, manifest, tag_set=tag_set, four_bit=four_bit)
    if not four_bit:
        model = model.to(device)
    precision = manifest.config.get("schedule", {}).get("precision", "auto")
    forward = TorchForward(model.eval(), precision=precision)
    return _served_by(forward, folder, manifest, limit=position_limit(model))


def load_engine(folder: Path, manifest: Manifest, kept: Kept) -> EncoderTier:
    """Make a version's engine a tier; its own weights are not read.

    Args:
        folder: Of the version.
        manifest: What it says.
        kept: The engine.

    Returns:
        The tier, ready to predict.

    Raises:
        EngineError: If OpenVINO is not there, or cannot read it.
        VersionInvalid: If the version's tokenizer cannot be read.
    """
    record = kept.record
    forward = EngineForward(kept.folder / MODEL, kept.folder / WEIGHTS, form=record.form)
    tier = _served_by(forward, folder, manifest, limit=record.limit)
    forward.warm_up(tier.windows.longest)
    return tier


def _served_by(
    forward: Forward, folder: Path, manifest: Manifest, *, limit: int | None
) -> EncoderTier:
    """The tier of a version, whatever runs its passes."""
    with unloadable_told(folder, manifest):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return EncoderTier(
        forward,
        WindowEncoder(tokenizer, _reading(manifest.config), limit=limit),
        tag_set=TagSet(tuple(manifest.labels)),
        version=manifest.version,
        temperature=float(manifest.calibration.get("temperature", 1.0)),
        coupling=Coupling.from_json(manifest.calibration),
    )


@contextmanager
def unloadable_told(folder: Path, manifest: Manifest) -> Iterator[None]:
    """Say of a version what a library says that cannot load it.

    Args:
        folder: Of the version.
        manifest: What it says.

    Yields:
        Nothing.

    Raises:
        VersionInvalid: If the block fails.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise VersionInvalid(
            f"version {manifest.version} in {folder} could not be loaded ({error}); "
            "train it again, or roll back to another version"
        ) from error


def _load_model(
    folder: Path, manifest: Manifest, *, tag_set: TagSet, four_bit: bool
) -> PreTrainedModel:
    """The weights, with an adapter folded into its base where that loses nothing."""
    if not is_adapter(folder):
        return Base(str(folder)).load_token_classifier(tag_set.names, keep_head=True)
    base = Base(manifest.base, manifest.base_revision)
    model = base.load_token_classifier(tag_set.names, four_bit=four_bit)
    adapted = PeftModel.from_pretrained(model, folder)
    return adapted if four_bit else adapted.merge_and_unload()


def is_adapter(folder: Path) -> bool:
    """Whether a version is an adapter on a base that is elsewhere."""
    return (folder / ADAPTER_CONFIG).is_file()


def _reading(config: Mapping[str, Any]) -> Reading:
    """How the version was trained to read."""
    return Reading(**config["reading"]) if "reading" in config else Reading()


def position_limit(model: PreTrainedModel) -> int | None:
    """How many positions a model has.

    Args:
        model: Of any architecture.

    Returns:
        Tokens, special ones included, or None where positions are relative.
    """
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        limit -= 2  # RoBERTa's position ids start after its padding index
    return limit
