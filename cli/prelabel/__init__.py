"""The command `prelabel`."""
