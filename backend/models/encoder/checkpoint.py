"""Write weights or an adapter, and a tokenizer, of any tier; read an encoder.

Writing and reading are in one file so that they cannot drift apart.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.backend.models.base_models.adapters import is_peft_model, load_adapter
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.load_options import LoadOptions, Precision
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tier import (
    EncoderTier,
    assemble_encoder,
    translate_load_errors,
)
from tagalong.ner.atomic_io import translate_os_errors
from tagalong.ner.manifest import Manifest
from tagalong.ner.tags import TagSet

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER_CONFIG_NAME = "adapter_config.json"
RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how Rust ends the message of a system error


def save_model(
    model: "PreTrainedModel | PeftModel",
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    base: BaseModelRef,
) -> None:
    """Write the weights and the tokenizer of a version to an existing folder.

    Of a model with an adapter, only the adapter is written. It names `base`, in place of the path
    of the base model on this machine. Raises `PublishError` where the file system refuses.
    """
    if is_peft_model(model):
        for config in model.peft_config.values():
            config.base_model_name_or_path = base.reference
            config.revision = base.revision
            for name, value in vars(config).items():
                if isinstance(value, set):  # peft writes it in an order that differs between runs
                    setattr(config, name, sorted(value))
    else:
        model.config._name_or_path = base.reference
    with translate_os_errors(f"write the model to {folder}"), _translate_rust_errors():
        if is_peft_model(model):
            # By default, peft stores the whole output layer where an adapter is on it.
            model.save_pretrained(folder, save_embedding_layers=False)
        else:
            model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        tokenizer.save_pretrained(folder)
        # safetensors lets only the owner read; the server may run as another user.
        usual_mode = (folder / "tokenizer_config.json").stat().st_mode
        for path in folder.glob("*.safetensors"):
            path.chmod(usual_mode)


@contextmanager
def _translate_rust_errors() -> Iterator[None]:
    """Raise the system errors of libraries written in Rust as the OSError that they are."""
    try:
        yield
    except Exception as error:  # tokenizers raises a bare Exception; others leave as they are
        if (number := RUST_OS_ERROR.search(str(error))) is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code)) from error


def load_encoder(folder: Path, manifest: Manifest, **options: Unpack[LoadOptions]) -> EncoderTier:
    """Load a version with PyTorch, for the options `device` and `precision`.

    The windows and the arithmetic are those that the version was evaluated with. Raises
    `BaseModelError` or `VersionInvalid` where the base model or the weights cannot be loaded.
    """
    tags = TagSet(tuple(manifest.labels)).tag_names
    four_bit = bool(manifest.config.get("four_bit"))
    with translate_load_errors(folder, manifest):
        if is_adapter(folder):
            base = BaseModelRef(manifest.base, manifest.base_revision)
            model = load_adapter(base.load_token_classifier(tags, four_bit=four_bit), folder)
            if not four_bit:  # merging into 4 bits would round the adapter
                model = model.merge_and_unload()
        else:
            model = BaseModelRef(str(folder)).load_token_classifier(tags, keep_head=True)
    if not four_bit:
        model = model.to(options.get("device") or "cpu")
    trained_precision: Precision = manifest.config.get("schedule", {}).get("precision", "auto")
    runner = TorchRunner(model.eval(), precision=options.get("precision") or trained_precision)
    return assemble_encoder(runner, folder, manifest, max_positions=max_positions(model))


def is_adapter(folder: Path) -> bool:
    """Whether a version is an adapter, whose base model is elsewhere."""
    return (folder / ADAPTER_CONFIG_NAME).is_file()


def max_positions(model: PreTrainedModel) -> int | None:
    """Positions that a model has, special tokens included; None where they are relative."""
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        limit -= 2  # RoBERTa's position ids start after its padding index
    return limit
