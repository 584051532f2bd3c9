#!/usr/bin/env python3
"""pyjet/errors.pyi: what a type checker has to know of the exceptions, which pyjet/errors.py makes at import from the engine's list.

Usage: ``python tools/error_stubs.py`` writes it again; a test compares.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
STUB = ROOT / "pyjet" / "errors.pyi"
HEAD = '''"""Written by tools/error_stubs.py: do not edit."""

import builtins

class JetError(Exception):
    code: int
    name: str
    category: str
    text: str
    detail: str
    def __init__(self, detail: str = "") -> None: ...
    @property
    def hint(self) -> str: ...
'''
BODIES = {
    "PyjetError": ['def __init__(self, detail: str = "", hint: str = "") -> None: ...'],
    "DamagedSetError": [
        "file: str | None",
        "block: int | None",
        'def __init__(self, detail: str = "", hint: str = "", file: str | None = None, block: int | None = None) -> None: ...',
    ],
}
TAIL = """
def class_name(name: str) -> str: ...
def make(code: int, detail: str = "") -> JetError: ...
def by_code(code: int) -> type[JetError]: ...
"""


def stub(errors):
    """The text of the stub for the module."""
    lines = [HEAD]
    for name in errors.__all__:
        cls = getattr(errors, name)
        if cls is errors.JetError:
            continue
        if cls.__name__ != name:  # a code with two names
            lines.append(f"{name} = {cls.__name__}\n")
            continue
        body = BODIES.get(name)
        bases = (f"builtins.{b.__name__}" if b.__module__ == "builtins" else b.__name__ for b in cls.__bases__)  # ours has a FileNotFoundError
        head = f"class {name}({', '.join(bases)}):"
        lines.append(f"{head} ...\n" if body is None else head + "".join(f"\n    {line}" for line in body) + "\n")
    listed = "".join(f'    "{name}",\n' for name in sorted(errors.__all__))
    return "".join(lines) + TAIL + f"\n__all__ = [\n{listed}]\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from pyjet import errors

    STUB.write_text(stub(errors))
