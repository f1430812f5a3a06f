"""The training loop that both tiers share."""
