"""Sphinx configuration; script/docs builds with warnings as errors."""

project = "django_jobs"
author = "django_jobs contributors"
copyright = "django_jobs contributors"
version = release = "0.1.0"

extensions: list[str] = []
exclude_patterns = ["_build"]
nitpicky = True
default_role = "code"
highlight_language = "python"

html_theme = "alabaster"
html_theme_options = {
    "description": "Background jobs for Django",
    "fixed_sidebar": True,
    "page_width": "1100px",
}
html_static_path: list[str] = []
