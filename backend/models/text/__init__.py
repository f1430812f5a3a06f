"""Sub-words and windows of a text."""
