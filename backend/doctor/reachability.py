"""Whether Label Studio answers, lets the key in, and shows it the project."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import jwt

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, format_sentence, ok, problem, warning
from tagalong.backend.label_studio.api.objects import Project
from tagalong.ner.errors import LabelStudioError

TESTED_VERSION = "1.23.2"
ACCESS_PAGE = "Account & Settings, Personal Access Token"
MAX_LISTED_PROJECTS = 5  # projects that a sentence names

START_REMEDY = (
    "Start Label Studio, and give its address as the browser shows it, such as "
    "http://localhost:8080."
)
NEW_TOKEN_REMEDY = f"Create a new token in Label Studio under {ACCESS_PAGE}, and copy it at once."
LEGACY_TOKEN_REMEDY = (
    f"Create a personal token under {ACCESS_PAGE}, and give that; or let the owner of the organisation "
    "switch legacy tokens on under Organization, API Tokens Settings."
)


def check_label_studio(case: DoctorContext) -> CheckResult:
    """Whether it answers, and is a release that we know."""
    try:
        release = case.read_label_studio_version()
    except LabelStudioError as error:
        return problem(format_sentence(str(error)), START_REMEDY)
    if _release_series(release) == _release_series(TESTED_VERSION):
        return ok(f"Label Studio {release} answers.")
    return warning(
        f"Label Studio {release} answers; Tagalong is tested with {TESTED_VERSION}.",
        f"If something does not work that should, try it with Label Studio {TESTED_VERSION}.",
    )


def _release_series(release: str) -> Sequence[str]:
    """The first two numbers of a release."""
    return release.split(".")[:2]


def check_key(case: DoctorContext) -> CheckResult:
    """Whether Label Studio accepts the key; if not, what is wrong with it."""
    flaw = _find_key_problem(case.options.key.strip())
    if flaw is not None:
        return flaw
    try:
        studio = case.client
        user = studio.whoami()
    except LabelStudioError as error:
        if error.kind != "key":
            raise
        return _explain_refused_key(error)
    kind = "personal" if studio.connection.key_type == "personal" else "legacy"
    return ok(f"The key is a {kind} token of {user.email}.")


def _find_key_problem(key: str) -> CheckResult | None:
    """What can be seen of a key without sending it."""
    if key.count(".") == 1 and key.startswith("ey"):
        return problem(
            "The key is a personal token without its last third, as the list of tokens shows it.",
            NEW_TOKEN_REMEDY,
        )
    claims = _read_token_claims(key)
    if key.count(".") == 2 and claims is None:
        return problem(
            "The key looks like a personal token, but is damaged or cut off.", NEW_TOKEN_REMEDY
        )
    if claims is None:
        return None
    if claims.get("token_type") == "access":
        return problem(
            "The key is a short-lived access token, which a personal token is exchanged for.",
            f"Give the personal token itself, from {ACCESS_PAGE}.",
        )
    expires = claims.get("exp")
    if isinstance(expires, int | float) and expires < datetime.now(UTC).timestamp():
        day = datetime.fromtimestamp(expires, UTC).date()
        return problem(f"The personal token has expired on {day}.", NEW_TOKEN_REMEDY)
    return None


def _read_token_claims(key: str) -> dict[str, Any] | None:
    """What a personal token says of itself; None where it is not one."""
    try:
        return dict(jwt.decode(key, options={"verify_signature": False, "verify_exp": False}))
    except jwt.InvalidTokenError:
        return None


def _explain_refused_key(error: LabelStudioError) -> CheckResult:
    """Why Label Studio refuses a key."""
    detail = error.detail
    if not detail:
        return problem(format_sentence(str(error)), NEW_TOKEN_REMEDY)
    if "legacy token authentication has been disabled" in detail:
        return problem(
            "The key is a legacy token, and the organisation has legacy tokens switched off, as "
            "new organisations do.",
            LEGACY_TOKEN_REMEDY,
        )
    if "blacklisted" in detail:
        return problem("The personal token was revoked.", NEW_TOKEN_REMEDY)
    return problem(
        f"Label Studio does not know the key ({detail}).",
        f"Copy it again, whole, and from this Label Studio: {ACCESS_PAGE}.",
    )


def check_project(case: DoctorContext) -> CheckResult:
    """Whether there is such a project, and the key may see it."""
    try:
        return ok(f"Project {case.project.id} is {case.project.title!r}.")
    except LabelStudioError as error:
        if error.kind not in ("missing", "forbidden"):
            raise
    visible = case.client.list_projects()
    return problem(
        f"The key sees no project {case.options.project}; {_format_projects(visible)}.",
        "Give the number that follows /projects/ in the browser's address, or have the key's user "
        "added to the project.",
    )


def _format_projects(projects: Sequence[Project]) -> str:
    """Which projects there are."""
    if not projects:
        return "it sees none at all"
    named = ", ".join(
        f"{project.id} ({project.title!r})" for project in projects[:MAX_LISTED_PROJECTS]
    )
    more = (
        f" and {len(projects) - MAX_LISTED_PROJECTS} more"
        if len(projects) > MAX_LISTED_PROJECTS
        else ""
    )
    return f"it sees {named}{more}"
