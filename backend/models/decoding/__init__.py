"""Decode scores of words to spans."""
