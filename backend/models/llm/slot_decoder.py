"""Fill the tag slots: greedy, legal, and many at a time.

Greedy decoding gives each slot the best tag that may legally follow the tag before it, given all
words and all tags before. ``sequential`` decoding does exactly that, one pass per slot.

``verified`` decoding finds the same tags in a few passes. A pass scores all slots at once, filled
with a draft. Up to the first slot where the model disagrees, every tag is what greedy decoding
gives, and so is the model's tag in that slot. The later slots take the tags that this pass prefers
(Jacobi iteration, as in lookahead decoding), and the next pass scores them. Each pass decides at
least one slot, so the loop ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.backend.models.llm.prompt import PromptWindow, Verbalizers
from tagalong.backend.models.llm.scorer import KVCache, TagScorer
from tagalong.ner.tags import OUTSIDE, TagSet

DecodingMode = Literal["verified", "sequential", "single_pass"]


@dataclass(frozen=True, slots=True)
class DecodedWindow:
    """The tags of one window."""

    tags: tuple[int, ...]  # one per word, legal
    logits: FloatArray  # of shape (words, tags), given the tags before each word
    passes: int  # model calls in sequence, until the last slot was decided
    tokens: int  # run through the model in all passes, without the shared prefix
    accepted: int  # slots whose drafted tag was right


class SlotDecoder:
    """Fills the slots of windows."""

    def __init__(self, scorer: TagScorer, tag_set: TagSet, verbalizers: Verbalizers) -> None:
        self.scorer, self._tag_set, self._verbalizers = scorer, tag_set, verbalizers
        self._legal_transitions = legal_transitions(tag_set)

    def decode(
        self,
        windows: Sequence[PromptWindow],
        drafts: Sequence[Sequence[int]] | None = None,
        *,
        decoding_mode: DecodingMode = "verified",
    ) -> list[DecodedWindow]:
        """Fill the slots of one batch of windows, with at least one word each.

        Drafts are any tags for the words of each window, legal or not; by default O everywhere. The
        modes ``verified`` and ``sequential`` give the same tags; ``single_pass`` feeds no tag back.
        """
        width = self._legal_transitions.shape[1]
        rows = [_WindowState(window, [OUTSIDE] * len(window.words), width) for window in windows]
        if drafts is not None and decoding_mode == "verified":
            for row, draft in zip(rows, drafts, strict=True):
                row.tags = self._tag_set.legalize(draft)
        if decoding_mode == "sequential":
            self._decode_rows(rows, self._accept_next, slots_per_pass=1)
        else:
            for row in rows:
                row.draft = tuple(row.tags)
            verified = decoding_mode == "verified"
            self._decode_rows(rows, self._accept_verified if verified else self._accept_viterbi)
        return [row.to_result() for row in rows]

    def _decode_rows(
        self,
        rows: "Sequence[_WindowState]",
        accept: "Callable[[_WindowState], None]",
        *,
        slots_per_pass: int | None = None,
    ) -> None:
        """Score open slots of all rows at once, by default all of them, until none is open."""
        cache = self.scorer.new_cache(len(rows))
        prefix = cache.lengths[0]
        active = list(rows)
        while active:
            self._run_pass(cache, active, slots_per_pass)
            for row in active:
                accept(row)
            open_rows = [index for index, row in enumerate(active) if not row.is_complete]
            active = [active[index] for index in open_rows]
            if active:  # keep what was computed up to the last decided slot
                cache.select_rows(open_rows, [prefix + row.next_position for row in active])

    def _run_pass(
        self, cache: KVCache, rows: "Sequence[_WindowState]", slots_per_pass: int | None
    ) -> None:
        """Run each row up to the last slot of this pass, and store the logits of its slots."""
        slots = [row.window.slot_positions[row.decided :][:slots_per_pass] for row in rows]
        tokens = [
            row.window.fill_slots(row.tags, self._verbalizers)[row.next_position : of_row[-1]]
            for row, of_row in zip(rows, slots, strict=True)
        ]
        positions = [  # the model predicts the content of a slot at the position before
            [slot - 1 - row.next_position for slot in of_row]
            for row, of_row in zip(rows, slots, strict=True)
        ]
        logits = self.scorer.run_pass(cache, tokens, positions)
        for row, ids, of_row in zip(rows, tokens, logits, strict=True):
            row.logits[row.decided : row.decided + len(of_row)] = of_row
            row.passes += 1
            row.tokens += len(ids)

    def _accept_next(self, row: "_WindowState") -> None:
        """Decide one slot: the reference for `_accept_verified`."""
        row.tags[row.decided] = self._best_legal_tag(row, row.decided)
        row.decided += 1

    def _accept_verified(self, row: "_WindowState") -> None:
        """Decide the slots up to the first disagreement, and draft the others again."""
        for number in range(row.decided, len(row.tags)):
            best = self._best_legal_tag(row, number)
            if best != row.tags[number]:
                row.tags[number] = best
                row.decided = number + 1
                for later in range(row.decided, len(row.tags)):
                    row.tags[later] = self._best_legal_tag(row, later)
                return
        row.decided = len(row.tags)

    def _accept_viterbi(self, row: "_WindowState") -> None:
        """Decide all slots at once: the best legal sequence, with no tag fed back."""
        row.tags = viterbi(row.logits.astype(np.float64), self._legal_transitions).tolist()
        row.decided = len(row.tags)

    def _best_legal_tag(self, row: "_WindowState", number: int) -> int:
        """The best tag of a slot that may follow the tag before it; the first one of equals."""
        before = row.tags[number - 1] if number else -1  # the last row is for the start
        allowed = np.where(self._legal_transitions[before], row.logits[number], -np.inf)
        return int(allowed.argmax())


class _WindowState:
    """A window while it is decoded."""

    def __init__(self, window: PromptWindow, tags: list[int], width: int) -> None:
        self.window, self.tags = window, tags
        self.draft: tuple[int, ...] = ()
        self.logits: NDArray[np.float32] = np.zeros((len(tags), width), np.float32)
        self.decided = self.passes = self.tokens = 0

    @property
    def is_complete(self) -> bool:
        return self.decided == len(self.tags)

    @property
    def next_position(self) -> int:
        """Position of the first token that is not computed for good: the last decided slot."""
        return self.window.slot_positions[self.decided - 1] if self.decided else 0

    def to_result(self) -> DecodedWindow:
        accepted = sum(tag == drafted for tag, drafted in zip(self.tags, self.draft, strict=False))
        return DecodedWindow(tuple(self.tags), self.logits, self.passes, self.tokens, accepted)
