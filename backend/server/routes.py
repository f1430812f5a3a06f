"""The routes that Label Studio calls, and those for people and monitoring."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from backend.retraining.run import RunState
from backend.retraining.runs import Runs
from backend.server.access import check_credentials, check_webhook
from backend.server.errors import Refusal, unavailable
from backend.server.events import TRAINING, job_number, parse_event
from backend.server.journal import RecordedEvent
from backend.server.predicting import parse_predict_request, project_id, read_config
from backend.server.service import Service
from backend.server.status import CONTENT_SECURITY_POLICY, render_status
from ner.errors import JournalError, TagalongError

MODEL_CLASS = "Tagalong"
SHOWN = 5  # trainings on the page, the last ones


def general_routes(service: Service) -> Blueprint:
    """What is not of one tier.

    Args:
        service: What answers.

    Returns:
        ``/metrics``.
    """
    routes = Blueprint("general", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        check_credentials(request, service.settings.credentials)
        telemetry = service.telemetry
        return Response(telemetry.exposition(), content_type=telemetry.content_type)

    return routes


def tier_routes(service: Service, tier: str) -> Blueprint:
    """What Label Studio calls, answered by one tier.

    Args:
        service: What answers.
        tier: Its name.

    Returns:
        The protocol's routes.
    """
    routes = Blueprint(tier, __name__)
    slot, settings = service.slots[tier], service.settings

    @routes.get("/health")
    def health() -> Response:
        return jsonify(_health(service, tier))

    @routes.get("/")
    def root() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
            return health()
        check_credentials(request, settings.credentials)
        return _page(service)

    @routes.post("/setup")
    def setup() -> Response:
        check_credentials(request, settings.credentials)
        body = _body()
        extra = body.get("extra_params")
        project = project_id(body.get("project"))
        service.journal.remember_extra(project, tier, extra)
        if isinstance(body.get("schema"), str):
            read_config(body["schema"], service.journal.extra_params(project, tier).get("control"))
        return jsonify(model_version=slot.version())

    @routes.post("/predict")
    def predict() -> Response:
        check_credentials(request, settings.credentials)
        asked = parse_predict_request(_body(), settings.limits)
        if not service.room.acquire(blocking=False):
            raise unavailable(
                f"{settings.limits.predictions} requests are being predicted or wait for it: "
                "try again in a moment, or select fewer tasks at once"
            )
        try:
            control = service.journal.extra_params(asked.project, tier).get("control")
            answer = service.predictor.answer(asked, slot, control=control)
        finally:
            service.room.release()
        service.telemetry.predicted(asked.project, tier, answer.outcome)
        return jsonify(results=answer.results)

    @routes.post("/webhook")
    @routes.post("/train")
    def webhook() -> tuple[Response, HTTPStatus]:
        check_webhook(request, settings)
        body = _body()
        if request.path.endswith("/train"):  # what older releases call instead of START_TRAINING
            body = {"action": TRAINING, "project": body.get("project")}
        event = parse_event(body)
        if event is None or not event.known:
            return jsonify(status="ignored"), HTTPStatus.OK
        number = service.journal.record(event)
        service.telemetry.event(event.action)
        if number is None:
            return jsonify(status="known"), HTTPStatus.OK
        if event.project is not None and event.action == TRAINING:
            service.train(event.project, tier, number)
        if event.project is not None and event.action == "PROJECT_DELETED":
            service.runs.cancel(event.project)
        return jsonify(status="recorded", job=str(number)), HTTPStatus.CREATED

    @routes.route("/versions", methods=["GET", "POST"])
    def versions() -> Response:
        check_credentials(request, settings.credentials)
        return jsonify(versions=_versions(service, tier))

    @routes.post("/job_status")
    def job_status() -> Response:
        check_credentials(request, settings.credentials)
        number = job_number(_body().get("job"))
        event = None if number is None else service.journal.event(number)
        if event is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such job")
        return jsonify(_job(event, service.runs))

    return routes


def _page(service: Service) -> Response:
    """The status page, which runs no script and loads nothing."""
    try:
        events, fault = service.journal.count(), service.journal.error
    except JournalError as error:
        events, fault = {}, str(error)
    try:
        trainings, trouble = service.runs.latest(limit=SHOWN), service.runs.error
    except JournalError as error:
        trainings, trouble = [], str(error)
    page = render_status(
        service.telemetry.snapshot(),
        address=request.host_url.rstrip("/"),
        events=events,
        journal_error=fault,
        trainings=trainings,
        training_error=trouble,
        root=request.script_root,
    )
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return Response(page, content_type="text/html; charset=utf-8", headers=headers)


def _body() -> Mapping[str, Any]:
    """The body of a request.

    Returns:
        The object that it holds.

    Raises:
        Refusal: If it is no JSON object.
        RequestEntityTooLarge: If it is larger than the app takes.
    """
    content, most = request.get_data(cache=False), request.max_content_length
    if request.content_length is None and most is not None and len(content) >= most:
        raise RequestEntityTooLarge  # sent in chunks, of which Werkzeug leaves out what is too much
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, "the body is not JSON: send it as Label Studio does"
        ) from error
    if not isinstance(body, dict):
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is JSON, but not an object")
    return body


def _job(event: RecordedEvent, runs: Runs) -> dict[str, Any]:
    """What has become of an event."""
    project = event.event.project
    run = None if project is None else runs.answering(project, event.id)
    failed = run is not None and run.state is RunState.FAILED
    reason = run.outcome.reason if run and run.outcome and run.state.is_over else None
    return {
        "job_status": run.state if run else "recorded",
        "created_at": event.received.isoformat(),
        "standing": run.standing or reason if run else None,
        "error": reason if failed else None,
    }


def _health(service: Service, tier: str) -> dict[str, Any]:
    """What is known without waiting for anything."""
    loaded = service.slots[tier].loaded
    return {
        "status": "UP",
        "model_class": MODEL_CLASS,
        "tier": tier,
        "version": loaded.tier.version if loaded else None,
        "labels": list(loaded.tier.labels) if loaded else [],
    }


def _versions(service: Service, tier: str) -> list[str]:
    """The versions of a tier, the serving one first, then the newest."""
    try:
        serving = [service.slots[tier].version()]
    except TagalongError:
        serving = []
    known = [manifest.version for manifest in reversed(service.catalogue.versions(tier))]
    return list(dict.fromkeys([*serving, *known]))
