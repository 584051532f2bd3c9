"""Crashes inside a roll of the log, one after another: a file that tells what was going on is not lost to the second."""

import itertools
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import judge  # noqa: E402
import replay  # noqa: E402
import works  # noqa: E402
from child import run  # noqa: E402
from trace import Op  # noqa: E402

WORK = works.Work("roll", works.LOAD, threads=1, steps=40)


def record_recovery(report, top):
    works.begin(top)
    inst = works.instance(top / "run" / "data", WORK, False)
    inst.init()
    works.mark(["READY"])
    inst.term()
    works.end()


def check(report, top, marks):
    judge.Case(top, WORK, False, marks).check()


def check_all(report, top, marks):
    """Every moment of top/trace; how many differ."""
    trace, seen = list(replay.records(top / "trace")), set()
    for cut in range(1, len(trace) + 1):
        report(["AT", cut])
        second = replay.killed(trace, cut, top / "base")
        if second.digest() not in seen:
            seen.add(second.digest())
            shutil.rmtree(top / "run")
            replay.materialise(second, top / "run")
            check(report, top, marks)
    return len(seen)


@pytest.fixture
def between_renames(memory_path):
    """(folder, State): the current log has its archive name, the next one is still <base>tmp."""
    top = memory_path / "w"
    run(works.record, str(top), WORK, False, 3)
    trace = list(replay.records(top / "trace"))
    rolls = [i for i, r in enumerate(trace) if r.op == Op.RENAME and r.path.endswith("edb.log")]
    assert len(rolls) > 3
    state = replay.killed(trace, rolls[-1] + 1, works.BASE)
    assert "data/edb.log" not in state.files and "data/edbtmp.log" in state.files
    shutil.rmtree(top / "run")
    replay.materialise(state, top / "run")
    shutil.copytree(top / "run", top / "base")
    return top, state


def test_a_crash_between_the_renames_is_recovered(between_renames):
    top, state = between_renames
    run(check, top, state.marks)


def test_a_second_crash_anywhere_in_that_recovery_is_recovered(between_renames):
    top, state = between_renames
    run(record_recovery, top)
    assert run(check_all, top, state.marks) > 10


def test_a_lost_current_log_is_still_missed(between_renames):
    """A next file that was only prepared has no header: nobody says that the log is whole."""
    top, state = between_renames
    (top / "run" / "data" / "edbtmp.log").write_bytes(bytes(65536))
    with pytest.raises(AssertionError, match="JET_errMissingLogFile"):
        run(check, top, state.marks)


def test_a_roll_syncs_its_folder_for_each_of_its_names_once(memory_path):
    """The archive name, the current one, the next file's: all three are needed, a fourth sync would be time and nothing else."""
    top = memory_path / "w"
    run(works.record, str(top), WORK, False, 3)
    trace = list(replay.records(top / "trace"))
    rolls = [i for i, r in enumerate(trace) if r.op == Op.RENAME and r.path.endswith("edb.log")]
    for begin, end in itertools.pairwise(rolls):
        assert sum(r.op == Op.DIRSYNC_BEGIN for r in trace[begin:end]) == 3
