"""Token files of any column layout and tagging scheme."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import read_predictions
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError
from tagalong.ner.words import FILLERS
from tagalong.training.corpus import Corpus, read_corpus
from tests.errors import raises

WORDS = ("Lithium", "caused", "acute", "tremor", "again")
ENTITIES = [("Lithium", "CHEM"), ("acute tremor", "DIS")]


@pytest.fixture
def read(tmp_path: Path):
    def read(content: str, options: ReadOptions | None = None, **columns: str) -> Corpus:
        path = tmp_path / "some.tsv"
        path.write_bytes(content.encode())
        return read_corpus([path], options or ReadOptions(columns=ColumnOptions(**columns)))

    return read


def covered(document: Document) -> list[tuple[str, str]]:
    return [(document.span_text(span), span.label) for span in document.spans]


def table(*columns: str | tuple[str, ...]) -> str:
    """Rows of a sentence; columns are tuples, or strings with values set apart by blanks."""
    cells = [one.split() if isinstance(one, str) else one for one in columns]
    return "".join("\t".join(row) + "\n" for row in zip(*cells, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        table("1 2 3 4 5", WORDS, "B-CHEM O B-DIS I-DIS O", "O O O O O"),  # GermEval
        table("0 1 2 3 4", WORDS, "CHEM O DIS DIS O"),
        table("B-CHEM O B-DIS I-DIS O", "0 8 15 21 28", "7 14 20 27 33", WORDS),  # anntoconll
        table("B-CHEM O B-DIS I-DIS O", WORDS),  # the corpora of MIT's films and restaurants
        table("d1 d1 d1 d1 d1", WORDS, "B-CHEM O B-DIS I-DIS O"),
        "# a\tremark\n" + table(WORDS, "B-CHEM O B-DIS I-DIS O"),  # as wide as a row
        table(WORDS, "NN VBD JJ NN RB", "B-NP B-VP B-NP I-NP O", "B-CHEM O B-DIS I-DIS O"),
        table(WORDS, "B-CHEM O B-DIS I-DIS O", "- - - - -", "- - - - -"),  # Universal NER
        table(WORDS, "lithium cause acute tremor again", "B_CHEM O B_DIS I_DIS O"),
        table(WORDS, "CHEM-B O DIS-B DIS-I O"),
        table(WORDS, "S-CHEM O B-DIS E-DIS O"),
        table(WORDS, "U-CHEM O B-DIS L-DIS O"),
        table(WORDS, "W-CHEM O B-DIS M-DIS O"),
        table(WORDS, "b-CHEM o b-DIS i-DIS o"),
        table(WORDS, "B-CHEM _ B-DIS I-DIS _"),
        "word\tpos\tner\n" + table(WORDS, "NN VBD JJ NN RB", "B-CHEM O B-DIS I-DIS O"),
        "# global.columns = ID FORM UPOS NER\n"
        + table("1 2 3 4 5", WORDS, "N V A N D", "B-CHEM O B-DIS I-DIS O"),
        "Lithium   NN  B-CHEM\ncaused    VBD O\nacute     JJ  B-DIS\n"
        "tremor    NN  I-DIS\nagain     RB  O\n",
    ],
)
def test_columns_and_schemes_are_found(read, content: str) -> None:
    (document,) = read(content).documents
    assert document.text == " ".join(WORDS)
    assert covered(document) == ENTITIES


def test_second_column_of_tags_is_counted_and_masked(read) -> None:
    content = "#\thttp://example.org/1 [2009-10-17]\n" + table(
        "1 2 3 4 5", WORDS, "B-CHEM O B-DIS I-DIS O", "O O O B-CHEMpart B-CHEMderiv"
    )
    corpus = read(content)
    (document,) = corpus.documents
    assert covered(document) == ENTITIES
    assert [(lost.text, lost.reason) for lost in corpus.dropped] == [
        ("tremor", "another tag column"), ("again", "another tag column")
    ]  # fmt: skip
    assert document.masked_ranges == ((28, 33),)


@pytest.mark.parametrize(("tags", "text"), [("B O B I O", "acute tremor"), ("S O B E O", "tremor")])
def test_bare_tags_get_one_label(read, tags: str, text: str) -> None:
    corpus = read(table(WORDS, tags))
    assert covered(corpus.documents[0]) == [("Lithium", "Entity"), ("acute tremor", "Entity")]
    assert [(one.kind, one.count) for one in corpus.warnings] == [("tags without a label", 2)]
    named = read(table(WORDS, tags), entity_label="Disease").documents[0]
    assert {span.label for span in named.spans} == {"Disease"}
    config = parse_label_config(
        '<View><Text name="t" value="$text"/><Labels name="l" toName="t">'
        '<Label value="Chemical"/></Labels></View>'
    )
    only = read(table(WORDS, tags), ReadOptions(label_config=config)).documents[0]
    assert {span.label for span in only.spans} == {"Chemical"}


def test_column_of_repeated_ids_has_no_words(read) -> None:
    (document,) = read(table("x x x y", "A B A B", "O B-DIS O O")).documents
    assert document.text == "A B A B"


def test_plain_labels_and_bare_tags_in_one_column_are_refused(read) -> None:
    with raises(FormatError, "format-unknown"):
        read(table(WORDS, "DIS O B I O"))


def test_equal_plain_labels_in_a_row_are_one_entity(read) -> None:
    corpus = read(table(WORDS, "CHEM O DIS DIS O"))
    assert covered(corpus.documents[0]) == ENTITIES
    assert [(one.kind, one.count) for one in corpus.warnings] == [("labels without B-", 2)]


@pytest.mark.parametrize(
    ("word", "tag"), [("2", "4"), ("token", "fine"), ("-3", "-1"), ("token", "4")]
)
def test_columns_are_named(read, word: str, tag: str) -> None:
    content = "sent\ttoken\tcoarse\tfine\n" + table(
        "a b c d e", WORDS, "B-X B-X I-X O O", "B-CHEM O B-DIS I-DIS O"
    )
    (document,) = read(content, word_column=word, tag_column=tag).documents
    assert document.text == " ".join(WORDS)
    assert covered(document) == ENTITIES


def test_named_column_may_have_any_plain_labels(read) -> None:
    (document,) = read(table(WORDS, "CHEM _ DIS DIS _"), tag_column="2").documents
    assert covered(document) == ENTITIES


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"word_column": "9"}, "column-unknown"),
        ({"tag_column": "0"}, "column-unknown"),
        ({"tag_column": "ner"}, "column-unknown"),
        ({"tag_column": "2"}, "column-without-tags"),
    ],
)
def test_wrong_column_names_are_refused(read, columns: dict[str, str], code: str) -> None:
    with raises(FormatError, code):
        read(table(WORDS, "1 2 3 4 5", "B-CHEM O B-DIS I-DIS O"), **columns)


CONLLU = """# newdoc
# sent_id = 1
# text = Lithium caused  it's tremor.
1\tLithium\tlithium\tNOUN\t_\t_\t2\tnsubj\t_\tNER=B-CHEM
2\tcaused\tcause\tVERB\t_\t_\t0\troot\t_\tNER=O
3-4\tit's\t_\t_\t_\t_\t_\t_\t_\t_
3\tit\tit\tPRON\t_\t_\t2\tobj\t_\tNER=O
4\t's\t's\tPART\t_\t_\t3\tcase\t_\tNER=O
4.1\tnothing\t_\t_\t_\t_\t_\t_\t_\t_
5\ttremor\ttremor\tNOUN\t_\t_\t2\tobj\t_\tNER=B-DIS|SpaceAfter=No
6\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\tNER=O

# newdoc
1\tFever\tfever\tNOUN\t_\t_\t0\troot\t_\tNER=B-DIS|SpaceAfter=No
2\t!\t!\tPUNCT\t_\t_\t1\tpunct\t_\tNER=O

"""


def test_conllu_has_its_text(read) -> None:
    documents = read(CONLLU).documents
    assert [document.text for document in documents] == ["Lithium caused  it's tremor.", "Fever!"]
    assert [covered(document) for document in documents] == [
        [("Lithium", "CHEM"), ("tremor", "DIS")], [("Fever", "DIS")]
    ]  # fmt: skip


@pytest.mark.parametrize("number", ["0", "\u00b2", "1-\u00b2"])
def test_odd_numbers_of_tokens_in_conllu(read, number: str) -> None:
    fever = "1\tFever\tfever\tNOUN\t_\t_\t0\troot\t_\tNER=B-DIS\n\n"
    odd = fever.replace("1", number, 1)  # far below the rows that show the columns
    documents = read(fever * 2000 + odd).documents
    assert [document.text for document in documents] == ["Fever"] * 2001


def test_column_of_huge_numbers_is_no_numbering(read) -> None:
    huge = "9" * 5000  # Python refuses to convert so many digits
    (document,) = read(table(WORDS, f"{huge} " * 5, "B-CHEM O O O O")).documents
    assert covered(document) == [("Lithium", "CHEM")]


def test_text_line_of_other_tokens_is_not_used(read) -> None:
    corpus = read(CONLLU.replace("# text = Lithium", "# text = Sodium"))
    assert corpus.documents[0].text == "Lithium caused it's tremor."
    assert [one.kind for one in corpus.warnings] == ["text line not used"]


def test_conllu_without_entities_is_refused_but_has_texts(read, tmp_path: Path) -> None:
    content = CONLLU.replace("NER=", "X=")
    with raises(FormatError, "conll-without-tags") as raised:
        read(content)
    assert "line 4 " in str(raised.value)
    with open_source(tmp_path / "some.tsv") as source:
        texts = [item.document.text for item in source if item.document]
    assert texts == ["Lithium caused  it's tremor.", "Fever!"]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ("Lithium NN B-CHEM\nin vitro JJ O\nrenal failure NN B-DIS\n", 2),
        ("Lithium\tB-CHEM\ntre", 2),  # cut off
        ("Lithium\tB-CHEM\n" * 3 + "in vitro O\n", 4),
    ],
)
def test_row_with_another_number_of_columns_is_refused(read, rows: str, line: int) -> None:
    with raises(FormatError, "conll-columns-differ") as raised:
        read(rows)
    assert f"line {line} " in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        "Hepatitis B\n",
        "Vitamin B\nHepatitis B\n",
        "A B\nC D\n",
        "id\tname\n1\tLithium\n2\tAspirin\n",
        "The patient was given lithium.\nHe had tremor.\n",
    ],
)
def test_other_texts_are_no_token_files(read, content: str, tmp_path: Path) -> None:
    with raises(FormatError, "format-unknown"):
        read(content)
    path = tmp_path / "some.txt"  # files *.tsv are tables
    path.write_text(content)
    with open_source(path) as source:
        assert [item.document.text for item in source if item.document] == [content]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("高 血 压 患 者 服 药", "高血压患者服药"),
        ("患者 服 aspirin 100 mg ， 好转 。", "患者服 aspirin 100 mg ，好转。"),
        ("ผู้ป่วย เป็น เบาหวาน", "ผู้ป่วยเป็นเบาหวาน"),
        ("カルテ に 書く", "カルテに書く"),
        ("당뇨병 환자", "당뇨병 환자"),
        ("म रोगी", "म रोगी"),
        (" ".join("高血压患者服药" * 9 + "aspirin"), "高血压患者服药" * 9 + "aspirin"),
        ("高 血 压 m g", "高血压 m g"),  # too few tokens to show that all are characters
    ],
)
def test_scripts_without_blanks_get_none(read, tokens: str, text: str) -> None:
    rows = "".join(f"{token}\t{'O' if i else 'B-D'}\n" for i, token in enumerate(tokens.split()))
    (document,) = read(rows).documents
    assert document.text == text
    assert covered(document) == [(tokens.split(maxsplit=1)[0], "D")]


VISIBLE = st.characters(exclude_categories=("Z", "C"), exclude_characters=FILLERS)
TOKENS = st.text(VISIBLE, min_size=1, max_size=6)
SENTENCE = st.lists(st.tuples(TOKENS, st.sampled_from(("", "A", "B c"))), min_size=1, max_size=8)
SCHEMES = {
    "IOB2": ("B", "I", "I", "B"),
    "BIOES": ("B", "I", "E", "S"),
    "BILOU": ("B", "I", "L", "U"),
    "BMES": ("B", "M", "E", "S"),
    "lower case": ("b", "i", "i", "b"),
}


@given(
    st.lists(SENTENCE, min_size=1, max_size=3),
    st.sampled_from(sorted(SCHEMES)),
    st.sampled_from(("{number}\t{token}\t{tag}", "{tag}\t{token}", "{token}\t-X-\t_\t{tag}")),
)
def test_entities_of_every_scheme_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    sentences: list[list[tuple[str, str]]],
    scheme: str,
    row: str,
) -> None:
    begin, inside, last, single = SCHEMES[scheme]
    path = tmp_path_factory.mktemp("any") / "x.tsv"
    lines = [row.format(number=1, token="Sign", tag="O"), ""]
    for sentence in sentences:
        number = 0
        for token, label in sentence:
            # Entities of one token and of two.
            tags = [f"{single}-{label}"] if len(token) % 2 else [f"{begin}-{label}"]
            tags += [] if len(token) % 2 else [f"{inside if label == 'A' else last}-{label}"]
            for tag in tags if label else ["O"]:
                number += 1
                lines.append(row.format(number=number, token=token, tag=tag))
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    corpus = read_corpus([path])
    assert len(corpus.documents) == len(sentences) + 1
    for document, sentence in zip(corpus.documents[1:], sentences, strict=True):
        expected = [
            ("".join((token,) if len(token) % 2 else (token, token)), label)
            for token, label in sentence
            if label
        ]
        assert [("".join(text.split()), label) for text, label in covered(document)] == expected
    assert corpus.dropped == ()


def test_a_span_is_where_its_tokens_are(read) -> None:
    (document,) = read("-DOCSTART-\n\nA\tO\n\n-DOCSTART-\n\nb\tB-X\n\nc\tB-X\n").documents[1:]
    assert document.text == "b\nc"
    assert document.spans == (Span(0, 1, "X"), Span(2, 3, "X"))


def test_nested_entities_in_one_tag_are_refused(read) -> None:
    with raises(FormatError, "conll-row-without-tag"):
        read("Zinc\tB-DIS\nlithium\tB-DIS\nLi\tB-CHEM|B-ION\ncaused\tO\n")


def test_bare_predictions_get_the_label_of_gold(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text(table(WORDS, "B O B I O"))
    ((_, predicted),) = read_predictions(
        path, ReadOptions(columns=ColumnOptions(entity_label="Disease"))
    )
    assert {span.label for span in predicted.spans} == {"Disease"}


@pytest.mark.parametrize("ids", ["s1 s1 s1 s1 s1 s2 s2 s2 s2 s2", "Sentence:1 Sentence:2"])
def test_ids_set_sentences_apart_where_no_blank_lines_do(read, ids: str) -> None:
    given = ids.split()
    if len(given) == 2:  # as in a table that was filled in only where a sentence begins
        given = [given[0], "", "", "", "", given[1], "", "", "", ""]
    rows = table(given, WORDS * 2, "B-CHEM O B-DIS I-DIS O B-CHEM O B-DIS I-DIS O")
    for content in (rows, f"id\tword\ttag\n{rows}"):
        documents = read(content).documents
        assert [document.text for document in documents] == [" ".join(WORDS)] * 2
        assert [covered(document) for document in documents] == [ENTITIES] * 2


KAGGLE = (
    "Sentence #,Word,POS,Tag\n"
    "Sentence: 1,Lithium,NNP,B-CHEM\n,caused,VBD,O\n,acute,JJ,B-DIS\n,tremor,NN,I-DIS\n"
    ',",",",",O\n,"""",``,O\nSentence: 2,"1,2-DCE",NN,B-CHEM\n,again,RB,O\n,.,.,O\n,.,.,O\n'
)


def test_table_of_sentences_with_commas(read, tmp_path: Path) -> None:
    documents = read(KAGGLE).documents
    assert [document.text for document in documents] == [
        'Lithium caused acute tremor , "',
        "1,2-DCE again . .",
    ]
    assert [covered(document) for document in documents] == [ENTITIES, [("1,2-DCE", "CHEM")]]
    path = tmp_path / "texts.csv"
    path.write_text(KAGGLE)
    with open_source(path) as source:
        assert [item.document and item.document.text for item in source] == [
            document.text for document in documents
        ]


@pytest.mark.parametrize("delimiter", [",", ", ", ";", " ,"])
@pytest.mark.parametrize("header", ["", "sentence_id{0}words{0}labels\n"])
def test_columns_set_apart_by_commas_or_semicolons(read, delimiter: str, header: str) -> None:
    rows = table("1 1 1 1 1", WORDS, "B-CHEM O B-DIS I-DIS O").replace("\t", delimiter)
    (document,) = read(header.format(delimiter) + rows).documents
    assert document.text == " ".join(WORDS)
    assert covered(document) == ENTITIES


@pytest.mark.parametrize("content", ["1,2 B-CHEM\n3,4 O\n", ", B-CHEM\n, O\n"])
def test_commas_in_words_of_other_files_are_kept(read, content: str) -> None:
    (document,) = read(content).documents
    assert covered(document) == [(content.split(maxsplit=1)[0], "CHEM")]


@pytest.mark.parametrize("row", [",,O", '",O', '"Li"x,O', "tremor", "tremor,NN,O"])
def test_row_without_its_quotation_marks_is_refused(read, row: str) -> None:
    rows = "Lithium,B-CHEM\ncaused,O\n" * 5
    with raises(FormatError, "conll-columns-differ") as raised:
        read(f"{rows}{row}\n")
    assert "line 11 " in str(raised.value)
    assert "quotation marks" in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        'text,level\n"Pain, and fever.",L-4\nTremor.,S-1\n',  # vertebrae
        'text,label\n"Pain, and fever.",B\nTremor.,A\n',
        'id,text,label\n1,"Renal failure, acute",O\n2,"Tremor again",B\n',
        "Pain, fever and tremor\nLithium, given again\n",
    ],
)
def test_tables_of_texts_are_no_token_files(read, content: str) -> None:
    with raises(FormatError, "format-unknown"):
        read(content)


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_wrong_tags_below_their_header_are_refused(read, delimiter: str) -> None:
    content = "Sentence #\tWord\tTag\n1\tLithium\tX-Y\n1\tcaused\t?\n"
    with raises(FormatError, "conll-row-without-tag") as raised:
        read(content.replace("\t", delimiter))
    assert "line 2 " in str(raised.value)


CELLS = st.text(VISIBLE, min_size=1, max_size=4)


@settings(max_examples=30)
@given(st.lists(st.tuples(CELLS, st.sampled_from(("O", "B-A"))), min_size=1, max_size=6))
def test_quoted_words_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Word", "Tag"), ("Sign", "O"), *rows])
    (document,) = read_corpus([path]).documents
    assert covered(document) == [(token, "A") for token, tag in rows if tag == "B-A"]
