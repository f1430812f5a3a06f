"""OpenVINO for versions that a training has just published."""

from pathlib import Path

from tagalong.backend.models.openvino import OPENVINO_MISSING_MESSAGE
from tagalong.backend.models.openvino.compile import (
    compile_version,
    describe_openvino_model,
    should_use_openvino,
)
from tagalong.backend.models.openvino.library import openvino_version
from tagalong.ner.errors import OpenVINOError
from tagalong.training.data.train_dev_split import TrainDevSplit

MIN_CHECK_DOCUMENTS = 48  # documents of the comparison with PyTorch


def compile_published_version(folder: Path, split: TrainDevSplit) -> str:
    """Compile a published encoder for OpenVINO, if that is of use here.

    Args:
        folder: Folder of the version.
        split: Documents of its training. The compiled model is compared with PyTorch on dev, and on
            documents of train too if dev has few: only agreement counts, not correctness.

    Returns:
        The result in a sentence; empty if OpenVINO is of no use.
    """
    if not should_use_openvino():
        return ""
    if not openvino_version():
        return OPENVINO_MISSING_MESSAGE
    check = [*split.dev, *split.train[: max(0, MIN_CHECK_DOCUMENTS - len(split.dev))]]
    try:
        compiled = compile_version(
            folder, quantization_documents=split.train, check_documents=check
        )
    except OpenVINOError as error:
        return f"PyTorch will run it, because it cannot be compiled for OpenVINO: {error}."
    except Exception as error:  # noqa: BLE001 - the version is published and served without it
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"PyTorch will run it, because compiling it for OpenVINO failed ({reason})."
    return describe_openvino_model(compiled)
