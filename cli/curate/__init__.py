"""The commands of `curate`."""
