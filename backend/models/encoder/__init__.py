"""The encoder tier."""
