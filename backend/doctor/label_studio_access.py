"""Checks of the access to Label Studio, by the key, and to the project."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import jwt

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import (
    MAX_LISTED,
    DoctorFinding,
    format_sentence,
    ok,
    problem,
    warning,
)
from tagalong.backend.label_studio.api.objects import Project
from tagalong.ner.errors import LabelStudioError

TESTED_VERSION = "1.23.2"  # other patches of 1.23 are accepted without a warning
ACCESS_PAGE = "Account & Settings, Personal Access Token"
START_REMEDY = (
    "Start Label Studio, and give its address as in the browser, such as http://localhost:8080."
)
NEW_TOKEN_REMEDY = f"Create a new token in Label Studio under {ACCESS_PAGE}, and copy it at once."
LEGACY_TOKEN_REMEDY = (
    f"Create a personal token under {ACCESS_PAGE}, and give that; or let the owner of the "
    "organisation switch legacy tokens on under Organization, API Tokens Settings."
)


def check_label_studio(context: DoctorContext) -> DoctorFinding:
    """Whether Label Studio answers, and is a tested release."""
    try:
        release = context.read_label_studio_version()
    except LabelStudioError as error:
        return problem(error.code, format_sentence(str(error)), START_REMEDY)
    if release.split(".")[:2] == TESTED_VERSION.split(".")[:2]:  # major and minor
        return ok(f"Label Studio {release} answers.")
    sentence = f"Label Studio {release} answers; Tagalong is tested with {TESTED_VERSION}."
    remedy = f"If something does not work, try it with Label Studio {TESTED_VERSION}."
    return warning("untested-release", sentence, remedy)


def check_key(context: DoctorContext) -> DoctorFinding:
    """Whether Label Studio accepts the key, and why not."""
    broken = _find_key_problem(context.options.key.strip())
    if broken is not None:
        return broken
    try:
        user = context.client.whoami()
    except LabelStudioError as error:
        if error.kind != "key":
            raise
        return _explain_refused_key(error)
    return ok(f"The key is a {context.client.connection.key_type} token of {user.email}.")


def _find_key_problem(key: str) -> DoctorFinding | None:
    """A problem of the key that shows without a request."""
    # A personal token is a JWT of three parts; the list of tokens shows two of them.
    if key.count(".") == 1 and key.startswith("ey"):
        return problem(
            "key-incomplete",
            "The key is a personal token without its last third, as the list of tokens shows it.",
            NEW_TOKEN_REMEDY,
        )
    claims = _read_token_claims(key)
    if key.count(".") == 2 and claims is None:
        sentence = "The key looks like a personal token, but is damaged or incomplete."
        return problem("key-damaged", sentence, NEW_TOKEN_REMEDY)
    if claims is None:
        return None
    if claims.get("token_type") == "access":
        sentence = "The key is a short-lived access token, which a personal token is exchanged for."
        remedy = f"Give the personal token itself, from {ACCESS_PAGE}."
        return problem("key-short-lived", sentence, remedy)
    expires = claims.get("exp")
    if isinstance(expires, int | float) and expires < datetime.now(UTC).timestamp():
        day = datetime.fromtimestamp(expires, UTC).date()
        return problem("key-expired", f"The personal token has expired on {day}.", NEW_TOKEN_REMEDY)
    return None


def _read_token_claims(key: str) -> dict[str, Any] | None:
    """The claims of a personal token; None for another key."""
    try:
        return dict(jwt.decode(key, options={"verify_signature": False, "verify_exp": False}))
    except jwt.InvalidTokenError:
        return None


def _explain_refused_key(error: LabelStudioError) -> DoctorFinding:
    detail = error.detail  # alone distinguishes the cases: all have the kind "key"
    if not detail:
        return problem(error.code, format_sentence(str(error)), NEW_TOKEN_REMEDY)
    if "legacy token authentication has been disabled" in detail:
        return problem(
            "legacy-tokens-off",
            "The key is a legacy token, and legacy tokens are switched off, as in every new "
            "organisation.",
            LEGACY_TOKEN_REMEDY,
        )
    if "blacklisted" in detail:
        return problem("key-revoked", "The personal token was revoked.", NEW_TOKEN_REMEDY)
    sentence = f"Label Studio does not know the key ({detail})."
    remedy = f"Copy the whole key again, from this Label Studio: {ACCESS_PAGE}."
    return problem("key-unknown", sentence, remedy)


def check_project(context: DoctorContext) -> DoctorFinding:
    """Whether the project exists, and the key may see it."""
    try:
        return ok(f"Project {context.project.id} is {context.project.title!r}.")
    except LabelStudioError as error:
        if error.kind not in ("missing", "forbidden"):
            raise
    visible = context.client.list_projects()
    return problem(
        "no-such-project",
        f"The key sees no project {context.options.project}; {_format_projects(visible)}.",
        "Give the number that follows /projects/ in the browser's address, or have the key's user "
        "added to the project.",
    )


def _format_projects(projects: Sequence[Project]) -> str:
    if not projects:
        return "it sees none at all"
    named = ", ".join(f"{project.id} ({project.title!r})" for project in projects[:MAX_LISTED])
    others = len(projects) - MAX_LISTED
    return f"it sees {named}{f' and {others} more' if others > 0 else ''}"
