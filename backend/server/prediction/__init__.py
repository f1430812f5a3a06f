"""Prediction requests: queues, batches and the served model."""
