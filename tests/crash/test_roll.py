"""Crashes inside a roll of the log, one after another: a file that tells what was going on is not lost to the second. At each moment of a
roll each subset of the names that no sync covers; BREAK=..._NAME in test_broken.py leaves each of its syncs out."""

import itertools
import pathlib
import shutil
import sys
import time

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent)]
import cjet  # noqa: E402
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
    for _ in range(500):  # the engine's thread makes the next file; its name is the question
        if (top / "run" / "data" / "edbtmp.log").exists():
            break
        time.sleep(0.01)
    inst.term()
    works.end()


def check(report, top, marks):
    judge.Case(top, WORK, False, marks).check()


def check_all(report, top, states, marks=None):
    """How many of them differ; marks: of another trace than theirs."""
    seen, recording = set(), judge.Recording(top, WORK)
    for state in states:
        report(["AT", state.cut, state.number])
        asked = state.digest(), state.mark_count
        if asked not in seen:
            seen.add(asked)
            replay.materialise(state, top / "run", over=True)
            judge.Case(top, WORK, False, marks or state.marks, recording=recording).check()
    return len(seen)


def at_rolls(trace):
    """The cuts in the first roll and in the last two: from before it up to the first commit behind it, with its sync."""
    begins = [i for i, r in enumerate(trace) if r.op == Op.RENAME and r.path.endswith("edb.log")]
    for begin in (begins[0], *begins[-2:]):
        current = next(i for i in range(begin, len(trace)) if trace[i].op == Op.RENAME and trace[i].target.endswith("edb.log"))
        writes = [i for i in range(current, len(trace)) if trace[i].op == Op.SYNC_END and trace[i].path.endswith("edb.log")]
        yield from range(begin, (writes[0] if writes else current + 4) + 2)


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
    trace = list(replay.records(top / "trace"))
    assert run(check_all, top, [replay.killed(trace, cut, top / "base") for cut in range(1, len(trace) + 1)], state.marks) > 10


def test_power_cuts_in_that_recovery_undo_any_name(between_renames):
    """In what finishes the roll, and while the next file after it is made."""
    top, state = between_renames
    run(record_recovery, top)
    trace = list(replay.records(top / "trace"))
    finished = next(i for i, r in enumerate(trace) if r.op == Op.RENAME)
    made = [i for i, r in enumerate(trace) if r.op == Op.CREATE and r.path.endswith("edbtmp.log")]
    cuts = {cut for i in (finished, *made) for cut in range(i, min(i + 10, len(trace)) + 1)}
    assert made
    assert run(check_all, top, [s for cut in sorted(cuts) for s in replay.each_naming(trace, cut, top / "base")], state.marks) > 4


def test_power_cuts_in_a_roll_undo_any_name(memory_path):
    top = memory_path / "w"
    run(works.record, str(top), WORK, False, 3)
    trace = list(replay.records(top / "trace"))
    assert run(check_all, top, [s for cut in at_rolls(trace) for s in replay.each_naming(trace, cut, works.BASE)]) > 10


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


# ---- folders of their own ----


def start_apart(report, top):
    """An instance whose checkpoint lies in another folder than its logs, beside a next file that somebody left."""
    for name in ("data", "system"):
        (top / "run" / name).mkdir(parents=True)
    (top / "run" / "data" / "edbtmp.log").write_bytes(b"what lay there " * 4369 + b"!")
    shutil.copytree(top / "run", top / "base")
    works.begin(top)
    with cjet.Instance(top / "run" / "data", log_kib=64, system_path=top / "run" / "system"):
        works.mark(["READY"])
        log = top / "run" / "data" / "edb.log"
        return log.stat().st_blocks * 512, log.read_bytes()[-32768:].hex()


def test_the_first_log_and_the_checkpoint_last_in_their_folders(memory_path):
    """Nothing else syncs the folder of the checkpoint: without the file, redo begins at the lowest log that there is."""
    run(start_apart, memory_path)
    trace = list(replay.records(memory_path / "trace"))
    ready = next(i for i, r in enumerate(trace) if r.op == Op.MARK)
    left = replay.lost(trace, ready, memory_path / "base").files
    assert "system/edb.chk" in left
    assert "data/edb.log" in left


def test_a_next_file_is_zero_and_has_its_blocks(memory_path):
    """Whatever lay under its name: a log is read up to its first segment that is none, and a full disk must show before it is used."""
    blocks, rest = run(start_apart, memory_path)
    assert blocks >= 65536
    assert not rest.strip("0")


def test_a_lost_checkpoint_is_not_missed(memory_path):
    """Also when the logs before it are gone: redo begins with the lowest of those that are there."""
    work = next(w for w in works.WORKS if w.name == "circular")
    top = memory_path / "w"
    run(works.record, str(top), work, False, 3)
    trace = list(replay.records(top / "trace"))
    assert any(r.op == Op.UNLINK and r.path.endswith(".log") for r in trace)
    for cut in (len(trace) // 2, len(trace)):
        state = replay.lost(trace, cut, works.BASE)
        del state.contents["data/edb.chk"]
        replay.materialise(state, top / "run", over=True)
        run(lambda report, state=state: judge.Case(top, work, False, state.marks).check())
