"""The encoder tier: predictions by a token-classification model.

Windows of similar length share a batch. The scores of a word do not depend on its runner or batch.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tagalong.backend.models.base_models.adapters import ADAPTER_CONFIG_NAME
from tagalong.backend.models.base_models.load_errors import translate_load_errors
from tagalong.backend.models.base_models.sharing import SharedObjects
from tagalong.backend.models.decoding.predictions import (
    ScoreRefiner,
    decode_prediction,
    log_softmax,
)
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import ModelInputs, ModelRunner
from tagalong.backend.models.tagger import DocumentTagger, ThroughputEstimate
from tagalong.backend.models.text.subwords import WordOffsets
from tagalong.backend.models.text.windows import (
    EncodedDocument,
    EncodedWindow,
    WindowConfig,
    WindowEncoder,
)
from tagalong.ner.document import Document, Prediction
from tagalong.ner.manifest import WORD_RULE_KEY, Manifest, read_word_rule
from tagalong.ner.tags import TagSet

WINDOWS_PER_PART = 2  # as many as most abstracts have
_TOKENIZERS = SharedObjects[PreTrainedTokenizerBase]()
MIN_MEASURED_CHARACTERS = 1_000  # a shorter run measures its overhead more than the throughput


class EncoderTagger(DocumentTagger):
    """A token-classification model that answers in real time."""

    # Chunks bound the memory, and one chunk is decoded while the model runs the next.
    documents_per_chunk = 64
    documents_per_stream = 16  # fewer: each stream holds a chunk of its own

    def __init__(
        self,
        runner: ModelRunner,
        window_encoder: WindowEncoder,
        *,
        tag_set: TagSet,
        version: str,
        temperature: float = 1.0,
        score_refiner: ScoreRefiner | None = None,
    ) -> None:
        self.runner, self.window_encoder = runner, window_encoder
        self.runtime_name, self.can_use_openvino = runner.name, runner.can_use_openvino
        self.streams = runner.streams
        self.parts_per_turn = runner.parts_per_turn
        self.tag_set, self.labels = tag_set, tag_set.labels  # in the order of the model's outputs
        self.version = version
        self.temperature = temperature
        self.score_refiner = score_refiner or ScoreRefiner()
        self.throughput = ThroughputEstimate(min_characters=MIN_MEASURED_CHARACTERS)

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document, in the same order, empty ones included."""
        size = self.documents_per_chunk
        if self.streams > 1:  # a few documents are enough for every stream to get some
            size = max(1, min(self.documents_per_stream, -(-len(documents) // self.streams)))
        chunks = [documents[start : start + size] for start in range(0, len(documents), size)]
        if len(chunks) <= 1:  # a thread would only delay a request
            return self._predict(documents)
        if self.streams > 1:
            with ThreadPoolExecutor(self.streams) as pool:
                return list(chain.from_iterable(pool.map(self._predict, chunks)))
        with ThreadPoolExecutor(1) as decoder:
            decoded = []
            for chunk in chunks:
                encoded = self.encode(chunk)
                decoded.append(decoder.map(self._decode_whole, encoded, self.run(encoded)))
            return list(chain.from_iterable(decoded))

    def _predict(self, documents: Sequence[Document]) -> list[Prediction]:
        encoded = self.encode(documents)
        return list(map(self._decode_whole, encoded, self.run(encoded)))

    def _decode_whole(
        self, encoded: EncodedDocument[EncodedWindow], output: FloatArray
    ) -> Prediction:
        return self.decode(encoded, [output])

    def encode(self, documents: Sequence[Document]) -> list[EncodedDocument[EncodedWindow]]:
        """Find the words of each document, and encode its windows."""
        find_words = self.tag_set.word_rule.find_words
        words: list[WordOffsets] = [find_words(document.text) for document in documents]
        windows: list[list[EncodedWindow]] = [[] for _ in documents]
        for window in self.window_encoder.encode([document.text for document in documents], words):
            windows[window.document_index].append(window)
        return list(map(EncodedDocument, documents, words, windows))

    def split(
        self, encoded: EncodedDocument[EncodedWindow]
    ) -> list[EncodedDocument[EncodedWindow]]:
        """Split a long document into parts of a few windows."""
        return encoded.split(windows_per_part=WINDOWS_PER_PART)

    def run(self, parts: Sequence[EncodedDocument[EncodedWindow]]) -> list[FloatArray]:
        """Run the model: logits of shape (owned words, tags) per part, before any calibration."""
        with self.throughput.measure(sum(part.owned_characters for part in parts)):
            return self.collect_word_values(
                parts, self.runner.compute_logits, width=len(self.tag_set)
            )

    def decode(
        self, encoded: EncodedDocument[EncodedWindow], outputs: Sequence[FloatArray]
    ) -> Prediction:
        """Calibrate the logits of a document, and decode its entities."""
        output = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
        logits = self.score_refiner.smooth(encoded.document.text, encoded.words, output)
        return decode_prediction(
            encoded.words,
            log_softmax(logits, temperature=self.temperature),
            tag_set=self.tag_set,
            version=self.version,
            transitions=self.score_refiner.transition_matrix(),
        )

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        """Seconds that each document takes without other work; empty before the first run."""
        return self.throughput.estimate_seconds(documents)

    @property
    def memory_bytes(self) -> int:
        """That of the model; a tokenizer is shared, or takes about ten megabytes."""
        return self.runner.memory_bytes

    def config_to_json(self) -> Mapping[str, Any]:
        """The word rule."""
        return {WORD_RULE_KEY: self.tag_set.word_rule.name}

    def calibration_to_json(self) -> Mapping[str, Any]:
        """Temperature, and the settings of `ScoreRefiner`."""
        return {"temperature": round(self.temperature, 4), **self.score_refiner.to_json()}

    def collect_word_values(
        self,
        parts: Sequence[EncodedDocument[EncodedWindow]],
        run: Callable[[ModelInputs], FloatArray],
        *,
        width: int,
    ) -> list[FloatArray]:
        """Collect an output of the model at the first sub-word of each word, in its own window.

        `run` computes the output of a batch, (windows, longest, width). Returns an array of shape
        (owned words, width) per document or part.
        """
        values: list[FloatArray] = [
            np.zeros((len(part.owned_words), width), np.float32) for part in parts
        ]
        windows = [
            (window, of_words[window.owned_words.start - part.owned_words.start :])
            for part, of_words in zip(parts, values, strict=True)
            for window in part.windows
        ]
        for batch in self.runner.plan_batches([len(window.input_ids) for window, _ in windows]):
            rows = [windows[index] for index in batch]
            inputs = self.window_encoder.pad(
                [window for window, _ in rows], pad_to_multiple_of=self.runner.pad_to_multiple_of
            )
            for (window, of_words), output in zip(rows, run(inputs), strict=True):
                of_words[: len(window.owned_words)] = output[window.owned_positions]
        return values


def assemble_encoder(
    runner: ModelRunner, folder: Path, manifest: Manifest, *, max_positions: int | None
) -> EncoderTagger:
    """Build the tagger of a version; raises `VersionInvalid` where its tokenizer cannot be read."""
    with translate_load_errors(folder, manifest):
        tokenizer = _load_tokenizer(folder, manifest)
    window_config = WindowConfig(**manifest.config.get("reading", {}))
    return EncoderTagger(
        runner,
        WindowEncoder(tokenizer, window_config, max_positions=max_positions),
        tag_set=TagSet(tuple(manifest.labels), read_word_rule(manifest)),
        version=manifest.version,
        temperature=float(manifest.calibration.get("temperature", 1.0)),
        score_refiner=ScoreRefiner.from_json(manifest.calibration),
    )


def _load_tokenizer(folder: Path, manifest: Manifest) -> PreTrainedTokenizerBase:
    """Read the tokenizer of a version; versions with the same files share one."""

    def load() -> PreTrainedTokenizerBase:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False
        )
        return tokenizer

    files = frozenset(
        (name, file.sha256)
        for name, file in manifest.files.items()
        if name != ADAPTER_CONFIG_NAME and not name.endswith(".safetensors")
    )
    return _TOKENIZERS.get(files, load) if files else load()
