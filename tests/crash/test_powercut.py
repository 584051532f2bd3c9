"""Power cuts at every kind of moment: a slice of each workload by default, 2,000 states behind the mark crash."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import powercut  # noqa: E402


@pytest.mark.parametrize("work", powercut.WORKS, ids=lambda w: w.name)
def test_a_few_states(work, memory_path):
    totals = powercut.play(memory_path, 12, 5, [work])
    assert totals["states"] == 12


@pytest.mark.crash
@pytest.mark.slow
def test_two_thousand_states(memory_path):
    totals = powercut.play(memory_path, 2000, 1)
    assert totals["states"] == 2000
    for name in ("undo_info", "undo_after_steal", "macros_half_redone", "records_filtered", "pages_restored"):
        assert totals[name] > 0, f"{name} never happened: {dict(totals)}"
