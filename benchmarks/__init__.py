"""Compare django_jobs with its peers, side by side on one machine: ``python -m benchmarks``."""
