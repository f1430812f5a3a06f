"""Trainings that Label Studio asks for: when one is due, one at a time, whatever is killed.

The server decides and watches; what trains is a process of its own, so serving never waits for it.
Both keep what they know in one file, :mod:`~tagalong.backend.retraining.job_store`.
"""
