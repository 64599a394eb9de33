"""Samples that are checked by mypy, not run."""
