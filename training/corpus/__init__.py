"""Files and exports -> annotated documents; their checks, splits and conversions."""

from tagalong.training.corpus.check import CorpusCheck, check_corpus
from tagalong.training.corpus.corpus import Corpus, compute_fingerprint
from tagalong.training.corpus.formats import ReadOptions
from tagalong.training.corpus.hash_split import find_shared_texts, split_documents, split_off_dev
from tagalong.training.corpus.predictions import read_predictions
from tagalong.training.corpus.read import read_corpus
from tagalong.training.corpus.stats import CorpusStats, count_entities
from tagalong.training.corpus.write import WriteResult, write_atomically, write_documents

__all__ = [
    "Corpus",
    "CorpusCheck",
    "CorpusStats",
    "ReadOptions",
    "WriteResult",
    "check_corpus",
    "compute_fingerprint",
    "count_entities",
    "find_shared_texts",
    "read_corpus",
    "read_predictions",
    "split_documents",
    "split_off_dev",
    "write_atomically",
    "write_documents",
]
