"""Pretrained base models: where they are, how they are loaded and quantized."""
