"""A log of a large cache is recovered, and restored from, with a small one.

Redo keeps a page in memory while before-images of an open transaction on it are not in the log. The cache that wrote the log held
them all; one of 64 pages cannot, so recovery begins anew with a larger one of its own.
"""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import Child, run  # noqa: E402
from cjet import K  # noqa: E402

TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}
INDEXES = [("pk", "+id", K.JET_bitIndexPrimary)]
ROWS = 1200  # of 1000 bytes: 400 pages
SMALL, LARGE = 64, 4000


def value(i, turn):
    return bytes([i % 251, turn]) * 500


def start(place, pages):
    cjet.set_cache(pages)
    inst = cjet.Instance(place, log_kib=512, params={K.JET_paramCheckpointDepthMax: 256 << 20, K.PYJET_paramPageWriterOff: 1})
    inst.init()
    return inst


def replace_all(table, turn):
    for i in range(ROWS):
        assert table.seek([("id", i)])
        table.replace(v=value(i, turn))


def writes_and_dies(report, place, set_to=None):
    """A table, all rows of it replaced by a transaction that never ends, and a commit beside it that makes the log durable."""
    inst = start(place, LARGE)
    ses, other = inst.session(), inst.session()
    dbid = ses.create(place / "a.edb")
    ses.create_table(dbid, "t", TABLE, INDEXES)
    ses.create_table(dbid, "beside", TABLE, INDEXES)
    table = ses.table(dbid, "t")
    with ses.transaction():
        for i in range(ROWS):
            table.insert(id=i, v=value(i, 0))
    ses.begin()
    replace_all(table, 1)
    beside = other.table(other.open(place / "a.edb"), "beside")
    with other.transaction():
        beside.insert(id=1, v=b"there")
    if set_to:
        inst.backup(set_to)
    report(["READY"])
    os.kill(os.getpid(), 9)


def reads(ses, dbid):
    with ses.table(dbid, "t") as t:
        rows = t.all()
        assert [r["v"] == value(r["id"], 0) for r in rows] == [True] * ROWS, "the open transaction was not taken back"
    with ses.table(dbid, "beside") as t:
        assert t.all() == [{"id": 1, "v": b"there"}]


def recovers(report, place):
    with cjet.Events() as events:
        inst = start(place, SMALL)
    with inst.session() as ses:
        reads(ses, ses.open(place / "a.edb"))
    frames = inst.stats().cache_frames
    inst.term()
    findings, _ = cjet.check_file(place / "a.edb")
    assert not findings, findings[:3]
    return {"frames": frames, "again": sum("larger cache" in str(e) or e[0] == 300 for e in events.seen)}


def restores(report, place):
    cjet.set_cache(SMALL)
    _, found = cjet.restore(place / "set", place / "to", place / "work")
    with cjet.Reader(found[0]) as reader:
        with reader.table(reader.dbid, "t") as t:
            assert [r["v"] == value(r["id"], 0) for r in t.rows()] == [True] * ROWS
    findings, _ = cjet.check_file(found[0])
    assert not findings, findings[:3]


@pytest.mark.parametrize("set_too", [False, True])
def test_recovery_and_restore_with_64_pages(tmp_path, set_too):
    child = Child(writes_and_dies, tmp_path, tmp_path / "set" if set_too else None)
    child.wait_line("READY")
    child.finish()
    if set_too:
        run(restores, tmp_path)
        return
    found = run(recovers, tmp_path)
    assert found["frames"] == SMALL, "the instance keeps the size that was asked for"
    assert found["again"] > 1, "the small cache sufficed: the test shows nothing"
