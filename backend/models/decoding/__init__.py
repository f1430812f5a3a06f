"""Scores of words to spans."""
