"""File formats, one file each. A new format is one file here and one entry in `registry`."""
