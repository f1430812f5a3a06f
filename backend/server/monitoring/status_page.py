"""The page that a browser sees at the server's address: a snapshot, set as one HTML page.

Whatever came from outside is escaped by the template; the page loads nothing, and runs no script.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagalong.backend.pages import make_page_environment
from tagalong.backend.retraining.job import Job, JobState
from tagalong.backend.server.monitoring.snapshot import Snapshot, TierState
from tagalong.backend.server.monitoring.telemetry import MAX_LATENCY_SAMPLES
from tagalong.ner.model_registry import TIER_NAMES

# Sent with the page: should escaping ever fail, a browser still neither runs nor fetches anything.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
LENGTH_NAMES = {"1": "1 word", "2": "2 words", "3+": "3 words or more"}
JOB_STATE_NAMES = {
    JobState.WAITING: "Waits its turn",
    JobState.RUNNING: "Runs",
    JobState.PROMOTED: "Promoted",
    JobState.REJECTED: "Kept back",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One line of a table of scores.

    Attributes:
        name: Of the stratum.
        f1: Strict, from 0 to 1.
        support: Gold entities; None where the manifest does not say.
    """

    name: str
    f1: float
    support: int | None


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Scores of a version on one split.

    Attributes:
        split: Its name, such as ``dev``.
        documents: How many it has; None where the manifest does not say.
        rows: All entities first, then their strata.
    """

    split: str
    documents: int | None
    rows: tuple[ScoreRow, ...]


def render_status_page(
    snapshot: Snapshot,
    *,
    address: str,
    events: Mapping[str, int],
    event_store_error: str | None = None,
    jobs: Sequence[Job] = (),
    job_store_error: str | None = None,
    root_path: str = "",
) -> str:
    """Set the page.

    Args:
        snapshot: What happened.
        address: Of this server, ``http://host:port``.
        events: How many webhook events there are of each action.
        event_store_error: Why events are not recorded; None where they are.
        jobs: The last ones first.
        job_store_error: Why nothing is known of trainings; None where it is.
        root_path: Path under which a proxy serves all of it; empty for none.

    Returns:
        HTML.
    """
    return _ENVIRONMENT.get_template("status.html").render(
        snapshot=snapshot,
        verdict=summarize_status(snapshot, event_store_error),
        address=address + root_path,
        events=sorted(events.items(), key=lambda item: (-item[1], item[0])),
        journal_error=event_store_error,
        trainings=jobs,
        training_error=job_store_error,
        root=root_path,
        sample=MAX_LATENCY_SAMPLES,
        requests=sum(route.requests for route in snapshot.routes),
        failed=sum(route.server_errors for route in snapshot.routes),
    )


def summarize_status(snapshot: Snapshot, event_store_error: str | None) -> tuple[str, str]:
    """Say in a word how the server is.

    Args:
        snapshot: What happened.
        event_store_error: Why events are not recorded; None where they are.

    Returns:
        The word, and one of the page's three tones: ``good``, ``wait``, ``bad``.
    """
    serves = any(tier.manifest for tier in snapshot.tiers)
    fails = any(tier.load_failures for tier in snapshot.tiers)
    if serves:
        return ("Ready, with a fault", "bad") if fails or event_store_error else ("Ready", "good")
    if any(tier.loading_version for tier in snapshot.tiers):
        return "Loading", "wait"
    return ("Not ready", "bad") if fails else ("Starting", "wait")


def read_score_tables(tier: TierState) -> list[ScoreTable]:
    """Read the scores that a manifest holds.

    Args:
        tier: Whose version; one without a version has none.

    Returns:
        One table per split with a strict F1, in the manifest's order; what is no score is left
        out, for a manifest may say anything there.
    """
    scores = tier.manifest.scores if tier.manifest else {}
    tables = (_score_table(split, found) for split, found in scores.items())
    return [table for table in tables if table is not None]


def _score_table(split: str, found: object) -> ScoreTable | None:
    """The scores of a split, if they are such."""
    if not isinstance(found, dict) or not _is_f1(found.get("strict_f1")):
        return None
    by_length, support = (_as_mapping(found.get(name)) for name in ("by_length", "support"))
    counts = {length: _as_count(support.get(length)) for length in by_length}
    rows = tuple(
        ScoreRow(LENGTH_NAMES.get(length, length), f1, counts[length])
        for length, f1 in by_length.items()
        if _is_f1(f1)
    )
    known = [count for count in counts.values() if count is not None]
    total = sum(known) if known and len(known) == len(counts) else None
    overall = ScoreRow("All", found["strict_f1"], total)
    return ScoreTable(split, _as_count(found.get("documents")), (overall, *rows))


def _as_mapping(value: object) -> Mapping[str, Any]:
    """A mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def _is_f1(value: Any) -> bool:
    """Whether a value can be an F1."""
    return type(value) in (int, float) and 0 <= value <= 1  # neither True nor NaN


def _as_count(value: object) -> int | None:
    """A count, or None."""
    return value if type(value) is int and value >= 0 else None


def format_action(action: str) -> str:
    """``ANNOTATIONS_CREATED`` as people say it: ``Annotations created``."""
    return action.replace("_", " ").capitalize()


def format_stratum(name: str) -> str:
    """All entities, or those of a length."""
    return "All" if name == "all" else LENGTH_NAMES.get(name, name)


def format_job_state(job: Job) -> str:
    """How a training stands, in a word or two."""
    return JOB_STATE_NAMES[job.state]


def format_tier(tier: str) -> str:
    """A tier as the page calls it."""
    name = TIER_NAMES.get(tier, tier)
    return name[:1].upper() + name[1:]


_ENVIRONMENT = make_page_environment(Path(__file__).parent / "templates")
_ENVIRONMENT.filters |= {
    function.__name__: function
    for function in (
        format_action,
        format_tier,
        read_score_tables,
        format_stratum,
        format_job_state,
    )
}
