"""Every encoder family trains, is saved, and serves the evaluated predictions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tagalong.backend.models.decoding.predictions import ScoreRefiner, log_softmax
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.text.windows import WindowConfig, WindowEncoder
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import TrainingError
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.dataset import TrainingWindows
from tagalong.training.encoder.train import build_encoder, train_encoder
from tagalong.training.evaluation.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE
from tagalong.training.jobs.publish import publish as publish_trained
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.recipe import AdapterConfig
from tagalong.training.recipes.schedule import Schedule
from tests.errors import raises
from tests.tiny_bases import FAMILIES
from tests.toy_corpus import LABELS, toy_documents

CPU = torch.device("cpu")
QUICK = Schedule(
    epochs=4, learning_rate=3e-3, batch_tokens=256, ema_decay=0.9, precision="fp32", warmup=0.05
)
TRAIN, DEV = toy_documents(48, seed=1), toy_documents(8, seed=2)
SPLIT = TrainDevSplit(TRAIN, DEV, LABELS)


def recipe_for(base, **changes):
    recipe = EncoderRecipe(
        base=BaseModelRef(str(base)),
        window_config=WindowConfig(96, 8),
        train_window_config=WindowConfig(64, 8),
        schedule=QUICK,
        mask_probability=0.05,
    )
    return replace(recipe, **changes)


def train(recipe, tmp_path, **options):
    return train_encoder(SPLIT, recipe=recipe, state_path=tmp_path / "state", **options)


def publish(trained, tmp_path):
    """Publish a training and return the version's folder."""
    store = ModelStore(tmp_path / "models")
    manifest = publish_trained(trained, SPLIT, store=store, tier="encoder", name="tiny")
    return store.resolve(manifest.version)


def assert_agree(one, other, *, within):
    """Check that both taggers have nearly the same tag probabilities for each word of dev."""
    assert one.runner.precision == other.runner.precision == "fp32"
    assert one.score_refiner == other.score_refiner
    for ours, theirs in zip(one.run(one.encode(DEV)), other.run(other.encode(DEV)), strict=True):
        assert np.exp(log_softmax(ours)) == pytest.approx(np.exp(log_softmax(theirs)), abs=within)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_and_served_scores_equal_evaluated_ones(family, tiny_base, tmp_path):
    recipe = recipe_for(tiny_base(family))
    trained = train(recipe, tmp_path)
    assert trained.history.losses[-1] < 0.5 * trained.history.losses[0]
    assert trained.history.dev_scores[trained.history.best_epoch] > 0.6
    served = load_tagger(publish(trained, tmp_path), device=CPU)
    predictions = trained.tagger.predict(DEV)
    assert [one.spans for one in served.predict(DEV)] == [one.spans for one in predictions]
    for document, prediction in zip(DEV, predictions, strict=True):
        assert len(prediction.tag_confidences) == len(word_offsets(document.text))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert-uncased", "deberta-v3", "mistral"])
def test_adapter_is_stored_without_base_model(family, tiny_base, tmp_path):
    recipe = recipe_for(tiny_base(family), adapter=AdapterConfig(rank=8, alpha=16))
    trained = train(recipe, tmp_path)
    assert trained.history.losses[-1] < trained.history.losses[0]
    folder = publish(trained, tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert "adapter_model.safetensors" in names
    assert "model.safetensors" not in names
    assert (
        len({path.stat().st_mode for path in folder.iterdir()}) == 1
    )  # all files have the same mode
    served = load_tagger(folder, device=CPU)
    assert_agree(
        trained.tagger, served, within=1e-4
    )  # merged into the base model: equal up to rounding


def found_by(tagger):
    """The predicted entities of dev without scores."""
    return [
        [(span.start, span.end, span.label) for span in prediction.spans]
        for prediction in tagger.predict(DEV)
    ]


@pytest.mark.slow
def test_4bit_base_model_trains_an_adapter(tiny_base, tmp_path):
    recipe = recipe_for(
        tiny_base("mistral"), adapter=AdapterConfig(rank=8, alpha=16), four_bit=True
    )
    trained = train(recipe, tmp_path)
    assert trained.history.losses[-1] < trained.history.losses[0]
    served = load_tagger(publish(trained, tmp_path), device=CPU)
    assert_agree(trained.tagger, served, within=0.05)  # other kernels, 8 bits of mantissa


def test_served_label_consistency_equals_trained_one(tiny_base, tmp_path):
    """The weights are replaced by extreme ones with an obvious effect."""
    trained = train(recipe_for(tiny_base("bert-uncased")), tmp_path)
    wild = np.zeros((6, 5))
    wild[0, 1] = 30  # a Chemical begins after O
    trained.tagger.score_refiner = ScoreRefiner(0.9, tuple(map(tuple, wild.tolist())))
    judged = found_by(trained.tagger)
    served = load_tagger(publish(trained, tmp_path), device=CPU)
    assert served.score_refiner == trained.tagger.score_refiner
    assert found_by(served) == judged
    served.score_refiner = ScoreRefiner()
    assert found_by(served) != judged


def test_temperature_maximizes_dev_likelihood_and_changes_only_confidence(tiny_base, tmp_path):
    schedule = replace(QUICK, epochs=2)
    tagger = train(recipe_for(tiny_base("bert-uncased"), schedule=schedule), tmp_path).tagger
    tagged = [tagger.tag_set.encode(document) for document in DEV]
    scores = tagger.run(tagger.encode(DEV))
    logits = [
        tagger.score_refiner.smooth(document.text, entry.words, one)
        for document, entry, one in zip(DEV, tagged, scores, strict=True)
    ]
    gold = np.concatenate([np.array(entry.tags) for entry in tagged])
    known = np.flatnonzero(gold != IGNORE_INDEX)

    def loss(temperature):
        log_probs = log_softmax(np.concatenate(logits), temperature=temperature)
        return -log_probs[known, gold[known]].mean()

    fitted = tagger.temperature
    assert MIN_TEMPERATURE < 0.8 * fitted < 1.25 * fitted < MAX_TEMPERATURE
    for other in (1.0, 0.8 * fitted, 1.25 * fitted):
        assert loss(fitted) < loss(other)

    sure = np.concatenate([one.tag_confidences for one in tagger.predict(DEV)])
    tagger.temperature = 2 * fitted
    less_sure = np.concatenate([one.tag_confidences for one in tagger.predict(DEV)])
    assert (less_sure != sure).all()
    assert less_sure.mean() < sure.mean()
    for before, after in zip(scores, tagger.run(tagger.encode(DEV)), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize("family", ["mistral", "llama"])
def test_decoder_attends_bidirectionally(family, tiny_base):
    tag_set = TagSet(LABELS)
    recipe = recipe_for(tiny_base(family))
    model = build_encoder(recipe, tag_set, device=CPU).eval()
    windows = WindowEncoder(recipe.base.load_tokenizer(), recipe.window_config)
    tagger = EncoderTagger(TorchRunner(model), windows, tag_set=tag_set, version="v")
    texts = ["aspirin caused severe asthma", "aspirin caused severe toxicity"]
    one, other = (tagger.run(tagger.encode([Document("d", text)]))[0] for text in texts)
    assert not np.allclose(one[0], other[0], atol=1e-4)  # the first word attends to the last


def test_loss_is_on_the_first_subword_of_each_word(tiny_base):
    tag_set = TagSet(LABELS)
    tokenizer = BaseModelRef(str(tiny_base("bert-cased"))).load_tokenizer()
    for reading, at_once in ((WindowConfig(), True), (WindowConfig(48, 8), False)):
        windows = WindowEncoder(tokenizer, reading)
        lessons = TrainingWindows(TRAIN, tag_set=tag_set, windows=windows)
        batch = lessons.collate(range(len(lessons.lengths)))
        learnt = batch["labels"][batch["labels"] != IGNORE_INDEX].tolist()
        tags = [tag for document in TRAIN for tag in tag_set.encode(document).tags]
        assert (len(lessons.lengths) == len(TRAIN)) == at_once
        # Context words are in the loss of each window that has them.
        assert learnt == tags if at_once else len(learnt) > len(tags)


def test_dropped_spans_are_masked_and_reported(tiny_base):
    text = "aspirin-induced asthma"
    document = Document("d", text, (Span(0, 7, "Chemical"), Span(0, 22, "Disease")))
    half = Document("h", "Ca2 rises", (Span(0, 2, "Chemical"),))
    tokenizer = BaseModelRef(str(tiny_base("bert-cased"))).load_tokenizer()
    lessons = TrainingWindows(
        [document, half], tag_set=TagSet(LABELS), windows=WindowEncoder(tokenizer, WindowConfig())
    )
    assert sorted(lost.reason for lost in lessons.dropped) == ["edge inside a word", "overlap"]
    labels = lessons.collate([1])["labels"]
    assert labels[labels != IGNORE_INDEX].tolist() == [0]  # only "rises" is labelled O


def test_predictions_do_not_depend_on_document_order(tiny_base):
    tag_set = TagSet(LABELS)
    recipe = recipe_for(tiny_base("bert-uncased"))
    model = build_encoder(recipe, tag_set, device=CPU).eval()
    tagger = EncoderTagger(
        TorchRunner(model),
        WindowEncoder(recipe.base.load_tokenizer(), WindowConfig(64, 8)),
        tag_set=tag_set,
        version="v",
    )
    documents = [*toy_documents(5, sentences=9), Document("empty", ""), Document("blank", " \r\n ")]
    forward, backward = tagger.predict(documents), tagger.predict(documents[::-1])
    for one, other in zip(forward, backward[::-1], strict=True):
        assert one.spans == other.spans
        assert one.tag_confidences == pytest.approx(
            other.tag_confidences, abs=0.02
        )  # bf16 may be in use


@pytest.mark.parametrize(
    ("split", "changes", "code"),
    [
        (replace(SPLIT, train=[Document("d", "nothing here")]), {}, "train-without-spans"),
        (replace(SPLIT, dev=[]), {}, "dev-without-spans"),
        (SPLIT, {"four_bit": True}, "four-bit-without-adapter"),
    ],
)
def test_invalid_settings_are_refused(split, changes, code, tmp_path):
    recipe = replace(EncoderRecipe(base=BaseModelRef(OFFLINE_BASE_MODEL)), **changes)
    with raises(TrainingError, code):
        train_encoder(split, recipe=recipe, state_path=tmp_path / "state")
