"""Run a causal model: tokens in, tag logits out, with keys and values cached between passes.

The rows of a batch hold prefixes of different lengths. After each pass a row may be cut back to its
decided part, or leave the batch. Keys and values are then compacted, so that row ``r`` always fills
the first ``lengths[r]`` positions and nothing stale is attended to. Position ids and masks follow
from those lengths: padding, removed entries and sliding windows all ask which keys a query may see.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from tagalong.backend.models.base_models.adapters import is_lora_layer
from tagalong.backend.models.base_models.load_options import Precision
from tagalong.backend.models.base_models.precision import bf16_autocast
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.ner.errors import BaseModelError

FULL_ATTENTION, SLIDING_ATTENTION = "full_attention", "sliding_attention"  # as configs name them


@dataclass(slots=True)
class KVCache:
    """Cached keys and values of the rows of a batch."""

    lengths: list[int]  # cached tokens of each row
    # Keys and values of each layer, (rows, heads, longest, width) each.
    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def select_rows(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Keep some rows, in a new order, and some tokens of each."""
        longest = max(lengths)
        if list(rows) != list(range(len(self.lengths))):  # an index copies, a slice does not
            index = torch.tensor(list(rows), device=self._device())
            self._map_layers(lambda part: part[index])
        self._map_layers(lambda part: part[:, :, :longest])
        self.lengths = list(lengths)

    def compact(self, old_lengths: Sequence[int], added_lengths: Sequence[int], start: int) -> None:
        """Move the tokens that a pass added behind the `old_lengths` tokens from before.

        The pass put the first of them at position `start` in every row.
        """
        self.lengths = [
            before + more for before, more in zip(old_lengths, added_lengths, strict=True)
        ]
        if all(before == start for before in old_lengths):
            return  # no gap
        positions = torch.arange(max(self.lengths), device=self._device()).expand(
            len(old_lengths), -1
        )
        before = torch.tensor(old_lengths, device=self._device())[:, None]
        source = torch.where(positions < before, positions, positions - before + start)
        source = source.clamp(max=self.layers[0][0].shape[2] - 1)[:, None, :, None]

        self._map_layers(
            lambda part: part.gather(2, source.expand(-1, part.shape[1], -1, part.shape[3]))
        )

    def _map_layers(self, change: Callable[[Tensor], Tensor]) -> None:
        self.layers = [(change(keys), change(values)) for keys, values in self.layers]

    def _device(self) -> torch.device:
        return self.layers[0][0].device


class TagScorer:
    """Runs a causal language model over rows of tokens, and computes tag logits at some positions.

    `tag_ids` are those of the tags' verbalizers. The prefix, which all rows share, is run once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tag_ids: Sequence[int],
        prefix: Sequence[int],
        *,
        precision: Precision = "auto",
    ) -> None:
        self.model = model
        self._tag_ids = torch.tensor(list(tag_ids), device=model.device)
        self._prefix = tuple(prefix)
        self._precision = precision
        self._windows = attention_windows(model.config)
        self._prefix_layers: list[tuple[Tensor, Tensor]] | None = None

    @torch.inference_mode()
    def new_cache(self, rows: int) -> KVCache:
        """The cache of a new batch of rows, which hold the prefix."""
        if self._prefix_layers is None:
            empty = KVCache([0])
            self.run_pass(empty, [self._prefix], [[]])
            self._prefix_layers = empty.layers
        layers = [
            (keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
            for keys, values in self._prefix_layers
        ]
        return KVCache([len(self._prefix)] * rows, layers)

    def clear_prefix_cache(self) -> None:
        """Run the prefix again next time, as the weights have changed."""
        self._prefix_layers = None

    @torch.inference_mode()
    def run_pass(
        self,
        kv_cache: KVCache,
        tokens: Sequence[Sequence[int]],
        logit_positions: Sequence[Sequence[int]],
    ) -> list[FloatArray]:
        """Run one pass over one or more new tokens of every row, and add them to the cache.

        Returns for each row the logits at some of its new tokens, of shape (positions, tags).
        """
        device = self.model.device
        longest = max(map(len, tokens))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in tokens], device=device)
        before = torch.tensor(kv_cache.lengths, device=device)
        positions = before[:, None] + torch.arange(longest, device=device)
        # Padding repeats the last position of its row. Beyond the window, a model may have no
        # learned position, and some rotary positions change for the whole batch.
        last = before + torch.tensor([len(row) - 1 for row in tokens], device=device)
        start = max(kv_cache.lengths)
        masks = {  # one for each kind of layer; a model with one kind takes the mask itself
            kind: _mask(before, positions, start, window=window)
            for kind, window in self._windows.items()
        }
        cache = _to_dynamic_cache(kv_cache)
        with bf16_autocast(device, precision=self._precision):
            hidden = self.model.get_decoder()(
                input_ids=ids,
                attention_mask=masks if len(masks) > 1 else next(iter(masks.values())),
                position_ids=torch.minimum(positions, last[:, None]),
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
        rows = [row for row, of_row in enumerate(logit_positions) for _ in of_row]
        columns = [column for of_row in logit_positions for column in of_row]
        logits = tag_logits(self.model, hidden[rows, columns], self._tag_ids).cpu().numpy()
        kv_cache.layers = [(layer.keys, layer.values) for layer in cache.layers]
        kv_cache.compact(kv_cache.lengths, [len(row) for row in tokens], start)
        ends = np.cumsum([len(of_row) for of_row in logit_positions])[:-1]
        return list(np.split(logits, ends))


def attention_windows(config: PretrainedConfig) -> dict[str, int | None]:
    """How far back each kind of layer sees, in tokens, the query included; None for all.

    Raises `BaseModelError` where a layer caches something else than keys and values of single
    tokens. The state of a recurrent layer, for example, cannot be cut back.
    """
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if other := sorted(kinds - {FULL_ATTENTION, SLIDING_ATTENTION}):
        raise BaseModelError(
            f"the base model has layers of {other[0]}, whose state cannot be cut back to a part of "
            "a text: choose a decoder whose layers have full or sliding attention",
            code="base-model-attention-unsupported",
        )
    if not kinds:
        return {FULL_ATTENTION if window is None else SLIDING_ATTENTION: window}
    return {kind: window if kind == SLIDING_ATTENTION else None for kind in sorted(kinds)}


def _mask(before: Tensor, positions: Tensor, start: int, *, window: int | None) -> Tensor:
    """Which key each query may see: (rows, 1, new, cached + new), added to attention scores."""
    new = positions.shape[1]
    cached = torch.arange(start, device=positions.device).expand(len(before), -1)
    # A cached token is at its own position; beyond the end of its row, no query may see it.
    unreachable = torch.iinfo(torch.long).max
    cached = torch.where(cached < before[:, None], cached, unreachable)
    keys = torch.cat([cached, positions], dim=1)[:, None, :]
    queries = positions[:, :, None]
    visible = keys <= queries
    if window is not None:
        visible &= queries - keys < window
    dtype = torch.float32
    mask = torch.zeros(len(before), new, start + new, dtype=dtype, device=positions.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)[:, None]


def _to_dynamic_cache(kv_cache: KVCache) -> DynamicCache:
    """The same tensors as transformers' cache; its `update` would copy them."""
    cache = DynamicCache()
    for keys, values in kv_cache.layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def tag_logits(model: nn.Module, hidden: Tensor, tag_ids: Tensor) -> Tensor:
    """Compute tag logits, (positions, tags), at some hidden states of the last layer.

    They are in fp32: in bf16 they would be rounded to ties between tags, which a batch of another
    size breaks in another way. Only the rows of the tags are computed in the output layer and in
    its adapter.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    base = head.get_base_layer() if is_lora_layer(head) else head
    if type(base) is not nn.Linear:  # 4-bit weights, for example, have no rows
        return head(hidden)[:, tag_ids].float()
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = hidden.float()
        bias = None if base.bias is None else base.bias[tag_ids].float()
        logits = nn.functional.linear(hidden, base.weight[tag_ids].float(), bias)
        if is_lora_layer(head) and not head.disable_adapters:
            for name in head.active_adapters:
                down = head.lora_A[name].weight.float()
                up = head.lora_B[name].weight[tag_ids].float()
                dropped = head.lora_dropout[name](hidden)
                logits = logits + head.scaling[name] * (dropped @ down.T @ up.T)
        return logits
