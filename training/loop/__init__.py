"""The training loop of models in PyTorch."""
