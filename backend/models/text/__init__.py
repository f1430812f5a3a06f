"""Words, sub-words and windows of a text."""
