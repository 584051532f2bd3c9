"""Power cuts inside an increment: the set that was complete before it stays one."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import replay  # noqa: E402
import works  # noqa: E402
from child import run  # noqa: E402
from trace import Op  # noqa: E402

WORK = works.Work("increments", works.UPDATE, steps=80, notes=6000, sets=("full", "incremental", "incremental"))


def test_increment_leaves_no_gap(memory_path):
    """No log of an increment gets its name before the name of the one before it is durable."""
    top = memory_path / "w"
    run(works.record, str(top), WORK, False, 3)
    kind, loose, named = None, 0, 0
    for record in replay.records(top / "trace"):
        if record.op == Op.MARK and record.text.startswith('["BS"'):
            kind = record.text
        elif kind is None or "incremental" not in kind:
            continue
        elif record.op == Op.RENAME and record.target.startswith("sets/plain0/edb"):
            assert loose == 0, f"{record.target} follows a log whose name is not synced"
            loose, named = loose + 1, named + 1
        elif record.op == Op.DIRSYNC_END and record.path == "sets/plain0" and record.result == 0:
            loose = 0
    assert named > 2
