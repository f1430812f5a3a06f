"""Hyperparameters of a training run."""
