"""One batch: documents in, each predicted once and handed over once, from wherever it stands.

What an earlier run left waiting is handed over only once its document was looked at again: its text
may have changed meanwhile, or it may be gone. A source comes in the order of its places, so all up
to some place have been looked at, and none behind it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from backend.batch.entries import Entry, State, text_digest
from backend.batch.journal import BatchJournal
from backend.batch.predicting import Engine, Trouble
from backend.batch.target import Target
from backend.batch.worth import worth_of
from ner.document import Document, Prediction
from ner.errors import BatchError

CHUNK = 64  # documents predicted and noted together
PATIENCE = 32  # documents in a row without a single prediction, before it is not their fault


@dataclass(frozen=True, slots=True)
class Item:
    """What a source holds at one place.

    Attributes:
        place: Grows in the order of the source: a line's number from 0, or a task's id.
        key: Its id there; no other item has it.
        document: None where there is none to read.
        trouble: Why it cannot be read, where it cannot.
        done: Whether it has been predicted already, and not by this batch.
    """

    place: int
    key: str
    document: Document | None
    trouble: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a batch is.

    Attributes:
        done: Documents that need no more work, those of earlier runs included.
        before: Of these, how many needed none when this run began.
        aside: Set aside, of those that are done.
        entities: Found by this run.
        tiers: Documents that each tier has answered in this run.
        seconds: Since this run began.
    """

    done: int
    before: int
    aside: int
    entities: int
    tiers: Counter[str] = field(hash=False)
    seconds: float

    @property
    def rate(self) -> float:
        """Documents a second in this run."""
        return (self.done - self.before) / self.seconds if self.seconds else 0.0


Report = Callable[[Standing], None]


class Batch:
    """Runs a batch on.

    Args:
        journal: Of the batch.
        target: Where predictions go.
    """

    def __init__(self, journal: BatchJournal, target: Target) -> None:
        self._journal, self._target = journal, target
        self._flying: dict[str, int] = {}  # documents that an engine has and no answer came for
        self._looked = self._answered = -1  # places up to which this run has come
        self._barren = 0  # documents since the last prediction

    def read(
        self,
        items: Iterable[Item],
        engine: Engine,
        *,
        hold: bool = False,
        report: Report = lambda _: None,
    ) -> None:
        """Predict what has not been predicted.

        Args:
            items: The whole source, in its order; what is in the journal as it is now is passed
                over, and what waits there of documents that are not is not handed over.
            engine: Predicts.
            hold: Hand nothing over, because some of it will be read again.
            report: Told how far it is, after every chunk.

        Raises:
            BatchError: If the source is not the one that the journal knows, names two documents
                alike, or if nothing can be predicted any more.
            JournalError: If the journal cannot be used.
        """

        def entry_of(item: Item, answer: Prediction | Trouble) -> Entry:
            entry = self._entry(item, answer)
            held = hold and entry.state is State.PREDICTED
            return replace(entry, state=State.HELD) if held else entry

        self._looked = self._answered = -1
        self._run(items, engine, self._fresh, entry_of, report)
        self._target.ended(self._journal, self._looked)

    def reread(
        self,
        items: Iterable[Item],
        engine: Engine,
        *,
        report: Report = lambda _: None,
    ) -> None:
        """Predict anew what was chosen for it; what cannot be keeps the answer it has.

        Args:
            items: The whole source, in its order, looked at once more: this may come hours later.
            engine: Predicts.
            report: Told how far it is, after every chunk.

        Raises:
            BatchError: If nothing can be predicted any more.
            JournalError: If the journal cannot be used.
        """
        before: dict[str, Entry] = {}

        def wanted(chunk: Sequence[Item]) -> list[Item]:
            known = self._journal.known([item.key for item in chunk])
            before.update(
                (item.key, entry)
                for item in chunk
                if (entry := known.get(item.key)) is not None
                # What was not chosen waits already; an answer to another text is none.
                and (
                    entry.state is State.HELD
                    or (entry.state is State.PREDICTED and entry.digest != _digest(item))
                )
            )
            self._note_looked(chunk)
            return [item for item in chunk if item.key in before]

        def entry_of(item: Item, answer: Prediction | Trouble) -> Entry:
            was = before.pop(item.key)
            if was.digest != _digest(item):
                return replace(self._entry(item, answer), worth=was.worth)
            found = was if isinstance(answer, Trouble) else self._entry(item, answer)
            return replace(found, state=State.PREDICTED, worth=was.worth)

        self._looked = self._answered = -1
        self._run(items, engine, wanted, entry_of, report)
        self._target.ended(self._journal, self._looked)

    def _run(
        self,
        items: Iterable[Item],
        engine: Engine,
        wanted: Callable[[Sequence[Item]], list[Item]],
        entry_of: Callable[[Item, Prediction | Trouble], Entry],
        report: Report,
    ) -> None:
        """Have an engine predict what is wanted, and keep what it says."""
        began = since = time.monotonic()
        done = before = aside = entities = 0
        tiers: Counter[str] = Counter()
        waiting: deque[tuple[list[Item], list[Item]]] = deque()
        self._flying.clear()

        def chunks() -> Iterator[list[Document]]:
            left = iter(items)
            while chunk := list(islice(left, CHUNK)):
                some = wanted(chunk)
                self._flying.update((item.key, item.place) for item in some)
                waiting.append((chunk, some))
                yield [item.document for item in some if item.document is not None]

        for answers in engine(chunks()):
            chunk, some = waiting.popleft()
            answered = _with_troubles(some, answers)
            self._check_patience(answered)
            found = [entry_of(item, answer) for item, answer in zip(some, answered, strict=True)]
            self._journal.record(found, seconds=time.monotonic() - since)
            for item in some:
                del self._flying[item.key]
            self._answered = max(self._answered, chunk[-1].place)
            self._target.deliver(self._journal, self._answered)
            since = time.monotonic()
            done += len(chunk)
            before += len(chunk) - len(some)
            entities += sum(entry.entities for entry in found)
            aside += sum(entry.state is State.ASIDE for entry in found)
            tiers.update(entry.tier for entry in found if entry.tier)
            report(Standing(done, before, aside, entities, tiers, since - began))

    def _fresh(self, chunk: Sequence[Item]) -> list[Item]:
        """The items without an answer, with one of another text, or with one that was removed."""
        known = self._journal.known([item.key for item in chunk])
        places = {key: entry.place for key, entry in known.items()}
        keys = {item.place: item.key for item in chunk}
        fresh, stored = [], []
        for item in chunk:
            # An engine may ask for chunks in a thread of its own, ahead of those it answers.
            place = places.setdefault(item.key, self._flying.get(item.key, item.place))
            # What came before in this run is where the journal has it, or was refused.
            if place < item.place and keys.get(place, item.key) == item.key:
                raise BatchError(
                    f"the documents {place + 1:,} and {item.place + 1:,} of the source have the "
                    f"same id {item.key!r}: give each its own"
                )
            if place != item.place:
                raise BatchError(
                    f"the source has changed since the batch began, its document {item.key!r} was "
                    f"elsewhere: move {self._journal.path} away to begin anew, or bring the source "
                    "back"
                )
            seen = known.get(item.key)
            ours = seen is not None and seen.sent and item.document is not None
            if item.done and not ours:  # an answer that waits would be one too many
                stored += [seen] if seen else []
            elif (
                seen is None
                or seen.digest != _digest(item)
                # By an earlier run: nothing is delivered before it is looked at.
                or (seen.state is State.DELIVERED and not item.done)
            ):
                fresh.append(item)
        self._journal.move(stored, State.DELIVERED)
        self._note_looked(chunk)
        return fresh

    def _note_looked(self, chunk: Sequence[Item]) -> None:
        """Note that some items were looked at, and forget what waits of those between them."""
        until = chunk[-1].place
        self._journal.forget_absent(self._looked, until, but=[item.place for item in chunk])
        self._looked = until

    def _check_patience(self, answers: Sequence[Prediction | Trouble]) -> None:
        """Stop where nothing can be predicted any more: then it is not the documents' fault."""
        for answer in answers:
            self._barren = self._barren + 1 if isinstance(answer, Trouble) else 0
            if isinstance(answer, Trouble) and self._barren >= PATIENCE:
                raise BatchError(
                    f"not one of {self._barren} documents in a row could be predicted, the last "
                    f"because: {answer.reason}"
                )

    def _entry(self, item: Item, answer: Prediction | Trouble) -> Entry:
        """What the journal keeps of an item."""
        if item.document is None or isinstance(answer, Trouble):
            reason = answer.reason if isinstance(answer, Trouble) else item.trouble
            return Entry(item.place, item.key, _digest(item), State.ASIDE, "", 0, reason)
        return Entry(
            place=item.place,
            key=item.key,
            digest=_digest(item),
            state=State.PREDICTED,
            tier=answer.version,
            entities=len(answer.spans),
            answer=self._target.written(item.document, answer),
            worth=worth_of(answer),
        )


def _with_troubles(
    items: Sequence[Item], answers: Sequence[Prediction | Trouble]
) -> list[Prediction | Trouble]:
    """An answer for each item, those included that could not be read."""
    following = iter(answers)
    return [Trouble(item.trouble) if item.document is None else next(following) for item in items]


def _digest(item: Item) -> bytes:
    """What tells the item from another of the same id."""
    return text_digest(item.trouble if item.document is None else item.document.text)


def numbered(documents: Iterable[Document]) -> Iterator[Item]:
    """The documents of a source that has only readable ones.

    Args:
        documents: In its order.

    Yields:
        An item each.
    """
    for place, document in enumerate(documents):
        yield Item(place, document.id, document)
