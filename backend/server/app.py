"""The Flask app: its routes, and one sentence with a code for every error."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType

from flask import Flask, Response, jsonify, request
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.middleware.proxy_fix import ProxyFix

from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.models.tier_specs import TIER_SPECS
from tagalong.backend.server.auth import CHALLENGE, check_credentials
from tagalong.backend.server.prediction.request import RETRY_AFTER_SECONDS, RequestError
from tagalong.backend.server.routes import add_request_hooks, create_routes
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tagalong.ner.errors import InputError, TagalongError, describe_fault
from tagalong.ner.tiers import DEFAULT_TIER

BAD_REQUEST_MESSAGE = "the server does not understand the request: send it as Label Studio does"
HTTP_ERROR_MESSAGES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "the server has no such path: give Label Studio its address without one",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take the request's method: use another",
}

log = logging.getLogger(__name__)


class App(Flask):
    """Flask with a log that quotes no request and no exception."""

    def log_exception(
        self, exc_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None]
    ) -> None:
        """Log the kind and place of an unexpected exception."""
        if exc_info[1] is not None:
            log.error("%s: %s", describe_route(), describe_fault(exc_info[1]))


def create_app(
    settings: Settings, *, load: Callable[[Path], DocumentTagger] | None = None
) -> Flask:
    """Create the app, and start loading the current versions.

    Its `Service` is in ``app.extensions["tagalong"]``. `load` turns a version folder into a tagger;
    None for each tier's own loader.
    """
    service = Service(settings, load=load)
    app = App(__name__)
    app.logger = log  # Flask would add a handler
    app.config["PROPAGATE_EXCEPTIONS"] = False  # whatever FLASK_DEBUG says
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["tagalong"] = service

    @app.get("/metrics")
    def metrics() -> Response:
        check_credentials(settings.credentials, service.guess_limiter)
        service.telemetry.record_pool(service.model_pool.read_state())
        exposition = generate_latest(service.telemetry.registry)
        return Response(exposition, content_type=CONTENT_TYPE_LATEST)

    for prefix, tier in ("", DEFAULT_TIER), *((f"/{name}", name) for name in TIER_SPECS):
        name = prefix.strip("/") or "unnamed"
        app.register_blueprint(create_routes(service, tier), url_prefix=prefix, name=name)
    app.register_blueprint(create_routes(service, None), url_prefix="/models/<model>")
    add_request_hooks(app, service)
    # Any client may send these headers: they only change the URLs in its own answers.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=0, x_proto=1, x_prefix=1)  # type: ignore[method-assign]
    app.register_error_handler(TagalongError, _handle_tagalong_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(InternalServerError, _handle_unexpected_error)
    service.start()
    return app


def _error_response(
    status: int, message: str, code: str, *, retry_after_seconds: int | None = None
) -> Response:
    """An error for people (message) and programs (code)."""
    response = jsonify(error=message, code=code)
    response.status_code = status
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = CHALLENGE
    if status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after_seconds is None:
        retry_after_seconds = RETRY_AFTER_SECONDS
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def _handle_tagalong_error(error: TagalongError) -> Response:
    retry_after_seconds = None
    match error:
        case RequestError():
            status, retry_after_seconds = error.status, error.retry_after_seconds
        case InputError():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
        case _:  # a version or a file that the server needs, and may have again later
            status = HTTPStatus.SERVICE_UNAVAILABLE
    return _error_response(status, str(error), error.code, retry_after_seconds=retry_after_seconds)


def _handle_http_error(error: HTTPException) -> Response:
    """Answer Flask's own errors in JSON, such as unknown paths and large bodies."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        max_bytes = request.max_content_length or 0
        message = f"the request has more than {max_bytes:,} bytes: send less, such as fewer tasks"
        return _error_response(status, message, "body-too-large")
    code = error.name.lower().replace(" ", "-")
    return _error_response(status, HTTP_ERROR_MESSAGES.get(status, BAD_REQUEST_MESSAGE), code)


def describe_route() -> str:
    """Method and route of the current request, whose own words may be anything."""
    return f"{request.method} {request.url_rule}" if request.url_rule else "- unknown"


def _handle_unexpected_error(_: InternalServerError) -> Response:
    message = "the server failed: its log shows where"
    return _error_response(HTTPStatus.INTERNAL_SERVER_ERROR, message, "internal-error")
