"""A Label Studio, a key and a project -> in order, what keeps predictions from being shown."""
