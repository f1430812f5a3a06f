"""Training an LLM."""
