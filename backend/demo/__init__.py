"""A local Label Studio with our backend and a few real abstracts."""
