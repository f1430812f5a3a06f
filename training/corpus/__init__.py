"""Annotated files -> a corpus; its checks, counts, splits and conversions."""

from tagalong.training.corpus.corpus import (
    Corpus,
    compute_fingerprint,
    find_labels_alike,
    read_corpus,
)
from tagalong.training.corpus.flat_losses import FlatLosses, count_flat_losses
from tagalong.training.corpus.hash_split import find_shared_texts, split_documents, split_off_dev
from tagalong.training.corpus.reading_notes import (
    describe_log,
    describe_losses,
    describe_reading,
    describe_warning,
)
from tagalong.training.corpus.statistics import (
    CorpusCheck,
    CorpusStats,
    check_corpus,
    count_entities,
)
from tagalong.training.corpus.word_rules import WordRuleChoice, choose_word_rule
from tagalong.training.corpus.write import WriteResult, write_documents

__all__ = [
    "Corpus",
    "CorpusCheck",
    "CorpusStats",
    "FlatLosses",
    "WordRuleChoice",
    "WriteResult",
    "check_corpus",
    "choose_word_rule",
    "compute_fingerprint",
    "count_entities",
    "count_flat_losses",
    "describe_log",
    "describe_losses",
    "describe_reading",
    "describe_warning",
    "find_labels_alike",
    "find_shared_texts",
    "read_corpus",
    "split_documents",
    "split_off_dev",
    "write_documents",
]
