"""Options of a retraining; light to import, for commands."""

from dataclasses import dataclass

from tagalong.backend.retraining.job import PromotionPolicy

DEFAULT_HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainOptions:
    """How to retrain on a project.

    Attributes:
        label_studio_url: Address of Label Studio; None if unknown.
        label_studio_key: A token; None if unknown.
        promotion_policy: When to promote.
        held_out_share: Share of the documents for the comparison of versions, never trained on.
        recipe_from: The version whose recipe is used; None for the served one.
        version_name: Prefix of the version name; None for that of the project.
        prelabel_tasks: Number of unannotated tasks that the promoted version predicts.
        warm_start: Start from the weights of the served version instead of its base.
    """

    label_studio_url: str | None
    label_studio_key: str | None
    promotion_policy: PromotionPolicy = "auto"
    held_out_share: float = DEFAULT_HELD_OUT_SHARE
    recipe_from: str | None = None
    version_name: str | None = None
    prelabel_tasks: int = 0
    warm_start: bool = False
