"""Checks that find out, in order, why a project shows no predictions; and its connection."""
