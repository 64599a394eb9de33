"""The parts of ``manage.py jobs``."""
