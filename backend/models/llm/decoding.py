"""Filling the slots: greedy, legal, and verified many at a time.

Greedy decoding gives each slot the best tag that may legally follow the one before it, given all
words and all tags before. `sequential` does just that, a pass per slot. `verified` finds the very
same tags in a few passes: all slots are filled with a draft and scored at once; up to the first
slot where the model disagrees everything is as greedy decoding would have it, and so is the model's
own tag there. The rest is filled anew with the tags that this pass prefers (Jacobi iteration, as in
lookahead decoding) and scored again, from that slot on, until nothing changes. It ends, because
every pass settles at least one slot.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.backend.models.llm.prompt import PromptWindow
from tagalong.backend.models.llm.scorer import TagScorer
from tagalong.backend.models.llm.verbalizers import Verbalizers
from tagalong.ner.tags import OUTSIDE, TagSet

DecodingMode = Literal["verified", "sequential", "single_pass"]


@dataclass(frozen=True, slots=True)
class DecodedWindow:
    """What became of one layout.

    Attributes:
        tags: One per word read, legal.
        logits: Of shape (words read, tags): each word's, given the tags before it.
        passes: Model calls, one after the other, until its last slot was settled.
        tokens: Run for it, over all passes; the prefix is shared and not counted.
        accepted: Slots whose draft was right.
    """

    tags: tuple[int, ...]
    logits: FloatArray
    passes: int
    tokens: int
    accepted: int


class SlotDecoder:
    """Fills slots.

    Args:
        scorer: Runs the model.
        tag_set: The tags.
        verbalizers: What stands for them.
    """

    def __init__(self, scorer: TagScorer, tag_set: TagSet, verbalizers: Verbalizers) -> None:
        self.scorer, self._verbalizers = scorer, verbalizers
        self._legal_transitions = legal_transitions(tag_set)

    def decode(
        self,
        windows: Sequence[PromptWindow],
        drafts: Sequence[Sequence[int]] | None = None,
        *,
        decoding_mode: DecodingMode = "verified",
    ) -> list[DecodedWindow]:
        """Fill the slots of one batch.

        Args:
            windows: Windows; each has a word at least.
            drafts: Tags for each one's words, right or wrong, legal or not; None for O everywhere.
            decoding_mode: How; `verified` and `sequential` give the same tags.

        Returns:
            One result per layout, in order.
        """
        rows = [
            _WindowState(
                layout, [OUTSIDE] * len(layout.words), width=self._legal_transitions.shape[1]
            )
            for layout in windows
        ]
        if drafts is not None and decoding_mode == "verified":
            for row, draft in zip(rows, drafts, strict=True):
                row.tags = self._legalize(draft)
        if decoding_mode == "sequential":
            self._decode_sequentially(rows)
        else:
            for row in rows:
                row.draft = tuple(row.tags)
            self._decode_in_passes(
                rows,
                accept=self._accept_verified
                if decoding_mode == "verified"
                else self._accept_viterbi,
            )
        return [row.to_result() for row in rows]

    def _decode_in_passes(
        self, rows: "Sequence[_WindowState]", *, accept: "Callable[[_WindowState], None]"
    ) -> None:
        """Score all open slots of all rows at once, until no row has any."""
        held = self.scorer.new_cache(len(rows))
        prefix = held.lengths[0]
        active = list(rows)
        while active:
            fed, wanted = [], []
            for row in active:
                ids = row.window.fill_slots(row.tags, self._verbalizers)
                first = row.window.slot_positions[row.decided - 1] if row.decided else 0
                fed.append(ids[first : row.window.slot_positions[-1]])
                wanted.append(
                    [slot - 1 - first for slot in row.window.slot_positions[row.decided :]]
                )
            found = self.scorer.run_pass(held, fed, wanted)
            for row, ids, logits in zip(active, fed, found, strict=True):
                row.logits[row.decided :] = logits
                row.passes += 1
                row.tokens += len(ids)
                accept(row)
            going_on = [number for number, row in enumerate(active) if not row.is_complete]
            active = [active[number] for number in going_on]
            lengths = [prefix + row.window.slot_positions[row.decided - 1] for row in active]
            if active:
                held.select_rows(going_on, lengths)

    def _accept_verified(self, row: "_WindowState") -> None:
        """Settle slots up to the first change and the change itself; fill the rest anew."""
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
        """Settle all slots at once: the best legal sequence, tags never fed back."""
        row.tags = viterbi(row.logits.astype(np.float64), self._legal_transitions).tolist()
        row.decided = len(row.tags)

    def _decode_sequentially(self, rows: "Sequence[_WindowState]") -> None:
        """Settle one slot after the other: the reference that `verified` must equal."""
        held = self.scorer.new_cache(len(rows))
        active = list(rows)
        while active:
            fed = []
            for row in active:
                ids = row.window.fill_slots(row.tags, self._verbalizers)
                first = row.window.slot_positions[row.decided - 1] if row.decided else 0
                fed.append(ids[first : row.window.slot_positions[row.decided]])
            found = self.scorer.run_pass(held, fed, [[len(ids) - 1] for ids in fed])
            for row, ids, logits in zip(active, fed, found, strict=True):
                row.logits[row.decided] = logits[0]
                row.tags[row.decided] = self._best_legal_tag(row, row.decided)
                row.decided += 1
                row.passes += 1
                row.tokens += len(ids)
            going_on = [number for number, row in enumerate(active) if not row.is_complete]
            if going_on and len(going_on) < len(active):
                held.select_rows(going_on, [held.lengths[number] for number in going_on])
            active = [active[number] for number in going_on]

    def _best_legal_tag(self, row: "_WindowState", number: int) -> int:
        """The best tag of a slot that may follow the tag before it; of equals the first."""
        before = row.tags[number - 1] if number else -1  # the last row of `legal` is the start
        allowed = np.where(self._legal_transitions[before], row.logits[number], -np.inf)
        return int(allowed.argmax())

    def _legalize(self, draft: Sequence[int]) -> list[int]:
        """A draft whose I- tags follow what they may; one that does not begins an entity."""
        tags: list[int] = []
        for tag in draft:
            before = tags[-1] if tags else -1
            tags.append(tag if self._legal_transitions[before, tag] else tag - 1)
        return tags


class _WindowState:
    """A layout under way."""

    def __init__(self, layout: PromptWindow, tags: list[int], *, width: int) -> None:
        self.window, self.tags = layout, tags
        self.draft: tuple[int, ...] = ()
        self.logits: NDArray[np.float32] = np.zeros((len(tags), width), np.float32)
        self.decided = self.passes = self.tokens = 0

    @property
    def is_complete(self) -> bool:
        """Whether no slot is open."""
        return self.decided == len(self.tags)

    def to_result(self) -> DecodedWindow:
        """The result."""
        agreed = sum(tag == drafted for tag, drafted in zip(self.tags, self.draft, strict=False))
        return DecodedWindow(tuple(self.tags), self.logits, self.passes, self.tokens, agreed)
