"""Tests that the tests can fail: engines with one step left out (csrc/base/broken.h), each caught with the seed printed."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SEED = 7
CAUGHT_BY = {
    "FSYNC": ("powercut.py", "--states", "60", "--only", "load", "--jobs", "2"),
    "RETRY": ("faultwalk.py", "--only", "term", "--kind", "of the log", "--jobs", "2"),
    "WAL": ("powercut.py", "--states", "200", "--only", "update", "--jobs", "2"),
    "TORN": ("powercut.py", "--states", "200", "--only", "checkpoint", "--jobs", "2"),
    "SUM": ("powercut.py", "--states", "800", "--only", "log roll", "--jobs", "2"),
    "HEADER": ("powercut.py", "--states", "1000", "--only", "checkpoint", "--jobs", "2"),
    "LOG_HEADER": ("powercut.py", "--states", "400", "--only", "log roll", "--jobs", "2"),
    "NEXT_NAME": ("powercut.py", "--states", "600", "--only", "log roll", "--jobs", "2"),
    "ARCHIVE_NAME": ("powercut.py", "--states", "600", "--only", "log roll", "--jobs", "2"),
    "CURRENT_NAME": ("powercut.py", "--states", "600", "--only", "log roll", "--jobs", "2"),
    "FINISH_NAME": ("test_roll.py", "-k", "in_that_recovery_undo_any_name"),
    "CHECKPOINT_NAME": ("test_roll.py", "-k", "last_in_their_folders"),
    "LOG_ZERO": ("test_roll.py", "-k", "is_zero_and_has_its_blocks"),
    "UNDO": ("powercut.py", "--states", "60", "--only", "rollbacks", "--jobs", "2"),
    "CHECKSUM": ("flips.py", "--cases", "200"),
}


def build(broken):
    made = subprocess.run(["make", "-s", "-j2", "broken", f"BREAK={broken}"], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return ROOT / "build" / "release" / f"libpyjet-{broken}.so"


@pytest.mark.crash
@pytest.mark.parametrize("broken", CAUGHT_BY)
def test_a_broken_engine_is_caught(broken, memory_path):
    library = build(broken)
    command, *args = CAUGHT_BY[broken]
    directed = command.startswith("test_")  # each of its states, and no chance
    more = ["--dir", str(memory_path / "w")] if command == "powercut.py" else []
    run = [sys.executable, *(["-m", "pytest", "-n", "0"] if directed else []), HERE / command, *args]
    done = subprocess.run(
        run if directed else [*run, "--seed", str(SEED), *more],
        env={**os.environ, "PYJET_LIBRARY": str(library)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    print(said[-2000:])
    assert done.returncode != 0, f"{broken} went unseen"
    assert "1 failed" in said if directed else re.search(rf"seed {SEED}\b", said), "the seed is not named"
    assert any(word in said for word in ("AssertionError", "bank.Wrong", "JetError", "died")), "it failed for another reason"


def test_no_other_build_is_broken():
    """The constants are 0 unless a build asks."""
    text = (ROOT / "csrc" / "base" / "broken.h").read_text()
    names = re.findall(r"#ifndef PYJET_BREAK_(\w+)", text)
    assert set(names) == set(CAUGHT_BY)
    for name in names:
        assert f"#define PYJET_BREAK_{name} 0" in text
    for place in ("setup.py", "pyproject.toml"):
        assert "PYJET_BREAK" not in (ROOT / place).read_text()
