"""The command ``tagalong prelabel``."""
