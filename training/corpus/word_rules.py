"""Choice of a training's word rule by the entities with an edge inside one of its words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tagalong.ner.document import Document
from tagalong.ner.tags import TagSet
from tagalong.ner.words import CHARACTERS, DEFAULT_WORD_RULE, PARTS, WORD_RULES, WordRule

CANDIDATE_RULES = (DEFAULT_WORD_RULE, PARTS, CHARACTERS)  # each divides the words of the one before
# Shares of all entities. Some annotations are slips, and a model that tags characters is worse.
MAX_NEGLIGIBLE_LOSS = 0.02  # by the default rule
MAX_SILENT_LOSS = 0.05  # in training; more must be allowed


@dataclass(frozen=True, slots=True)
class WordRuleChoice:
    """A word rule, and the entities that each rule would lose, as they have an edge inside a word.

    Overlaps are lost by every rule.
    """

    rule: WordRule
    lost: Mapping[str, int]  # by the name of the rule
    entities: int  # with a known label

    @property
    def is_needed(self) -> bool:
        """Whether the rules differ."""
        return len(set(self.lost.values())) > 1

    def describe(self) -> str:
        """One sentence: what each rule would lose, and the chosen one."""
        counts = ", ".join(f"{count:,} with {name}" for name, count in self.lost.items())
        return (
            f"Of {self.entities:,} entities, these have an edge inside a word: {counts}. "
            f"A training takes the word rule {self.rule.name}: {self.rule.description}."
        )


def choose_word_rule(
    documents: Sequence[Document], labels: tuple[str, ...], name: str | None = None
) -> WordRuleChoice:
    """Choose the default rule if its loss is negligible, else the parts if theirs is not too high.

    If it is too high, take the rule with the lowest loss; of equals, always the coarsest. `name` is
    that of a rule to take whatever it loses. Labels outside the set do not count.
    """
    lost = dict.fromkeys((rule.name for rule in CANDIDATE_RULES), 0)
    entities = 0
    if labels:  # a tag set needs one
        known = set(labels)
        entities = sum(
            len({span for span in document.spans if span.label in known}) for document in documents
        )
        for rule in CANDIDATE_RULES:
            counts = [_count_lost(document, TagSet(labels, rule)) for document in documents]
            lost[rule.name] = sum(counts)
            # A finer rule loses nothing where this one does not.
            documents = [
                document for document, count in zip(documents, counts, strict=True) if count
            ]
    if name is not None:
        return WordRuleChoice(WORD_RULES[name], lost, entities)
    if lost[DEFAULT_WORD_RULE.name] <= MAX_NEGLIGIBLE_LOSS * entities:
        return WordRuleChoice(DEFAULT_WORD_RULE, lost, entities)
    best, better = (
        min(rules, key=lambda rule: lost[rule.name])
        for rules in (CANDIDATE_RULES, (DEFAULT_WORD_RULE, PARTS))
    )
    is_enough = lost[better.name] <= MAX_SILENT_LOSS * entities
    return WordRuleChoice(better if is_enough else best, lost, entities)


def _count_lost(document: Document, tag_set: TagSet) -> int:
    return sum(one.reason == "edge inside a word" for one in tag_set.encode(document).dropped)
