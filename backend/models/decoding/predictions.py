"""Decode the tag scores of a document to entities and confidences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.ner.document import Prediction, Span
from tagalong.ner.tags import TagSet


@dataclass(frozen=True, slots=True)
class ScoreRefiner:
    """Label consistency and tag transitions of a document, both weighted on dev.

    Label consistency: part of a word's scores is the mean over its occurrences in all windows. It
    follows Finkel et al. 2005, "Incorporating Non-local Information into Information Extraction
    Systems by Gibbs Sampling". Transition scores are as in a linear-chain CRF (Lafferty et al.
    2001), but counted in gold instead of trained.
    """

    consistency_weight: float = 0.0  # share of a word's scores from all its occurrences, 0 to 1
    # Added to a tag's log-probability for the tag before it: (tags + 1, tags), the last row for the
    # start of a document; empty for none.
    transitions: tuple[tuple[float, ...], ...] = ()

    def smooth(self, text: str, words: Sequence[tuple[int, int]], logits: FloatArray) -> FloatArray:
        """Mix the scores of each word, (words, tags), with the mean over its occurrences."""
        if not self.consistency_weight or not words:
            return logits
        numbers: dict[object, int] = {}
        keys = [  # marks, numbers and parts of a run of letters have a key of their own
            (not _touches_letters(text, start, end) and _consistency_key(text[start:end])) or index
            for index, (start, end) in enumerate(words)
        ]
        groups = [numbers.setdefault(key, len(numbers)) for key in keys]
        totals = np.zeros((len(numbers), logits.shape[1]))
        np.add.at(totals, groups, logits)
        means = totals / np.bincount(groups)[:, None]
        return logits + self.consistency_weight * (means[groups] - logits)

    def transition_matrix(self) -> FloatArray | None:
        """The transitions as an array; None where there are none."""
        return np.array(self.transitions) if self.transitions else None

    def to_json(self) -> dict[str, Any]:
        """As a manifest keeps it; `from_json` reads it."""
        rows = [*map(list, self.transitions)]
        return {"consistency": self.consistency_weight, "transitions": rows}

    @classmethod
    def from_json(cls, calibration: Mapping[str, Any]) -> Self:
        """Read the calibration of a manifest; older manifests have neither value."""
        rows = calibration.get("transitions", ())
        return cls(float(calibration.get("consistency", 0.0)), tuple(map(tuple, rows)))


def _touches_letters(text: str, start: int, end: int) -> bool:
    """Whether a letter or digit is beside a word: in Chinese, or by a finer word rule."""
    return text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()


def _consistency_key(word: str) -> str | None:
    """Equal for occurrences of one word: ALL is not all. None for marks and numbers."""
    if not (word.isalpha() or any(map(str.isalpha, word))):  # the first is far faster
        return None
    return word if word.isupper() and len(word) > 1 else word.lower()


def log_softmax(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Calibrated log-probabilities in float64, of the same shape (words, tags).

    A temperature above 1 lowers the confidence (Guo et al. 2017, "On Calibration of Modern Neural
    Networks").
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def decode_prediction(
    words: Sequence[tuple[int, int]],
    log_probs: FloatArray,
    *,
    tag_set: TagSet,
    version: str,
    tags: Sequence[int] | None = None,
    transitions: FloatArray | None = None,
) -> Prediction:
    """Decode one document.

    The score of a span is the geometric mean of the tag probabilities of its words. That of the
    document is MNLP, the mean log-probability of its words, exponentiated (Shen et al. 2018).
    `log_probs` has the shape (words, tags). Without legal `tags`, one per word, the best sequence
    is found with the `transitions`, as in `viterbi`.
    """
    if not words:
        return Prediction(spans=(), score=1.0, version=version, word_rule=tag_set.word_rule)
    if tags is None:
        tags = viterbi(log_probs, legal_transitions(tag_set), transitions).tolist()
    chosen = log_probs[np.arange(len(words)), tags]
    entities = list(tag_set.entities(tags))
    scores = _geometric_means(chosen, [(first, end) for first, end, _ in entities])
    (document_score,) = _geometric_means(chosen, [(0, len(words))])
    return Prediction(
        spans=tuple(
            Span(words[first][0], words[end - 1][1], label, score=score)
            for (first, end, label), score in zip(entities, scores, strict=True)
        ),
        score=document_score,
        version=version,
        tag_confidences=tuple(np.exp(chosen).tolist()),
        word_rule=tag_set.word_rule,
    )


def _geometric_means(log_probs: FloatArray, ranges: Sequence[tuple[int, int]]) -> list[float]:
    """The geometric mean over each range, never quite 0: Label Studio takes 0 for no score."""
    if not ranges:
        return []
    bounds = np.array(ranges)
    sums = np.concatenate(([0.0], log_probs.cumsum(dtype=np.float64)))
    means = (sums[bounds[:, 1]] - sums[bounds[:, 0]]) / (bounds[:, 1] - bounds[:, 0])
    return np.exp(means).clip(np.finfo(np.float32).tiny, 1.0).tolist()
