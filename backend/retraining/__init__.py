"""Retraining jobs: when one is due, their store, and the processes that run them."""
