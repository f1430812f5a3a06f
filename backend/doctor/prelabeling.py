"""The check of the project's pre-labelling setting."""

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, problem

PRELABELING_SETTING = "Use predictions to prelabel tasks"


def check_prelabeling(context: DoctorContext) -> CheckResult:
    """Whether annotators see predictions."""
    if context.project.shows_predictions:
        return ok("The project shows predictions to annotators.")
    return problem(
        "prelabelling-off",
        f"Annotators see no predictions: {PRELABELING_SETTING!r} is off.",
        "Switch it on under Settings, Annotation, and choose the backend there: "
        f"{PRELABELING_SETTING}.",
    )
