"""A retraining job: its project, its state and its result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from tagalong.backend.storage.project_key import ProjectKey

# Field -> JSON key, where the two differ: the keys are those of the first release.
RESULT_KEYS = {
    "should_promote": "promote",
    "compared_version": "against",
    "current": "old",  # of a stratum
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

    `new` and `current` are strict F1 scores; `low` and `high` are the ends of the 95 % interval of
    their difference. Without a current version, the last three are None.
    """

    name: str  # ``all``, or a length in words
    support: int  # gold entities
    new: float
    current: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """The decision of a job and the numbers behind it."""

    reason: str  # why the version is promoted, rejected or missing; one sentence
    should_promote: bool = False  # whether the promotion gate accepted the version
    model: str = ""  # that received the version; empty for the default of the tier
    version: str = ""  # empty if none was published
    compared_model: str = ""  # that served the project; empty for the default of the tier
    compared_version: str = ""  # current at the comparison; empty if there was none
    documents: int = 0  # trained on, dev included
    held_out: int = 0  # documents that both versions were evaluated on
    strata: tuple[StratumComparison, ...] = ()  # all entities first, then by length
    notes: tuple[str, ...] = ()  # one sentence each
    was_promoted: bool = False  # once, also if the job is run again after a crash

    def to_json(self) -> dict[str, Any]:
        """Return the fields under the keys of the first release, without models if unknown."""
        value: dict[str, Any] = asdict(
            self,
            dict_factory=lambda items: {RESULT_KEYS.get(name, name): one for name, one in items},
        )
        return {
            key: one for key, one in value.items() if one or key not in ("model", "compared_model")
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the output of `to_json`, of this release or an earlier one."""
        values = _to_fields(value)
        values["strata"] = tuple(StratumComparison(**_to_fields(item)) for item in value["strata"])
        values["notes"] = tuple(value["notes"])
        return cls(**values)


def _to_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    names = {key: name for name, key in RESULT_KEYS.items()}
    return {names.get(key, key): item for key, item in value.items()}


@dataclass(frozen=True, slots=True)
class Job:
    """A retraining job; times are in UTC."""

    id: int  # grows with every job
    project: ProjectKey  # the Label Studio project whose annotations are used
    tier: str
    reason: str  # the trigger, such as "the train button"
    last_event_id: int  # of the last webhook event that the job covers; 0 for none
    state: JobState
    attempts: int  # how often it was started, without those that stopped cleanly
    pid: int  # of the process that runs it; 0 otherwise
    cancel_requested: bool  # whether it is to stop as soon as possible
    requested_at: datetime
    ended_at: datetime | None = None
    status_message: str = ""  # the current step, in a few words
    result: JobResult | None = None  # set when the decision is made, before it is carried out
