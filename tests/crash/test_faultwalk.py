"""A slice of the fault walk: every scenario with every kind of fault, some calls of each; the whole behind the mark crash."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from building import make  # noqa: E402


@pytest.fixture(scope="module")
def library():
    make("DEBUG=1", "walk")  # assertions speak up in it, and the default tests have built its objects
    return ROOT / "build" / "debug" / "libpyjet-walk.so"


def walk(library, *args, timeout):
    done = subprocess.run(
        [sys.executable, HERE / "faultwalk.py", *args],
        env={**os.environ, "PYJET_LIBRARY": str(library)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return int(done.stdout.splitlines()[-1].split()[0])


def test_one_scenario_under_each_kind(library):
    assert walk(library, "--seed", "4", "--only", "commit", "--every", "12", "--count", "2", timeout=120) > 30


@pytest.mark.crash
def test_a_slice_of_all(library):
    assert walk(library, "--seed", "5", "--every", "25", "--count", "2", timeout=600) > 250


@pytest.mark.crash
@pytest.mark.slow
def test_the_whole_walk(library):
    assert walk(library, "--seed", "6", timeout=7200) >= 5000
