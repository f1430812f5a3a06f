"""Training data: splits and silver labels."""
