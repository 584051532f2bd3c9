"""Power cuts at every kind of moment: a slice of each workload by default, 2,000 states behind the mark crash."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import powercut  # noqa: E402


@pytest.mark.parametrize("work", powercut.WORKS, ids=lambda w: w.name)
def test_a_few_states(work, memory_path):
    totals = powercut.play(memory_path, 16, 5, [work], jobs=2)
    assert totals["states"] == 16
    assert 1 < totals["distinct states"] <= 16


def test_a_failing_state_is_kept_and_comes_again(memory_path, monkeypatch):
    """The judge is told of a commit that nobody made: it must say so, and say it again from what was kept."""
    line = json.dumps(["A", 0, 1000000])
    judged = powercut.judge.Case

    def lied_to(top, work, small, marks, totals=None, recording=None):
        more = (json.dumps(["I", 0, 1000000, []]), line) if '["CREATED"]' in marks else ()
        return judged(top, work, small, (*marks, *more), totals, recording)

    monkeypatch.setattr(powercut.judge, "Case", lied_to)
    load = [w for w in powercut.WORKS if w.name == "load"]
    with pytest.raises(powercut.Failed, match="1000000 was acknowledged") as failed:
        powercut.play(memory_path, 40, 5, load, (False,))
    (folder,) = memory_path.iterdir()
    assert str(folder) in str(failed.value)
    assert "it fails again" in powercut.replay_one(folder)
    monkeypatch.undo()
    assert powercut.replay_one(folder) == "it passes now"


@pytest.mark.crash
@pytest.mark.slow
def test_two_thousand_states(memory_path):
    totals = powercut.play(memory_path, 2000, 1, jobs=2)
    assert totals["states"] == 2000
    for name in ("undo_info", "undo_after_steal", "macros_half_redone", "records_filtered", "pages_restored"):
        assert totals[name] > 0, f"{name} never happened: {dict(totals)}"
