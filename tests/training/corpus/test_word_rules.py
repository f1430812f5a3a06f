"""The word rule that a training chooses, by what each would lose."""

import pytest

from tagalong.ner.document import Document, Span
from tagalong.training.corpus import choose_word_rule

LABELS = ("Gene", "Chemical")


def documents_of(*marked: str) -> list[Document]:
    """Documents from texts with one entity each, between brackets."""
    documents = []
    for number, text in enumerate(marked):
        start, end = text.index("["), text.index("]") - 1
        plain = text.replace("[", "").replace("]", "")
        documents.append(Document(str(number), plain, (Span(start, end, LABELS[0]),)))
    return documents


WHOLE = ("the [IL2] gene",)
PARTS_OF_WORDS = ("the [p53]null mouse", "[NaCl]_buffer", "[HER]2")
LETTERS = ("[Lithium]intoxikation", "ب[الأسبرين]")


@pytest.mark.parametrize(
    ("marked", "rule", "lost"),
    [
        (WHOLE * 3, "scripts", [0, 0, 0]),
        ((*WHOLE * 98, *PARTS_OF_WORDS[:2]), "scripts", [2, 0, 0]),  # not worth it
        ((*WHOLE * 9, *PARTS_OF_WORDS), "parts", [3, 0, 0]),
        ((*WHOLE * 97, *PARTS_OF_WORDS[:2], *LETTERS), "parts", [4, 2, 0]),
        ((*WHOLE * 97, *LETTERS, LETTERS[0]), "scripts", [3, 3, 0]),  # parts would not help
        ((*WHOLE * 9, *LETTERS), "characters", [2, 2, 0]),
        (("[高血压]患者", "服用[aspirin]后"), "scripts", [0, 0, 0]),
    ],
)
def test_choice(marked: tuple[str, ...], rule: str, lost: list[int]) -> None:
    choice = choose_word_rule(documents_of(*marked), LABELS)
    assert choice.rule.name == rule
    assert [*choice.lost.values()] == lost
    assert choice.entities == len(marked)
    assert choice.is_needed == (len(set(lost)) > 1)


def test_counts_and_rule_are_described() -> None:
    choice = choose_word_rule(documents_of(*WHOLE, *LETTERS), LABELS)
    assert choice.describe() == (
        "Of 3 entities, these have an edge inside a word: 2 with scripts, 2 with parts, 0 with "
        f"characters. A training takes the word rule characters: {choice.rule.description}."
    )


def test_named_rule_is_taken() -> None:
    choice = choose_word_rule(documents_of(*LETTERS), LABELS, "parts")
    assert (choice.rule.name, choice.lost["parts"], choice.entities) == ("parts", 2, 2)


def test_labels_outside_the_set_do_not_count() -> None:
    choice = choose_word_rule(documents_of(*LETTERS), ("Chemical",))
    assert (choice.rule.name, choice.lost["scripts"], choice.entities) == ("scripts", 0, 0)
