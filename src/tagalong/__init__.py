"""Pre-label biomedical text: train taggers, evaluate them by entity length, serve them."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagalong.api import Tagger, evaluate, load, train_encoder
    from tagalong.ner.document import Document, Prediction, Span

__all__ = ["Document", "Prediction", "Span", "Tagger", "evaluate", "load", "train_encoder"]

# Imported on first use: torch takes seconds, and most commands do without it.
_MODULES = {
    "Document": "tagalong.ner.document",
    "Prediction": "tagalong.ner.document",
    "Span": "tagalong.ner.document",
    "Tagger": "tagalong.api",
    "evaluate": "tagalong.api",
    "load": "tagalong.api",
    "train_encoder": "tagalong.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # On import it warns of a kernel that is missing even where nothing is quantized.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
