"""The predictions that Label Studio's projects hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from tagalong.backend.label_studio.api.connection import (
    SLOW_READ_TIMEOUT_SECONDS,
    Connection,
    list_parser,
)
from tagalong.backend.label_studio.api.objects import StoredPrediction


class Predictions:
    """Reads and stores predictions. Every method raises LabelStudioError where it is told no.

    Args:
        connection: To the Label Studio.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_for_project(self, project: int) -> list[StoredPrediction]:
        """All predictions stored in a project, regions included."""
        path = f"api/predictions/?project={project}"
        return self._connection.get(
            path, list_parser(StoredPrediction.from_json), timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )

    def count_by_version(self, project: int) -> dict[str, int]:
        """How many predictions of each version a project has."""
        path = f"api/projects/{project}/model-versions/"
        return self._connection.get(
            path, lambda answer: {str(name): int(count) for name, count in answer.items()}
        )

    def retrieve(self, project: int, tasks: Sequence[int] = ()) -> None:
        """Have the first backend predict: "Retrieve Predictions" of the Data Manager.

        Tasks that hold a prediction of the version served are left out. Label Studio says that
        all went well even where nothing was stored: look at :meth:`of` afterwards.

        Args:
            project: Its id.
            tasks: Only these; all if empty.
        """
        selected = {"all": False, "included": list(tasks)} if tasks else {"all": True}
        path = f"api/dm/actions/?id=retrieve_tasks_predictions&project={project}"
        body = {"selectedItems": selected}
        self._connection.request_json(
            "POST", path, body=body, timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )

    def add(self, project: int, items: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions, all of them in one transaction.

        Label Studio leaves out what breaks a rule of the labelling config, or refuses all of it
        for that, as it is set; it refuses all where one task is not there.

        Args:
            project: Its id.
            items: Each with ``task``, ``result``, ``score`` and ``model_version``.

        Returns:
            How many it stored.
        """
        path = f"api/projects/{project}/import/predictions"
        return self._connection.send(
            "POST", path, list(items), lambda answer: int(answer["created"])
        )

    def update_score(self, prediction: int, score: float) -> None:
        """Change the score of a prediction; all else stays.

        Args:
            prediction: Its id.
            score: From 0 to 1; Label Studio serves low ones first.
        """
        self._connection.request_json(
            "PATCH", f"api/predictions/{prediction}/", body={"score": score}
        )

    def remove(self, prediction: int) -> None:
        """Remove a prediction by its id."""
        self._connection.request_json("DELETE", f"api/predictions/{prediction}/")
