"""A Label Studio of our own, with our backend and a few real abstracts in it."""
