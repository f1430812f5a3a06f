"""A causal model as a function: tokens in, tag logits out, with what was computed kept for reuse.

The only file of the tier that runs a model. Rows of a batch hold prefixes of different lengths;
after each pass a row may be cut back to what was right, or leave. Keys and values are then moved
together, so that row ``r`` always lies in the first ``lengths[r]`` places and nothing stale is ever
attended to. Positions and masks are made here, from those lengths: padding, cut-off entries and
sliding windows are the same question, which key may this query see.
"""

from collections.abc import Sequence
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

FULL_ATTENTION, SLIDING_ATTENTION = (
    "full_attention",
    "sliding_attention",
)  # as configurations name them


@dataclass(slots=True)
class KVCache:
    """What has been computed for the rows of a batch.

    Attributes:
        lengths: Tokens held of each row.
        layers: Keys and values of each layer, (rows, heads, longest, width) each.
    """

    lengths: list[int]
    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def select_rows(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Drop rows, and cut those that stay.

        Args:
            rows: The ones that stay, in their new order.
            lengths: Tokens to hold of each of them, at most what is held.
        """
        longest = max(lengths, default=0)
        if list(rows) != list(range(len(self.lengths))):
            index = torch.tensor(list(rows), device=self._device())
            self.layers = [(keys[index], values[index]) for keys, values in self.layers]
        self.layers = [
            (keys[:, :, :longest], values[:, :, :longest]) for keys, values in self.layers
        ]
        self.lengths = list(lengths)

    def compact(self, old_lengths: Sequence[int], added_lengths: Sequence[int], start: int) -> None:
        """Move what was fed right behind what was held.

        Args:
            old_lengths: Tokens of each row before the pass.
            added_lengths: Tokens of each row that the pass added, from place `start` on.
            start: Where the pass put the first of them, in every row.
        """
        self.lengths = [
            before + more for before, more in zip(old_lengths, added_lengths, strict=True)
        ]
        if all(before == start for before in old_lengths):
            return  # there was no gap
        places = torch.arange(max(self.lengths), device=self._device()).expand(len(old_lengths), -1)
        before = torch.tensor(old_lengths, device=self._device())[:, None]
        source = torch.where(places < before, places, places - before + start)
        source = source.clamp(max=self.layers[0][0].shape[2] - 1)[:, None, :, None]

        def moved(part: Tensor) -> Tensor:
            return part.gather(2, source.expand(-1, part.shape[1], -1, part.shape[3]))

        self.layers = [(moved(keys), moved(values)) for keys, values in self.layers]

    def _device(self) -> torch.device:
        """Where the tensors are."""
        return self.layers[0][0].device


class TagScorer:
    """Runs a model over rows of tokens, and reads tag logits at chosen places.

    Args:
        model: A causal language model, in evaluation mode on its device.
        tag_ids: Vocabulary id of each tag's verbaliser.
        prefix: Tokens that every row begins with; computed once.
        precision: Arithmetic of the forward pass.
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
        self.tokens_run = 0  # padding not counted

    @torch.inference_mode()
    def new_cache(self, rows: int) -> KVCache:
        """Begin a batch.

        Args:
            rows: How many.

        Returns:
            Rows that hold the prefix.
        """
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
        """Compute the prefix again next time: the weights have changed."""
        self._prefix_layers = None

    @torch.inference_mode()
    def run_pass(
        self,
        kv_cache: KVCache,
        tokens: Sequence[Sequence[int]],
        logit_positions: Sequence[Sequence[int]],
    ) -> list[FloatArray]:
        """One pass: feed tokens to every row, behind what it holds.

        Args:
            kv_cache: Grows by what is fed.
            tokens: Tokens for each row, one or more.
            logit_positions: For each row, which of the tokens fed to read tag logits at.

        Returns:
            For each row, logits of shape (wanted, tags).
        """
        device = self.model.device
        longest = max(map(len, tokens))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in tokens], device=device)
        before = torch.tensor(kv_cache.lengths, device=device)
        positions = before[:, None] + torch.arange(longest, device=device)
        # Padding stays where its row ends: beyond the window there may be no learned position, and
        # some rotary ones change for the whole batch where any of it goes that far.
        last = before + torch.tensor([len(row) - 1 for row in tokens], device=device)
        start = max(kv_cache.lengths)
        cache = _to_dynamic_cache(kv_cache)
        with bf16_autocast(device, precision=self._precision):
            hidden = self.model.get_decoder()(
                input_ids=ids,
                attention_mask=self._masks(before, positions, start),
                position_ids=torch.minimum(positions, last[:, None]),
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
        rows = [row for row, places in enumerate(logit_positions) for _ in places]
        columns = [place for places in logit_positions for place in places]
        logits = tag_logits(self.model, hidden[rows, columns], self._tag_ids).cpu().numpy()
        kv_cache.layers = [(layer.keys, layer.values) for layer in cache.layers]
        kv_cache.compact(kv_cache.lengths, [len(row) for row in tokens], start)
        self.tokens_run += sum(map(len, tokens))
        ends = np.cumsum([len(places) for places in logit_positions])[:-1]
        return list(np.split(logits, ends))

    def _masks(self, before: Tensor, positions: Tensor, start: int) -> Tensor | dict[str, Tensor]:
        """A mask for all layers, or by kind where a model has layers of two."""
        masks = {
            kind: _mask(before, positions, start, window=window)
            for kind, window in self._windows.items()
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))


def attention_windows(config: PretrainedConfig) -> dict[str, int | None]:
    """How far back the layers of a model see, by the kind of their attention.

    Args:
        config: Of the model.

    Returns:
        Tokens, the query's own included; None for all.

    Raises:
        BaseModelError: If a layer keeps something else than keys and values of single tokens, which
            cannot be cut back to what was right.
    """
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if other := sorted(kinds - {FULL_ATTENTION, SLIDING_ATTENTION}):
        raise BaseModelError(
            f"the base has layers of {other[0]}, and what they keep of a text cannot be cut back "
            "to a part of it: choose a decoder whose layers are of full or sliding attention"
        )
    if not kinds:
        return {FULL_ATTENTION if window is None else SLIDING_ATTENTION: window}
    return {kind: window if kind == SLIDING_ATTENTION else None for kind in sorted(kinds)}


def _mask(before: Tensor, positions: Tensor, start: int, *, window: int | None) -> Tensor:
    """Which key each query may see: (rows, 1, fed, held + fed), added to attention scores."""
    fed = positions.shape[1]
    places = torch.arange(start, device=positions.device).expand(len(before), -1)
    # What is held lies at its own position; beyond a row's end there is nothing.
    nothing = torch.iinfo(torch.long).max
    held = torch.where(places < before[:, None], places, nothing)
    keys = torch.cat([held, positions], dim=1)[:, None, :]
    queries = positions[:, :, None]
    seen = keys <= queries
    if window is not None:
        seen &= queries - keys < window
    dtype = torch.float32
    mask = torch.zeros(len(before), fed, start + fed, dtype=dtype, device=positions.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _to_dynamic_cache(held: KVCache) -> DynamicCache:
    """What is held as the model takes it: the very tensors, which `update` would copy."""
    cache = DynamicCache()
    for keys, values in held.layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def tag_logits(model: nn.Module, hidden: Tensor, tag_ids: Tensor) -> Tensor:
    """The logits of tags at some places, in fp32 whatever the arithmetic.

    In bf16 they would be rounded to ties between tags, which a batch of another size breaks
    another way. Of the output layer only the rows of the tags are computed, with an adapter too.

    Args:
        model: A causal language model.
        hidden: Its last hidden states there, (places, width).
        tag_ids: Vocabulary ids of the tags.

    Returns:
        Shape (places, tags).
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    base = head.get_base_layer() if is_lora_layer(head) else head
    if type(base) is not nn.Linear:  # 4-bit weights, say, have no rows
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
