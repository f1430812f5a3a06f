"""Compiled versions of every model family: the same predictions, or a refusal."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.models.encoder.checkpoint import load_encoder
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.openvino import cache, check, load, runner
from tagalong.backend.models.openvino import compile as compiling
from tagalong.backend.models.openvino.cache import OpenVINOCheck, find_openvino_model
from tagalong.backend.models.openvino.check import MAX_F1_LOSS, MIN_AGREEMENT, rejection_reason
from tagalong.backend.models.openvino.compile import compile_version
from tagalong.backend.models.openvino.load import load_openvino_encoder
from tagalong.backend.models.openvino.runner import (
    MAX_BATCH_SUBWORDS,
    MAX_CACHED_SHAPES,
    OpenVINORunner,
)
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.errors import OpenVINOError
from tagalong.ner.manifest import VersionMetadata, read_manifest
from tagalong.ner.tags import TagSet
from tests.errors import raises
from tests.tiny_bases import FAMILIES
from tests.toy_corpus import LABELS, toy_documents

pytestmark = pytest.mark.usefixtures("own_cache")
CPU = torch.device("cpu")
PLANNER = OpenVINORunner.__new__(OpenVINORunner)  # planning needs no model
DOCUMENTS = [*toy_documents(12), *toy_documents(3, sentences=9), Document("empty", "")]
TEXTS = [Document("one", "aspirin"), Document("two", "Ca2+ " * 90), *DOCUMENTS]


def publish(base: Path, store: ModelStore, **config) -> Path:
    """A published version with random weights."""
    tag_set, reference = TagSet(LABELS), BaseModelRef(str(base))
    torch.manual_seed(1)
    model = reference.load_token_classifier(tag_set.tag_names)
    draft = VersionMetadata(
        tier="encoder",
        name="tiny",
        base=str(base),
        base_revision=None,
        labels=LABELS,
        config={"reading": {"window": 48, "context": 8}} | config,
    )
    with store.staging_folder("encoder") as folder:
        save_model(model, reference.load_tokenizer(), folder, base=reference)
        return store.resolve(store.publish(folder, draft).version)


@pytest.fixture
def version(tiny_base: Callable[[str], Path], store: ModelStore) -> Callable[..., Path]:
    return lambda family="bert-cased", **config: publish(tiny_base(family), store, **config)


def scores_of(tagger, documents):
    return tagger.run(tagger.encode(documents))


@pytest.fixture
def older_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without bf16 and int8, because random weights differ by less than bf16's rounding."""
    for module in (compiling, cache, runner):
        monkeypatch.setattr(module, "choose_precision", lambda: "f32")
    for module in (compiling, cache):
        monkeypatch.setattr(module, "int8_instruction_set", lambda: "")


@pytest.fixture
def cpu_with_int8(older_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with int8 and without bf16."""
    for module in (compiling, cache):
        monkeypatch.setattr(module, "int8_instruction_set", lambda: "avx512_vnni")


def test_model_that_came_with_a_version_is_not_served(version, older_cpu, tmp_path: Path) -> None:
    folder = version()
    kept = compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    assert "OpenVINO" in load_tagger(folder, device=CPU, use_openvino=True).runner.name
    kept.folder.rename(tmp_path / "planted")
    (folder / ".cache").mkdir(exist_ok=True)
    (tmp_path / "planted").rename(folder / ".cache" / "engine")
    assert "PyTorch" in load_tagger(folder, device=CPU, use_openvino=True).runner.name


@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_version_has_the_scores_of_its_model(family: str, version, older_cpu) -> None:
    folder = version(family)
    kept = compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    assert kept.record.weight_format == "plain"
    assert len(kept.record.notes) == 1  # about missing int8 instructions
    manifest = read_manifest(folder)
    reference = load_encoder(folder, manifest, device=CPU)
    reference.runner.set_precision("fp32")
    compiled = load_openvino_encoder(folder, manifest, kept)
    assert compiled.runner.name == "OpenVINO, fp32"
    pairs = zip(scores_of(reference, TEXTS), scores_of(compiled, TEXTS), strict=True)
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert theirs == pytest.approx(ours, abs=2e-4)
    found = load_tagger(folder, device=CPU, use_openvino=True)  # the server uses it
    assert isinstance(found.runner, OpenVINORunner)
    assert [one.version for one in found.predict(TEXTS)] == [manifest.version] * len(TEXTS)


@pytest.mark.slow
def test_model_that_quantization_degrades_is_not_quantized(
    version, cpu_with_int8, monkeypatch
) -> None:
    quantize = compiling._quantize

    def spoil(plain, reference, examples):
        """Quantise with the tags in another order."""
        head = reference.runner.model.classifier
        kept = head.weight.data.clone()
        head.weight.data = kept.flip(0)
        spoilt = compiling._convert(reference.runner.model, read_manifest(folder))
        head.weight.data = kept
        return quantize(spoilt, reference, examples)

    monkeypatch.setattr(compiling, "_quantize", spoil)
    folder = version()
    kept = compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    assert kept.record.weight_format == "plain"
    assert kept.record.check.agreement > MIN_AGREEMENT
    (variance,) = kept.record.notes
    monkeypatch.setattr(check, "MIN_R_SQUARED", -np.inf)
    (agreement,) = compile_version(
        folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS
    ).record.notes
    assert "int8" in variance
    assert "int8" in agreement
    assert variance != agreement  # two different reasons


def test_model_that_cannot_be_quantized_is_compiled_unquantized(
    version, cpu_with_int8, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Exception from src/core.cpp:84:\nno such operation\n")

    monkeypatch.setattr(compiling, "_quantize", fail)
    folder = version()
    kept = compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    assert kept.record.weight_format == "plain"
    assert kept.record.notes == ("The format int8 is not used: it failed (no such operation).",)
    monkeypatch.setattr(compiling, "_save", fail)
    with raises(OpenVINOError, "openvino-rejected"):
        compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)


@pytest.mark.slow
def test_quantized_matrices_are_a_quarter_of_the_size(version, older_cpu, monkeypatch) -> None:
    folder = version("biomedbert")
    plain = compile_version(
        folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS
    ).record
    monkeypatch.setattr(compiling, "int8_instruction_set", lambda: "avx512_vnni")
    for least in ("MIN_AGREEMENT", "MIN_ENTITY_AGREEMENT", "MIN_R_SQUARED"):
        monkeypatch.setattr(check, least, 0.5)  # because random weights have small differences
    int8 = compile_version(
        folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS
    ).record
    assert (plain.weight_format, int8.weight_format) == ("plain", "int8")
    assert int8.notes == ()
    assert int8.check.agreement > 0.5
    sizes = [record.files["engine.weights"].bytes for record in (int8, plain)]
    assert sizes[0] < 0.5 * sizes[1]


def test_rejection_rules() -> None:
    fine = OpenVINOCheck(9, 1_000, 1.0, reference_f1=0.9, f1=0.9)
    assert rejection_reason(fine) is None
    assert rejection_reason(replace(fine, f1=0.9 - MAX_F1_LOSS + 1e-9)) is None
    assert "0.30" in rejection_reason(replace(fine, f1=0.897))
    assert rejection_reason(replace(fine, f1=0.95)) is None  # a better model is accepted
    assert rejection_reason(replace(fine, reference_f1=None, f1=None)) is None
    assert "2.0%" in rejection_reason(replace(fine, agreement=0.98))
    rare = OpenVINOCheck(
        48, 10_000, 0.9955, entity_words=45, entity_agreement=0.0
    )  # it finds no entity
    assert {"100.0%", "45"} <= set(rejection_reason(rare).split())
    assert rejection_reason(replace(rare, entity_agreement=0.95)) is None
    assert rejection_reason(replace(rare, entity_words=3)) is None
    assert "42%" in rejection_reason(replace(rare, entity_words=3, r_squared=0.42))
    assert rejection_reason(replace(fine, r_squared=float("nan")))


def test_model_that_disagrees_with_pytorch_is_rejected_in_every_format(
    version, cpu_with_int8, monkeypatch
):
    folder = version()
    monkeypatch.setattr(check, "MIN_AGREEMENT", 1.1)
    with raises(OpenVINOError, "openvino-rejected"):
        compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    assert find_openvino_model(read_manifest(folder)) is None


def test_agreement_is_measured_on_entities_too(version, older_cpu) -> None:
    folder = version()
    manifest = read_manifest(folder)
    reference, other = (load_encoder(folder, manifest, device=CPU) for _ in range(2))
    same = check.compare_encoders(reference, reference, DOCUMENTS)
    assert (same.agreement, same.entity_agreement) == (1.0, 1.0)
    assert 0 < same.entity_words <= same.words
    bias = other.runner.model.classifier.bias.data
    bias[0] += 100.0  # O everywhere
    silent = check.compare_encoders(reference, other, DOCUMENTS)
    assert silent.entity_words == same.entity_words
    assert silent.entity_agreement == 0.0
    assert silent.agreement == pytest.approx(1 - same.entity_words / same.words)


def test_scores_are_compared_if_all_tags_agree(version, older_cpu) -> None:
    """Both tag every word as O, so only their scores differ."""
    folder = version()
    manifest = read_manifest(folder)
    reference, other = (load_encoder(folder, manifest, device=CPU) for _ in range(2))
    for tagger in (reference, other):
        tagger.runner.model.classifier.bias.data[0] += 100.0
    same = check.compare_encoders(reference, other, DOCUMENTS)
    assert (same.agreement, same.entity_words, same.r_squared) == (1.0, 0, 1.0)
    other.runner.model.classifier.weight.data[:] = 0.0  # the same scores for any text
    blind = check.compare_encoders(reference, other, DOCUMENTS)
    assert (blind.agreement, blind.entity_words) == (1.0, 0)
    assert blind.r_squared < 0.1
    assert "variance" in rejection_reason(blind)
    other.runner.model.classifier.weight.data[:] = torch.nan
    assert "variance" in rejection_reason(check.compare_encoders(reference, other, DOCUMENTS))
    one = [Document("one", "aspirin")]
    assert check.compare_encoders(reference, reference, one).r_squared == 1.0


def test_predictions_do_not_depend_on_order_or_batch(version, older_cpu) -> None:
    folder = version()
    compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    tagger = load_tagger(folder, device=CPU, use_openvino=True)
    assert isinstance(tagger.runner, OpenVINORunner)
    together = scores_of(tagger, TEXTS)
    for index, document in enumerate(TEXTS):
        (alone,) = scores_of(tagger, [document])
        assert np.allclose(alone, together[index], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "judged", "code"),
    [
        ({"four_bit": True}, DOCUMENTS, "openvino-four-bit"),
        ({}, [Document("blank", " \n")], "openvino-without-documents"),
    ],
)
def test_version_that_cannot_be_compiled_has_an_error_code(
    version, changes, judged, code: str
) -> None:
    folder = version(**changes)
    with raises(OpenVINOError, code):
        compile_version(folder, quantization_documents=DOCUMENTS, check_documents=judged)
    assert find_openvino_model(read_manifest(folder)) is None


def test_unconvertible_architecture_stays_with_pytorch(version, monkeypatch) -> None:
    folder = version()

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Operation aten::new_thing is not known\nand more lines")

    monkeypatch.setattr(compiling.import_openvino(), "convert_model", refuse)
    with raises(OpenVINOError, "openvino-architecture-unsupported"):
        compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    assert "PyTorch" in load_tagger(folder, device=CPU, use_openvino=True).runner.name


@given(st.lists(st.integers(1, 320), max_size=80))
def test_plan_covers_every_window_once_in_few_shapes(lengths: list[int]) -> None:
    plan = [list(batch) for batch in PLANNER.plan_batches(lengths)]
    assert sorted(place for batch in plan for place in batch) == [*range(len(lengths))]
    shapes = {(len(batch), -(-lengths[batch[0]] // 32)) for batch in plan}
    for batch in plan:
        assert len({-(-lengths[place] // 32) for place in batch}) == 1  # padded alike
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= MAX_BATCH_SUBWORDS
    assert len(shapes) <= MAX_CACHED_SHAPES


@pytest.mark.parametrize("error", [OpenVINOError("no such CPU"), TypeError("limit"), MemoryError()])
def test_pytorch_serves_if_compiled_model_cannot_be_loaded(
    version, older_cpu, monkeypatch, error: Exception
) -> None:
    folder = version()
    compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(load, "load_openvino_encoder", fail)
    tagger = load_tagger(folder, device=CPU, use_openvino=True)
    assert "PyTorch" in tagger.runner.name
    assert len(tagger.predict(DOCUMENTS)) == len(DOCUMENTS)
