"""Sphinx: `make docs` builds without warnings."""

project = "pyjet"
author = "the pyjet developers"
copyright = "2026, the pyjet developers"
release = "0.1.0"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
nitpicky = False
suppress_warnings = ["ref.python"]  # BackupResult.bytes is not the type bytes
autodoc_typehints = "description"
