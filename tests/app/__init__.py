"""A small Django app for the tests; its jobs are in jobs.py."""
