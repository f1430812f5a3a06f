"""The tiers: kinds of models that find entities."""

from typing import Literal, get_args

TierName = Literal["encoder", "llm"]
TIERS: tuple[TierName, ...] = get_args(TierName)
ENCODER: TierName = "encoder"
LLM: TierName = "llm"
TRAINABLE_TIERS: tuple[TierName, ...] = (ENCODER, LLM)  # the others are only served
DEFAULT_TIER = ENCODER  # of requests that name no tier
TIER_DISPLAY_NAMES: dict[str, str] = {tier: tier for tier in TIERS} | {LLM: "LLM"}
