"""spaCy's transformer pipeline with MiniLM's weights, to compare times.

Needs ``pip install spacy spacy-curated-transformers``. Its head is trained on a few documents only,
so that it predicts about as many spans as a trained one. Its F1 is meaningless.

"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import spacy
from spacy.language import Language
from spacy.training import Example
from spacy_curated_transformers.models.hf_loader import build_hf_transformer_encoder_loader_v1
from spacy_curated_transformers.tokenization.hf_loader import build_hf_piece_encoder_loader_v1

from tagalong.ner.document import Document, Span

System = Callable[[Sequence[Document]], list[list[Span]]]

EPOCHS = 3
WINDOW, STRIDE = 320, 224  # sub-words
ARCHITECTURES = "spacy-curated-transformers."


def train_spacy(base: Path, training_documents: Sequence[Document]) -> Callable[[int], System]:
    """Train a pipeline with the weights in a folder.

    Args:
        base: Folder of a Hugging Face BERT.
        learnt: A few training documents.

    Returns:
        A function that makes a system for a batch size.

    """
    nlp = spacy.blank("en")
    config = json.loads((base / "config.json").read_text())
    encoder = nlp.add_pipe(
        "curated_transformer",
        config={
            "model": {
                "@architectures": f"{ARCHITECTURES}BertTransformer.v1",
                "vocab_size": config["vocab_size"],
                "hidden_width": config["hidden_size"],
                "intermediate_width": config["intermediate_size"],
                "num_hidden_layers": config["num_hidden_layers"],
                "num_attention_heads": config["num_attention_heads"],
                "piece_encoder": {"@architectures": f"{ARCHITECTURES}BertWordpieceEncoder.v1"},
                "with_spans": {
                    "@architectures": f"{ARCHITECTURES}WithStridedSpans.v1",
                    "window": WINDOW,
                    "stride": STRIDE,
                },
            }
        },
    )
    head = nlp.add_pipe(
        "ner",
        config={
            "model": {
                "@architectures": "spacy.TransitionBasedParser.v2",
                "state_type": "ner",
                "extra_state_tokens": False,
                "hidden_width": 64,
                "maxout_pieces": 2,
                "use_upper": False,
                "tok2vec": {
                    "@architectures": f"{ARCHITECTURES}LastTransformerLayerListener.v1",
                    "width": config["hidden_size"],
                    "upstream": "*",
                    "pooling": {"@layers": "reduce_mean.v1"},
                    "grad_factor": 1.0,
                },
            }
        },
    )
    for label in sorted({span.label for document in training_documents for span in document.spans}):
        head.add_label(label)
    examples = [make_example(nlp, document) for document in training_documents]
    encoder.initialize(
        lambda: examples,
        nlp=nlp,
        encoder_loader=build_hf_transformer_encoder_loader_v1(name=str(base)),
        piecer_loader=build_hf_piece_encoder_loader_v1(name=str(base)),
    )
    head.initialize(lambda: examples, nlp=nlp)
    optimizer = nlp.create_optimizer()
    optimizer.learn_rate = 5e-5
    for epoch in range(EPOCHS):
        Random(epoch).shuffle(examples)
        for first in range(0, len(examples), 4):
            nlp.update(examples[first : first + 4], sgd=optimizer)

    def make_system(size: int) -> System:
        def find(documents: Sequence[Document]) -> list[list[Span]]:
            texts = [document.text for document in documents]
            return [
                [Span(entity.start_char, entity.end_char, entity.label_) for entity in parsed.ents]
                for parsed in nlp.pipe(texts, batch_size=size)
            ]

        return find

    return make_system


def make_example(nlp: Language, document: Document) -> Example:
    """A training document; spans that cut spaCy's tokens are left out."""
    text = nlp.make_doc(document.text)
    entities = [
        (span.start, span.end, span.label)
        for span in document.spans
        if text.char_span(span.start, span.end) is not None
    ]
    return Example.from_dict(text, {"entities": entities})
