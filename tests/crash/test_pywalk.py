"""A slice of the fault walk over the interpreter's allocations; the whole behind the mark crash."""

import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent


def walk(*args, timeout):
    done = subprocess.run([sys.executable, HERE / "pywalk.py", *args], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return int(done.stdout.splitlines()[-1].split()[0])


@pytest.mark.parametrize(
    "scenario, every, least",
    [("insert", "5", 30), ("read", "23", 20), ("close", "1", 5), ("handles", "1", 20), ("snapshotids", "1", 1), ("errors", "61", 10)],
)
def test_some_allocations(scenario, every, least):
    assert walk("--seed", "3", "--only", scenario, "--every", every, "--jobs", "1", timeout=120) >= least


@pytest.mark.crash
def test_a_slice_of_all():
    assert walk("--seed", "5", "--every", "50", timeout=600) >= 300


@pytest.mark.crash
@pytest.mark.slow
def test_the_whole_walk():
    assert walk("--seed", "6", timeout=7200) >= 15000
