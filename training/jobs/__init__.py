"""Trainings of versions, from files or on a Label Studio project, and their promotion."""
