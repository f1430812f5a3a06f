"""Retraining on what a Label Studio project holds."""
