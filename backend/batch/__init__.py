"""Batches: any number of documents to predictions, resumable, each delivered exactly once."""
