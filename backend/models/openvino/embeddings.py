"""Look up word embeddings outside a compiled model, so that the adapters of one base share them.

OpenVINO would keep a copy in 32 bits in every compiled model. That is a third of the memory of a
version.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tagalong.backend.models.base_models.sharing import SharedObjects
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.openvino.library import OpenVINOPrecision, import_openvino
from tagalong.ner.manifest import FileRecord

EMBEDDINGS_INPUT = "word_embeddings"  # of a compiled model, after its other inputs


@dataclass(frozen=True, slots=True, weakref_slot=True)
class WordEmbeddings:
    """The vector of each sub-word: its row of values, times its scale."""

    values: NDArray[Any]  # (vocabulary, width), 8-bit integers, fp32, or the bits of bf16
    scales: FloatArray  # (vocabulary, 1); (0, 1) for none

    def look_up(self, ids: NDArray[np.int64]) -> FloatArray:
        """Vectors of shape (*ids, width)."""
        rows = self.values[ids]
        if rows.dtype == np.uint16:
            return (rows.astype(np.uint32) << 16).view(np.float32)
        vectors: FloatArray = rows.astype(np.float32)
        if len(self.scales):
            vectors *= self.scales[ids]
        return vectors

    def round_to_bf16(self) -> Self:
        """The same in bf16, to the nearest even value, as OpenVINO rounds what it computes with."""
        bits = self.look_up(np.arange(len(self.values))).view(np.uint32)
        bits = bits + (bits >> 16 & 1) + 0x7FFF
        return replace(self, values=(bits >> 16).astype(np.uint16), scales=self.scales[:0])

    def save(self, path: Path) -> None:
        """Write it; equal embeddings make equal files."""
        save_file({"values": self.values, "scales": self.scales}, path)


_LOADED = SharedObjects[WordEmbeddings]()


def load_word_embeddings(
    path: Path, record: FileRecord, precision: OpenVINOPrecision
) -> WordEmbeddings:
    """Read the embeddings of a file, or find equal ones that are in memory already."""

    def load() -> WordEmbeddings:
        stored = WordEmbeddings(**load_file(path))
        return stored.round_to_bf16() if precision == "bf16" else stored

    return _LOADED.get((record.sha256, precision), load)


def split_word_embeddings(model: Any) -> WordEmbeddings | None:
    """Make the word embeddings an input of a converted model, and return their table.

    None where the model does not look them up in one table by ``input_ids``; then it is unchanged.
    """
    openvino = import_openvino()
    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "Gather":
            continue
        table, ids, axis = (operation.input_value(index).get_node() for index in range(3))
        if _skip_conversion(ids).get_friendly_name() != "input_ids" or np.any(axis.data):
            continue
        if (embeddings := _read_table(table)) is None:
            continue
        width = embeddings.values.shape[1]
        parameter = openvino.op.Parameter(openvino.Type.f32, openvino.PartialShape([-1, -1, width]))
        parameter.set_friendly_name(EMBEDDINGS_INPUT)
        parameter.output(0).get_tensor().set_names({EMBEDDINGS_INPUT})
        for consumer in operation.output(0).get_target_inputs():
            consumer.replace_source_output(parameter.output(0))
        model.add_parameters([parameter])
        model.validate_nodes_and_infer_types()
        return embeddings
    return None


def _read_table(node: Any) -> WordEmbeddings | None:
    """A constant table of fp32, or of 8 bits with a scale per row; None for anything else."""
    constants = [node]
    if node.get_type_name() == "Multiply":
        constants = [_skip_conversion(node.input_value(index).get_node()) for index in range(2)]
    if any(one.get_type_name() != "Constant" for one in constants):
        return None
    values, *factors = (np.array(one.data) for one in constants)
    scales = factors[0] if factors else np.zeros((0, 1), np.float32)
    is_table = values.ndim == 2 and values.dtype in (np.int8, np.float32)
    has_row_scales = scales.dtype == np.float32 and scales.shape in ((len(values), 1), (0, 1))
    return WordEmbeddings(values, scales) if is_table and has_row_scales else None


def _skip_conversion(node: Any) -> Any:
    """What a conversion to another type converts; the node itself if it is none."""
    is_conversion = node.get_type_name() == "Convert"
    return node.input_value(0).get_node() if is_conversion else node
