"""Builds tests/c/test_<room>.c and runs each of its cases in a process of its own.

The rooms are built twice: plain, and (mark: threads/slow) with sanitizers through `make SANITIZE=...`.
"""

import functools
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from building import make  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = sorted(p.stem[len("test_") :] for p in (ROOT / "tests" / "c").glob("test_*.c"))


@functools.lru_cache(maxsize=None)
def built(room):
    target = f"build/debug/test_{room}"
    make("DEBUG=1", target)
    return ROOT / target


def cases():
    for room in ROOMS:
        text = (ROOT / "tests" / "c" / f"test_{room}.c").read_text()
        for line in text.splitlines():
            if line.startswith("CASE("):
                yield room, line[5 : line.index(")")]


@pytest.mark.parametrize("room, case", list(cases()))
def test_room(room, case, tmp_path):
    done = subprocess.run(
        [str(built(room)), case],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert f"ok {case}" in done.stdout
