"""Rows of facts/backup-behaviours.csv for external backup, over the C API; each test carries its rows' ids: kinds, begin, legacy forms."""

import ctypes as C
import os
import pathlib
import random
import struct
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import (  # noqa: E402
    ABORT, BAD_ARGUMENT, BAD_ORDER, INC, NO_BACKUP, NONE, PAGE, SMALL_DEPTH, bkinfo, current, External, generation,
    many_logs, restored, start,
)
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K, JetError, call, lib, text, u32, u64  # noqa: E402
from test_priority1 import TABLE, count  # noqa: E402

ROWS = Rows()


# ---- the whole ----


@ROWS("BK-177", "BK-184", "BK-186", "BK-202", "BK-203", "BK-209", "BK-218", "BK-253")
def full(place):
    w, x = start(place, ("a.edb", "b.edb"))
    before = current(w)
    with cjet.Events() as events:
        x.begin()
        w.add(7)  # the databases stay in use
        assert x.attached() == [str(w.data / "a.edb"), str(w.data / "b.edb")]
        x.save(x.attached(), w.place / "set")
        w.add(5)
        logs = x.logs()
        x.save(logs, w.place / "set")
        w.add(3)
        x.truncate()
        x.end()
    ids = [i for i in events.ids() if 205 < i < 600]
    assert ids == [210, 220, 221, 220, 221, 223, 225, 213] or ids == [210, 220, 221, 220, 221, 223, 224, 213]
    low, high = generation(logs[0]), generation(logs[-1])
    for name in w.names:
        assert bkinfo(w, name) == {**NONE, "full_prev": (low, high)}
    assert low <= before <= high
    assert restored(w, w.place / "set") == 72
    assert x.idle()


@ROWS("BK-190", "BK-191", "BK-128", "BK-129")
def fuzzy_under_writers(place):
    """Two accounts whose sum never changes; what was committed when the logs were listed is there."""
    w, x = start(place, rows=10)
    w.ses.create_table(w.dbids[0], "bank", TABLE, [("pk", "+id", K.JET_bitIndexPrimary)])
    with w.ses.table(w.dbids[0], "bank") as t:
        for i in range(2):
            t.insert(id=i, v=(5000).to_bytes(8, "little") + bytes(1500))
    done = threading.Event()
    commits = [0]

    def move():
        with w.inst.session() as ses:
            with ses.table(ses.open(w.data / "a.edb", attach=False), "bank") as t:
                while not done.is_set():
                    step = random.Random(commits[0]).randint(-9, 9)
                    with ses.transaction():
                        for i, sign in ((0, 1), (1, -1)):
                            t.seek([("id", i)])
                            v = int.from_bytes(t.row()["v"][:8], "little")
                            t.replace(v=(v + sign * step).to_bytes(8, "little") + commits[0].to_bytes(8, "little") + bytes(1492))
                    commits[0] += 1

    writer = threading.Thread(target=move)
    writer.start()
    try:
        x.begin()
        folder = w.place / "set"
        folder.mkdir()
        size = x.open(x.attached()[0])
        with open(folder / "a.edb", "wb") as to:
            while part := x.read(3 * PAGE):
                to.write(part)
                time.sleep(0.005)
        assert (folder / "a.edb").stat().st_size == size
        x.close()
        least = commits[0]
        logs = x.logs()
        most = commits[0] + 1
        x.save(logs, folder)
        x.truncate()
        x.end()
        time.sleep(0.05)
    finally:
        done.set()
        writer.join()
    _, found = cjet.restore(folder, w.place / "restored")
    with cjet.Reader(found[0]) as reader, reader.table(reader.dbid, "bank") as t:
        rows = t.all()
    assert sum(int.from_bytes(r["v"][:8], "little") for r in rows) == 10000
    last = int.from_bytes(rows[0]["v"][8:16], "little") + 1
    assert least <= last <= most and most < commits[0], (least, last, most, commits[0])


@ROWS("BK-127")
def open_transaction_is_undone(place):
    w, x = start(place)
    other = w.inst.session()
    with other.table(other.open(w.data / "a.edb", attach=False), "t") as t:
        other.begin()
        t.insert(id=1000, v=b"never committed")
        x.run(w.place / "set")
        assert restored(w, w.place / "set") == 60
        other.rollback()


@ROWS("BK-182", "BK-187", "BK-206", "BK-215", "BK-242", "BK-075")
def incremental(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    old = bkinfo(w)
    many_logs(w)
    x.begin(INC)
    w.fails(BAD_ORDER, x.attached)
    lowest = w.logs()[0]
    logs = x.logs()
    assert generation(logs[0]) == lowest and generation(logs[-1]) == w.logs()[-1]
    x.save(logs, w.place / "set")
    gone = x.truncatable()
    x.truncate()
    x.end()
    assert gone and not any(os.path.exists(p) for p in gone)
    assert bkinfo(w) == {**old, "inc_prev": (generation(logs[0]), generation(logs[-1]))}
    assert restored(w, w.place / "set") == w.rows
    x.begin(INC)
    w.fails(BAD_ORDER, x.open, w.data / "a.edb")
    assert x.idle()


@ROWS("BK-188")
def differential(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    old = bkinfo(w)
    many_logs(w)
    there = w.logs()
    x.begin(INC)
    logs = x.logs()
    x.save(logs, w.place / "set")
    x.end()
    assert bkinfo(w) == {**old, "diff_prev": (generation(logs[0]), generation(logs[-1]))}
    assert set(there) <= set(w.logs())
    assert restored(w, w.place / "set") == w.rows


@ROWS("BK-189", "BK-173")
def copy(place):
    w, x = start(place, params=SMALL_DEPTH)
    many_logs(w)
    there = w.logs()
    x.begin()
    x.save(x.attached(), w.place / "set")
    logs = x.logs()
    x.save(logs, w.place / "set")
    x.end()
    assert bkinfo(w) == {**NONE, "copy_prev": (generation(logs[0]), generation(logs[-1]))}
    assert set(there) <= set(w.logs())
    assert restored(w, w.place / "set") == w.rows
    w.fails("JET_errMissingFullBackup", x.begin, INC)  # a copy is no base
    x.run(w.place / "full")
    full = bkinfo(w)["full_prev"]
    x.run(w.place / "copy", truncate=False)
    assert bkinfo(w)["full_prev"] == full != bkinfo(w)["copy_prev"]
    x.begin(INC)
    x.end(ABORT)


@ROWS("BK-078")
def full_clears_increments(place):
    w, x = start(place)
    x.run(w.place / "one")
    x.run(w.place / "one", grbit=INC)
    x.run(w.place / "one", grbit=INC, truncate=False)
    assert bkinfo(w)["inc_prev"] != (0, 0) != bkinfo(w)["diff_prev"]
    x.run(w.place / "two")
    assert bkinfo(w)["inc_prev"] == (0, 0) == bkinfo(w)["diff_prev"]


@ROWS("BK-140", "BK-261")
def stamps_are_redone(place):
    """The header could not be written; the log knows, and a restart writes it."""
    w, x = start(place, params={K.PYJET_paramPageWriterOff: 1})
    x.begin()
    x.save(x.attached(), w.place / "set")
    x.save(x.logs(), w.place / "set")
    x.truncate()
    with cjet.Events() as events, cjet.fault("write", "a.edb", error=28, count=1):
        x.end()
    assert [e[0] for e in events.seen if e[0] in (219, 213)] == [219, 213], events.seen
    assert bkinfo(w) == NONE
    w.fails("JET_errDirtyShutdown", w.inst.term, K.JET_bitTermDirty)
    with cjet.Instance(w.data, log_kib=64):
        assert bkinfo(w)["full_prev"] != (0, 0)

# ---- begin ----


@ROWS("BK-181", "BK-183")
def begin_refuses_other_grbits(place):
    w, x = start(place)
    for grbit in (K.JET_bitBackupAtomic, K.JET_bitBackupSnapshot, 0x100, INC | K.JET_bitBackupAtomic):
        w.fails("JET_errInvalidGrbit", x.begin, grbit)
        assert x.idle()


@ROWS("BK-198")
def internal_copy(place):
    w, x = start(place)
    w.fails("JET_errInvalidGrbit", x.begin, K.JET_bitInternalCopy | INC)
    with cjet.Events() as events:
        x.begin(K.JET_bitInternalCopy)
        x.save(x.attached(), w.place / "set")
        x.save(x.logs(), w.place / "set")
        logs = sorted(w.data.glob("*.log"))
        w.fails("JET_errInvalidBackupSequence", x.truncate)  # no increment after it would be whole
        assert sorted(w.data.glob("*.log")) == logs
        x.end()
    assert 240 in events.ids() and 243 in events.ids() and 210 not in events.ids()
    assert bkinfo(w) == NONE
    assert restored(w, w.place / "set") == 60


@ROWS("BK-185")
def begin_and_abort_change_nothing(place):
    w, x = start(place)

    def files():  # without the log's next file, which a thread prepares when it comes to it
        return sorted(p.name for p in w.data.iterdir() if not p.name.startswith("edbtmp"))

    before = files()
    x.begin()
    with cjet.Events() as events:
        x.end(ABORT)
    assert events.ids() == [215]
    assert files() == before and bkinfo(w) == NONE


@ROWS("BK-192", "BK-044")
def second_begin(place):
    w, x = start(place)
    x.begin()
    w.fails("JET_errBackupInProgress", x.begin)
    w.fails("JET_errBackupInProgress", x.begin, INC)
    (w.place / "set").mkdir()
    w.fails("JET_errBackupInProgress", w.backup)
    assert not list((w.place / "set").iterdir())
    x.save(x.attached(), w.place / "other")
    x.save(x.logs(), w.place / "other")
    x.end()
    assert w.backup() == 0


@ROWS("BK-043")
def begin_while_backup_instance_runs(place):
    w, x = start(place)
    (w.place / "set").mkdir()
    seen = []

    def status(_, snp, snt, done, total):
        for step in (x.begin, x.attached, x.logs, x.truncate, x.end):
            try:
                step()
            except JetError as e:
                seen.append(e.name)

    w.backup(status=status)
    assert set(seen[:5]) == {"JET_errBackupInProgress", NO_BACKUP} and seen[0] == "JET_errBackupInProgress"


@ROWS("BK-193")
def logging_off(place):
    inst = cjet.Instance(pathlib.Path(place) / "data", params={K.JET_paramRecovery: "off"})
    with inst:
        with pytest.raises(JetError) as e:
            External(inst).begin()
        assert e.value.name == "JET_errLoggingDisabled"


@ROWS("BK-194", "BK-151")
def circular(place):
    w, x = start(place, circular=True, params=SMALL_DEPTH)
    w.fails("JET_errInvalidBackup", x.begin, INC)
    x.begin()
    pinned = w.inst.stats().checkpoint >> 32
    x.save(x.attached(), w.place / "set")
    until = time.monotonic() + 20
    while w.inst.stats().checkpoint >> 32 < pinned + 3:
        w.add(40)
        assert time.monotonic() < until
    assert w.logs()[0] <= pinned
    logs = x.logs()
    assert generation(logs[0]) == pinned
    rows = w.rows
    x.save(logs, w.place / "set")
    x.truncate()
    x.end()
    assert restored(w, w.place / "set") == rows


@ROWS("BK-195")
def incremental_without_full(place):
    w, x = start(place)
    with cjet.Events() as events:
        w.fails("JET_errMissingFullBackup", x.begin, INC)
    assert events.ids() == [206] and events.seen[0][2] == [str(w.data / "a.edb")]
    assert x.idle()
    x.begin()
    x.end(ABORT)


@ROWS("BK-196")
def log_disk_full(place):
    """No room for another log: the begin says so and nothing is under way; with room again it begins."""
    w, x = start(place)
    with cjet.fault("size", "edbtmp.log", error=28):
        w.fails("JET_errLogDiskFull", w.add, 500)
        w.fails("JET_errLogDiskFull", x.begin)
        assert x.idle()
    until = time.monotonic() + 10
    while True:
        try:
            x.begin()
            break
        except JetError as e:
            assert e.name == "JET_errLogDiskFull" and time.monotonic() < until
            time.sleep(0.05)
    x.end(ABORT)


@ROWS("BK-197")
def checkpoint_file_gone(place):
    w, x = start(place)
    chk = w.data / "edb.chk"
    kept = chk.read_bytes()
    chk.unlink()
    w.fails("JET_errCheckpointFileNotFound", x.begin)
    assert x.idle()
    chk.write_bytes(b"x" * len(kept))
    w.fails("JET_errCheckpointCorrupt", x.begin)
    chk.write_bytes(kept)
    x.begin()
    x.end(ABORT)


@ROWS("BK-199")
def begin_passes_the_gate(place):
    x = External(cjet.Instance(pathlib.Path(place) / "data"))
    for step in (x.begin, x.attached, x.logs, x.truncatable, x.truncate, x.end, x.close):
        with pytest.raises(JetError) as e:
            step()
        assert e.value.name == "JET_errNotInitialized"
    x.inst.destroy()
    for handle in (0, cjet.NIL, x.inst.handle.value):
        x.inst.handle = u64(handle)
        for step in (x.begin, x.attached, x.logs, x.truncatable, x.truncate, x.end, x.close):
            with pytest.raises(JetError) as e:
                step()
            assert e.value.name == BAD_ARGUMENT


@ROWS("BK-371", "BK-045")
def two_instances(place):
    one, x = start(place, ("a.edb",), data="one")
    two, y = start(place, ("b.edb",), data="two")
    x.begin()
    y.begin()
    assert x.attached() == [str(one.data / "a.edb")] and y.attached() == [str(two.data / "b.edb")]
    for w, z in ((one, x), (two, y)):
        z.save(z.attached(), w.place / w.names[0])
        z.save(z.logs(), w.place / w.names[0])
        z.truncate()
        z.end()
        assert restored(w, w.place / w.names[0], w.names[0]) == 60


@ROWS("BK-134", "BK-135", "BK-207")
def databases_neither_come_nor_go(place):
    w, x = start(place, ("a.edb", "b.edb"))
    w.ses.close(w.dbids[1])
    w.ses.detach(w.data / "b.edb")
    x.begin()
    assert x.attached() == [str(w.data / "a.edb")]
    w.fails("JET_errBackupInProgress", w.ses.attach, w.data / "b.edb")
    w.fails("JET_errBackupInProgress", w.ses.create, w.data / "c.edb")
    w.ses.close(w.dbids[0])
    w.fails("JET_errBackupInProgress", w.ses.detach, w.data / "a.edb")
    x.end(ABORT)
    w.ses.attach(w.data / "b.edb")
    x.begin()
    assert len(x.attached()) == 2
    x.end(ABORT)


@ROWS("BK-122")
def read_only_databases_stay_out(place):
    w, x = start(place, ("a.edb", "b.edb"))
    w.ses.close(w.dbids[1])
    w.ses.detach(w.data / "b.edb")
    w.ses.attach(w.data / "b.edb", K.JET_bitDbReadOnly)
    x.begin()
    assert x.attached() == [str(w.data / "a.edb")]
    x.end(ABORT)

# ---- without an instance ----


@ROWS("BK-178", "BK-179", "BK-180", "BK-322")
def legacy_forms(place):
    legacy = {
        "JetBeginExternalBackup": (u32(0),), "JetGetAttachInfoA": (None, u32(0), None), "JetGetAttachInfoW": (None, u32(0), None),
        "JetOpenFileA": (b"x", None, None, None), "JetReadFile": (u64(1), None, u32(0), None), "JetCloseFile": (u64(1),),
        "JetGetLogInfoA": (None, u32(0), None), "JetGetLogInfoW": (None, u32(0), None), "JetTruncateLog": (), "JetEndExternalBackup": (),
    }  # fmt: skip

    def all_give(error):
        for name, args in legacy.items():
            with pytest.raises(JetError) as e:
                call(name, *args)
            assert e.value.name == error, name

    all_give(BAD_ARGUMENT)
    multi = cjet.Instance(pathlib.Path(place) / "multi")
    all_give("JET_errRunningInMultiInstanceMode")
    multi.destroy()
    data = pathlib.Path(place) / "data"
    data.mkdir()
    for param in (K.JET_paramSystemPath, K.JET_paramLogFilePath, K.JET_paramTempPath):
        call("JetSetSystemParameterA", None, u64(cjet.NIL), u32(param), u64(0), text(str(data) + "/"))
    inst = u64()
    call("JetInit", C.byref(inst))
    ses, dbid = u64(), u32()
    call("JetBeginSessionA", inst, C.byref(ses), None, None)
    call("JetCreateDatabaseA", ses, text(data / "a.edb"), None, C.byref(dbid), u32(0))
    all_others = {n: a for n, a in legacy.items() if n != "JetBeginExternalBackup"}
    for name, args in all_others.items():
        with pytest.raises(JetError) as e:
            call(name, *args)
        assert e.value.name == NO_BACKUP, name
    call("JetBeginExternalBackup", u32(0))
    folder, x = pathlib.Path(place) / "set", External(type("Single", (), {"handle": u64(0)}))
    folder.mkdir()
    actual = u32()

    def copy(path):
        low, high, handle, parts = u32(), u32(), u64(), []
        call("JetOpenFileA", path, C.byref(handle), C.byref(low), C.byref(high))
        while True:
            call("JetReadFile", handle, C.c_void_p(x.buffer.at), u32(x.chunk), C.byref(actual))
            if actual.value == 0:
                break
            parts.append(x.buffer.map[: actual.value])
        call("JetCloseFile", handle)
        (folder / os.path.basename(path).decode()).write_bytes(b"".join(parts))
        assert low.value == sum(map(len, parts))

    for name in ("JetGetAttachInfoA", "JetGetLogInfoA"):
        room = C.create_string_buffer(65536)
        call(name, room, u32(65536), C.byref(actual))
        for path in room.raw[: actual.value].split(b"\0"):
            if path:
                copy(path)
    call("JetTruncateLog")
    call("JetEndExternalBackup")
    call("JetTerm", inst)
    assert struct.unpack_from("<I", (data / "a.edb").read_bytes(), 136 + 16)[0] != 0
    assert (folder / "a.edb").exists() and list(folder.glob("*.log"))


@ROWS("BK-116", "BK-113")
def exported(place):
    for stem in ("JetGetAttachInfo", "JetOpenFile", "JetGetLogInfo"):
        for form in ("", "A", "W"):
            assert getattr(lib, stem + form) and getattr(lib, stem + "Instance" + form)
    for stem in ("JetGetLogInfoInstance2", "JetGetTruncateLogInfoInstance"):
        assert all(getattr(lib, stem + form) for form in ("", "A", "W"))
    for name in ("JetBeginExternalBackup", "JetReadFile", "JetCloseFile", "JetTruncateLog", "JetEndExternalBackup"):
        assert getattr(lib, name) and getattr(lib, name + "Instance")
    assert lib.JetEndExternalBackupInstance2
