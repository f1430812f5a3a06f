"""Who may ask: basic authentication, and a secret of its own for webhook events."""

import base64
import binascii
import hmac
from http import HTTPStatus

from flask import Request

from tagalong.backend.server.prediction.errors import RequestError
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials, Settings

CHALLENGE = 'Basic realm="Tagalong", charset="UTF-8"'
ENCODINGS = ("utf-8", "latin-1")  # browsers send the first, Label Studio the second


def check_credentials(request: Request, credentials: Credentials | None) -> None:
    """Let nobody in without the credentials.

    Args:
        request: Any.
        credentials: None lets everybody in.

    Raises:
        Refusal: If they are missing or wrong.
    """
    if credentials is None or _has_credentials(request, credentials):
        return
    raise RequestError(
        HTTPStatus.UNAUTHORIZED,
        "username or password is missing or wrong: set both on the ML backend in Label Studio, "
        "the same as the server's TAGALONG_USERNAME and TAGALONG_PASSWORD",
    )


def check_webhook_auth(request: Request, settings: Settings) -> None:
    """Let in what carries the secret or the credentials, where there are any.

    Label Studio sends its train button's call with the credentials, and all other events without.

    Args:
        request: A webhook event.
        settings: Its credentials and webhook_secret are used.

    Raises:
        Refusal: If it carries neither.
    """
    secret, credentials = settings.webhook_secret, settings.credentials
    if secret is None and credentials is None:
        return
    if secret is not None and _equal_in_constant_time(
        request.headers.get(WEBHOOK_SECRET_HEADER, ""), secret
    ):
        return
    if credentials is not None and _has_credentials(request, credentials):
        return
    raise RequestError(
        HTTPStatus.UNAUTHORIZED,
        f"the event does not carry the secret: give the webhook the header {WEBHOOK_SECRET_HEADER} with "
        "the server's TAGALONG_WEBHOOK_SECRET, under Settings, Webhooks in Label Studio",
    )


def _has_credentials(request: Request, credentials: Credentials) -> bool:
    """Whether a request carries the credentials."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        sent = base64.b64decode(token.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    # All are compared, whatever the first says, so that the time tells nothing of any.
    known = f"{credentials.username}:{credentials.password}"
    same = [
        hmac.compare_digest(sent, known.encode(encoding, "backslashreplace"))
        for encoding in ENCODINGS
    ]
    return scheme.lower() == "basic" and any(same)


def _equal_in_constant_time(sent: str, known: str) -> bool:
    """Compare in constant time; header bytes that are no text are just wrong."""
    return hmac.compare_digest(
        sent.encode("utf-8", "surrogateescape"), known.encode("utf-8", "surrogateescape")
    )
