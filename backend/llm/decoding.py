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

from backend.llm.layout import Layout
from backend.llm.scorer import TagScorer
from backend.llm.verbalisers import Verbalisers
from backend.viterbi import Scores, legal_steps, viterbi
from ner.tags import OUTSIDE, TagSet

Decoding = Literal["verified", "sequential", "single_pass"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one layout.

    Attributes:
        tags: One per word read, legal.
        logits: Of shape (words read, tags): each word's, given the tags before it.
        passes: Model calls, one after the other, until its last slot was settled.
        tokens: Run for it, over all passes; the prefix is shared and not counted.
        agreed: Slots whose draft was right.
    """

    tags: tuple[int, ...]
    logits: Scores
    passes: int
    tokens: int
    agreed: int


class SlotDecoder:
    """Fills slots.

    Args:
        scorer: Runs the model.
        tag_set: The tags.
        verbalisers: What stands for them.
    """

    def __init__(self, scorer: TagScorer, tag_set: TagSet, verbalisers: Verbalisers) -> None:
        self.scorer, self._verbalisers = scorer, verbalisers
        self._legal = legal_steps(tag_set)

    def decode(
        self,
        layouts: Sequence[Layout],
        drafts: Sequence[Sequence[int]] | None = None,
        *,
        decoding: Decoding = "verified",
    ) -> list[Decoded]:
        """Fill the slots of one batch.

        Args:
            layouts: Windows; each has a word at least.
            drafts: Tags for each one's words, right or wrong, legal or not; None for O everywhere.
            decoding: How; `verified` and `sequential` give the same tags.

        Returns:
            One result per layout, in order.
        """
        rows = [
            _Row(layout, [OUTSIDE] * len(layout.words), width=self._legal.shape[1])
            for layout in layouts
        ]
        if drafts is not None and decoding == "verified":
            for row, draft in zip(rows, drafts, strict=True):
                row.tags = self._made_legal(draft)
        if decoding == "sequential":
            self._sequential(rows)
        else:
            for row in rows:
                row.draft = tuple(row.tags)
            self._in_passes(rows, settle=self._verify if decoding == "verified" else self._viterbi)
        return [row.decoded() for row in rows]

    def _in_passes(self, rows: "Sequence[_Row]", *, settle: "Callable[[_Row], None]") -> None:
        """Score all open slots of all rows at once, until no row has any."""
        held = self.scorer.start(len(rows))
        prefix = held.lengths[0]
        active = list(rows)
        while active:
            fed, wanted = [], []
            for row in active:
                ids = row.layout.filled(row.tags, self._verbalisers)
                first = row.layout.slots[row.settled - 1] if row.settled else 0
                fed.append(ids[first : row.layout.slots[-1]])
                wanted.append([slot - 1 - first for slot in row.layout.slots[row.settled :]])
            found = self.scorer.run(held, fed, wanted)
            for row, ids, logits in zip(active, fed, found, strict=True):
                row.logits[row.settled :] = logits
                row.passes += 1
                row.tokens += len(ids)
                settle(row)
            going_on = [number for number, row in enumerate(active) if not row.is_settled]
            active = [active[number] for number in going_on]
            lengths = [prefix + row.layout.slots[row.settled - 1] for row in active]
            if active:
                held.keep(going_on, lengths)

    def _verify(self, row: "_Row") -> None:
        """Settle slots up to the first change and the change itself; fill the rest anew."""
        for number in range(row.settled, len(row.tags)):
            best = self._best(row, number)
            if best != row.tags[number]:
                row.tags[number] = best
                row.settled = number + 1
                for later in range(row.settled, len(row.tags)):
                    row.tags[later] = self._best(row, later)
                return
        row.settled = len(row.tags)

    def _viterbi(self, row: "_Row") -> None:
        """Settle all slots at once: the best legal sequence, tags never fed back."""
        row.tags = viterbi(row.logits.astype(np.float64), self._legal).tolist()
        row.settled = len(row.tags)

    def _sequential(self, rows: "Sequence[_Row]") -> None:
        """Settle one slot after the other: the reference that `verified` must equal."""
        held = self.scorer.start(len(rows))
        active = list(rows)
        while active:
            fed = []
            for row in active:
                ids = row.layout.filled(row.tags, self._verbalisers)
                first = row.layout.slots[row.settled - 1] if row.settled else 0
                fed.append(ids[first : row.layout.slots[row.settled]])
            found = self.scorer.run(held, fed, [[len(ids) - 1] for ids in fed])
            for row, ids, logits in zip(active, fed, found, strict=True):
                row.logits[row.settled] = logits[0]
                row.tags[row.settled] = self._best(row, row.settled)
                row.settled += 1
                row.passes += 1
                row.tokens += len(ids)
            going_on = [number for number, row in enumerate(active) if not row.is_settled]
            if going_on and len(going_on) < len(active):
                held.keep(going_on, [held.lengths[number] for number in going_on])
            active = [active[number] for number in going_on]

    def _best(self, row: "_Row", number: int) -> int:
        """The best tag of a slot that may follow the tag before it; of equals the first."""
        before = row.tags[number - 1] if number else -1  # the last row of `legal` is the start
        allowed = np.where(self._legal[before], row.logits[number], -np.inf)
        return int(allowed.argmax())

    def _made_legal(self, draft: Sequence[int]) -> list[int]:
        """A draft whose I- tags follow what they may; one that does not begins an entity."""
        tags: list[int] = []
        for tag in draft:
            before = tags[-1] if tags else -1
            tags.append(tag if self._legal[before, tag] else tag - 1)
        return tags


class _Row:
    """A layout under way."""

    def __init__(self, layout: Layout, tags: list[int], *, width: int) -> None:
        self.layout, self.tags = layout, tags
        self.draft: tuple[int, ...] = ()
        self.logits: NDArray[np.float32] = np.zeros((len(tags), width), np.float32)
        self.settled = self.passes = self.tokens = 0

    @property
    def is_settled(self) -> bool:
        """Whether no slot is open."""
        return self.settled == len(self.tags)

    def decoded(self) -> Decoded:
        """The result."""
        agreed = sum(tag == drafted for tag, drafted in zip(self.tags, self.draft, strict=False))
        return Decoded(tuple(self.tags), self.logits, self.passes, self.tokens, agreed)
