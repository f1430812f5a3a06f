"""Retraining jobs: when one is due, and the process that runs it.

The server queues and supervises jobs; a trainer process runs them, so that requests never wait.
Both share one file, :mod:`~tagalong.backend.retraining.job_store`.
"""
