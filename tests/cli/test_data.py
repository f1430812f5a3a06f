"""The commands `tagalong data`: output, files and exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tagalong.backend.formats.registry import WRITERS
from tagalong.cli.data import app
from tagalong.ner.errors import FormatError, InputError, OutputError
from tagalong.ner.length_buckets import LENGTH_NOTES
from tagalong.training.corpus import read_corpus
from tests.backend.url_project import KEY, serve_url_project
from tests.errors import assert_error
from tests.odd_documents import annotation, region, task

ROOT = Path(__file__).parents[2]
EXPORT = ROOT / "tests" / "samples" / "label_studio.json"
CORPUS = ROOT / "tests" / "samples" / "bc5cdr.jsonl"
CONFIG = ROOT / "label_config.xml"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_json(*arguments: str | Path) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_check_reports_dropped_annotations() -> None:
    report = run_json("check", EXPORT, "--label-config", CONFIG)
    assert report["labels"] == ["Chemical", "Disease"]
    assert report["documents"] == 6
    assert report["entities"] == report["kept"] + 3
    assert {reason: one["count"] for reason, one in report["lost"].items()} == {
        "overlap": 1,
        "outvoted": 2,
    }
    assert {one["kind"]: one["count"] for one in report["warnings"]}["draft"] == 1


def test_project_with_addresses_of_texts_is_read() -> None:
    with serve_url_project() as (label_studio, other):
        access = (
            *("--project", "1", "--label-studio-url", f"http://{label_studio.host}"),
            *("--label-studio-key", KEY, "--allowed-hosts", f"{label_studio.host}, {other.host}"),
        )
        report = run_json("check", *access)
        assert (report["documents"], report["kept"], report["labels"]) == (5, 5, ["Chemical"])
        assert run_json("stats", *access)["documents"] == 5
    assert run("check", EXPORT, *access).exit_code == 2
    assert run("check").exit_code == 2


def test_check_tables_equal_the_json() -> None:
    result = run("check", EXPORT)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{EXPORT} is read as Label Studio JSON.\n")
    for part in ("6 documents", "3 lost", "outvoted", "sinus bradycardia.", "cancelled annotation"):
        assert part in result.stdout


def test_check_lists_no_more_labels_than_fit(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    entities = [{"start": 0, "end": 4, "label": f"Concept {number:02}"} for number in range(30)]
    path.write_text(json.dumps({"id": "1", "text": "IL-2 rises", "entities": entities}))
    shown = " ".join(run("check", path).stdout.split())
    assert "Concept 19 and 10 more: 1 kept, 29 lost." in shown


def test_strict_fails_on_any_dropped_annotation() -> None:
    assert run("check", EXPORT, "--strict").exit_code == 1
    assert run("check", CORPUS, "--strict").exit_code == 0


def test_markup_and_control_characters_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    text = "[red]\x1b[31mx"
    entity = {"start": 1, "end": 8, "label": "[b]odd\x1b[/b]"}
    longer = {"start": 0, "end": 8, "label": "x"}  # overlaps it
    path.write_text(json.dumps({"id": "[/]", "text": text, "entities": [entity, longer]}))
    result = run("check", path)
    assert result.exit_code == 0
    assert "[b]odd\\x1b[/b] 'red]\\x1b[3' at 1 to 8 in [/]" in result.stdout
    assert "[b]odd\\x1b[/b]" in run("stats", path).stdout


def test_annotator_strategy_is_used() -> None:
    assert run_json("stats", EXPORT)["documents"] == 6
    assert run_json("stats", EXPORT, "--annotators", "all")["documents"] == 9
    assert run("stats", EXPORT, "--annotators", "none").exit_code == 2


def test_stats_add_up() -> None:
    report = run_json("stats", CORPUS, EXPORT)
    assert sum(one["entities"] for one in report["by_label"].values()) == report["entities"]
    assert sum(report["by_length"].values()) == report["entities"]
    shown = run("stats", CORPUS).stdout
    assert "5 documents" in shown
    for part in ("Chemical", "Disease", "1 word ", "2 words", "3+ words", "All"):
        assert part in shown


def test_stats_count_words_or_tokens(tmp_path: Path) -> None:
    entity = {"start": 0, "end": 4, "label": "Gene"}
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps({"id": "1", "text": "IL-2 rises", "entities": [entity]}))
    for options, unit, length in (
        ((), "words", "3+"),
        (("--length-by", "blanks"), "blanks", "1"),
    ):
        report = run_json("stats", path, *options)
        assert report["length_by"] == unit
        assert report["by_length"][length] == report["by_label"]["Gene"]["by_length"][length] == 1
        shown = " ".join(run("stats", path, *options).stdout.split())
        assert LENGTH_NOTES[unit] in shown
        assert ("3+ words" in shown) == (unit == "words")


@pytest.mark.parametrize("target", ["jsonl", "label-studio"])
def test_convert_keeps_everything(tmp_path: Path, target: str) -> None:
    out = tmp_path / "out"
    report = run_json("convert", CORPUS, "--to", target, "--out", out, "--label-config", CONFIG)
    counts = {"lost": {}, "warnings": {}, "masked_ranges_lost": 0, "replaced_characters": 0}
    assert report == {"file": str(out), "documents": 5, **counts}
    assert read_corpus([out]).documents == read_corpus([CORPUS]).documents


def test_convert_counts_dropped_content(tmp_path: Path) -> None:
    out = tmp_path / "out.conll"
    report = run_json("convert", EXPORT, "--to", "conll", "--out", out)
    assert report["lost"] == {"outvoted": 2, "overlap": 1}
    shown = run("convert", EXPORT, "--to", "conll", "--out", out, "--force").stdout
    assert "2 entities lost: outvoted" in shown
    assert report["masked_ranges_lost"] == 2
    assert "2 masked ranges look free of entities" in shown
    assert len(read_corpus([out]).documents) == 6


@pytest.fixture
def odd_export(tmp_path: Path) -> Path:
    """An export from Windows with a stale region and an odd task."""
    text = "Aspirin.\r\nNo fever."
    fever, stale = region(text, 13, 18, "Disease"), region(text, 0, 7, "Chemical")
    fever["value"] |= {"start": 12, "end": 17}
    stale["value"]["text"] = "Lithium"
    path = tmp_path / "export.json"
    odd = {"id": 9, "data": {"text": None}, "annotations": [annotation()]}
    usual = [task(f"{text}{i}", annotation(fever, stale), number=i) for i in range(8)]
    path.write_text(json.dumps([*usual, odd]), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["stats", "convert", "split"])
def test_every_command_shows_what_check_shows(
    tmp_path: Path, odd_export: Path, command: str
) -> None:
    out = {
        "stats": [],
        "convert": ["--out", tmp_path / "o.jsonl"],
        "split": ["--out", tmp_path / "o", "--shares", "0.5,0.5"],
    }
    warnings = {one["kind"]: one["count"] for one in run_json("check", odd_export)["warnings"]}
    assert warnings == {"CRLF counted as one": 8, "task set aside": 1}
    result = run(command, odd_export, *out[command])
    assert result.exit_code == 0, result.output
    for part in ("CRLF counted as one, 8 times", "task set aside, 1 time", "task 9 has"):
        assert part in " ".join(result.stderr.split())
    assert "text differs" in result.output


def test_convert_counts_replaced_characters(tmp_path: Path) -> None:
    path, out = tmp_path / "nul.jsonl", tmp_path / "out"
    path.write_text(json.dumps({"id": "1", "text": "a\0 b\0", "entities": []}))
    assert run_json("convert", path, "--to", "brat", "--out", out)["replaced_characters"] == 2
    assert read_corpus([out]).documents[0].text == "a\ufffd b\ufffd"
    shown = run("convert", path, "--to", "brat", "--out", tmp_path / "again").stdout
    assert "2 NUL characters are in it as U+FFFD" in shown


def test_no_word_of_a_conll_file_has_control_characters(tmp_path: Path) -> None:
    path, out = tmp_path / "nul.jsonl", tmp_path / "out.conll"
    path.write_text(json.dumps({"id": "1", "text": "a\0 b\0", "entities": []}))
    assert run_json("convert", path, "--to", "conll", "--out", out)["replaced_characters"] == 0
    assert read_corpus([out]).documents[0].text == "a b"


def test_check_tells_what_each_word_rule_loses(tmp_path: Path) -> None:
    path = tmp_path / "parts.jsonl"
    entities = [{"start": 0, "end": 3, "label": "Gene"}, {"start": 7, "end": 9, "label": "Gene"}]
    path.write_text(json.dumps({"id": "1", "text": "p53null KATP x", "entities": entities}))
    report = run_json("check", path)
    assert (report["word_rule"], report["kept"]) == ("characters", 2)
    assert report["lost_by_word_rule"] == {"scripts": 2, "parts": 1, "characters": 0}
    assert "2 with scripts, 1 with parts, 0 with characters" in " ".join(
        run("check", path).stdout.split()
    )


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious")
    result = run("convert", CORPUS, "--out", out)
    assert isinstance(result.exception, OutputError)
    assert out.read_text() == "precious"
    (tmp_path / "dev.jsonl").write_text("precious")
    result = run("split", CORPUS, "--out", tmp_path, "--shares", "0.5,0.5")
    assert isinstance(result.exception, OutputError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev.jsonl", "out.jsonl"]


ODD_LABELS = (
    *("M\u00e9d", "Me\u0301d", "\u05ea\u05e8\u05d5\u05e4\u05d4", "x\u202eevil", "\u200bzw"),
    *("\U0001f469\u200d\u2695\ufe0f", "L" * 1000, 'drug, small "molecule"', "line\nbreak"),
    *("\u75be\u75c5", "tab\there", " lead", "O", "I", "B-X", "-", "_", "null"),
    *("[bold]Drug[/bold]", "<b>&amp;", "a|b", "a\\b"),
)


def test_label_of_any_characters_stays_itself_or_is_refused_by_name(tmp_path: Path) -> None:
    given = {f"Dose zorb{number} daily": label for number, label in enumerate(ODD_LABELS)}
    lines = [
        {"id": text, "text": text, "entities": [{"start": 5, "end": 10, "label": label}]}
        for text, label in given.items()
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def read(*paths: Path) -> dict[str, str]:
        return {one.text: one.spans[0].label for one in read_corpus(paths).documents}

    check = run_json("check", path)
    assert sorted(check["labels"]) == sorted(ODD_LABELS)
    assert [one["kind"] for one in check["warnings"]] == ["labels alike"]
    for command in ("check", "stats"):
        shown = run(command, path).output
        assert not {"\u202e", "\u200b", "\u200d"}.intersection(shown)
    run_json("split", path, "--out", tmp_path / "parts")
    assert read(*(tmp_path / "parts").iterdir()) == given
    refused = set()
    for name in sorted(WRITERS.keys() - {"spacy"}):
        out = tmp_path / f"out.{name}"
        result = run("convert", path, "--to", name, "--out", out)
        if result.exit_code:
            assert isinstance(result.exception, OutputError)
            assert not out.exists()
            assert any(repr(label) in str(result.exception) for label in ODD_LABELS)
            refused.add(name)
        else:
            assert read(out) == given
    assert refused.isdisjoint(["jsonl", "label-studio", "bioc-xml", "bioc-json", "tsv"])


def test_split_writes_each_document_once(tmp_path: Path) -> None:
    report = run_json(
        "split", CORPUS, EXPORT, "--out", tmp_path / "parts", "--shares", "0.5,0.25,0.25"
    )
    files = {path.stem: path for path in (tmp_path / "parts").iterdir()}
    assert report["lost"] == {"outvoted": 2}
    assert sorted(files) == ["dev", "test", "train"]
    counts = {side: len(path.read_text().splitlines()) for side, path in files.items()}
    assert counts == report["documents"]
    assert sum(counts.values()) == 11
    shown = run("split", CORPUS, "--out", tmp_path / "two", "--shares", "0.5,0.5").stdout
    assert "train.jsonl" in shown
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "dev.jsonl",
        "train.jsonl",
    ]


@pytest.mark.parametrize("shares", ["1", "a,b", "0.5,0.6", "0.25,0.25,0.25,0.25", ""])
def test_invalid_shares_write_nothing(tmp_path: Path, shares: str) -> None:
    result = run("split", CORPUS, "--out", tmp_path / "parts", "--shares", shares)
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "parts").exists()


def test_empty_side_is_refused_and_nothing_written(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    lines = [{"id": f"{i}", "text": f"case {i}", "entities": []} for i in range(2)]
    path.write_text("\n".join(map(json.dumps, lines)))
    result = run("split", path, "--out", tmp_path / "parts")
    assert_error(result.exception, "split-empty")
    assert not (tmp_path / "parts").exists()


def test_unreadable_files_fail(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text("")
    for command in (["check"], ["stats"], ["convert", "--out", "x"], ["split", "--out", "x"]):
        result = run(*command, path)
        assert isinstance(result.exception, FormatError)
        assert result.exit_code == 1
        assert run(*command, tmp_path / "missing.json").exit_code == 2


@pytest.mark.parametrize("command", ["check", "stats", "convert", "split"])
def test_help_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: tagalong data {command} " in result.stdout


def test_columns_of_token_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "some.tsv"
    path.write_text("id\ttoken\told\tnew\n1\tLithium\tB\tO\n2\tAspirin\tO\tB\n")
    check = ("check", path, "--word-column", "token", "--entity-label", "Chemical", "--tag-column")
    assert run_json(*check, "old")["labels"] == ["Chemical"]
    assert run_json(*check, "4")["kept"] == 1
    assert_error(run("check", path, "--tag-column", "9").exception, "column-unknown")
