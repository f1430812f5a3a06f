"""The LLM tier: a decoder fills one tag slot behind each word, from a draft that it verifies."""
