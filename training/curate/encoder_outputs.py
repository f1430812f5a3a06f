"""Tag probabilities and document vectors, which only an encoder has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tagalong.backend.models.decoding.predictions import log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document
from tagalong.training.evaluation.bootstrap import Float64Array


@dataclass(frozen=True, slots=True)
class TagDistribution:
    """Tag probabilities of one document."""

    log_probs: FloatArray  # calibrated log-probabilities, shape (words, tags)
    predicted_tags: NDArray[np.intp]  # most probable legal tag sequence, shape (words,)


def as_encoder(tagger: DocumentTagger) -> EncoderTagger | None:
    """The tagger itself if it is an encoder, else None."""
    return tagger if isinstance(tagger, EncoderTagger) else None


def predict_tag_distributions(
    tagger: EncoderTagger, documents: Sequence[Document]
) -> list[TagDistribution]:
    """Compute the tag probabilities of documents, calibrated as in serving; spans are ignored."""
    legal, transitions = legal_transitions(tagger.tag_set), tagger.score_refiner.transition_matrix()
    distributions = []
    # chunks bound the memory of logits
    for start in range(0, len(documents), tagger.documents_per_chunk):
        encoded = tagger.encode(documents[start : start + tagger.documents_per_chunk])
        for one, logits in zip(encoded, tagger.run(encoded), strict=True):
            smoothed = tagger.score_refiner.smooth(one.document.text, one.words, logits)
            log_probs = log_softmax(smoothed, temperature=tagger.temperature)
            # Viterbi needs a first word.
            tags = viterbi(log_probs, legal, transitions) if one.words else np.zeros(0, np.intp)
            distributions.append(TagDistribution(log_probs, tags))
    return distributions


def embed_documents(tagger: EncoderTagger, documents: Sequence[Document]) -> Float64Array:
    """Embed documents as the mean hidden state of their words; similar documents are near.

    Returns unit vectors, shape (documents, width), over the first sub-word of each word; 0 without
    words.
    """
    runner = cast(TorchRunner, tagger.runner)  # OpenVINO, never loaded here, has no states
    width = runner.model.config.hidden_size
    vectors = np.zeros((len(documents), width))
    for start in range(0, len(documents), tagger.documents_per_chunk):
        encoded = tagger.encode(documents[start : start + tagger.documents_per_chunk])
        states = tagger.collect_word_values(encoded, runner.compute_hidden_states, width=width)
        for row, word_states in enumerate(states, start):
            # The sum has the direction of the mean, and lengths become 1 below.
            vectors[row] = word_states.sum(axis=0, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=vectors, where=norms > 0)
