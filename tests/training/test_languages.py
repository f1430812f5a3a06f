"""Entities in texts of every script: none is lost, and a model learns them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.text.windows import WindowConfig
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Span
from tagalong.ner.manifest import read_manifest, read_word_rule
from tagalong.ner.scoring import Scores, score_spans
from tagalong.ner.words import PARTS, WORD_RULES
from tagalong.training.corpus import choose_word_rule
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import train_encoder
from tagalong.training.jobs.publish import publish
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import Schedule
from tests.languages import LABELS, LANGUAGES, read_sentences

RECIPE = EncoderRecipe(
    window_config=WindowConfig(96, 8),
    train_window_config=WindowConfig(64, 8),
    schedule=Schedule(
        epochs=20,
        learning_rate=5e-3,
        batch_tokens=512,
        ema_decay=0.9,
        precision="fp32",
        patience=20,
    ),
    dropout=0.0,
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_entity_is_lost(language: str) -> None:
    documents = read_sentences(language)
    assert len(documents) >= 30
    choice = choose_word_rule(documents, LABELS)
    assert choice.lost["characters"] == 0
    # Arabic writes prepositions, and the conjunction before a noun, as part of a word.
    assert (choice.lost["scripts"] == 0) == (language != "ar")


def train(base: Path, split: TrainDevSplit, tmp_path: Path) -> Path:
    """Train and publish a version; returns its folder."""
    recipe = replace(RECIPE, base=BaseModelRef(str(base)))
    trained = train_encoder(split, recipe=recipe, state_path=tmp_path / "state")
    store = ModelStore(tmp_path / "models")
    manifest = publish(trained, split, store=store, tier="encoder", name="x")
    return store.resolve(manifest.version)


@pytest.mark.slow
def test_chinese_is_learned(tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    documents = read_sentences("zh")
    held_out = documents[::4]
    rest = [document for document in documents if document not in held_out]
    assert (len(rest), len(held_out)) == (60, 20)
    folder = train(tiny_base("bert-chinese"), TrainDevSplit(rest, rest, LABELS), tmp_path)
    tagger = load_tagger(folder)
    predictions = tagger.predict([Document(one.id, one.text) for one in held_out])
    scores = sum(
        (
            score_spans(document.text, document.spans, prediction.spans)
            for document, prediction in zip(held_out, predictions, strict=True)
        ),
        Scores(),
    )
    assert scores.strict.total.f1 > 0.3


@pytest.mark.slow
def test_version_is_served_by_its_word_rule(
    tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    """A mutant learns that a number ends its name, and says so in the same word."""
    documents = [
        Document(str(n), f"mice with {gene}null", (Span(10, 10 + len(gene), "Gene"),))
        for n, gene in enumerate(("p53", "il2", "p53", "il2", "p16", "a1"))
    ]
    split = TrainDevSplit(documents, documents, ("Gene",), word_rule=PARTS)
    folder = train(tiny_base("bert-cased"), split, tmp_path)
    assert read_word_rule(read_manifest(folder)) is PARTS
    predicted = load_tagger(folder).predict([Document(one.id, one.text) for one in documents])
    assert [one.spans for one in predicted] == [one.spans for one in documents]
    for document, prediction in zip(documents, predicted, strict=True):
        words = WORD_RULES["parts"].find_words(document.text)
        assert len(prediction.tag_confidences) == len(words)
