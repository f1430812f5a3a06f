"""Tiers: what loads a model version and predicts with it."""
