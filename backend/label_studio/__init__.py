"""Label Studio's configs, tasks, results and context."""
