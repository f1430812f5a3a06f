"""A retraining job: its project, its state and its result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

# Field -> JSON key, where the two differ: the keys are those of the first release.
RESULT_KEYS = {
    "should_promote": "promote",
    "previous_version": "against",
    "was_promoted": "promoted",
}


PromotionPolicy = Literal["auto", "always", "never"]


class JobState(StrEnum):
    """State of a job; the values are in SQL, in JSON and in Prometheus labels."""

    WAITING = "waiting"
    RUNNING = "running"
    PROMOTED = "promoted"
    REJECTED = "kept"  # the new version was published, but the previous one stays current
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether the state can no longer change."""
        return self not in (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class StratumComparison:
    """Scores of two versions on some of the held-out entities.

    Attributes:
        name: ``all``, or a length in words.
        support: Gold entities.
        new: Strict F1 of the new version.
        old: Strict F1 of the version served before; None if there was none.
        low: Lower end of the 95 % interval of new minus old; None without an old score.
        high: Upper end of that interval.
    """

    name: str
    support: int
    new: float
    old: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """The decision of a job and the numbers behind it.

    Attributes:
        reason: Why the version is promoted, rejected or missing; one sentence.
        should_promote: Whether the promotion gate accepted the version.
        version: The new version; empty if none was published.
        previous_version: The version served before; empty if there was none.
        documents: Documents trained on, dev included.
        held_out: Documents that both versions were evaluated on.
        strata: All entities first, then by length.
        notes: Further remarks, one sentence each.
        was_promoted: Whether the promotion took place. A job promotes once, also if it is run
            again after a crash and another version is current by then.
    """

    reason: str
    should_promote: bool = False
    version: str = ""
    previous_version: str = ""
    documents: int = 0
    held_out: int = 0
    strata: tuple[StratumComparison, ...] = ()
    notes: tuple[str, ...] = ()
    was_promoted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields under the keys of the first release."""
        return {RESULT_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the output of `to_json`, of this release or an earlier one."""
        fields = {key: name for name, key in RESULT_KEYS.items()}
        values = {fields.get(key, key): item for key, item in value.items()}
        values["strata"] = tuple(StratumComparison(**item) for item in value["strata"])
        values["notes"] = tuple(value["notes"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Job:
    """A retraining job.

    Attributes:
        id: Grows with every job.
        project: Id of the Label Studio project whose annotations are used.
        tier: The tier to train.
        reason: The trigger, such as "the train button".
        last_event_id: Id of the last webhook event that the job covers; 0 for none.
        state: See `JobState`.
        attempts: How often the job was started.
        pid: Process id while it runs; 0 otherwise.
        cancel_requested: Whether the job is to stop as soon as possible.
        requested_at: In UTC.
        ended_at: In UTC; None until then.
        status_message: The current step, in a few words.
        result: Set when the decision is made, before it is carried out; None until then.
    """

    id: int
    project: int
    tier: str
    reason: str
    last_event_id: int
    state: JobState
    attempts: int
    pid: int
    cancel_requested: bool
    requested_at: datetime
    ended_at: datetime | None = None
    status_message: str = ""
    result: JobResult | None = None
