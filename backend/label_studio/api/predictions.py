"""The stored predictions of projects."""

from collections.abc import Mapping, Sequence
from typing import Any

from tagalong.backend.label_studio.api.connection import (
    SLOW_READ_TIMEOUT_SECONDS,
    Resource,
    list_parser,
)
from tagalong.backend.label_studio.api.objects import StoredPrediction


class Predictions(Resource):
    """Reads, stores and changes predictions."""

    def list_for_project(self, project: int) -> list[StoredPrediction]:
        """All predictions of a project, with their regions."""
        path = f"api/predictions/?project={project}"
        return self._connection.get(
            path, list_parser(StoredPrediction.from_json), timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )

    def count_by_version(self, project: int) -> dict[str, int]:
        """The number of stored predictions of each version."""
        path = f"api/projects/{project}/model-versions/"
        return self._connection.get(
            path, lambda answer: {str(name): int(count) for name, count in answer.items()}
        )

    def retrieve(self, project: int, tasks: Sequence[int] = ()) -> None:
        """Run "Retrieve Predictions" of the Data Manager: the first backend predicts.

        Label Studio skips tasks that have a prediction of the served version. It reports success
        even if it stored nothing, so check with `list_for_project`.

        Args:
            project: Project id.
            tasks: Ids of the tasks; empty for all tasks.
        """
        selected = {"all": False, "included": list(tasks)} if tasks else {"all": True}
        path = f"api/dm/actions/?id=retrieve_tasks_predictions&project={project}"
        body = {"selectedItems": selected}
        self._connection.request_json(
            "POST", path, body=body, timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )

    def add(self, project: int, items: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions in one transaction.

        Depending on a feature flag, Label Studio skips predictions that break a rule of the
        labelling config, or refuses them all. It refuses all if one task does not exist.

        Args:
            project: Project id.
            items: Each with ``task``, ``result``, ``score`` and ``model_version``.

        Returns:
            The number of stored predictions.
        """
        path = f"api/projects/{project}/import/predictions"
        return self._connection.send(
            "POST", path, list(items), lambda answer: int(answer["created"])
        )

    def update_score(self, prediction: int, score: float) -> None:
        """Change the score of a prediction; Label Studio hands out low scores first."""
        self._connection.request_json(
            "PATCH", f"api/predictions/{prediction}/", body={"score": score}
        )

    def remove(self, prediction: int) -> None:
        """Remove a prediction by its id."""
        self._connection.request_json("DELETE", f"api/predictions/{prediction}/")
