"""Documents that a tiny random model learns in seconds."""

import random

from tagalong.ner.document import Document, Span

DRUGS = ("naloxone", "clonidine", "lithium", "aspirin", "1,2-dichloroethane", "Ca2+ blockers")
DISEASES = ("asthma", "acute renal failure", "toxicity", "hypertension", "β-cell failure")
SENTENCES = (
    "The patient developed {disease} after {drug}. ",
    "{drug} reverses {disease} in rats (see ref. 12). ",
    "Neither {drug} nor {drug} caused {disease}; all patients recovered. ",
)
LABELS = ("Chemical", "Disease")


def toy_documents(count: int, *, seed: int = 0, sentences: int = 3) -> list[Document]:
    """Create different documents with Chemical and Disease spans; deterministic for a seed."""
    chance = random.Random(seed)
    return [_document(f"{seed}-{number}", chance, sentences) for number in range(count)]


def _document(name: str, chance: random.Random, sentences: int) -> Document:
    text, spans = f"Case {name}. ", []
    for _ in range(sentences):
        for part in chance.choice(SENTENCES).replace("}", "{").split("{"):
            if part in ("drug", "disease"):
                label, choices = ("Chemical", DRUGS) if part == "drug" else ("Disease", DISEASES)
                mention = chance.choice(choices)
                spans.append(Span(len(text), len(text) + len(mention), label))
                text += mention
            else:
                text += part
    return Document(name, text, tuple(spans))
