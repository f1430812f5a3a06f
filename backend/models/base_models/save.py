"""Write a transformers or peft model and its tokenizer."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.backend.models.base_models.adapters import is_peft_model
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.ner.atomic_io import translate_os_errors

if TYPE_CHECKING:
    from peft import PeftModel

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
