"""The models of a batch: those that options name, or the one of the project."""

from pathlib import Path

import pytest

from tagalong.backend.batch.journal import BatchJournal, DocumentState
from tagalong.backend.batch.models import BatchModels, ModelReference, choose_models
from tagalong.backend.batch.prelabel import open_batch_journal
from tagalong.backend.batch.project_model import choose_by_options, choose_for_project
from tagalong.backend.batch.source_and_sink import SourceAndSink
from tagalong.backend.storage.assignments import assign_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import InputError, VersionNotFound
from tests.backend.batch.fake_label_studio import FakeLabelStudio, connect_project
from tests.backend.batch.test_journal import entry
from tests.errors import raises
from tests.journal_sink import JournalSink
from tests.lexicon_tagger import LexiconTagger
from tests.versions import publish_number

KEY = "1.1"  # of the fake's project


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Two encoders and an LLM that are current, and a model without a current version."""
    store = ModelStore(tmp_path / "models")
    for number, model in enumerate(["encoder", "cardiology", "genes"]):
        store.promote(model, publish_number(store, number, model=model).version)
    store.promote("words", publish_number(store, model="words", tier="llm").version)
    publish_number(store, model="empty")
    return store


@pytest.mark.parametrize(
    ("assigned", "url", "reference", "reason", "warning"),
    [
        (None, "", "encoder", "assigned no other", ""),
        ("cardiology", "", "cardiology", "assigned the model cardiology", ""),
        ("cardiology", "/models/genes", "genes", "URL of the backend", ""),
        ("cardiology", "/models/encoder", "encoder", "URL of the backend", ""),
        ("cardiology", "/models/gone", "cardiology", "assigned the model", "'gone', which is not"),
        ("cardiology", "/models/words", "cardiology", "assigned the model", "of tier 'llm'"),
        ("gone", "", "encoder", "cannot predict", "there is no model 'gone'"),
        ("words", "", "encoder", "cannot predict", "of tier 'llm'"),
        ("empty", "", "encoder", "cannot predict", "no current version"),
    ],
)
def test_batch_uses_the_model_that_serves_the_project(
    store: ModelStore, assigned: str | None, url: str, reference: str, reason: str, warning: str
) -> None:
    assign_model(store.root, KEY, "encoder", assigned)
    label_studio, warnings = FakeLabelStudio(0), list[str]()
    label_studio.backend_urls = [f"http://localhost:9090{url}", "http://localhost:9091/models/x"]
    project = connect_project(label_studio)
    chosen = choose_for_project(project, store, ["encoder"], warn=warnings.append)["encoder"]
    assert chosen.reference == reference
    assert reason in chosen.reason
    assert len(warnings) == bool(warning)
    assert warning in "".join(warnings)


def test_assignment_holds_for_a_project_of_one_label_studio(store: ModelStore) -> None:
    assign_model(store.root, "1.2", "encoder", "cardiology")  # the same number, created later
    project = connect_project(FakeLabelStudio(0))
    [chosen] = choose_for_project(project, store, ["encoder"], warn=pytest.fail).values()
    assert chosen.reference == "encoder"


def test_options_name_models_and_versions(store: ModelStore) -> None:
    version = store.current_version("genes")
    both = choose_by_options(store, ["encoder", "llm"], {"encoder": version}, "words")
    assert {tier: one.reference for tier, one in both.items()} == {
        "encoder": version,
        "llm": "words",
    }
    assert choose_by_options(store, ["encoder"], {"encoder": None, "llm": "gone"}) == {}
    with raises(InputError, "two-models-of-one-tier"):
        choose_by_options(store, ["encoder"], {"encoder": version}, "cardiology")
    with raises(InputError, "batch-model-of-another-tier"):
        choose_by_options(store, ["encoder"], {}, "words")
    with raises(InputError, "version-of-another-tier"):
        choose_by_options(store, ["encoder"], {"encoder": "words"})
    with raises(VersionNotFound, "no-current-version"):
        choose_by_options(store, ["encoder"], {}, "empty")


def test_models_of_versions_are_known(store: ModelStore, tmp_path: Path) -> None:
    def load(*_: object) -> LexiconTagger:
        raise AssertionError

    assert choose_models(store, "genes", "words", load=load).names == "genes, words"
    copy = tmp_path / "elsewhere" / "version"
    copy.parent.mkdir()
    store.resolve("genes").rename(copy)
    assert choose_models(store, str(copy), load=load).names == ""


def make_models(version: str, model: str) -> BatchModels:
    return BatchModels(ModelReference(version, (), lambda: LexiconTagger(version), model))


def test_journal_notes_the_model_and_another_version_starts_again(tmp_path: Path) -> None:
    path, notes = tmp_path / "j", list[str]()
    batch = SourceAndSink("source", "", "output", (), 0, JournalSink(), "", path)

    def count_kept(version: str, model: str) -> int:
        with open_batch_journal(
            path, batch, make_models(version, model), notify=notes.append
        ) as journal:
            assert journal.read_description()["models"] == model
            kept = sum(journal.count_by_state().values())
            if not kept:
                journal.write_entries([entry(0, DocumentState.PREDICTED)])
        return kept

    with BatchJournal(path) as journal:  # of an earlier release
        old = {"source": "source", "labels": "", "output": "output", "readers": "v-1"}
        journal.write_description(old)
        journal.write_entries([entry(0, DocumentState.PREDICTED)])
    assert count_kept("v-1", "cardiology") == 1
    assert count_kept("v-1", "copy-of-it") == 1
    assert count_kept("v-2", "genes") == 0
    assert (
        notes[-1] == "v-1 (model copy-of-it) began this batch; v-2 (model genes) starts it again."
    )
