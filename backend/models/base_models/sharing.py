"""Share what loaded versions have in common, for as long as one of them is loaded."""

from collections.abc import Callable, Hashable
from functools import partial
from hashlib import sha256
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

Shared = TypeVar("Shared")
MIN_SHARED_BYTES = 1 << 20  # of a tensor; smaller ones are not worth their hash


class SharedObjects(Generic[Shared]):
    """Objects by key; each is deleted with the last version that uses it."""

    def __init__(self) -> None:
        self._objects: WeakValueDictionary[Hashable, Shared] = WeakValueDictionary()
        self._lock = Lock()  # held while one is made, so that no second one is

    def get(self, key: Hashable, make: Callable[[], Shared]) -> Shared:
        """The object of a key; `make` makes it for the first version."""
        with self._lock:
            if (found := self._objects.get(key)) is None:
                found = make()
                self._objects[key] = found
            return found


_PARAMETERS = SharedObjects[nn.Parameter]()


def share_parameters(model: nn.Module) -> int:
    """Use the tensors of loaded models in place of equal ones.

    Adapters on one base share what they leave unchanged, above all the word embeddings. Returns the
    bytes of all other tensors.
    """
    own_bytes = 0
    for module in model.modules():
        for name, parameter in [*module.named_parameters(recurse=False)]:
            # What is in 4 bits has scales elsewhere.
            if parameter.nbytes < MIN_SHARED_BYTES or type(parameter) is not nn.Parameter:
                own_bytes += parameter.nbytes
                continue
            key = (_hash_tensor(parameter), parameter.shape, parameter.dtype, parameter.device)
            shared = _PARAMETERS.get(key, partial(_identity, parameter))
            own_bytes += parameter.nbytes if shared is parameter else 0
            setattr(module, name, shared)
    return own_bytes


def _identity(parameter: nn.Parameter) -> nn.Parameter:
    return parameter


def _hash_tensor(tensor: Tensor) -> bytes:
    """The SHA-256 of the values of a tensor."""
    flat = tensor.detach().cpu().contiguous().view(-1)
    return sha256(flat.view(torch.uint8).numpy().data).digest()
