"""Tokens with tags to annotations and back, for CoNLL files and data sets of Hugging Face."""

from collections.abc import Sequence
from dataclasses import dataclass

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.tagging_schemes import SchemeName, Tag, decode_entities
from tagalong.ner.document import Document, DroppedAnnotation
from tagalong.ner.tags import IGNORE_INDEX, TagSet

DEFAULT_ENTITY_LABEL = "Entity"  # of bare B and I


@dataclass(frozen=True, slots=True)
class TaggedTokens:
    """The words of a document with their tags in IOB2."""

    tokens: list[str]
    tags: list[str | None]  # None where the true tag is unknown
    dropped: tuple[DroppedAnnotation, ...]  # those that flat tags cannot represent


def tag_words(document: Document) -> TaggedTokens:
    """Tag the words of a document."""
    tags = TagSet(tuple(sorted({span.label for span in document.spans})) or ("unused",))
    tagged = tags.encode(document)
    names = zip(tagged.tags, tags.to_names(tagged.tags), strict=True)
    return TaggedTokens(
        [document.text[start:end] for start, end in tagged.words],
        [None if tag == IGNORE_INDEX else name for tag, name in names],
        tagged.dropped,
    )


def choose_entity_label(options: ReadOptions) -> str:
    """The label of bare B and I: the user's, or the only one of the labelling config."""
    labels = options.label_config.labels if options.label_config else ()
    return options.columns.entity_label or (labels[0] if len(labels) == 1 else DEFAULT_ENTITY_LABEL)


def find_token_spans(
    tokens: Sequence[str],
    starts: Sequence[int],
    tags: Sequence[Tag],
    scheme: SchemeName,
    entity_label: str,
    *,
    name: str,
    import_log: ImportLog,
) -> list[RawSpan]:
    """Find the entities of a sentence, whose tokens begin at the given offsets.

    What a scheme leaves open is logged under the name of the document.
    """
    entities, orphans = decode_entities(tags)
    if orphans:
        import_log.record_warning("I- without B-", name, count=orphans)
    spans = []
    for entity in entities:
        if scheme == "label":
            import_log.record_warning("labels without B-", f"{name}: {entity.label}")
        elif scheme == "B":
            import_log.record_warning("tags without a label", f"{name}: {entity_label}")
        end = starts[entity.last] + len(tokens[entity.last])
        spans.append(RawSpan(starts[entity.first], end, (entity.label or entity_label,)))
    return spans
