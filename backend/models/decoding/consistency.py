"""Tie the tags of a document's words together, beyond what one window shows the model.

Two ties, both weighted on dev. A word tends to have one tag throughout a document (label
consistency, Finkel et al. 2005, "Incorporating Non-local Information into Information Extraction
Systems by Gibbs Sampling"): part of its scores is the mean over all its occurrences in all windows.
And tags follow each other as they do in gold: transition scores as in a linear-chain CRF (Lafferty
et al. 2001), but counted instead of trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray


@dataclass(frozen=True, slots=True)
class ScoreRefiner:
    """The ties between the words of a document; none by default."""

    consistency_weight: float = 0.0  # share of a word's scores from all its occurrences, 0 to 1
    # Added to a tag's log-probability for the tag before it: (tags + 1, tags), the last row for the
    # start of a document; empty for none.
    transitions: tuple[tuple[float, ...], ...] = ()

    def smooth(self, text: str, words: Sequence[tuple[int, int]], logits: FloatArray) -> FloatArray:
        """Mix the scores of each word, (words, tags), with the mean over its occurrences.

        A word that occurs once keeps its scores.
        """
        if not self.consistency_weight or not words:
            return logits
        numbers: dict[object, int] = {}
        keys = [  # marks and numbers have a key of their own
            _consistency_key(text[start:end]) or index for index, (start, end) in enumerate(words)
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
        """Read the calibration of a manifest; older manifests have no ties."""
        rows = calibration.get("transitions", ())
        return cls(float(calibration.get("consistency", 0.0)), tuple(map(tuple, rows)))


def _consistency_key(word: str) -> str | None:
    """Equal for occurrences of one word: ALL is not all. None for marks and numbers."""
    if not (word.isalpha() or any(map(str.isalpha, word))):
        return None
    return word if word.isupper() and len(word) > 1 else word.lower()
