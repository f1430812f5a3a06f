"""Writing of WebAnno TSV 3: a folder with a file for each document.

WebAnno and INCEpTION place the text of a sentence at its first token. So a sentence begins at each
line that begins with a word, and characters before the first word of a document are left out.

Tokens are words. An annotation that begins or ends inside a word has a row for that part of it. An
annotation is numbered if it has several rows, or shares one. Masked ranges have no value.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain

from tagalong.backend.formats.file_format import FormatWriter, SerializedDocument
from tagalong.backend.formats.standoff import (
    NUL,
    REPLACEMENT_CHARACTER,
    check_file_name,
    check_label,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.words import Offsets, overlapping_words, word_offsets

SUFFIX = ".tsv"
TEXT_PREFIX = "#Text="
NONE, NO_VALUE = "_", "*"
# The layer of entities that each project has.
HEADER = (
    "#FORMAT=WebAnno TSV 3.3\n"
    "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|value\n\n\n"
)
TEXT_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
ESCAPED_IN_TEXTS = str.maketrans(TEXT_ESCAPES)
ESCAPED_IN_VALUES = str.maketrans(TEXT_ESCAPES | {char: f"\\{char}" for char in "[]|_;*"})

Stretch = tuple[int, int]  # half-open, in code points


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    check_file_name(document.id)
    for label in {span.label for span in document.spans}:
        is_valid = bool(label.strip()) and NUL not in label
        check_label(label, is_valid=is_valid, format_name="WebAnno TSV")
    words = word_offsets(document.text)
    wordless = [
        span
        for span in document.spans
        if not range(*overlapping_words(words, span.start, span.end))
    ]
    content, left_out = "", len(document.text)
    if words:
        left_out = words[0][0] + document.text.count(NUL, words[0][0])
        content = "\n".join(_write_sentences(document, words))
    return SerializedDocument(
        content,
        tuple(document.drop_span(span, "no words") for span in wordless),
        replaced_characters=left_out,
    )


def _write_sentences(document: Document, words: Offsets) -> Iterator[str]:
    text = document.text.replace(NUL, REPLACEMENT_CHARACTER)
    origin = words[0][0]
    units = accumulate((1 + (char > "\uffff") for char in text[origin:]), initial=0)  # of UTF-16
    places = [*[0] * origin, *units]
    cells = _make_cells(document, words)
    firsts = [
        index for index, (start, _) in enumerate(words) if not index or text[start - 1] == "\n"
    ]
    for number, first in enumerate(firsts, start=1):
        last = firsts[number] if number < len(firsts) else len(words)
        end = words[last][0] - 1 if last < len(words) else len(text)
        lines = text[words[first][0] : end].split("\n")
        rows = [TEXT_PREFIX + line.translate(ESCAPED_IN_TEXTS) for line in lines]
        for token, word in enumerate(words[first:last], start=1):
            for name, (start, end) in _name_rows(f"{number}-{token}", word, cells):
                covered = text[start:end].translate(ESCAPED_IN_TEXTS)
                cell = cells.get(word, {}).get((start, end), NONE)
                rows.append(f"{name}\t{places[start]}-{places[end]}\t{covered}\t{cell}\t")
        yield "".join(f"{row}\n" for row in rows)


def _name_rows(
    name: str, word: Stretch, cells: Mapping[Stretch, Mapping[Stretch, str]]
) -> Iterator[tuple[str, Stretch]]:
    # The row of a token, and those of its parts.
    yield name, word
    parts = sorted(part for part in cells.get(word, {}) if part != word)
    yield from ((f"{name}.{number}", part) for number, part in enumerate(parts, start=1))


def _make_cells(document: Document, words: Sequence[Stretch]) -> dict[Stretch, dict[Stretch, str]]:
    # Of each word: its annotated stretches, and the values of each.
    stacks = defaultdict[Stretch, defaultdict[Stretch, list[int]]](lambda: defaultdict(list))
    annotations = [(span.start, span.end) for span in document.spans]
    annotations += document.masked_ranges
    for index, (start, end) in enumerate(annotations):
        for place in range(*overlapping_words(words, start, end)):
            word = words[place]
            stacks[word][max(word[0], start), min(word[1], end)].append(index)
    stacked = [stack for parts in stacks.values() for stack in parts.values()]
    counts = Counter(chain.from_iterable(stacked))
    shared = {index for stack in stacked if len(stack) > 1 for index in stack}
    numbers = {
        index: f"[{number}]"
        for number, index in enumerate(
            sorted(shared | {index for index, count in counts.items() if count > 1}), start=1
        )
    }
    values = [
        span.label.translate(ESCAPED_IN_VALUES).replace("->", "\\->") for span in document.spans
    ]
    values += [NO_VALUE] * len(document.masked_ranges)
    return {
        word: {
            part: "|".join(values[index] + numbers.get(index, "") for index in stack)
            for part, stack in parts.items()
        }
        for word, parts in stacks.items()
    }


def _name_files(document: Document, content: str) -> dict[str, str]:
    # A document without words is in no file.
    return {f"{document.id}{SUFFIX}": HEADER + content} if content else {}


WEBANNO_WRITER = FormatWriter(
    option="webanno",
    description="a folder of WebAnno TSV 3",
    serialize=_serialize,
    name_files=_name_files,
    replacement="characters are lost: NUL is U+FFFD, and a text begins with its first word",
)
