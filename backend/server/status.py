"""The page that a browser sees at the server's address: a snapshot, set as one HTML page.

Whatever came from outside is escaped by the template; the page loads nothing, and runs no script.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.pages import page_environment
from backend.retraining.run import Run, RunState
from backend.server.snapshot import Snapshot, TierState
from backend.server.telemetry import SAMPLE

# Sent with the page: should escaping ever fail, a browser still neither runs nor fetches anything.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
LENGTH_NAMES = {"1": "1 word", "2": "2 words", "3+": "3 words or more"}
TIER_NAMES = {"encoder": "Encoder", "llm": "LLM"}
STATES = {
    RunState.WAITING: "Waits its turn",
    RunState.RUNNING: "Runs",
    RunState.PROMOTED: "Promoted",
    RunState.KEPT: "Kept back",
    RunState.FAILED: "Failed",
    RunState.CANCELLED: "Cancelled",
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


def render_status(
    snapshot: Snapshot,
    *,
    address: str,
    events: Mapping[str, int],
    journal_error: str | None = None,
    trainings: Sequence[Run] = (),
    training_error: str | None = None,
    root: str = "",
) -> str:
    """Set the page.

    Args:
        snapshot: What happened.
        address: Of this server, ``http://host:port``.
        events: How many webhook events there are of each action.
        journal_error: Why events are not recorded; None where they are.
        trainings: The last ones first.
        training_error: Why nothing is known of trainings; None where it is.
        root: Path under which a proxy serves all of it; empty for none.

    Returns:
        HTML.
    """
    return _ENVIRONMENT.get_template("status.html").render(
        snapshot=snapshot,
        verdict=verdict(snapshot, journal_error),
        address=address + root,
        events=sorted(events.items(), key=lambda item: (-item[1], item[0])),
        journal_error=journal_error,
        trainings=trainings,
        training_error=training_error,
        root=root,
        sample=SAMPLE,
        requests=sum(route.requests for route in snapshot.routes),
        failed=sum(route.failed for route in snapshot.routes),
    )


def verdict(snapshot: Snapshot, journal_error: str | None) -> tuple[str, str]:
    """Say in a word how the server is.

    Args:
        snapshot: What happened.
        journal_error: Why events are not recorded; None where they are.

    Returns:
        The word, and one of the page's three tones: ``good``, ``wait``, ``bad``.
    """
    serves = any(tier.manifest for tier in snapshot.tiers)
    fails = any(tier.failures for tier in snapshot.tiers)
    if serves:
        return ("Ready, with a fault", "bad") if fails or journal_error else ("Ready", "good")
    if any(tier.loading for tier in snapshot.tiers):
        return "Loading", "wait"
    return ("Not ready", "bad") if fails else ("Starting", "wait")


def score_tables(tier: TierState) -> list[ScoreTable]:
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
    if not isinstance(found, dict) or not _is_share(found.get("strict_f1")):
        return None
    by_length, support = (_mapping(found.get(name)) for name in ("by_length", "support"))
    counts = {length: _count(support.get(length)) for length in by_length}
    rows = tuple(
        ScoreRow(LENGTH_NAMES.get(length, length), f1, counts[length])
        for length, f1 in by_length.items()
        if _is_share(f1)
    )
    known = [count for count in counts.values() if count is not None]
    total = sum(known) if known and len(known) == len(counts) else None
    overall = ScoreRow("All", found["strict_f1"], total)
    return ScoreTable(split, _count(found.get("documents")), (overall, *rows))


def _mapping(value: object) -> Mapping[str, Any]:
    """A mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def _is_share(value: Any) -> bool:
    """Whether a value can be an F1."""
    return type(value) in (int, float) and 0 <= value <= 1  # neither True nor NaN


def _count(value: object) -> int | None:
    """A count, or None."""
    return value if type(value) is int and value >= 0 else None


def action_name(action: str) -> str:
    """``ANNOTATIONS_CREATED`` as people say it: ``Annotations created``."""
    return action.replace("_", " ").capitalize()


def stratum_name(name: str) -> str:
    """All entities, or those of a length."""
    return "All" if name == "all" else LENGTH_NAMES.get(name, name)


def state_of(run: Run) -> str:
    """How a training stands, in a word or two."""
    return STATES[run.state]


def tier_name(tier: str) -> str:
    """A tier as the page calls it."""
    return TIER_NAMES.get(tier, tier)


_ENVIRONMENT = page_environment(Path(__file__).parent / "templates")
_ENVIRONMENT.filters |= {
    function.__name__: function
    for function in (action_name, tier_name, score_tables, stratum_name, state_of)
}
