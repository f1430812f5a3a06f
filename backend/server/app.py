"""The Flask app: requests measured, let in or refused, and every error said in one sentence."""

import logging
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from tagalong.backend.models.registry import TIER_SPECS
from tagalong.backend.models.tier import Tier
from tagalong.backend.server.auth import CHALLENGE
from tagalong.backend.server.prediction.errors import RequestError
from tagalong.backend.server.routes import create_metrics_routes, create_tier_routes
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tagalong.ner.errors import InputError, TagalongError
from tagalong.ner.model_registry import DEFAULT_TIER

RETRY_AFTER_SECONDS = 2  # seconds, where an answer is expected soon

log = logging.getLogger(__name__)


def create_app(settings: Settings, *, load: Callable[[Path], Tier] | None = None) -> Flask:
    """Make the app and begin to load what is current.

    Args:
        settings: What the server is told.
        load: Makes a version's folder a tier; None for what does so for each.

    Returns:
        The app; its `Service` is in ``app.extensions["tagalong"]``.
    """
    service = Service(settings, load=load)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.limits.max_body_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["tagalong"] = service
    app.register_blueprint(create_metrics_routes(service))
    for prefix, tier in ("", DEFAULT_TIER), *((f"/{name}", name) for name in TIER_SPECS):
        name = prefix.strip("/") or "unnamed"
        app.register_blueprint(create_tier_routes(service, tier), url_prefix=prefix, name=name)
    app.before_request(lambda: _before_request(service))
    app.after_request(lambda response: _after_request(service, response))
    app.teardown_request(lambda _: service.telemetry.record_request_ended())
    app.register_error_handler(TagalongError, _handle_tagalong_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(Exception, _handle_unexpected_error)
    service.start()
    return app


def _before_request(service: Service) -> None:
    """Start the clock."""
    service.telemetry.record_request_started()
    g.started = time.perf_counter()


def _after_request(service: Service, response: Response) -> Response:
    """Count the request, and keep browsers from making more of the answer than it is."""
    route = request.url_rule.rule if request.url_rule else "unknown"
    seconds = time.perf_counter() - g.started if "started" in g else 0.0
    service.telemetry.record_response(route, response.status_code, seconds)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response


def _error_response(status: int, sentence: str, code: str) -> Response:
    """An error as Label Studio and people can read it."""
    response = jsonify(error=sentence, code=code)
    response.status_code = status
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = CHALLENGE
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _handle_tagalong_error(error: TagalongError) -> Response:
    """Say why a request is not served."""
    if isinstance(error, RequestError):
        return _error_response(error.status, str(error), error.code)
    if isinstance(error, InputError):
        return _error_response(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), error.code)
    return _error_response(HTTPStatus.SERVICE_UNAVAILABLE, str(error), error.code)


def _handle_http_error(error: HTTPException) -> Response:
    """Say in JSON what Flask refuses by itself, such as unknown paths and bodies too large."""
    if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        most = request.max_content_length or 0
        return _error_response(
            error.code,
            f"the request is larger than {most:,} bytes: select fewer tasks",
            "request-too-large",
        )
    return _error_response(
        error.code or HTTPStatus.INTERNAL_SERVER_ERROR,
        error.description or error.name,
        error.name.lower().replace(" ", "-"),
    )


def _handle_unexpected_error(error: Exception) -> Response:
    """Say that we failed, and log where: never with what, which may be a patient's record."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s in %s:\n%s", type(error).__name__, request.path, where)
    return _error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "something unforeseen went wrong; the server's log says where",
        "unexpected-error",
    )
