"""Files of predictions: JSON lines of any tool, and tasks that Label Studio imports."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tagalong.backend.batch.entry import DocumentState
from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.documents.jsonl import parse_lines, prediction_from_json, prediction_to_json
from tagalong.backend.label_studio.label_map import LabelMap
from tagalong.backend.label_studio.results import (
    DEFAULT_LABEL_CONFIG,
    LabelConfig,
    find_text_key,
    is_place,
    is_span_result,
    raw_span_from_value,
)
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError, FormatError
from tagalong.training.corpus.jsonl import has_entities
from tagalong.training.corpus.sniff import open_text, sniff_file, stream_array_items
from tagalong.training.corpus.write import document_to_task, write_atomically


def read_predictions(path: Path) -> list[tuple[Document, Prediction]]:
    """Read a file of predictions, ours or any other tool's.

    Args:
        path: JSON lines, where scores and model version may be missing; or an array of Label
            Studio's tasks, each with a prediction, of which the last counts.

    Returns:
        For each line or task the document, without spans, and what was predicted for it.

    Raises:
        InputError: If the file cannot be read.
        FormatError: If it is neither.
    """
    start = sniff_file(path)
    if start.structure == "array" and "predictions" in start.first_record:
        return list(_read_task_predictions(path))
    if not has_entities(start):
        raise FormatError(
            f'{path} is not a file of predictions: each line must be {{"id", "text", "entities"}}, '
            'with "score" and "model_version" where they are known'
        )
    with open_text(path) as file:
        return [prediction_from_json(line, where) for where, line in parse_lines(file, str(path))]


def _read_task_predictions(path: Path) -> Iterator[tuple[Document, Prediction]]:
    """The prediction of each task."""
    for number, task in enumerate(stream_array_items(path), start=1):
        fields = task if isinstance(task, dict) else {}
        name = str(fields.get("id", number))
        where = f"{path}, task {name}"
        made = fields.get("predictions")
        if not isinstance(made, list) or not made or not isinstance(made[-1], dict):
            raise FormatError(
                f"{where} has no prediction with its regions (exports of projects have only its "
                "id): give a file that tagalong prelabel wrote"
            )
        yield prediction_from_json(_task_to_line(name, fields, made[-1], where), where)


def _task_to_line(
    name: str, task: Mapping[str, Any], prediction: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """A task and its prediction as the object of a line."""
    result = prediction.get("result")
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise FormatError(f"{where} has a result that is not a list of objects: write it again")
    entities = []
    hint = None
    for item in result:
        if is_span_result(item, where):
            region = raw_span_from_value(item["value"], where)
            hint = hint or str(item.get("to_name"))
            entities += [
                {"start": region.start, "end": region.end, "label": label, "text": region.text}
                | {"score": item.get("score")}
                for label in region.labels
            ]
    data = task.get("data")
    key = find_text_key(data, where, key=None, hint=hint)
    line = {"id": name, "text": data[key] if isinstance(data, dict) else "", "entities": entities}
    said = {"score", "model_version"} & {name for name, value in prediction.items() if value}
    if is_place(prediction.get("score")):
        said -= {"score"}
    return line | {name: prediction[name] for name in said}


class PredictionsFileSink:
    """Where the predictions of a batch go: a file in the order of the source.

    What was set aside has none.

    Args:
        path: Of the file. Ending in ``.json``, it holds Label Studio's tasks, to import; else JSON
            lines.
        config: Says which names tasks use; None for those of `DEFAULT_LABEL_CONFIG`.
        label_maps: From each tier's labels to the config's, by version; without one, labels stay.
    """

    def __init__(
        self,
        path: Path,
        *,
        config: LabelConfig | None = None,
        label_maps: Mapping[str, LabelMap] | None = None,
    ) -> None:
        self._path, self._config = path, config or DEFAULT_LABEL_CONFIG
        self._label_maps = label_maps or {}
        self._writes_tasks = path.suffix == ".json"

    @property
    def output_format(self) -> str:
        """What is in the file."""
        return "Label Studio's tasks" if self._writes_tasks else "JSON lines"

    def serialize(self, document: Document, prediction: Prediction) -> str:
        """A line, or a task."""
        if prediction.version in self._label_maps:
            prediction = self._label_maps[prediction.version].apply(document, prediction)
        if not self._writes_tasks:
            return json.dumps(prediction_to_json(document, prediction), ensure_ascii=False)
        said = {"model_version": prediction.version, "score": prediction.score}
        predicted = Document(
            document.id, document.text, prediction.spans, {**document.meta, **said}
        )
        return json.dumps(document_to_task(predicted, self._config), ensure_ascii=False)

    def recover(self, journal: BatchJournal) -> None:
        """Nothing is ever on its way: all waits in the journal until the file is written."""

    def deliver(self, journal: BatchJournal, until_position: int) -> None:
        """They wait in the journal, so that the file is whole or not there."""

    def remove_duplicates(self, journal: BatchJournal) -> None:
        """Nothing can be there twice."""

    def on_source_end(self, journal: BatchJournal, last_position: int) -> None:
        """See to it that the source has all that is in the journal.

        Args:
            journal: Of the batch.
            last_position: Place of the source's last document.

        Raises:
            BatchError: If the source has become shorter.
        """
        entry = journal.read_last_entry()
        if entry is not None and entry.position > last_position:
            raise BatchError(
                f"the source has changed since the batch began, its document {entry.key!r} is not "
                f"there any more: move {journal.path} away to begin anew, or bring the source back"
            )

    def finish(self, journal: BatchJournal) -> None:
        """Write the file.

        Args:
            journal: Of a batch that is done.

        Raises:
            OutputError: If it cannot be written.
        """
        write_atomically({self._path: self._serialize_file(journal)}, overwrite=True)

    def _serialize_file(self, journal: BatchJournal) -> Iterator[str]:
        """The file, piece by piece."""
        answers = (
            one.payload for one in journal.iterate_entries() if one.state is not DocumentState.FAILED
        )
        if not self._writes_tasks:
            yield from (f"{answer}\n" for answer in answers)
            return
        yield "["
        for number, answer in enumerate(answers):
            yield f"{',' if number else ''}\n{answer}"
        yield "\n]\n"
