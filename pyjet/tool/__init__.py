"""The command line: ``pyjet VERB`` or ``python -m pyjet VERB``."""

from .cli import main
from .codes import MEANINGS, exit_code

__all__ = ["MEANINGS", "exit_code", "main"]
