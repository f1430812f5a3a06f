"""Check that verified decoding gives the tags of sequential decoding, on many random documents.

The models are tiny Llama, Mistral and sliding-window Mistral models, and a Qwen3 with both kinds of
layers, untrained and trained on real sentences. They tag random documents of 1 to 300 words in
batches of 1 to 16, in fp32, sequentially and verified. The drafts are those of the bundled encoder,
all O, and adversarial ones. Prints a row for each model, and fails if a tag differs.

    PYTHONPATH=. python tests/bench/check_llm_exact.py [--documents 1000] [--families llama ...]
"""

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from transformers import PreTrainedModel
from transformers.utils import logging

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.llm.slot_decoder import DecodedWindow
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document
from tagalong.ner.model_registry import BUNDLED_REFERENCE as NAME
from tagalong.ner.model_registry import ModelRegistry
from tagalong.ner.tags import OUTSIDE
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.llm.train import train_llm
from tagalong.training.recipes.llm_recipe import LLMRecipe
from tagalong.training.recipes.schedule import Schedule
from tests.bc5cdr_sentences import sentences
from tests.tiny_llms import (
    FAMILIES,
    TAGS,
    TinyLLM,
    make_llm,
    make_tiny_llm,
    random_draft,
    random_texts,
    tokenizer,
    words_of,
)

MAX_WORDS = 300
MAX_BATCH = 16
SEED = 7  # of the first row; every row has its own documents
KINDS = ("random", "trained")
DRAFTS = ("encoder", "O", "adversarial")
SCHEDULE = Schedule(epochs=12, patience=12, learning_rate=2e-3, batch_tokens=1024, precision="fp32")


def train_model(family: str, folder: Path) -> PreTrainedModel:
    """Train a model on some sentences with the tier's own training."""
    make_llm(family, spread=0.05).save_pretrained(folder / "base")
    tokenizer().save_pretrained(folder / "base")
    recipe = LLMRecipe(
        base=BaseModelRef(str(folder / "base")),
        adapter=None,
        four_bit=False,
        window=2048,
        gradient_checkpointing=False,
        schedule=SCHEDULE,
    )
    documents = sentences(40)
    result = train_llm(
        TrainDevSplit(documents, documents, TAGS.labels), recipe=recipe, state_path=folder / "state"
    )
    return result.tagger.slot_decoder.scorer.model.eval()


def random_batches(count: int, seed: int) -> Iterator[list[str]]:
    """Yield batches of random size; every second document has real words."""
    random = Random(seed)
    real_words = [word for one in sentences(40) for word in one.text.split()]
    texts = random_texts(seed, count, longest=MAX_WORDS)
    texts = [" ".join(random.choices(real_words, k=len(text.split()))) if number % 2 else text
             for number, text in enumerate(texts)]  # fmt: skip
    while texts:
        size = random.randint(1, MAX_BATCH)
        yield texts[:size]
        texts = texts[size:]


def encoder_drafts(tagger: DocumentTagger, texts: Sequence[str]) -> list[list[int]]:
    """Make drafts with the bundled encoder."""
    drafts = []
    for text, prediction in zip(
        texts, tagger.predict([Document("", text) for text in texts]), strict=True
    ):
        tagged = TAGS.encode(Document("", text, prediction.spans))
        drafts.append([max(tag, OUTSIDE) for tag in tagged.tags])
    return drafts


def count_differences(
    tiny_llm: TinyLLM, tagger: DocumentTagger, count: int, seed: int
) -> tuple[int, int, int, list[int]]:
    """Count documents, slots, entity tags, and differing documents for each kind of draft."""
    documents = slots = entity_tags = 0
    differing = [0] * len(DRAFTS)
    for texts in random_batches(count, seed):
        layouts = tiny_llm.planner.build(texts, words_of(texts))
        assert len(layouts) == len(texts)
        reference = tiny_llm.decoder.decode(layouts, decoding_mode="sequential")
        adversarial_drafts = [random_draft(n, len(one.words)) for n, one in enumerate(layouts)]
        for kind, drafts in enumerate((encoder_drafts(tagger, texts), None, adversarial_drafts)):
            verified = tiny_llm.decoder.decode(layouts, drafts)
            differing[kind] += count_different_documents(verified, reference)
        documents += len(texts)
        slots += sum(len(entry.tags) for entry in reference)
        entity_tags += sum(tag != OUTSIDE for entry in reference for tag in entry.tags)
    return documents, slots, entity_tags, differing


def count_different_documents(
    verified: Sequence[DecodedWindow], reference: Sequence[DecodedWindow]
) -> int:
    """Count documents with a different tag."""
    return sum(one.tags != other.tags for one, other in zip(verified, reference, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tagger = load_tagger(
        ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    )
    print("| model | documents | slots | tags other than O | documents that differ: encoder's "
          "drafts | all-O | adversarial |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|")
    n_wrong = 0
    for family in options.families:
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder:
                model = train_model(family, Path(folder)) if kind == "trained" else make_llm(family)
            seed = SEED + len(KINDS) * FAMILIES.index(family) + KINDS.index(kind)
            tiny_llm = make_tiny_llm(model)
            documents, slots, entity_tags, differing = count_differences(
                tiny_llm, tagger, options.documents, seed
            )
            n_wrong += sum(differing)
            cells = " | ".join(map(str, differing))
            share = entity_tags / slots
            print(
                f"| {family}, {kind} | {documents} | {slots} | {share:.0%} | {cells} |", flush=True
            )
    if n_wrong:
        raise SystemExit(f"{n_wrong} documents differ")


if __name__ == "__main__":
    main()
