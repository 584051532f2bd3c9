"""Power cuts inside an increment: the set that was complete before it stays one."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import bank  # noqa: E402
import replay  # noqa: E402
import works  # noqa: E402
from child import run  # noqa: E402
from trace import Op  # noqa: E402

WORK = works.Work("increments", works.UPDATE, threads=1, steps=60, notes=9000, sets=("full", "incremental"))


def record(report, top):
    """A full backup, work that fills some logs, an increment."""
    (top / "run" / "sets").mkdir(parents=True)
    works.begin(top)
    with works.instance(top / "run" / "data", WORK, False) as inst:
        path = top / "run" / "data" / "bank.edb"
        with inst.session() as ses:
            bank.create(ses, ses.create(path), 1)
        works.back_up(inst, WORK, top / "run" / "sets", 0, "full")
        works.together(inst, path, works.Work("", WORK.weights, 1, WORK.steps, WORK.notes), 3, None)
        works.back_up(inst, WORK, top / "run" / "sets", 1, "incremental")
    works.end()


def test_increment_leaves_no_gap(memory_path):
    """No log of an increment gets its name before the name of the one before it is durable."""
    top = memory_path / "w"
    run(record, top)
    kind, loose, named = None, 0, 0
    for step in replay.records(top / "trace"):
        if step.op == Op.MARK and step.text.startswith('["BS"'):
            kind = step.text
        elif kind is None or "incremental" not in kind:
            continue
        elif step.op == Op.RENAME and step.target.startswith("sets/plain0/edb"):
            assert loose == 0, f"{step.target} follows a log whose name is not synced"
            loose, named = loose + 1, named + 1
        elif step.op == Op.DIRSYNC_END and step.path == "sets/plain0" and step.result == 0:
            loose = 0
    assert named > 2
