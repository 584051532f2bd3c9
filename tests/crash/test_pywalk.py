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


def test_what_is_planted_is_told():
    done = subprocess.run([sys.executable, HERE / "planted.py"], capture_output=True, text=True, timeout=120)
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert told.keys() == {"Clean", "LostMemory", "LostObject", "OtherError"}, done.stdout + done.stderr
    assert told["Clean"] == "nothing, 6 asked for by the extension"
    assert "leave 20 allocations behind" in told["LostMemory"]
    assert "leaves objects behind each time" in told["LostObject"]
    assert "planted" in told["OtherError"]


@pytest.mark.crash
def test_a_slice_of_all():
    assert walk("--seed", "5", "--every", "5", timeout=600) >= 4000


@pytest.mark.crash
@pytest.mark.slow
def test_the_whole_walk():
    assert walk("--seed", "6", timeout=3600) >= 20000
