"""Scores by length, their intervals and reports."""
