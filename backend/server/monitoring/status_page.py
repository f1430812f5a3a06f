"""Renders the status page: a snapshot of the server as one HTML page.

The template escapes all values; the page loads no resources and runs no script.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagalong.backend.pages import format_time, make_page_environment
from tagalong.backend.retraining.job import Job, JobState
from tagalong.backend.server.monitoring.project_rows import make_project_rows
from tagalong.backend.server.monitoring.snapshot import ModelState, Snapshot
from tagalong.backend.server.monitoring.telemetry import MAX_LATENCY_SAMPLES
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.length_buckets import LENGTH_NAMES, LENGTH_NOTES
from tagalong.ner.tiers import TIER_DISPLAY_NAMES

# A second line of defence: if escaping failed, a browser would still run and fetch nothing.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
MAX_LISTED_JOBS = 5  # with their scores
MAX_LISTED_MODELS = 12  # of those that are not loaded
MAX_OPEN_PROJECTS = 3  # with more projects, their details are closed
STRATUM_NAMES = {"all": "All", **LENGTH_NAMES}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The strict F1 of a stratum, from 0 to 1, and its gold entities."""

    name: str
    f1: float
    support: int | None  # None if the manifest has no number


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Scores of a version on one split, such as ``dev``."""

    split: str
    documents: int | None  # None if the manifest has no number
    rows: tuple[ScoreRow, ...]  # all entities first, then the strata


@dataclass(frozen=True, slots=True)
class StoredState:
    """State of the server that is stored in files; an error says why a part of it is unknown."""

    events: Mapping[str, int] = field(default_factory=dict)  # by action
    event_store_error: str | None = None
    jobs: Sequence[Job] = ()  # the newest first
    job_store_error: str | None = None


def render_status_page(
    snapshot: Snapshot, stored: StoredState, *, address: str, root_path: str = ""
) -> str:
    """Render the page as HTML.

    `address` is that of this server, ``http://host:port``; `root_path` is the path prefix of a
    reverse proxy.
    """
    projects = [state.project for state in snapshot.projects]
    projects += [job.project for job in stored.jobs]
    projects += [assignment.project for assignment in snapshot.pool.assignments]
    return _ENVIRONMENT.get_template("status.html").render(
        rows=make_project_rows(snapshot, stored.jobs),
        max_open=MAX_OPEN_PROJECTS,
        max_jobs=MAX_LISTED_JOBS,
        max_names=MAX_LISTED_MODELS,
        project_names=name_projects(filter(None, projects)),
        length_note=LENGTH_NOTES["words"],
        snapshot=snapshot,
        stored=stored,
        status=summarize_status(snapshot, stored),
        address=address + root_path,
        events=sorted(stored.events.items(), key=lambda item: (-item[1], item[0])),
        root_path=root_path,
        latency_samples=MAX_LATENCY_SAMPLES,
        requests=sum(route.requests for route in snapshot.routes),
        failed=sum(route.server_errors for route in snapshot.routes),
    )


def name_projects(keys: Iterable[ProjectKey]) -> Mapping[ProjectKey, str]:
    """The id of each project, and its time of creation if another project has the same id."""
    different = dict.fromkeys(keys)
    ids = Counter(key.id for key in different)
    return {
        key: f"{key.id} (created on {format_time(datetime.fromtimestamp(key.created, UTC))})"
        if key.created is not None and ids[key.id] > 1
        else str(key.id)
        for key in different
    }


def summarize_status(snapshot: Snapshot, stored: StoredState) -> tuple[str, str]:
    """Return a headline, and the page's colour for it: ``good``, ``wait`` or ``bad``."""
    is_serving = any(model.manifest for model in snapshot.models)
    has_failures = any(model.load_failures for model in snapshot.models)
    if not is_serving and has_failures:
        return "No version loads", "bad"
    if stored.event_store_error:
        return "Events cannot be stored", "bad"
    if stored.job_store_error:
        return "Retraining jobs cannot be stored", "bad"
    if snapshot.pool.assignments_error:
        return "Assignments cannot be read", "bad"
    if not is_serving:
        is_loading = any(model.loading_version for model in snapshot.models)
        return ("Loading" if is_loading else "Starting"), "wait"
    return ("A version does not load", "bad") if has_failures else ("Ready", "good")


def read_score_tables(model: ModelState) -> list[ScoreTable]:
    """Return a table for each split of the manifest with a strict F1; skip everything else."""
    scores = model.manifest.scores if model.manifest else {}
    tables = (_score_table(split, value) for split, value in scores.items())
    return [table for table in tables if table is not None]


def _score_table(split: str, value: object) -> ScoreTable | None:
    if not isinstance(value, dict) or not _is_f1(value.get("strict_f1")):
        return None  # a manifest may hold anything there
    by_length, support = (_as_dict(value.get(name)) for name in ("by_length", "support"))
    counts = {length: _as_count(support.get(length)) for length in by_length}
    rows = [
        ScoreRow(STRATUM_NAMES.get(length, length), f1, counts[length])
        for length, f1 in by_length.items()
        if _is_f1(f1)
    ]
    known = [count for count in counts.values() if count is not None]
    total = sum(known) if known and len(known) == len(counts) else None
    overall = ScoreRow("All", value["strict_f1"], total)
    return ScoreTable(split, _as_count(value.get("documents")), (overall, *rows))


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_f1(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # neither True nor NaN


def _as_count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def format_job_state(job: Job) -> str:
    """Format the state of a job; "Rejected" would sound like an error."""
    return "Not promoted" if job.state is JobState.REJECTED else job.state.capitalize()


def tier_name(tier: str) -> str:
    """The name of a tier inside a sentence."""
    return TIER_DISPLAY_NAMES.get(tier, tier)


def tier_heading(tier: str) -> str:
    """The name of a tier with a capital letter."""
    name = tier_name(tier)
    return name[:1].upper() + name[1:]


def model_name(model: ModelState) -> str:
    """The name of a model inside a sentence."""
    return f"the {tier_name(model.tier)}" if model.model == model.tier else f"model {model.model}"


def format_bytes(number: int) -> str:
    """Format a size: ``512 MB``, ``1.8 GB``."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


_FILTERS: dict[str, Callable[..., Any]] = {
    "format_bytes": format_bytes,
    "model_name": model_name,
    "format_action": lambda action: action.replace("_", " ").capitalize(),
    "format_job_state": format_job_state,
    "format_stratum": lambda name: STRATUM_NAMES.get(name, name),
    "read_score_tables": read_score_tables,
    "tier_heading": tier_heading,
    "tier_name": tier_name,
}
_ENVIRONMENT = make_page_environment(Path(__file__).parent / "templates")
_ENVIRONMENT.filters |= _FILTERS
