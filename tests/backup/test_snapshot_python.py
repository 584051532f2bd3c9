"""pyjet.snapshot: files stand still in a with block."""

import json
import pathlib
import shutil
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import pyjet  # noqa: E402
from child import run  # noqa: E402
from pyjet import api, errors  # noqa: E402


def open_data(place, name="data"):
    inst = pyjet.Instance(place / name)
    ses = inst.session()
    path = place / name / "a.edb"
    if path.exists():
        db = ses.open(path)
    else:
        db = ses.create(path)
        db.create_table("t", {"id": pyjet.Long(), "v": pyjet.LongText()}, {"pk": pyjet.Index("+id", primary=True)})
    return inst, ses, db


def fill(table, first, n):
    for i in range(first, first + n):
        table.insert(id=i, v=f"row {i}")


def ids(table):
    return [row["id"] for row in table]


def copies_and_recovers(place):
    inst, ses, db = open_data(place)
    fill(db.table("t"), 0, 50)
    seen = []

    def write():
        with inst.session() as other:
            fill(other.open(place / "data" / "a.edb").table("t"), 50, 1)
        seen.append(time.monotonic())

    writer = threading.Thread(target=write)
    (place / "copy").mkdir()
    with inst.snapshot() as snap:
        assert snap.frozen and list(snap.databases) == [str(place / "data" / "a.edb")]
        names = {pathlib.Path(f).name for f in snap.files}
        assert {"a.edb", "edb.log", "edb.chk"} < names and "edbtmp.log" not in names
        writer.start()
        time.sleep(0.3)
        assert ids(db.table("t")) == list(range(50)), "a reader of the same thread goes on"
        for f in snap.files:
            shutil.copy(f, place / "copy")
        thawed = time.monotonic()
        snap.truncate_logs()
        assert not snap.frozen
    writer.join(10)
    assert seen and seen[0] > thawed
    assert "over" in repr(snap) and snap.id is None
    assert "row 50" == db.table("t").get(50)["v"]
    inst.close()
    shutil.rmtree(place / "data")
    (place / "copy").rename(place / "data")
    inst, ses, db = open_data(place)
    assert ids(db.table("t")) == list(range(50))
    inst.close()


def an_exception_aborts(place):
    inst, ses, db = open_data(place)
    with pytest.raises(KeyError, match="mine"), pyjet.snapshot(inst, kind="copy"):
        raise KeyError("mine")
    fill(db.table("t"), 0, 1)
    with pytest.raises(errors.MissingFullBackupError), inst.snapshot(kind="incremental"):
        raise AssertionError("not reached")
    with inst.snapshot():
        pass
    with inst.snapshot(kind="incremental") as snap:
        assert snap.kind == "incremental"
    with pytest.raises(errors.OSSnapshotInvalidSequenceError), inst.snapshot(kind="differential") as snap:
        snap.truncate_logs()
    with pytest.raises(errors.InvalidParameterError):
        inst.snapshot(kind="whole")
    with pytest.raises(errors.InvalidParameterError):
        pyjet.snapshot()
    inst.close()


def the_time_out_is_told(place):
    inst, ses, db = open_data(place)
    with pytest.raises(errors.OSSnapshotTimeOutError) as e, inst.snapshot(timeout=0.1):
        fill(db.table("t"), 0, 1)  # by this very thread: only the clock can help
    assert e.value.hint
    fill(db.table("t"), 1, 1)
    inst.close()


def close_thaws(place):
    inst, ses, db = open_data(place)
    tx = ses.transaction()
    tx.__enter__()
    fill(db.table("t"), 0, 1)
    snap = inst.snapshot().freeze()
    began = time.monotonic()
    inst.close()  # rolls the transaction back, which is a change
    assert time.monotonic() - began < 10
    with pytest.raises(errors.OSSnapshotTimeOutError):
        snap.thaw()
    assert snap.id is None
    inst, ses, db = open_data(place)
    assert ids(db.table("t")) == []
    inst.close()


def low_level_names(place):
    inst, ses, db = open_data(place)
    snapid = api.JetOSSnapshotPrepare(api.JET_bitContinueAfterThaw | api.JET_bitExplicitPrepare)
    api.JetOSSnapshotPrepareInstance(snapid, inst)
    frozen = api.JetOSSnapshotFreeze(snapid)
    assert frozen == [(inst.name, [str(place / "data" / "a.edb")])] == api.JetOSSnapshotGetFreezeInfo(snapid)
    api.JetOSSnapshotThaw(snapid)
    api.JetOSSnapshotTruncateLogInstance(snapid, inst, api.JET_bitAllDatabasesSnapshot)
    with pytest.raises(errors.OSSnapshotInvalidSequenceError):
        api.JetOSSnapshotTruncateLogInstance(snapid, inst)
    api.JetOSSnapshotTruncateLog(snapid)
    api.JetOSSnapshotEnd(snapid)
    with pytest.raises(errors.OSSnapshotInvalidSnapIdError):
        api.JetOSSnapshotAbort(snapid)
    inst.close()


CASES = [copies_and_recovers, an_exception_aborts, the_time_out_is_told, close_thaws, low_level_names]


def in_child(report, case, place):
    CASES[case](pathlib.Path(place))
    return json.dumps(CASES[case].__name__)


@pytest.mark.parametrize("case", range(len(CASES)), ids=[c.__name__ for c in CASES])
def test_snapshot(case, memory_path):
    run(in_child, case, str(memory_path), timeout=60)
