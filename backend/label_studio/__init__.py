"""Label Studio's configs, tasks, offsets and context."""
