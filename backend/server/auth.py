"""Authentication: basic credentials, and a separate secret for webhook events."""

import base64
import hmac
from http import HTTPStatus

from flask import request

from tagalong.backend.server.guess_limiter import GuessLimiter
from tagalong.backend.server.prediction.request import RequestError
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials, Settings

CHALLENGE = 'Basic realm="Tagalong", charset="UTF-8"'
ENCODINGS = ("utf-8", "latin-1")  # browsers send the first, Label Studio the second


def check_credentials(credentials: Credentials | None, guess_limiter: GuessLimiter) -> None:
    """Refuse a request without the credentials; None lets everybody in."""
    if credentials is not None and not _has_credentials(credentials, guess_limiter):
        raise RequestError(
            HTTPStatus.UNAUTHORIZED,
            "username or password is missing or wrong: in Label Studio, give the ML backend the "
            "server's TAGALONG_USERNAME and TAGALONG_PASSWORD",
            code="wrong-credentials",
        )


def check_webhook_auth(settings: Settings, guess_limiter: GuessLimiter) -> None:
    """Accept a webhook event with the secret or the credentials, if the server has any.

    Label Studio sends the train button's event with the credentials, and all others without.
    """
    secret, credentials = settings.webhook_secret, settings.credentials
    if secret is None and credentials is None:
        return
    # surrogateescape: a header may hold bytes that are not UTF-8; they are wrong, not an error.
    sent = request.headers.get(WEBHOOK_SECRET_HEADER, "").encode("utf-8", "surrogateescape")
    if secret is not None and sent:
        is_right = hmac.compare_digest(sent, secret.encode("utf-8", "surrogateescape"))
        if _check_guess(guess_limiter, sent, is_right=is_right):
            return
    if credentials is not None and _has_credentials(credentials, guess_limiter):
        return
    if secret is None:
        message = (
            "the event has no valid password, and the server has no secret: for the train button "
            "give the ML backend the password, for other events set TAGALONG_WEBHOOK_SECRET"
        )
        raise RequestError(HTTPStatus.UNAUTHORIZED, message, code="webhook-secret-not-set")
    raise RequestError(
        HTTPStatus.UNAUTHORIZED,
        "the event has no valid secret or password: in Label Studio, give the webhook the header "
        f"{WEBHOOK_SECRET_HEADER}, and for the train button give the ML backend the password",
        code="wrong-webhook-secret",
    )


def _has_credentials(credentials: Credentials, guess_limiter: GuessLimiter) -> bool:
    header = request.headers.get("Authorization", "")
    if not header:
        return False  # no guess
    scheme, _, token = header.partition(" ")
    try:
        sent = base64.b64decode(token.strip(), validate=True)
    except ValueError:
        sent = b""
    # Compare with all encodings, whatever the first result, so that the time reveals nothing.
    expected = f"{credentials.username}:{credentials.password}"
    matches = [
        hmac.compare_digest(sent, expected.encode(encoding, "backslashreplace"))
        for encoding in ENCODINGS
    ]
    is_right = scheme.lower() == "basic" and any(matches)
    return _check_guess(guess_limiter, sent, is_right=is_right)


def _check_guess(guess_limiter: GuessLimiter, guess: bytes, *, is_right: bool) -> bool:
    # A proxy appends the address of its client to those that the client sends.
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    address = request.remote_addr or ""
    return guess_limiter.check(address, guess, is_right=is_right, forwarded=forwarded)
