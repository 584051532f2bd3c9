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


ON_A_DISK = {"os"}  # what it says of syncs and of space is about a file system with a disk below


@pytest.fixture(scope="session")
def built(request):
    """built(room) -> its program. All that this run asks for are made at once, on all cores, when the first is."""
    asked = sorted({item.callspec.params["room"] for item in request.session.items if item.path == pathlib.Path(__file__)})
    made = []

    def all_made():
        if not made:
            try:
                make("DEBUG=1", "-k", *(f"build/debug/test_{name}" for name in asked))
                made.append(True)
            except AssertionError:
                made.append(False)
        return made[0]

    def program(room):
        if not all_made():  # a room that does not compile fails in its own tests
            make("DEBUG=1", f"build/debug/test_{room}")
        return ROOT / "build" / "debug" / f"test_{room}"

    return functools.lru_cache(maxsize=None)(program)


def cases():
    for room in ROOMS:
        text = (ROOT / "tests" / "c" / f"test_{room}.c").read_text()
        for line in text.splitlines():
            if line.startswith("CASE("):
                yield room, line[5 : line.index(")")]


@pytest.mark.parametrize("room, case", list(cases()))
def test_room(room, case, built, request):
    place = request.getfixturevalue("tmp_path" if room in ON_A_DISK else "memory_path")
    done = subprocess.run(
        [str(built(room)), case],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert f"ok {case}" in done.stdout
