"""Whether Label Studio answers, lets the key in, and shows it the project."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import jwt

from backend.doctor.case import Case
from backend.doctor.finding import Verdict, as_sentence, ok, problem, warning
from backend.remote.objects import Project
from ner.errors import LabelStudioError

TESTED = "1.23.2"
WHERE = "Account & Settings, Personal Access Token"
SHOWN = 5  # projects that a sentence names

START = (
    "Start Label Studio, and give its address as the browser shows it, such as "
    "http://localhost:8080."
)
NEW_TOKEN = f"Create a new token in Label Studio under {WHERE}, and copy it at once."
LEGACY_OFF = (
    f"Create a personal token under {WHERE}, and give that; or let the owner of the organisation "
    "switch legacy tokens on under Organization, API Tokens Settings."
)


def check_label_studio(case: Case) -> Verdict:
    """Whether it answers, and is a release that we know."""
    try:
        release = case.release()
    except LabelStudioError as error:
        return problem(as_sentence(str(error)), START)
    if _series(release) == _series(TESTED):
        return ok(f"Label Studio {release} answers.")
    return warning(
        f"Label Studio {release} answers; Tagalong is tested with {TESTED}.",
        f"If something does not work that should, try it with Label Studio {TESTED}.",
    )


def _series(release: str) -> Sequence[str]:
    """The first two numbers of a release."""
    return release.split(".")[:2]


def check_key(case: Case) -> Verdict:
    """Whether Label Studio accepts the key; if not, what is wrong with it."""
    flaw = _flaw(case.question.key.strip())
    if flaw is not None:
        return flaw
    try:
        studio = case.studio
        user = studio.me()
    except LabelStudioError as error:
        if error.problem != "key":
            raise
        return _refused(error)
    kind = "personal" if studio.connection.key_kind == "personal" else "legacy"
    return ok(f"The key is a {kind} token of {user.email}.")


def _flaw(key: str) -> Verdict | None:
    """What can be seen of a key without sending it."""
    if key.count(".") == 1 and key.startswith("ey"):
        return problem(
            "The key is a personal token without its last third, as the list of tokens shows it.",
            NEW_TOKEN,
        )
    claims = _claims(key)
    if key.count(".") == 2 and claims is None:
        return problem("The key looks like a personal token, but is damaged or cut off.", NEW_TOKEN)
    if claims is None:
        return None
    if claims.get("token_type") == "access":
        return problem(
            "The key is a short-lived access token, which a personal token is exchanged for.",
            f"Give the personal token itself, from {WHERE}.",
        )
    expires = claims.get("exp")
    if isinstance(expires, int | float) and expires < datetime.now(UTC).timestamp():
        day = datetime.fromtimestamp(expires, UTC).date()
        return problem(f"The personal token has expired on {day}.", NEW_TOKEN)
    return None


def _claims(key: str) -> dict[str, Any] | None:
    """What a personal token says of itself; None where it is not one."""
    try:
        return dict(jwt.decode(key, options={"verify_signature": False, "verify_exp": False}))
    except jwt.InvalidTokenError:
        return None


def _refused(error: LabelStudioError) -> Verdict:
    """Why Label Studio refuses a key."""
    detail = error.detail
    if not detail:
        return problem(as_sentence(str(error)), NEW_TOKEN)
    if "legacy token authentication has been disabled" in detail:
        return problem(
            "The key is a legacy token, and the organisation has legacy tokens switched off, as "
            "new organisations do.",
            LEGACY_OFF,
        )
    if "blacklisted" in detail:
        return problem("The personal token was revoked.", NEW_TOKEN)
    return problem(
        f"Label Studio does not know the key ({detail}).",
        f"Copy it again, whole, and from this Label Studio: {WHERE}.",
    )


def check_project(case: Case) -> Verdict:
    """Whether there is such a project, and the key may see it."""
    try:
        return ok(f"Project {case.project.id} is {case.project.title!r}.")
    except LabelStudioError as error:
        if error.problem not in ("missing", "forbidden"):
            raise
    visible = case.studio.projects()
    return problem(
        f"The key sees no project {case.question.project}; {_named(visible)}.",
        "Give the number that follows /projects/ in the browser's address, or have the key's user "
        "added to the project.",
    )


def _named(projects: Sequence[Project]) -> str:
    """Which projects there are."""
    if not projects:
        return "it sees none at all"
    named = ", ".join(f"{project.id} ({project.title!r})" for project in projects[:SHOWN])
    more = f" and {len(projects) - SHOWN} more" if len(projects) > SHOWN else ""
    return f"it sees {named}{more}"
