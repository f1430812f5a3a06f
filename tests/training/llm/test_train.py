"""Training of the LLM tier, also in 4 bits, and serving of the evaluated predictions."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.llm.prompt import PromptBuilder, choose_verbalizers
from tagalong.backend.models.llm.scorer import TagScorer
from tagalong.backend.models.llm.tagger import LLMTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import BaseModelError, OutOfMemoryError, TrainingError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.evaluation.evaluate import compute_dev_strict_f1
from tagalong.training.jobs.publish import publish as publish_trained
from tagalong.training.jobs.tier_trainers import read_recipe
from tagalong.training.llm.dataset import LLMDataset, SlotModel, slot_loss
from tagalong.training.llm.train import build_llm, train_llm
from tagalong.training.loop.adapters import linear_layer_names
from tagalong.training.loop.ema import trainable_parameters
from tagalong.training.recipes.llm_recipe import LLMRecipe, resolve_llm_recipe
from tagalong.training.recipes.recipe import AdapterConfig
from tagalong.training.recipes.schedule import Schedule
from tests.bc5cdr_sentences import abstracts, sentences
from tests.errors import raises
from tests.tiny_llms import FAMILIES, make_llm, save_llm, tokenizer
from tests.toy_corpus import LABELS, toy_documents

CPU = torch.device("cpu")
TAGS = TagSet(LABELS)
QUICK = Schedule(
    epochs=8, patience=8, learning_rate=1e-3, batch_tokens=512, ema_decay=0.0, precision="fp32"
)
SENTENCES = sentences(50)
TOY = toy_documents(12, seed=1, sentences=1)
TOY_SPLIT = TrainDevSplit(TOY, TOY, LABELS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer trained on the abstracts."""
    folder = tmp_path_factory.mktemp("llm") / "base"
    texts = [document.text for document in abstracts()]
    return save_llm(
        folder,
        texts,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=1,
        initializer_range=0.05,  # large enough for an adapter to separate tags
    )


def recipe_for(base: Path, **changes) -> LLMRecipe:
    recipe = LLMRecipe(
        base=BaseModelRef(str(base)), adapter=AdapterConfig(64, 128, 0.0), window=512,
        context=64, tag_noise_share=0.0, schedule=QUICK,
    )  # fmt: skip
    return replace(recipe, **changes)


def publish(trained, documents, folder: Path) -> Path:
    store = ModelStore(folder / "models")
    sides = TrainDevSplit(documents, documents, LABELS, sources=())
    manifest = publish_trained(trained, sides, store=store, tier="llm", name="tiny")
    return store.resolve(f"llm/{manifest.version}")


@pytest.fixture(scope="module")
def overfitted(base, tmp_path_factory):
    """A QLoRA training that overfits, and its published version."""
    folder = tmp_path_factory.mktemp("learnt")
    trained = train_llm(
        TrainDevSplit(SENTENCES, SENTENCES, LABELS),
        recipe=recipe_for(base, schedule=replace(QUICK, learning_rate=2e-3)),
        state_path=folder / "s",
    )
    return trained, publish(trained, SENTENCES, folder)


@pytest.mark.slow
def test_4bit_training_overfits_fifty_sentences(overfitted):
    trained, folder = overfitted
    assert trained.recipe.four_bit
    assert max(trained.history.dev_scores) >= 0.95
    assert not (folder / "model.safetensors").exists()
    layer = trained.tagger.slot_decoder.scorer.model.get_decoder().layers[0].mlp.up_proj.base_layer
    assert layer.weight.dtype == torch.uint8


@pytest.mark.slow
def test_served_predictions_equal_evaluated_ones(overfitted):
    trained, folder = overfitted
    served = load_tagger(folder, device=CPU)
    assert isinstance(served, LLMTagger)
    predictions = served.predict(SENTENCES)
    assert compute_dev_strict_f1(SENTENCES, predictions, TAGS) == max(trained.history.dev_scores)
    served.decoding_mode = "sequential"
    assert [entry.spans for entry in served.predict(SENTENCES)] == [
        entry.spans for entry in predictions
    ]


@pytest.mark.slow
def test_manifest_has_everything_to_serve_and_retrain(overfitted):
    trained, folder = overfitted
    manifest = read_manifest(folder)
    assert manifest.base_revision.startswith("sha256:")
    store = ModelStore(folder.parents[1])
    assert read_recipe(store, "llm", folder.name) == trained.recipe
    assert list(manifest.config["verbalisers"]) == list(TAGS.tag_names)
    assert manifest.scores["dev"]["strict_f1"] >= 0.95


def test_full_fine_tuning_of_a_small_decoder(base, tmp_path):
    recipe = recipe_for(base, adapter=None, four_bit=False, gradient_checkpointing=False)
    recipe = replace(recipe, schedule=replace(QUICK, epochs=2, ema_decay=0.9), tag_noise_share=0.1)
    trained = train_llm(TOY_SPLIT, recipe=recipe, state_path=tmp_path / "state")
    assert trained.history.losses[-1] < 0.8 * trained.history.losses[0]
    folder = publish(trained, TOY, tmp_path)
    assert (folder / "model.safetensors").is_file()
    served = load_tagger(folder, device=CPU)
    for ours, theirs in zip(served.predict(TOY), trained.tagger.predict(TOY), strict=True):
        assert ours.spans == theirs.spans
        assert ours.tag_confidences == pytest.approx(theirs.tag_confidences, abs=1e-4)


def test_drafts_make_evaluation_cheaper_with_equal_results(base, tmp_path):
    recipe = recipe_for(base, adapter=None, four_bit=False, gradient_checkpointing=False)
    recipe = replace(recipe, schedule=replace(QUICK, epochs=6))

    def trained(drafter, place):
        return train_llm(TOY_SPLIT, recipe=recipe, state_path=tmp_path / place, drafter=drafter)

    plain = trained(None, "plain")
    answers = {
        document.text: one for document, one in zip(TOY, plain.tagger.predict(TOY), strict=True)
    }
    passes = plain.tagger.decoding_stats.passes  # of evaluation, temperature and predictions
    drafted = trained(lambda documents: [answers[one.text] for one in documents], "drafted")
    drafted.tagger.predict(TOY)
    assert drafted.history.dev_scores == plain.history.dev_scores
    assert drafted.tagger.temperature == pytest.approx(plain.tagger.temperature)
    assert drafted.tagger.decoding_stats.passes < passes


def planner_of(window: int = 512) -> PromptBuilder:
    return PromptBuilder(
        tokenizer(), TAGS, choose_verbalizers(tokenizer(), TAGS), window=window, context=16
    )


def test_tag_is_target_in_its_slot_and_input_after_it():
    planner, documents = planner_of(), toy_documents(3, sentences=2)
    lessons = LLMDataset(documents, tag_set=TAGS, prompt_builder=planner, pad_token_id=0)
    batch = lessons.collate(range(3))
    for row, document in enumerate(documents):
        tags = list(TAGS.encode(document).tags)
        labels = batch["labels"][row]
        places = (labels != IGNORE_INDEX).nonzero().flatten()
        assert labels[places].tolist() == tags
        fed = batch["input_ids"][row][batch["slots"][row]].tolist()
        assert fed == [
            planner.verbalizers.ids[tag] for tag in tags[:-1]
        ]  # the last tag is never an input
        assert (batch["slots"][row].nonzero().flatten() == places[:-1] + 1).all()
        assert int(batch["attention_mask"][row].sum()) == lessons.lengths[row] == places[-1] + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_training_logits_equal_serving_logits(family):
    """The training logits equal those of the tagger, with padding and without a cache."""
    model, planner = make_llm(family), planner_of()
    documents = toy_documents(4, sentences=2)
    lessons = LLMDataset(documents, tag_set=TAGS, prompt_builder=planner, pad_token_id=0)
    batch = lessons.collate(range(4))
    tag_ids = torch.tensor(planner.verbalizers.ids)
    known = batch["labels"] != IGNORE_INDEX
    with torch.inference_mode():
        training_logits = SlotModel(model, tag_ids)(
            batch["input_ids"], batch["attention_mask"], known
        )
    scorer = TagScorer(model, planner.verbalizers.ids, planner.prefix, precision="fp32")
    tagged = [TAGS.encode(document) for document in documents]
    layouts = planner.build([one.text for one in documents], [one.words for one in tagged])
    fed = [
        layout.fill_slots(one.tags, planner.verbalizers)[: layout.slot_positions[-1]]
        for layout, one in zip(layouts, tagged, strict=True)
    ]
    wanted = [[slot - 1 for slot in layout.slot_positions] for layout in layouts]
    served = np.concatenate(scorer.run_pass(scorer.new_cache(4), fed, wanted))
    np.testing.assert_allclose(training_logits.numpy(), served, atol=2e-4)


def test_masked_words_are_excluded_from_the_loss():
    text = "aspirin-induced asthma"
    document = Document("d", text, (Span(0, 7, "Chemical"), Span(0, 22, "Disease")))
    half = Document("h", "Ca2 rises", (Span(0, 2, "Chemical"),))
    lessons = LLMDataset(
        [document, half], tag_set=TAGS, prompt_builder=planner_of(), pad_token_id=0
    )
    assert sorted(lost.reason for lost in lessons.dropped) == ["edge inside a word", "overlap"]
    labels = lessons.collate([1])["labels"]
    assert labels[labels != IGNORE_INDEX].tolist() == [0]


class InputRecorder(torch.nn.Module):
    """Records its inputs."""

    def forward(self, ids, mask, positions):
        self.ids = ids
        return torch.zeros(int(positions.sum()), len(TAGS))


def test_tag_noise_changes_only_input_tags():
    planner = planner_of()
    lessons = LLMDataset(toy_documents(8), tag_set=TAGS, prompt_builder=planner, pad_token_id=0)
    batch, model = lessons.collate(range(len(lessons.lengths))), InputRecorder()
    loss = partial(slot_loss, tag_ids=torch.tensor(planner.verbalizers.ids), noise_share=0.3)

    def fed(seed):
        torch.manual_seed(seed)
        loss(model, batch)
        return model.ids

    assert torch.equal(fed(1), fed(1))
    assert not torch.equal(fed(1), fed(2))
    changed = fed(1) != batch["input_ids"]
    assert not (changed & ~batch["slots"]).any()
    share = changed[batch["slots"]].float().mean().item()
    assert 0.3 * 0.6 < share < 0.3  # one in five random tags equals the true one
    assert set(fed(1)[batch["slots"]].tolist()) <= set(planner.verbalizers.ids)
    loss = partial(loss, noise_share=0.0)
    assert torch.equal(fed(1), batch["input_ids"])


def test_adapter_covers_all_linear_layers_and_the_output(base):
    model = build_llm(recipe_for(base), device=CPU)
    named = linear_layer_names(BaseModelRef(str(base)).load_causal_lm(four_bit=False))
    attention, rest = (
        {"q_proj", "k_proj", "v_proj", "o_proj"},
        {"up_proj", "gate_proj", "down_proj"},
    )
    assert set(named) == attention | rest | {"lm_head"}
    assert {
        name.split(".lora_")[0].rpartition(".")[2] for name, _ in trainable_parameters(model)
    } == set(named)


def test_gradient_checkpointing_keeps_gradients(base):
    recipe = recipe_for(base, gradient_checkpointing=False)
    tokenizer = recipe.base.load_tokenizer()
    planner = PromptBuilder(tokenizer, TAGS, choose_verbalizers(tokenizer, TAGS), window=512)
    batch = LLMDataset(TOY, tag_set=TAGS, prompt_builder=planner, pad_token_id=0).collate(range(3))
    tag_ids = torch.tensor(planner.verbalizers.ids)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = build_llm(replace(recipe, gradient_checkpointing=checkpointing), device=CPU).train()
        assert model.get_decoder().gradient_checkpointing == checkpointing
        slots = SlotModel(model, tag_ids)
        slot_loss(slots, batch, tag_ids=tag_ids, noise_share=0.0).backward()
        gradients.append([weight.grad for _, weight in trainable_parameters(model)])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    assert any(gradient.abs().sum() > 0 for gradient in gradients[0])


@pytest.mark.parametrize(
    ("documents", "changes", "code"),
    [
        ([Document("d", "nothing here")], {}, "train-without-spans"),
        (TOY, {"adapter": None}, "four-bit-without-adapter"),
        (TOY, {"window": 70}, "window-too-short"),
    ],
)
def test_invalid_settings_are_refused(documents, changes, code, base, tmp_path):
    with raises(TrainingError, code):
        train_llm(
            replace(TOY_SPLIT, train=documents),
            recipe=recipe_for(base, **changes),
            state_path=tmp_path / "state",
        )


def test_out_of_memory_step_raises_advice(base, tmp_path):
    def full(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    recipe = recipe_for(base, four_bit=False, adapter=None)
    with pytest.raises(OutOfMemoryError) as raised:
        train_llm(TOY_SPLIT, recipe=recipe, state_path=tmp_path / "state", on_progress=full)
    assert "--batch-tokens" in str(raised.value)


def test_vocabulary_with_too_few_verbalizers(tmp_path, base):
    many = tuple(f"Label{number}" for number in range(200))
    with pytest.raises(BaseModelError) as raised:
        train_llm(
            replace(TOY_SPLIT, labels=many), recipe=recipe_for(base), state_path=tmp_path / "s"
        )
    assert "401" in str(raised.value)


def test_recipe_defaults(base):
    recipe = resolve_llm_recipe(LLMRecipe(base=BaseModelRef(str(base)), window=10_000))
    assert recipe.window == 4096  # from the positions of the base model
    assert recipe.schedule.learning_rate == pytest.approx(4e-5 * 4096 / 128)
    assert recipe.base.revision is not None
    assert resolve_llm_recipe(recipe) == recipe
