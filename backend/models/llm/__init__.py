"""The LLM tier: a decoder tags words by filling one slot behind each, drafted and verified."""
