"""kill -9 of a writer with backups running: a slice by default, 200 rounds behind the mark crash."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kill9  # noqa: E402


def test_a_few_rounds(memory_path):
    totals = kill9.play(memory_path / "w", rounds=8, seed=11)
    assert totals["commits"] > 0


@pytest.mark.crash
@pytest.mark.slow
def test_two_hundred_rounds(memory_path):
    totals = kill9.play(memory_path / "w", rounds=200, seed=2)
    for name in ("undo_info", "undo_after_steal", "killed in recovery", "sets checked: full", "sets checked: incremental"):
        assert totals[name] > 0, f"{name} never happened: {dict(totals)}"
