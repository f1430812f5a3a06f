"""A project's annotations as train and held-out documents."""

import re
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.results import result_from_spans
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import InputError, LabelError, PublishError, TrainingError
from tagalong.training.jobs.project_data import (
    ProjectTrainingData,
    predict_in_project_labels,
    prepare_training_data,
    write_tasks,
)
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger
from tests.toy_corpus import toy_documents


def config_of(*labels: str) -> LabelConfig:
    """A labelling config with these labels."""
    inside = "".join(f'<Label value="{label}"/>' for label in labels)
    return parse_label_config(
        f'<View><Labels name="label" toName="text">{inside}</Labels>'
        '<Text name="text" value="$text"/></View>'
    )


CONFIG = config_of("Chemical", "Disease")


def annotation(document: Document, by: int, spans: Sequence[Span] | None = None) -> dict[str, Any]:
    """A submitted annotation."""
    chosen = document.spans if spans is None else spans
    return {
        "completed_by": by,
        "was_cancelled": False,
        "updated_at": f"2026-11-22T20:13:{by:02}Z",
        "result": result_from_spans(document, chosen, CONFIG),
    }


def task(document: Document, *annotations: dict[str, Any]) -> dict[str, Any]:
    """A task as Label Studio exports it."""
    given = list(annotations) or [annotation(document, 1)]
    return {"id": document.id, "data": {"text": document.text}, "annotations": given}


def prepare(
    tmp_path: Path, tasks: Sequence[dict[str, Any]], config: LabelConfig = CONFIG, **how: float
) -> ProjectTrainingData:
    path = tmp_path / "place" / "tasks.json"
    assert write_tasks(path, tasks) == len(tasks)
    return prepare_training_data(path, config, **how)


def test_odd_task_is_set_aside_and_named(tmp_path: Path) -> None:
    documents = toy_documents(60)
    odd = {**task(documents[0]), "id": 9999, "data": {"text": ["x"]}}
    found = prepare(tmp_path, [*map(task, documents[1:]), odd])
    assert len(found.split.train) + len(found.split.dev) + len(found.held_out_documents) == 59
    (note,) = found.notes
    assert "task set aside, 1 time" in note
    assert "task 9999 has an array" in note


def test_each_document_is_on_one_side(tmp_path: Path) -> None:
    documents = toy_documents(60)
    found = prepare(tmp_path, [task(one) for one in documents])
    sides = [*found.split.train, *found.split.dev, *found.held_out_documents]
    assert Counter(one.text for one in sides) == Counter(one.text for one in documents)
    assert found.split.labels == ("Chemical", "Disease")
    assert found.notes == ()


def test_held_out_documents_grow_and_are_never_in_train(tmp_path: Path) -> None:
    documents = toy_documents(80)
    before: set[str] = set()
    learnt: set[str] = set()
    for count in (20, 40, 80):
        found = prepare(tmp_path, [task(one) for one in documents[:count]])
        held_out = {one.text for one in found.held_out_documents}
        assert before <= held_out
        before = held_out
        learnt |= {one.text for one in [*found.split.train, *found.split.dev]}
    assert not before & learnt


def test_file_is_private_and_any_text_round_trips(tmp_path: Path) -> None:
    odd = Document("odd", "Zorbium 😀 helped.\r\nThen\u2028 naloxone.", (Span(0, 7, "Chemical"),))
    found = prepare(tmp_path, [task(one) for one in [odd, *toy_documents(9)]])
    sides = [*found.split.train, *found.split.dev, *found.held_out_documents]
    assert next(one for one in sides if one.id == "odd").spans == odd.spans
    path = tmp_path / "place" / "tasks.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"

    def broken() -> Any:
        yield {"id": 1}
        raise OSError(28, "No space left on device")

    with pytest.raises(PublishError):
        write_tasks(path, broken())
    assert not path.exists()


def test_ten_documents_are_enough(tmp_path: Path) -> None:
    found = prepare(tmp_path, [task(one) for one in toy_documents(10)])
    assert found.split.train
    assert found.split.dev


def test_too_few_documents_are_refused(tmp_path: Path) -> None:
    with raises(TrainingError, "too-few-annotated-documents"):
        prepare(tmp_path, [task(one) for one in toy_documents(1)])


def test_outvoted_spans_are_masked_and_reported(tmp_path: Path) -> None:
    documents = toy_documents(20)
    tasks = [task(one, annotation(one, 1), annotation(one, 2, one.spans[1:])) for one in documents]
    found = prepare(tmp_path, tasks)
    [note] = found.notes
    assert "20" in note
    sides = [*found.split.train, *found.split.dev, *found.held_out_documents]
    assert all(one.masked_ranges for one in sides)


def test_nested_spans_are_reported_and_do_not_stop_a_retraining(tmp_path: Path) -> None:
    documents = toy_documents(20)
    nested = [
        replace(one, spans=(*one.spans, *(replace(span, end=span.start + 3) for span in one.spans)))
        for one in documents
    ]
    found = prepare(tmp_path, [task(one) for one in nested])
    assert found.split.train
    assert any(
        re.fullmatch(r"(\d+) of \d+ entities .*: \1 overlap .* ignores their words\.", note)
        for note in found.notes
    )


def test_one_annotator_is_enough(tmp_path: Path) -> None:
    documents = toy_documents(20)
    assert prepare(tmp_path, [task(one, annotation(one, 3)) for one in documents]).notes == ()


def test_removed_and_new_labels_are_reported(tmp_path: Path) -> None:
    tasks = [task(one) for one in toy_documents(20)]
    found = prepare(tmp_path, tasks, config_of("Chemical", "Gene"))
    diseases = sum(
        region["value"]["labels"] == ["Disease"]
        for one in tasks
        for region in one["annotations"][0]["result"]
    )
    gone, new = found.notes
    assert f"Disease: {diseases} regions" in gone
    assert "Gene" in new


def test_config_without_any_of_the_labels_is_refused(tmp_path: Path) -> None:
    with raises(LabelError, "labels-outside-config"):
        prepare(tmp_path, [task(one) for one in toy_documents(20)], config_of("Gene"))


def test_only_skipped_tasks_are_refused(tmp_path: Path) -> None:
    documents = toy_documents(5)
    tasks = [task(one, annotation(one, 1) | {"was_cancelled": True}) for one in documents]
    with pytest.raises(InputError):
        prepare(tmp_path, tasks)


def test_version_is_evaluated_blind_in_project_labels() -> None:
    tagger = LexiconTagger("lexicon-1")
    xml = config_of("Drug", "Disease")
    document = Document("1", "naloxone", (Span(0, 8, "Drug"),))
    [found] = predict_in_project_labels(xml, tagger, [document])
    assert found.spans == ()
    assert [lost.reason for lost in found.dropped] == ["label unknown"]
