"""Checks of the backend's own answers and their duration."""

from typing import Any

from tagalong.backend.doctor.backend_client import REFUSALS, BackendResponse
from tagalong.backend.doctor.context import HEALTH_TIMEOUT_SECONDS, DoctorContext
from tagalong.backend.doctor.finding import (
    DoctorFinding,
    format_sentence,
    ok,
    problem,
    skipped,
    warning,
)
from tagalong.ner.counted_nouns import pluralize

# Time limits of Label Studio 1.23: ML_TIMEOUT_HEALTH, ML_TIMEOUT_SETUP and ML_TIMEOUT_PREDICT.
HEALTH_LIMIT_SECONDS, SETUP_LIMIT_SECONDS = 1.0, 3.0
PREDICT_LIMIT_SECONDS = 100.0  # for all tasks of a request
SLOW_PREDICTION_SECONDS = 10.0  # too long for an annotator who opens a task
WARNING_SHARE = 0.5  # of a limit
HEALTH_SAMPLES = 3  # Label Studio calls health before every prediction, so one slow call matters
LOGIN_REMEDY = "Set TAGALONG_USERNAME and TAGALONG_PASSWORD, to have the doctor check this too."
ASSIGNMENT_REMEDY = (
    "Promote a version of the assigned model (tagalong models promote), or assign another one "
    "(tagalong models assign)."
)
UNKNOWN_MODEL_REMEDY = (
    "Give an address of a model that `tagalong models list` shows, or the one without /models/NAME."
)
START_REMEDY = "Start the backend (tagalong serve), or give its address from here with --backend."


def check_reachable(context: DoctorContext) -> DoctorFinding:
    """Whether the backend answers calls from this machine."""
    url = context.local_backend_url
    if url is None:
        remedy = "Give its address from here with --backend."
        return skipped("no-backend", "There is no backend that could be called.", remedy)
    health = context.health_response
    if health.error:
        if context.backend is not None and context.backend.is_connected:
            sentence = f"{url} {health.error} from here, though Label Studio reaches it."
            remedy = "Give its address from here with --backend, to have its answers checked."
            return skipped("backend-unreachable-from-here", sentence, remedy)
        return problem(health.error_code, f"{url} {health.error}.", START_REMEDY)
    if health.is_success or health.status == 401:  # a login comes with the next check
        name = "A Tagalong server" if context.is_tagalong else "A backend"
        return ok(f"{name} answers at {url}.")
    if health.get("code") == "model-unknown":  # of our own server: the URL names a model
        sentence = f"The address {url} names a model that the server does not have."
        return problem("model-unknown", sentence, UNKNOWN_MODEL_REMEDY)
    return explain_refusal(f"{url}/health", health) or problem(
        "not-an-ml-backend",
        f"{url}/health answers HTTP {health.status}"
        + ("." if health.status >= 400 else ", and no JSON: that is not an ML backend."),
        "Give the address of an ML backend without /health, but with its path, such as /encoder.",
    )


def check_auth(context: DoctorContext) -> DoctorFinding:
    """Whether Label Studio sends the user and password that the backend needs."""
    if not context.requires_login:
        return ok("The backend asks for no user and password.")
    backend = context.backend
    if backend is None:
        return ok("The backend asks for a user and password: give them on connecting it.")
    where = "under Settings, Model, Edit: the server's TAGALONG_USERNAME and TAGALONG_PASSWORD."
    if backend.auth_method == "NONE":
        sentence = "The backend asks for a user and password, and Label Studio sends none."
        return problem("login-missing", sentence, f"Choose Basic Auth and give both {where}")
    # Label Studio never returns the password, so only its last call can show that it is wrong.
    if not backend.is_connected and "401" in context.connection_error:
        sentence = "The backend does not accept the user and password that Label Studio sends."
        return problem("login-refused", sentence, f"Give them again {where}")
    return ok("The backend asks for a user and password, and Label Studio sends some.")


def check_setup(context: DoctorContext) -> DoctorFinding:
    """Whether the backend accepts the project, and names its version."""
    setup = context.setup_response
    if setup.error:
        sentence = f"The backend answers, but its setup {setup.error}."
        remedy = "Look at the backend's log: a setup must not load a model."
        return problem(setup.error_code, sentence, remedy)
    if setup.status == 401 and context.options.login is None:
        sentence = "The backend asks the doctor for a user and password too."
        return skipped("doctor-login-missing", sentence, LOGIN_REMEDY)
    if setup.status == 401:
        sentence = "The backend does not accept the user and password given to the doctor."
        return skipped("doctor-login-refused", sentence, LOGIN_REMEDY)
    if not setup.is_success:
        sentence = f"The backend refuses the project{_format_reason(setup)}."
        remedy = "Follow the advice of the backend, or look at its log."
        refusal = explain_refusal("The backend's setup", setup)
        return refusal or problem("setup-refused", sentence, remedy)
    if not setup.get("model_version"):
        return problem(
            "setup-without-version",
            "The backend's setup names no model_version, so Label Studio cannot tell its "
            "predictions from others.",
            "Promote a version (tagalong models promote), or correct the backend's setup.",
        )
    served = f"version {context.served_version!r}"
    if model := setup.get("model"):  # only our own server names it
        served += f" of model {model!r}"
    if fault := setup.get("assignment_fault"):
        sentence = f"The default model answers in place of the assigned one, with {served}"
        sentence += f": {format_sentence(str(fault), capitalize=False)}"
        return warning("assignment-does-not-hold", sentence, ASSIGNMENT_REMEDY)
    if error := setup.get("assignments_error"):
        reason, _, advice = str(error).partition("): ")
        sentence = f"The backend serves {served} by assignments read earlier: {reason})."
        return warning("assignments-unreadable", sentence, format_sentence(advice))
    return ok(f"The backend accepts the project, and serves {served}.")


def explain_refusal(subject: str, reply: BackendResponse) -> DoctorFinding | None:
    """A problem if a proxy refuses a request, or our server before it looks at the request."""
    if reply.status not in REFUSALS:
        return None
    code, reason, remedy = REFUSALS[reply.status]
    own_code, own_reason = reply.get("code"), reply.get("error")
    if isinstance(own_code, str) and isinstance(own_reason, str):  # our server's
        code = own_code
        reason, _, advice = own_reason.partition(": ")
        remedy = format_sentence(advice) if advice else remedy
    elif reply.body is not None and reply.status in (400, 403):
        return None  # of another backend, which says more
    return problem(code, f"{subject} gets HTTP {reply.status}: {reason}.", remedy)


def _format_reason(reply: BackendResponse) -> str:
    reason: Any = reply.get("error") or reply.get("detail")
    reason = reason if isinstance(reason, str) else ""
    return f" (HTTP {reply.status})" + (f": {reason.rstrip('.')}" if reason else "")


def check_predict(context: DoctorContext) -> DoctorFinding:
    """Whether a request with one task returns one prediction of the served version."""
    if not context.tasks:
        return skipped("no-tasks", "There is no task to predict.")
    reply = context.predict_response
    if reply.error:
        sentence = f"A prediction for one task {reply.error}."
        return problem(reply.error_code, sentence, "Look at the backend's log.")
    if not reply.is_success:
        return explain_refusal("A prediction for one task", reply) or problem(
            "prediction-failed",
            f"The backend gives no prediction{_format_reason(reply)}.",
            "Follow the advice of the backend, or look at its log: Label Studio would store "
            "nothing, and report success.",
        )
    results = reply.get("results")
    # Label Studio drops all results of a request if their number differs from that of the tasks.
    if not isinstance(results, list) or len(results) != 1:
        count = len(results) if isinstance(results, list) else "no"
        return problem(
            "wrong-number-of-results",
            f"For one task the backend gives {count} results, so Label Studio stores nothing.",
            "Correct the backend: it must return one result per task in order, even an empty one.",
        )
    result = results[0] if isinstance(results[0], dict) else {}
    # Label Studio skips tasks with a prediction of the version in setup, so it must be stored.
    if result.get("model_version", context.served_version) != context.served_version:
        return problem(
            "version-mismatch",
            f"The backend's prediction is of version {result['model_version']!r}, its setup says "
            f"{context.served_version!r}, so Label Studio predicts every task again and again.",
            "Correct the backend: setup and predictions must have the same model_version.",
        )
    regions = result.get("result")
    count = len(regions) if isinstance(regions, list) else 0
    return ok(f"Task {context.tasks[0]['id']} gets a prediction with {pluralize(count, 'region')}.")


def check_latency(context: DoctorContext) -> DoctorFinding:
    """Whether health, setup and a prediction stay within Label Studio's time limits."""
    durations = {"health": (_measure_health_seconds(context), HEALTH_LIMIT_SECONDS)}
    # A refused login is quick, and says nothing about the setup itself.
    if context.setup_response.status not in (0, 401):
        durations["setup"] = (context.setup_response.elapsed_seconds, SETUP_LIMIT_SECONDS)
    slow = [name for name, (seconds, limit) in durations.items() if seconds >= limit]
    is_near = any(seconds >= limit * WARNING_SHARE for seconds, limit in durations.values())
    times = ", ".join(f"{name} {seconds:.2f} s" for name, (seconds, _) in durations.items())
    if slow:
        name = slow[0]
        return problem(
            "too-slow",
            f"The backend's {name} takes {durations[name][0]:.1f} s, and Label Studio waits "
            f"{durations[name][1]:g} s: it then considers the backend disconnected.",
            "Give the backend more threads or less work: it must answer while it loads a model and "
            "while it predicts.",
        )
    one = None
    if context.setup_response.is_success and context.tasks and context.predict_response.is_success:
        one = context.predict_response.elapsed_seconds
        times += f", one prediction {one:.2f} s"
    if is_near or (one is not None and one > SLOW_PREDICTION_SECONDS):
        sentence = f"The backend answers slowly: {times}."
        remedy = "Give it a faster machine or less work, before it is too slow for Label Studio."
        return warning("slow", sentence, remedy)
    if one is not None and one * context.project.task_count > PREDICT_LIMIT_SECONDS:
        fit = max(1, int(PREDICT_LIMIT_SECONDS * WARNING_SHARE / one))
        return ok(
            f"{times[:1].upper()}{times[1:]}. Label Studio waits {PREDICT_LIMIT_SECONDS:g} s for "
            f"all tasks that are selected together: retrieve predictions for at most {fit} at once."
        )
    return ok(f"{times[:1].upper()}{times[1:]}.")


def _measure_health_seconds(context: DoctorContext) -> float:
    """The slowest of several health checks; the time limit if one was not answered."""
    further = (
        context.call("health", timeout_seconds=HEALTH_TIMEOUT_SECONDS)
        for _ in range(HEALTH_SAMPLES - 1)
    )
    return max(reply.elapsed_seconds for reply in (context.health_response, *further))
