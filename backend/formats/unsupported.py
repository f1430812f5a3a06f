"""Files of other tools: recognized, so that a message can name the tool, but not read."""

import re

from tagalong.backend.formats.sniff import FileHead

# Keys of the first record that identify a tool; the first match counts.
TOOL_BY_JSON_KEYS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"images", "categories"}), "COCO"),
    (frozenset({"documents", "source"}), "BioC JSON"),
    (frozenset({"paragraphs"}), "spaCy 2 JSON"),
    (frozenset({"text", "ents"}), "spaCy JSON"),
    (frozenset({"tokenized_text", "ner"}), "GLiNER JSON"),
    (frozenset({"tokens", "ner_tags"}), "a Hugging Face data set"),
    (frozenset({"text", "_task_hash"}), "Prodigy"),
    (frozenset({"text", "spans"}), "Prodigy"),
    (frozenset({"text", "label"}), "doccano"),
    (frozenset({"text", "labels"}), "doccano"),
    (frozenset({"text", "entities", "relations"}), "doccano"),
    (frozenset({"data", "annotations"}), "a single Label Studio task, not an export"),
    (frozenset({"result", "task"}), "a single Label Studio annotation, not an export"),
    (frozenset({"text", "entities"}), "our JSON lines but for its shape, one document a line"),
    (frozenset({"text"}), "text without annotations"),
)
TOOL_BY_FIRST_LINE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s*<"), "XML or HTML"),
    (re.compile(r"T\d+\t\S+ \d+ \d+"), "brat"),
    (re.compile(r"\d+\|t\|"), "PubTator"),
    (re.compile(r".*\bannotation_id\b.*\bannotator\b"), "Label Studio CSV or TSV"),
)


def detect_unsupported_tool(head: FileHead) -> str | None:
    """Name the tool that wrote a file which we do not read; None where it is unknown."""
    for keys, name in TOOL_BY_JSON_KEYS:
        if keys <= head.first_record.keys():
            return name
    first_line = next((line for line in head.head_lines if line.strip()), "")
    for pattern, name in TOOL_BY_FIRST_LINE:
        if pattern.match(first_line):
            return name
    return None
