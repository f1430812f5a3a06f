"""Whether annotators are shown predictions at all."""

from backend.doctor.case import Case
from backend.doctor.finding import Verdict, ok, problem

SWITCH = "Use predictions to prelabel tasks"


def check_shown(case: Case) -> Verdict:
    """Whether the project uses predictions to pre-label tasks."""
    if case.project.shows_predictions:
        return ok("The project shows predictions to annotators.")
    return problem(
        f"Annotators see no predictions: {SWITCH!r} is off.",
        f"Switch it on under Settings, Annotation, and choose the backend there: {SWITCH}.",
    )
