"""Guessers of passwords have to wait; Label Studio beside them does not."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tagalong.backend.server.guess_limiter import (
    MAX_ADDRESSES,
    MAX_WRONG_GUESSES,
    SECONDS_PER_GUESS,
    GuessLimiter,
)
from tagalong.backend.server.prediction.request import RequestError
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials
from tests.backend.server.app_client import assert_refused, post_json, serve_app, settings_in
from tests.errors import raises

EVENT = {"action": "START_TRAINING", "project": 1}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> GuessLimiter:
    return GuessLimiter(clock=clock)


def exhaust(limiter: GuessLimiter, address: str) -> None:
    for number in range(MAX_WRONG_GUESSES):
        assert not limiter.check(address, b"%d" % number, is_right=False)


def test_further_guesses_wait_for_seconds(limiter: GuessLimiter, clock: Clock) -> None:
    exhaust(limiter, "192.0.2.1")
    for is_right in (False, True):
        with raises(RequestError, "too-many-wrong-passwords") as raised:
            limiter.check("192.0.2.1", b"guess", is_right=is_right)
        assert raised.value.retry_after_seconds == SECONDS_PER_GUESS
    assert limiter.check("192.0.2.2", b"right", is_right=True)
    clock.now += SECONDS_PER_GUESS
    assert limiter.check("192.0.2.1", b"right", is_right=True)


def test_guesses_are_ten_a_minute(limiter: GuessLimiter, clock: Clock) -> None:
    exhaust(limiter, "192.0.2.1")
    answered = 0
    for number in range(100, 700):
        clock.now += 0.1
        try:
            limiter.check("192.0.2.1", b"%d" % number, is_right=False)
        except RequestError:
            continue
        answered += 1
    assert 9 <= answered <= 10


def test_a_password_in_use_is_never_locked_out(limiter: GuessLimiter) -> None:
    assert limiter.check("192.0.2.1", b"right", is_right=True)
    exhaust(limiter, "192.0.2.1")
    with raises(RequestError, "too-many-wrong-passwords"):
        limiter.check("192.0.2.1", b"other", is_right=True)
    assert limiter.check("192.0.2.1", b"right", is_right=True)


def test_a_wrong_setting_counts_once(limiter: GuessLimiter) -> None:
    """Label Studio sends the secret of a webhook with every event, even if it is wrong."""
    for _ in range(10 * MAX_WRONG_GUESSES):
        assert not limiter.check("192.0.2.1", b"old secret", is_right=False)
    assert limiter.check("192.0.2.1", b"right", is_right=True)
    for number in range(MAX_WRONG_GUESSES - 1):
        limiter.check("192.0.2.1", b"%d" % number, is_right=False)
    assert not limiter.check("192.0.2.1", b"old secret", is_right=False)
    with raises(RequestError, "too-many-wrong-passwords"):
        limiter.check("192.0.2.1", b"new", is_right=False)


def test_one_client_has_all_addresses_of_an_ipv6_network(limiter: GuessLimiter) -> None:
    for number in range(MAX_WRONG_GUESSES):
        limiter.check(f"2001:db8::{number:x}", b"%d" % number, is_right=False)
    with raises(RequestError, "too-many-wrong-passwords"):
        limiter.check("2001:db8::ffff", b"guess", is_right=False)
    assert not limiter.check("2001:db8:0:1::1", b"guess", is_right=False)


def test_memory_is_constant(limiter: GuessLimiter) -> None:
    for number in range(3 * MAX_ADDRESSES):
        address = f"10.0.{number // 256}.{number % 256}"
        limiter.check(address, b"guess", is_right=False)
        limiter.check(address, b"right", is_right=True)
    assert len(limiter._guesses) == len(limiter._accepted) == MAX_ADDRESSES


def guesses() -> Iterator[dict[str, str]]:
    for number in range(MAX_WRONG_GUESSES):
        token = base64.b64encode(b"studio:%d" % number).decode()
        yield {"Authorization": f"Basic {token}"}


@pytest.mark.parametrize("path", ["/setup", "/metrics", "/", "/webhook"])
def test_guessers_get_429_on_every_route(tmp_path: Path, path: str) -> None:
    right = {"Authorization": "Basic " + base64.b64encode(b"studio:password").decode()}
    method = "POST" if path in ("/setup", "/webhook") else "GET"
    with serve_app(settings_in(tmp_path, credentials=Credentials("studio", "password"))) as client:

        def status(headers: dict[str, str]) -> int:
            headers = headers | {"Accept": "text/html"}
            return client.open(path, method=method, headers=headers, json=EVENT).status_code

        assert [status({}) for _ in range(20)] == [401] * 20  # no guesses
        assert [status(guess) for guess in guesses()] == [401] * MAX_WRONG_GUESSES
        for headers in ({"Authorization": "Basic eDp5"}, right):
            answer = client.open(path, method=method, headers=headers | {"Accept": "text/html"})
            assert_refused(answer, 429, "too-many-wrong-passwords")
            assert 0 < int(answer.headers["Retry-After"]) <= SECONDS_PER_GUESS
        elsewhere = {"REMOTE_ADDR": "192.0.2.9"}
        answer = client.open(
            path, method=method, headers=right, json=EVENT, environ_overrides=elsewhere
        )
        assert answer.status_code < 300
        assert client.get("/health").status_code == 200


def test_guessers_of_the_webhook_secret_get_429(tmp_path: Path) -> None:
    with serve_app(settings_in(tmp_path, webhook_secret="s3cret")) as client:
        for number in range(MAX_WRONG_GUESSES):
            headers = {WEBHOOK_SECRET_HEADER: str(number)}
            answer = post_json(client, "/webhook", EVENT, headers=headers)
            assert_refused(answer, 401, "wrong-webhook-secret")
        for guess in ("guess", "s3cret"):
            headers = {WEBHOOK_SECRET_HEADER: guess}
            answer = post_json(client, "/webhook", EVENT, headers=headers)
            assert_refused(answer, 429, "too-many-wrong-passwords")
