"""The command line: ``pyjet VERB`` or ``python -m pyjet VERB``."""

from .cli import exit_code, main

__all__ = ["exit_code", "main"]
