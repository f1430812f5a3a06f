"""Training and evaluation of model versions."""
