"""Selection of documents from a pool with a model."""

import pytest

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.training.curate.select_documents import select_documents
from tagalong.training.curate.selection_options import SelectionOptions
from tests.errors import raises
from tests.lexicon_tagger import LEXICON, LexiconTagger
from tests.toy_corpus import toy_documents

TAGGER = LexiconTagger("lexicon-1", LEXICON)


@pytest.mark.parametrize(
    ("documents", "labelled"),
    [
        ([], []),
        (toy_documents(2), toy_documents(2)),
        ([Document("e", ""), Document("b", " \n")], []),
    ],
)
def test_empty_pool(documents, labelled) -> None:
    with raises(InputError, "nothing-to-select"):
        select_documents(
            documents,
            TAGGER,
            SelectionOptions("uncertainty", 3),
            labeled=labelled,
            other_tagger=None,
            predict=LexiconTagger.predict,
        )
