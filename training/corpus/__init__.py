"""Files and exports -> annotated documents; their checks, splits and conversions."""

from training.corpus.check import Check, check_corpus
from training.corpus.corpus import Corpus, fingerprint
from training.corpus.formats import ReadOptions
from training.corpus.predictions import read_predictions
from training.corpus.read import read_corpus
from training.corpus.split import find_shared_texts, hold_out, split_documents
from training.corpus.stats import Stats, count_entities
from training.corpus.write import Written, write_documents, write_whole

__all__ = [
    "Check",
    "Corpus",
    "ReadOptions",
    "Stats",
    "Written",
    "check_corpus",
    "count_entities",
    "find_shared_texts",
    "fingerprint",
    "hold_out",
    "read_corpus",
    "read_predictions",
    "split_documents",
    "write_documents",
    "write_whole",
]
