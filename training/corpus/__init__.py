"""Files and exports -> annotated documents; their checks, splits and conversions."""

from training.corpus.check import CorpusCheck, check_corpus
from training.corpus.corpus import Corpus, compute_fingerprint
from training.corpus.formats import ReadOptions
from training.corpus.predictions import read_predictions
from training.corpus.read import read_corpus
from training.corpus.split import find_shared_texts, split_off_dev, split_documents
from training.corpus.stats import CorpusStats, count_entities
from training.corpus.write import WriteResult, write_documents, write_atomically

__all__ = [
    "CorpusCheck",
    "Corpus",
    "ReadOptions",
    "CorpusStats",
    "WriteResult",
    "check_corpus",
    "count_entities",
    "find_shared_texts",
    "compute_fingerprint",
    "split_off_dev",
    "read_corpus",
    "read_predictions",
    "split_documents",
    "write_documents",
    "write_atomically",
]
