"""Names of training states and keys of manifests are stable between releases."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.train.messages import describe_split
from tagalong.ner.document import Document, DroppedAnnotation, Span
from tagalong.ner.errors import TrainingError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import CHARACTERS
from tagalong.training.corpus import Corpus, check_corpus
from tagalong.training.curate.cross_validation import CrossValidationConfig
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs.train_version import (
    TrainInputs,
    TrainJob,
    build_training_data,
    training_state_path,
)
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.llm_recipe import LLMRecipe
from tagalong.training.recipes.recipe import AdapterConfig, Recipe, recipe_from_json, recipe_to_json
from tagalong.training.recipes.schedule import TrainingHistory
from tests.errors import raises

DOCUMENTS = [
    Document(str(number), f"Naloxone {number}", (Span(0, 8, "Chemical"),)) for number in (1, 2, 3)
]
SPLIT = TrainDevSplit(DOCUMENTS[:2], DOCUMENTS[2:], ("Chemical",), ("x",))
ENCODER_RECIPE = EncoderRecipe(BaseModelRef("some/base", "abc"), AdapterConfig(8, 16, 0.1))
LLM_RECIPE = LLMRecipe(BaseModelRef("some/llm", "abc"))


@pytest.mark.parametrize(
    ("tier", "recipe", "split", "name"),
    [  # as in the first release
        ("encoder", ENCODER_RECIPE, SPLIT, ".training-ccbf40ce5be42e56"),
        ("llm", LLM_RECIPE, SPLIT, ".training-66416a2b836d26bd"),
        (
            *("encoder", ENCODER_RECIPE, replace(SPLIT, warm_start_version="v-1")),
            ".training-a258999ff0482972",
        ),
    ],
)
def test_stopped_training_of_an_earlier_release_is_resumed(
    tier: str, recipe: Recipe, split: TrainDevSplit, name: str
) -> None:
    assert training_state_path(ModelStore(Path("m")), tier, recipe, split).name == name


def test_folds_of_an_earlier_release_are_found() -> None:
    key = CrossValidationConfig().key(DOCUMENTS[:2], TagSet(("Chemical",)))
    assert key == "5a6ae7a4e2a33bb6"


def test_recipe_keys_of_the_first_release_round_trip() -> None:
    encoder, llm = recipe_to_json(ENCODER_RECIPE), recipe_to_json(LLM_RECIPE)
    assert {"reading", "lesson", "mask", "smoothing"} <= encoder.keys()
    assert {"dropout_from", "clip", "average", "least_steps"} <= encoder["schedule"].keys()
    assert {"lesson", "noise", "checkpointing"} <= llm.keys()
    for recipe, value, kind in (
        (ENCODER_RECIPE, encoder, EncoderRecipe),
        (LLM_RECIPE, llm, LLMRecipe),
    ):
        del value["base"]
        assert recipe_from_json(kind, value, recipe.base) == recipe


def test_scores_of_an_earlier_state_are_read() -> None:
    state = {"scores": [0.1, 0.3], "losses": [1.0, 0.5], "best": 1, "idle": 0}
    history = TrainingHistory.from_json(state)
    assert (history.dev_scores, history.best_epoch) == ([0.1, 0.3], 1)
    assert history.to_json() == state


def test_another_word_rule_is_another_training() -> None:
    store, split = ModelStore(Path("m")), replace(SPLIT, word_rule=CHARACTERS)
    assert training_state_path(store, "encoder", ENCODER_RECIPE, split) != training_state_path(
        store, "encoder", ENCODER_RECIPE, SPLIT
    )


COMPOUND = Document("4", "Lithiumintoxikation", (Span(0, 7, "Chemical"),))
NESTED = Document("5", "sodium chloride", (Span(0, 15, "Chemical"), Span(0, 6, "Chemical")))
APART = Document("6", "left and right cancer", (Span(15, 21, "Chemical"),))
TWO_STRETCHES = DroppedAnnotation("Chemical", "left cancer", "discontinuous", 0, 21, "6")
JOB = TrainJob("encoder", ENCODER_RECIPE, ModelStore(Path("m")), "x")


@pytest.mark.parametrize(
    ("extra", "dropped", "rule", "reason"),
    [
        (COMPOUND, (), "parts", "1 of 4 .*: 1 edge inside a word .25.0 %.; .* another --word-rule"),
        (NESTED, (), None, "1 of 5 .*: 1 overlap .20.0 %.; .* lists, or give"),
        (APART, (TWO_STRETCHES,), None, "1 of 5 .*: 1 discontinuous .20.0 %.;"),
    ],
)
def test_training_that_loses_many_entities_is_refused(
    extra: Document, dropped: tuple[DroppedAnnotation, ...], rule: str | None, reason: str
) -> None:
    corpus = Corpus((*DOCUMENTS, extra), dropped, (), ("Chemical",), ())
    inputs = TrainInputs(dev_share=0.5, word_rule=rule)
    with raises(TrainingError, "flat-tags-lose-entities") as caught:
        build_training_data(JOB, corpus, None, inputs)
    assert re.match(reason, str(caught.value))
    assert check_corpus(corpus).flat_losses.is_high == (rule is None)
    allowed = build_training_data(JOB, corpus, None, replace(inputs, allow_losses=True))
    assert "The training ignores their words." in describe_split(allowed.split, corpus)


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        ((replace(TWO_STRETCHES, label="Other"),), 1),  # not trained
        ((replace(TWO_STRETCHES, document="7"),), 1),  # held out
        ((replace(TWO_STRETCHES, reason="outvoted"),), 1),
        ((TWO_STRETCHES,), 2),
    ],
)
def test_only_flat_tags_of_the_documents_count(
    dropped: tuple[DroppedAnnotation, ...], expected: int
) -> None:
    texts = [f"Naloxone {number}" for number in range(40)]
    others = [Document(text, text, (Span(0, 8, "Chemical"),)) for text in texts]
    corpus = Corpus((*others, NESTED, APART), dropped, (), ("Chemical",), ())
    data = build_training_data(JOB, corpus, None, TrainInputs(dev_share=0.5))  # not refused
    losses = data.split.flat_losses
    assert losses is not None
    assert (losses.lost, losses.entities) == (expected, 42 + expected)


def test_default_word_rule_may_be_finer() -> None:
    corpus = Corpus((*DOCUMENTS, COMPOUND), (), (), ("Chemical",), ())
    chosen = build_training_data(JOB, corpus, None, TrainInputs(dev_share=0.5))
    assert chosen.split.word_rule.name == "characters"


def test_word_rule_may_be_named() -> None:
    corpus = Corpus(tuple(DOCUMENTS), (), (), ("Chemical",), ())
    data = build_training_data(JOB, corpus, None, TrainInputs(dev_share=0.5, word_rule="parts"))
    assert data.split.word_rule.name == "parts"
