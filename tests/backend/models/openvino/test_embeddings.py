"""Word embeddings outside a model give the same vectors, to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from tagalong.backend.models.openvino import weights
from tagalong.backend.models.openvino.embeddings import (
    WordEmbeddings,
    load_word_embeddings,
    split_word_embeddings,
)
from tagalong.backend.models.openvino.weights import PrivateWeights
from tagalong.ner.manifest import hash_file

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.integers(-128, 128, (50, 8)).astype(np.int8)
SCALES = RANDOM.random((50, 1), np.float32)
MATRIX = RANDOM.random((8, 8), np.float32)
IDS = RANDOM.integers(0, 50, (2, 5))


def model_of(table: Any, *, index: str = "input_ids") -> openvino.Model:
    """A model that multiplies the vectors of the sub-words by a matrix."""
    inputs = [ops.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "other_ids")]
    for one in inputs:
        one.output(0).get_tensor().set_names({one.get_friendly_name()})
    ids = ops.convert(inputs[["input_ids", "other_ids"].index(index)], "i32")
    vectors = ops.gather(table, ids, ops.constant(0))
    return openvino.Model([ops.matmul(vectors, ops.constant(MATRIX), False, False)], inputs)


def int8_table() -> Any:
    return ops.multiply(ops.convert(ops.constant(TABLE), "f32"), ops.constant(SCALES))


def run(model: openvino.Model, precision: str, *inputs: np.ndarray) -> np.ndarray:
    properties = {"INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(model, "CPU", properties)
    return np.array(compiled([*inputs])[0], np.float32)


@pytest.mark.parametrize(("is_int8", "precision"), [(True, "f32"), (False, "f32"), (False, "bf16")])
def test_vectors_are_those_of_the_model(is_int8: bool, precision: Any, tmp_path: Path) -> None:
    table = int8_table() if is_int8 else ops.constant(RANDOM.random((50, 8), np.float32))
    model = model_of(table)
    expected = run(model, precision, IDS, IDS)
    split = split_word_embeddings(model)
    assert split is not None
    assert [one.get_any_name() for one in model.inputs][-1] == "word_embeddings"
    assert "Gather" not in {one.get_type_name() for one in model.get_ordered_ops()}
    split.save(path := tmp_path / "table")
    record = hash_file(path)
    embeddings = load_word_embeddings(path, record, precision)
    assert load_word_embeddings(path, record, precision) is embeddings
    found = run(model, precision, IDS, IDS, embeddings.look_up(IDS))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("table", "index"),
    [
        (ops.add(ops.convert(ops.constant(TABLE), "f32"), np.float32(1)), "input_ids"),
        (
            ops.multiply(ops.convert(ops.constant(TABLE), "f32"), np.ones((1, 8), np.float32)),
            "input_ids",
        ),
        (ops.constant(RANDOM.random((50, 8), np.float32)), "other_ids"),
    ],
)
def test_other_tables_stay_in_the_model(table: Any, index: str) -> None:
    model = model_of(table, index=index)
    assert split_word_embeddings(model) is None
    assert len(model.inputs) == 2


def test_bf16_is_the_nearest_and_even_in_a_tie() -> None:
    ulp = 2.0**-7  # of bf16 at 1
    values = np.array([[1, 1 + ulp / 4, 1 + ulp / 2, 1 + 3 * ulp / 2, -1 - 0.6 * ulp]], np.float32)
    rounded = WordEmbeddings(values, np.zeros((0, 1), np.float32)).round_to_bf16()
    found = rounded.look_up(np.array([0]))[0]
    assert found.tolist() == [1, 1, 1, 1 + 2 * ulp, -1 - ulp]


@pytest.mark.parametrize("can_write", [True, False])
def test_private_weights_do_not_change_with_the_file(
    can_write: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    if not can_write:
        monkeypatch.setattr(weights, "TemporaryFile", refuse)
    (path := tmp_path / "weights").write_bytes(content := bytes(range(256)) * 64)
    kept = PrivateWeights(path)
    assert list(tmp_path.iterdir()) == [path]  # the copy has no name
    path.write_bytes(b"")
    kept.release_memory()
    assert kept.tensor.data.tobytes() == content
    assert kept.bytes == len(content)
