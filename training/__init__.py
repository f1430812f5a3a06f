"""What makes and judges the versions that are served."""
