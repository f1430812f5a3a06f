"""What a training is: whose, where it stands, and what came of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class JobState(StrEnum):
    """Where a training is."""

    WAITING = "waiting"
    RUNNING = "running"
    PROMOTED = "promoted"  # it made a version, and that serves
    KEPT = "kept"  # it made a version, and another one serves on
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self not in (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class StratumComparison:
    """Two versions on some of the held-out entities.

    Attributes:
        name: ``all``, or a length in words.
        support: Gold entities.
        new: Strict F1 of the new version.
        old: Of the one that served; None where none did.
        low: Of the 95 % interval of the difference, new less old; None likewise.
        high: Likewise.
    """

    name: str
    support: int
    new: float
    old: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of a training.

    Attributes:
        reason: Why it is promoted, kept or not made, one sentence.
        promote: Whether its version is to serve.
        version: That it made; empty where it made none.
        against: That served meanwhile; empty where none did.
        documents: Learnt from, dev included.
        held_out: Documents that both versions were judged by.
        strata: All entities first, then by length.
        notes: What else to know, a sentence each.
        promoted: Whether its version was made to serve: that is done once, whatever serves later.
    """

    reason: str
    promote: bool = False
    version: str = ""
    against: str = ""
    documents: int = 0
    held_out: int = 0
    strata: tuple[StratumComparison, ...] = ()
    notes: tuple[str, ...] = ()
    promoted: bool = False

    def to_json(self) -> dict[str, Any]:
        """As an object that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` made."""
        strata = tuple(StratumComparison(**stratum) for stratum in value["strata"])
        return cls(**{**value, "strata": strata, "notes": tuple(value["notes"])})


@dataclass(frozen=True, slots=True)
class Job:
    """A training.

    Attributes:
        id: Grows with every training.
        project: Whose annotations are learnt from.
        tier: That is trained.
        reason: Who or what asked for it, such as "the train button".
        upto: Id of the last webhook event that it answers for; 0 for none.
        state: Where it is.
        tries: How often it was begun.
        process: That runs it, if it runs.
        unwanted: Whether it is to end as soon as it can.
        asked: When, in UTC.
        ended: When, in UTC; None while it has not.
        standing: What it does now, a few words.
        outcome: What came of it, or, while it runs, what is to be done; None while nothing has.
    """

    id: int
    project: int
    tier: str
    reason: str
    upto: int
    state: JobState
    tries: int
    process: int
    unwanted: bool
    asked: datetime
    ended: datetime | None = None
    standing: str = ""
    outcome: JobResult | None = field(default=None)
