"""Predictions in JSON lines, by our own models or any other tool that writes our format."""

from collections.abc import Iterator
from dataclasses import replace

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import validate_raw_spans
from tagalong.backend.documents.jsonl import parse_lines, prediction_from_json, raw_spans_from_json
from tagalong.backend.formats.file_format import FileFormat, ReadOptions
from tagalong.backend.formats.jsonl import has_entities, read_line_predictions
from tagalong.backend.formats.sniff import FileHead, count_records
from tagalong.backend.formats.texts import read_json_texts
from tagalong.ner.document import Document


def read_predicted_documents(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read predictions like annotations, with a warning; the meta has version and score."""
    for where, line in parse_lines(head.file.open_stream(), str(head.path)):
        document, prediction = prediction_from_json(line, where)
        spans = validate_raw_spans(
            document,
            raw_spans_from_json(line, where),
            config=options.label_config,
            import_log=import_log,
        )
        import_log.record_warning("made by a model", f"{document.id}: {prediction.version}")
        meta = {"model_version": prediction.version, "score": prediction.score}
        yield replace(document, spans=spans, meta={**document.meta, **meta})


PREDICTIONS_FORMAT = FileFormat(
    name="predictions in JSON lines",
    matches=lambda head: has_entities(head) and "model_version" in head.first_record,
    read_annotations=read_predicted_documents,
    read_texts=read_json_texts,
    read_predictions=read_line_predictions,
    count=count_records,
)
