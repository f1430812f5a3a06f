"""Documents in JSON lines, and offsets in other units."""
