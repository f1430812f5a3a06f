"""Whether annotators are shown predictions at all."""

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, problem

PRELABELING_SETTING = "Use predictions to prelabel tasks"


def check_prelabeling(case: DoctorContext) -> CheckResult:
    """Whether the project uses predictions to pre-label tasks."""
    if case.project.shows_predictions:
        return ok("The project shows predictions to annotators.")
    return problem(
        f"Annotators see no predictions: {PRELABELING_SETTING!r} is off.",
        f"Switch it on under Settings, Annotation, and choose the backend there: {PRELABELING_SETTING}.",
    )
