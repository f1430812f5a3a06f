"""Columns of token files: the content of many rows shows which has the words, and which the tags.

Columns are set apart by tabs, else by commas or semicolons, else by blanks. Comments begin with
``#``. A first row of names is a header, as is ``# global.columns`` of CoNLL-U Plus.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from tagalong.backend.formats.tagging_schemes import (
    CHUNK_LABELS,
    OUTSIDE_VALUES,
    SchemeName,
    detect_scheme,
    parse_tag,
)
from tagalong.backend.formats.token_rows import (
    QUOTED_DELIMITERS,
    list_delimiters,
    split_features,
    split_row,
)
from tagalong.ner.errors import FormatError

DOCSTART_LINE = "-DOCSTART-"
COMMENT_PATTERN = re.compile(
    r"#\s*(?:text|sent_id|newdoc|newpar|global\.columns)(?:\s+id)?\s*(?:=|$)"
)
COLUMN_NAMES_LINE = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
WORD_NAMES = frozenset({"word", "words", "token", "tokens", "form", "text", "char"})
TAG_NAMES = frozenset(
    {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "entity", "ne", "iob", "bio"}
)
CONLLU_WIDTH = 10  # ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC
# No number longer than this: the limit of Python is 4,300 digits, and no text is that long.
NUMBERING_PATTERN = re.compile(r"(?:[^\W\d]{0,9}[-_.]?)?\d{1,15}(?:[-.:]\d+)*")
FIRST_NUMBER = re.compile(r"\d+")
MIN_ROWS_OF_REPETITION = 3  # fewer rows repeat a word by chance
MIN_ROWS_WITH_IDS = 10
MIN_WORD_VARIETY = 0.8  # of the most varied column; parts of speech and phrases vary less
MIN_WIDTH = 2  # a word and a tag
MIN_USUAL_ROWS = 0.5  # share of rows as wide as the first one


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """Columns that the user names: by number from 1, from -1 backwards, or by the header's name."""

    word_column: str | None = None  # None: found by content
    tag_column: str | None = None
    entity_label: str | None = None  # of bare B and I; None: the config's only label, or "Entity"

    @property
    def is_given(self) -> bool:
        """Whether the user names a column."""
        return self.word_column is not None or self.tag_column is not None


@dataclass(frozen=True, slots=True)
class TagColumn:
    """A column of tags."""

    index: int  # from 0
    scheme: SchemeName
    has_entities: bool  # in the rows that were looked at


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of a file."""

    delimiter: str  # a blank for runs of blanks
    width: int  # number of columns
    first_line: int  # number of the first row's line, from 1
    has_header: bool
    word: int  # index of the column of words
    tags: tuple[TagColumn, ...]  # the first is read, the others are counted; there may be none
    numbering: int | None  # index of the column of CoNLL-U's token ids
    has_features: bool  # whether the last column is CoNLL-U's MISC
    sentence_ids: int | None  # index of the column that sets sentences apart, without blank lines


def find_layout(
    lines: Sequence[str], options: ColumnOptions | None = None, path: object = ""
) -> ColumnLayout | None:
    """Find the columns of a file from its first lines, or None if it is no file of tokens and tags.

    A file whose users named a column always has a layout.

    Raises:
        FormatError: If there is no column of that name or number, or it has no tags.
    """
    numbered = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith(DOCSTART_LINE) and not COMMENT_PATTERN.match(line)
    ]
    if not numbered:
        return None
    found = (
        _split_and_describe(lines, numbered, delimiter, options or ColumnOptions(), path)
        for delimiter in list_delimiters([line for _, line in numbered])
    )
    return next(filter(None, found), None)


def _split_and_describe(
    lines: Sequence[str],
    numbered: Sequence[tuple[int, str]],
    delimiter: str,
    options: ColumnOptions,
    path: object,
) -> ColumnLayout | None:
    rows = [(number, split_row(line, delimiter)) for number, line in numbered]
    body = [row for row in rows if not row[1][0].startswith("#")] or rows
    first_line, first = body[0]
    # A comment may be as wide as a row, so that rows of the word "#" stay.
    rows = [row for row in rows if len(row[1]) == len(first) or not row[1][0].startswith("#")]
    names = _find_names(lines, first, options)
    has_header = names == first
    same = [row for row in rows if len(row[1]) == len(first)][has_header:]
    starts = _find_sentence_starts(lines)
    return _describe(
        _Sample(path, rows[has_header:], same, starts, names, options),
        delimiter=delimiter,
        first_line=first_line,
        has_header=has_header,
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    path: object
    rows: list[tuple[int, list[str]]]  # with numbers of lines
    same: list[tuple[int, list[str]]]  # those as wide as the first one
    sentence_starts: frozenset[int]  # lines behind blank lines and comments
    names: list[str]
    options: ColumnOptions

    def column(self, index: int) -> list[str]:
        return [cells[index].strip() for _, cells in self.same]

    def find_named(self, name: str, option: str) -> int:
        width = len(self.same[0][1]) if self.same else len(self.names)
        if name in self.names:
            return self.names.index(name)
        try:
            number = int(name)
        except ValueError:
            number = 0
        if not 1 <= abs(number) <= width:
            known = f" and the names {', '.join(self.names)}" if self.names else ", and no header"
            raise FormatError(
                f"{self.path} has no column {name!r}, which {option} names: it has the columns 1 "
                f"to {width}{known}",
                code="column-unknown",
            )
        return number - 1 if number > 0 else width + number


def _describe(
    sample: _Sample, *, delimiter: str, first_line: int, has_header: bool
) -> ColumnLayout | None:
    width = len(sample.same[0][1]) if sample.same else 0
    options = sample.options
    is_usual = len(sample.same) >= MIN_USUAL_ROWS * len(sample.rows) or _end_in_tags(sample)
    if not options.is_given and (width < MIN_WIDTH or not is_usual):
        return None
    numberings = [index for index in range(width) if _is_numbering(sample, index)]
    is_conllu = width == CONLLU_WIDTH and delimiter == "\t" and numberings[:1] == [0]
    if is_conllu:
        for _, cells in sample.same:
            cells[-1], _ = split_features(cells[-1])
    tags = _find_tag_columns(sample, width)
    # A header of words and tags says enough: a wrong tag below it is refused with its line.
    stated = _find_stated_tags(sample.names[:width])
    if not tags and stated is not None:
        tags = [TagColumn(stated, "B-label", has_entities=True)]
    if not tags and not is_conllu and not options.is_given:
        return None
    word = _find_word_column(sample, width, {tag.index for tag in tags}, numberings, is_conllu)
    if word is None:
        return None
    is_clear = options.is_given or stated is not None or _is_clear(sample, word, tags)
    if delimiter in QUOTED_DELIMITERS and not is_clear:
        return None
    return ColumnLayout(
        delimiter=delimiter,
        width=width,
        first_line=first_line,
        has_header=has_header,
        word=word,
        tags=tuple(tag for tag in tags if tag.index != word),
        numbering=0 if is_conllu else None,
        has_features=is_conllu,
        sentence_ids=_find_sentence_ids(sample, width, {word, *(tag.index for tag in tags)}),
    )


def _find_names(lines: Sequence[str], first: list[str], options: ColumnOptions) -> list[str]:
    for line in lines:
        if match := COLUMN_NAMES_LINE.match(line):
            return match[1].split()
    lowered = {name.lower() for name in first}
    is_header = lowered & WORD_NAMES and (lowered & TAG_NAMES or options.is_given)
    is_named = {options.word_column, options.tag_column}.intersection(first)
    return first if is_header or is_named else []


def _find_sentence_starts(lines: Sequence[str]) -> frozenset[int]:
    starts, is_start = set(), True
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            is_start = True
        elif is_start:
            starts.add(number)
            is_start = False
    return frozenset(starts)


def _end_in_tags(sample: _Sample) -> bool:
    return all(
        len(cells) >= MIN_WIDTH and parse_tag(cells[-1], "B-label") for _, cells in sample.rows
    )


def _find_tag_columns(sample: _Sample, width: int) -> list[TagColumn]:
    if (named := sample.options.tag_column) is not None:
        index = sample.find_named(named, "--tag-column")
        counts = Counter(sample.column(index))
        scheme = detect_scheme(counts, is_named=True)
        if scheme is None:
            raise FormatError(
                f"{sample.path} has no tags in the column {named!r}, which --tag-column names, but "
                f"{', '.join(map(repr, list(counts)[:3]))}: name the column of O and B-Disease",
                code="column-without-tags",
            )
        return [TagColumn(index, scheme, has_entities=True)]
    found = []
    for index in range(width):
        counts = Counter(sample.column(index))
        if scheme := detect_scheme(counts):
            found.append(TagColumn(index, scheme, not OUTSIDE_VALUES.issuperset(counts)))
    # Phrases are tags in the same scheme. Plain labels are uncertain: a column with B- goes first.
    strict = [one for one in found if one.scheme != "label" and one.has_entities]
    entities = [one for one in strict if not _has_phrases(sample, one)]
    chosen = entities or strict or found
    others = [one for one in found if not one.has_entities and one not in chosen]
    names = [name.lower() in TAG_NAMES for name in sample.names]
    first = [one for one in chosen if one.index < len(names) and names[one.index]]
    return list(dict.fromkeys([*first, *chosen, *others]))


def _is_clear(sample: _Sample, word: int, tags: Sequence[TagColumn]) -> bool:
    # A column of a table of texts may look like tags: "L-4" is a vertebra. Blanks may set apart the
    # columns of commas and tags.
    has_outside = any({"O", "o"}.intersection(sample.column(tag.index)) for tag in tags)
    words = sample.column(word)
    return has_outside and all(words) and 2 * sum(" " in one for one in words) <= len(words)


def _find_stated_tags(header: Sequence[str]) -> int | None:
    # A column "text" may have whole texts, and "label" their classes.
    names = [name.lower() for name in header]
    found = (index for index, name in enumerate(names) if name in TAG_NAMES)
    return None if WORD_NAMES.isdisjoint({*names} - {"text"}) else next(found, None)


def _has_phrases(sample: _Sample, column: TagColumn) -> bool:
    tags = (parse_tag(value, column.scheme) for value in set(sample.column(column.index)))
    return CHUNK_LABELS.issuperset(label for _, label in filter(None, tags) if label)


def _find_word_column(
    sample: _Sample, width: int, tags: set[int], numberings: Sequence[int], is_conllu: bool
) -> int | None:
    if (named := sample.options.word_column) is not None:
        return sample.find_named(named, "--word-column")
    for index, name in enumerate(sample.names[:width]):
        if name.lower() in WORD_NAMES:
            return index
    if is_conllu:
        return 1
    free = [index for index in range(width) if index not in tags]
    if not free:  # tags may be words too: a file of nothing but O in both columns
        return 0 if len(tags) > 1 else None
    free = [index for index in free if index not in numberings] or free
    free = [index for index in free if not _repeats(sample.column(index))] or free
    variety = {index: len(set(sample.column(index))) for index in free}
    most = max(variety.values())
    return next(index for index in free if variety[index] >= MIN_WORD_VARIETY * most)


def _is_numbering(sample: _Sample, index: int) -> bool:
    # Numbers of tokens, which begin with each sentence, or offsets, which never go back in it.
    cells = sample.column(index)
    if not all(map(NUMBERING_PATTERN.fullmatch, cells)):
        return False
    if len({re.sub(r"\d+(?:[-.:]\d+)*", "0", cell) for cell in cells}) > 1:
        return False
    numbers = [int(FIRST_NUMBER.search(cell)[0]) for cell in cells]  # type: ignore[index]
    if numbers[0] not in (0, 1) and len(cells) < MIN_ROWS_OF_REPETITION:
        return False
    starts = [number in sample.sentence_starts for number, _ in sample.same]
    return all(
        start or before <= after
        for (before, after), start in zip(pairwise(numbers), starts[1:], strict=True)
    )


def _repeats(cells: Sequence[str]) -> bool:
    # Ids of documents, or a value such as "-X-" in every row.
    if OUTSIDE_VALUES.union({"", "-X-"}).issuperset(cells):
        return True
    if len(cells) < MIN_ROWS_OF_REPETITION:
        return False
    return 2 * sum(before == after for before, after in pairwise(cells)) > len(cells) - 1


def _find_sentence_ids(sample: _Sample, width: int, used: set[int]) -> int | None:
    # The rows of a sentence have its id, or only its first one does.
    if len(sample.sentence_starts) > 1 or len(sample.same) < MIN_ROWS_WITH_IDS:
        return None
    for index in set(range(width)) - used:
        cells = list(filter(None, sample.column(index)))
        groups = len(list(groupby(cells)))
        is_numbered = all(FIRST_NUMBER.search(cell) for cell in cells)
        if is_numbered and 1 < groups == len(set(cells)) <= len(sample.same) / 2:
            return index
    return None
