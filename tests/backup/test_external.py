"""Rows of facts/backup-behaviours.csv for external backup, over the C API; each test carries its rows' ids."""

import ctypes as C
import mmap
import os
import pathlib
import random
import shutil
import struct
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K, JetError, call, lib, text, u32, u64  # noqa: E402
from test_priority1 import INC, TABLE, World, count  # noqa: E402

PAGE = 4096
NORMAL, ABORT = K.JET_bitBackupEndNormal, K.JET_bitBackupEndAbort
NO_BACKUP, BAD_ORDER, BAD_ARGUMENT = "JET_errNoBackup", "JET_errInvalidBackupSequence", "JET_errInvalidParameter"
BYTE_MAX = 2**32 - 1

ROWS = {}


def row(*ids):
    def keep(fn):
        ROWS["+".join(ids) + " " + fn.__name__] = fn
        return fn

    return keep


def in_child(report, name, place):
    ROWS[name](place)


def pytest_generate_tests(metafunc):
    """All rows, also those that stand below test_row."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(ROWS))


def test_row(name, memory_path):
    run(in_child, name, str(memory_path))


class Buffer:
    """Memory aligned to 4096 bytes."""

    def __init__(self, size):
        self.map = mmap.mmap(-1, size)
        self.first = (C.c_char * size).from_buffer(self.map)
        self.at = C.addressof(self.first)


class External:
    """The calls, for an instance; `handle` is that of the file opened last."""

    def __init__(self, inst, chunk=64 * PAGE):
        self.inst, self.chunk = inst, chunk
        self.buffer = Buffer(chunk)
        self.handle = u64()

    def begin(self, grbit=0):
        return call("JetBeginExternalBackupInstance", self.inst.handle, u32(grbit))

    def _list(self, name, *more):
        actual = u32()
        call(name, self.inst.handle, None, u32(0), C.byref(actual), *more)
        room = C.create_string_buffer(b"\xff" * actual.value, actual.value)
        call(name, self.inst.handle, room, actual, C.byref(actual), *more)
        assert room.raw.endswith(b"\0\0")
        return [os.fsdecode(part) for part in room.raw.split(b"\0") if part]

    def attached(self):
        return self._list("JetGetAttachInfoInstanceA")

    def logs(self):
        return self._list("JetGetLogInfoInstanceA")

    def truncatable(self):
        return self._list("JetGetTruncateLogInfoInstanceA")

    def open(self, path):
        low, high = u32(), u32()
        call("JetOpenFileInstanceA", self.inst.handle, text(path), C.byref(self.handle), C.byref(low), C.byref(high))
        return high.value << 32 | low.value

    def read(self, n=None, at=None, handle=None):
        n, actual = self.chunk if n is None else n, u32(0xDEAD)
        where = C.c_void_p(self.buffer.at if at is None else at)
        call("JetReadFileInstance", self.inst.handle, self.handle if handle is None else u64(handle), where, u32(n), C.byref(actual))
        return self.buffer.map[: actual.value]

    def close(self, handle=None):
        call("JetCloseFileInstance", self.inst.handle, self.handle if handle is None else u64(handle))

    def truncate(self):
        call("JetTruncateLogInstance", self.inst.handle)

    def end(self, grbit=NORMAL):
        call("JetEndExternalBackupInstance2", self.inst.handle, u32(grbit))

    def bytes(self, path, chunk=None):
        """A whole file of the backup, opened, read to its end, closed."""
        size, parts = self.open(path), []
        while True:
            part = self.read(chunk)
            if not part:
                break
            parts.append(part)
        self.close()
        data = b"".join(parts)
        assert len(data) == size
        return data

    def save(self, paths, folder):
        folder.mkdir(exist_ok=True)
        for path in paths:
            (folder / os.path.basename(path)).write_bytes(self.bytes(path))

    def run(self, folder=None, grbit=0, truncate=True, end=NORMAL):
        """A whole backup into a folder, as an operator's program does it."""
        folder = folder or self.inst.path.parent / "unused"
        self.begin(grbit)
        if not grbit & INC:
            self.save(self.attached(), folder)
        self.save(self.logs(), folder)
        if truncate:
            self.truncate()
        self.end(end)
        return folder

    def idle(self):
        """NotStarted: a begin would be the first."""
        try:
            self.close(handle=BYTE_MAX)
        except JetError as e:
            assert e.name in (NO_BACKUP, BAD_ARGUMENT)
            return e.name == NO_BACKUP
        raise AssertionError("a handle that was never given out")


def start(place, names=("a.edb",), rows=60, **settings):
    w = World(place, names, rows, **settings)
    return w, External(w.inst)


def restored(w, folder, name="a.edb"):
    _, found = cjet.restore(folder, w.place / f"{pathlib.Path(folder).name}-restored")
    return count(next(p for p in found if p.name == name))


def generation(path):
    return int(pathlib.Path(path).name[3:8], 16)


def current(w):
    return w.inst.stats().log_tail >> 32


PREV = ("full_prev", "inc_prev", "copy_prev", "diff_prev")
AT_PREV = {"full_prev": 136, "inc_prev": 160, "copy_prev": 420, "diff_prev": 444, "full_cur": 184}


def bkinfo(w, name="a.edb"):
    """(generation low, high) of each previous backup, out of the header on disk."""
    page = (w.data / name).read_bytes()[:PAGE]
    return {field: struct.unpack_from("<II", page, AT_PREV[field] + 16) for field in PREV}


NONE = dict.fromkeys(PREV, (0, 0))


def many_logs(w, n=3):
    """At least n archived logs below the checkpoint."""
    until = time.monotonic() + 20
    while True:
        w.add(40)
        checkpoint = w.inst.stats().checkpoint >> 32
        if sum(g < checkpoint for g in w.logs()) >= n:
            return
        assert time.monotonic() < until, "the checkpoint does not move"


SMALL_DEPTH = {K.JET_paramCheckpointDepthMax: 64 << 10}

# ---- the whole ----


@row("BK-177", "BK-184", "BK-186", "BK-202", "BK-203", "BK-209", "BK-218", "BK-253")
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


@row("BK-190", "BK-191", "BK-128", "BK-129")
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


@row("BK-127")
def open_transaction_is_undone(place):
    w, x = start(place)
    other = w.inst.session()
    with other.table(other.open(w.data / "a.edb", attach=False), "t") as t:
        other.begin()
        t.insert(id=1000, v=b"never committed")
        x.run(w.place / "set")
        assert restored(w, w.place / "set") == 60
        other.rollback()


@row("BK-182", "BK-187", "BK-206", "BK-215", "BK-242", "BK-075")
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


@row("BK-188")
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


@row("BK-189", "BK-173")
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


@row("BK-078")
def full_clears_increments(place):
    w, x = start(place)
    x.run(w.place / "one")
    x.run(w.place / "one", grbit=INC)
    x.run(w.place / "one", grbit=INC, truncate=False)
    assert bkinfo(w)["inc_prev"] != (0, 0) != bkinfo(w)["diff_prev"]
    x.run(w.place / "two")
    assert bkinfo(w)["inc_prev"] == (0, 0) == bkinfo(w)["diff_prev"]


@row("BK-140", "BK-261")
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


@row("BK-181", "BK-183")
def begin_refuses_other_grbits(place):
    w, x = start(place)
    for grbit in (K.JET_bitBackupAtomic, K.JET_bitBackupSnapshot, 0x100, INC | K.JET_bitBackupAtomic):
        w.fails("JET_errInvalidGrbit", x.begin, grbit)
        assert x.idle()


@row("BK-198")
def internal_copy(place):
    w, x = start(place)
    w.fails("JET_errInvalidGrbit", x.begin, K.JET_bitInternalCopy | INC)
    with cjet.Events() as events:
        x.run(w.place / "set", grbit=K.JET_bitInternalCopy, truncate=False)
    assert 240 in events.ids() and 243 in events.ids() and 210 not in events.ids()
    assert bkinfo(w) == NONE
    assert restored(w, w.place / "set") == 60


@row("BK-185")
def begin_and_abort_change_nothing(place):
    w, x = start(place)
    files = sorted(w.data.iterdir())
    x.begin()
    with cjet.Events() as events:
        x.end(ABORT)
    assert events.ids() == [215]
    assert sorted(w.data.iterdir()) == files and bkinfo(w) == NONE


@row("BK-192", "BK-044")
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


@row("BK-043")
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


@row("BK-193")
def logging_off(place):
    inst = cjet.Instance(pathlib.Path(place) / "data", params={K.JET_paramRecovery: "off"})
    with inst:
        with pytest.raises(JetError) as e:
            External(inst).begin()
        assert e.value.name == "JET_errLoggingDisabled"


@row("BK-194", "BK-151")
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


@row("BK-195")
def incremental_without_full(place):
    w, x = start(place)
    with cjet.Events() as events:
        w.fails("JET_errMissingFullBackup", x.begin, INC)
    assert events.ids() == [206] and events.seen[0][2] == [str(w.data / "a.edb")]
    assert x.idle()
    x.begin()
    x.end(ABORT)


@row("BK-197")
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


@row("BK-199")
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


@row("BK-371", "BK-045")
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


@row("BK-134", "BK-135", "BK-207")
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


@row("BK-122")
def read_only_databases_stay_out(place):
    w, x = start(place, ("a.edb", "b.edb"))
    w.ses.close(w.dbids[1])
    w.ses.detach(w.data / "b.edb")
    w.ses.attach(w.data / "b.edb", K.JET_bitDbReadOnly)
    x.begin()
    assert x.attached() == [str(w.data / "a.edb")]
    x.end(ABORT)


# ---- the order of calls ----


def calls_of(w, x):
    return {
        "begin": x.begin, "attach": x.attached, "open a database": lambda: x.open(w.data / "a.edb"),
        "open a log": lambda: x.open(w.data / "edb00001.log"), "read": lambda: x.read(), "close": lambda: x.close(),
        "logs": x.logs, "truncatable": x.truncatable, "truncate": x.truncate, "end": x.end,
    }  # fmt: skip


ORDER = {  # state -> call -> error, or None for success; * cancels the backup. backup-semantics.md section 4
    "none": {
        "begin": None, "attach": NO_BACKUP, "open a database": NO_BACKUP, "open a log": NO_BACKUP, "read": NO_BACKUP,
        "close": NO_BACKUP, "logs": NO_BACKUP, "truncatable": NO_BACKUP, "truncate": NO_BACKUP, "end": NO_BACKUP,
    },
    "databases": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": None, "open a log": "JET_errDatabaseNotFound",
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": BAD_ORDER, "end": None,
    },
    "database open": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": "JET_errOutOfMemory",
        "open a log": "JET_errOutOfMemory", "read": None, "close": None, "logs": BAD_ORDER, "truncatable": BAD_ORDER,
        "truncate": BAD_ORDER, "end": None,
    },
    "logs": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": BAD_ORDER + "*", "open a log": None,
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": "JET_errLogFileNotCopied",
        "end": None,
    },
    "log open": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": "JET_errOutOfMemory",
        "open a log": "JET_errOutOfMemory", "read": None, "close": None, "logs": BAD_ORDER, "truncatable": BAD_ORDER,
        "truncate": BAD_ORDER, "end": None,
    },
    "incremental": {
        "begin": "JET_errBackupInProgress", "attach": BAD_ORDER, "open a database": BAD_ORDER + "*", "open a log": BAD_ARGUMENT,
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": BAD_ORDER, "end": None,
    },
    "incremental logs": {
        "begin": "JET_errBackupInProgress", "attach": BAD_ORDER, "open a database": BAD_ORDER + "*", "open a log": None,
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": "JET_errLogFileNotCopied",
        "end": None,
    },
}  # fmt: skip


def bring_to(state, w, x):
    if state == "none":
        return
    x.begin(INC if state.startswith("incremental") else 0)
    if state == "database open":
        x.open(w.data / "a.edb")
    if state in ("logs", "log open", "incremental logs"):
        x.logs()
    if state == "log open":
        x.open(w.data / "edb00001.log")


@row("BK-192", "BK-201", "BK-208", "BK-210", "BK-214", "BK-235", "BK-237", "BK-238", "BK-240", "BK-246", "BK-248", "BK-249", "BK-251",
     "BK-254", "BK-262")  # fmt: skip
def order_of_calls(place):
    w, x = start(place)
    x.run(w.place / "set", truncate=True)  # so that an increment may begin
    assert w.logs()[0] == 1
    for state, answers in ORDER.items():
        for name, expected in answers.items():
            bring_to(state, w, x)
            try:
                calls_of(w, x)[name]()
                got = None
            except JetError as e:
                got = e.name
            want = expected and expected.rstrip("*")
            assert got == want, f"{name} in state {state!r}: {got}, expected {want}"
            over = x.idle()
            ends = (state == "none" and name != "begin") or name == "end" or (expected or "").endswith("*")
            assert over == ends, f"{name} in state {state!r}"
            if not over:
                x.end(ABORT)


class Model:
    """Section 4 in a few lines: what each call answers, and what it does to the state."""

    def __init__(self):
        self.state, self.open, self.incremental, self.rolled, self.all_read = None, None, False, False, False

    def step(self, name):
        if name in ("begin", "begin incremental"):
            if self.state:
                return "JET_errBackupInProgress"
            self.__init__()
            self.incremental = name != "begin"
            self.state = "logs" if self.incremental else "databases"
            return None
        if self.state is None:
            return NO_BACKUP
        return getattr(self, name.replace(" ", "_"))()

    def attach(self):
        return BAD_ORDER if self.incremental else None

    def _open(self, what):
        if self.open:
            return "JET_errOutOfMemory"
        if self.state == "databases":
            if what == "log":
                return "JET_errDatabaseNotFound"
        elif what == "database":
            self.state = None
            return BAD_ORDER
        elif not self.rolled:
            return BAD_ARGUMENT
        self.open = what
        return None

    def open_a_database(self):
        return self._open("database")

    def open_a_log(self):
        return self._open("log")

    def read(self):
        return None if self.open else BAD_ARGUMENT

    def close(self):
        if not self.open:
            return BAD_ARGUMENT
        self.open = None
        return None

    def logs(self):
        if self.open:
            return BAD_ORDER
        self.state, self.rolled = "logs", True
        return None

    truncatable = logs

    def read_all(self):
        self.all_read = True

    def truncate(self):
        if self.open or not self.rolled:
            return BAD_ORDER
        return None if self.all_read else "JET_errLogFileNotCopied"

    def end(self):
        self.state = None

    abort = end


@row("BK-200", "BK-252", "BK-260")
def random_orders(place, sequences=1000):
    w, x = start(place, rows=5)
    x.run(w.place / "set", truncate=True)
    names = ["begin", "begin incremental", "attach", "open a database", "open a log", "read", "close", "logs", "truncatable", "read all",
             "truncate", "end", "abort"]  # fmt: skip
    calls = calls_of(w, x) | {"begin incremental": lambda: x.begin(INC), "abort": lambda: x.end(ABORT)}
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    model = Model()
    said = []
    for _ in range(sequences):
        for name in rng.choices(names, k=rng.randint(2, 9)):
            if name == "open a log":
                calls[name] = lambda: x.open(w.data / f"edb{w.logs()[0]:05X}.log")
            if name == "read all":
                if not (model.rolled and model.state == "logs" and not model.open):
                    continue
                calls[name] = lambda: [x.bytes(p) for p in x.logs()]
            said.append(name)
            try:
                calls[name]()
                got = None
            except JetError as e:
                got = e.name
            want = model.step(name)
            assert got == want, f"seed {seed}: {name}: {got}, expected {want}; before it {said[-12:]}"
        with_end = model.step("end")
        try:
            x.end()
            got = None
        except JetError as e:
            got = e.name
        assert got == with_end, f"seed {seed}"
        assert x.idle()


# ---- lists ----


@row("BK-202", "BK-204", "BK-205")
def list_buffers(place):
    w, x = start(place, ("a.edb", "b.edb"))
    x.begin()
    whole = b"".join(text(w.data / name) + b"\0" for name in w.names) + b"\0"
    actual = u32()
    assert call("JetGetAttachInfoInstanceA", w.inst.handle, None, u32(0), None) == 0
    for room in (0, 1, 2, 3, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 9):
        got = C.create_string_buffer(b"\xff" * (len(whole) + 16), len(whole) + 16)
        call("JetGetAttachInfoInstanceA", w.inst.handle, got, u32(room), C.byref(actual))
        assert actual.value == len(whole)
        n = min(room, len(whole))
        expected = whole[:n] if room >= len(whole) else whole[: max(n - 2, 0)] + b"\0" * min(n, 2)
        assert got.raw == expected + b"\xff" * (len(whole) + 16 - n), room
    x.end(ABORT)


@row("BK-115", "BK-203")
def lists_in_utf_16(place):
    w, x = start(place, ("ä€𐍈.edb", "b.edb"))
    x.begin()
    actual = u32()
    whole = b"".join((str(w.data / name) + "\0").encode("utf-16-le") for name in w.names) + b"\0\0"
    call("JetGetAttachInfoInstanceW", w.inst.handle, None, u32(0), C.byref(actual))
    assert actual.value == len(whole)
    for room in range(0, len(whole) + 4):
        got = C.create_string_buffer(b"\xff" * (len(whole) + 16), len(whole) + 16)
        call("JetGetAttachInfoInstanceW", w.inst.handle, got, u32(room), C.byref(actual))
        n = min(room, len(whole)) // 2 * 2
        expected = whole[:n] if room >= len(whole) else whole[: max(n - 4, 0)] + b"\0" * min(n, 4)
        assert got.raw == expected + b"\xff" * (len(whole) + 16 - n), room
    low, high = u32(), u32()
    name = C.create_string_buffer((str(w.data / w.names[0]) + "\0").encode("utf-16-le"))
    call("JetOpenFileInstanceW", w.inst.handle, name, C.byref(x.handle), C.byref(low), C.byref(high))
    assert low.value == (w.data / w.names[0]).stat().st_size + PAGE
    x.close()
    call("JetGetLogInfoInstanceW", w.inst.handle, None, u32(0), C.byref(actual))
    call("JetGetTruncateLogInfoInstanceW", w.inst.handle, None, u32(0), C.byref(actual))
    assert actual.value == 4
    x.end(ABORT)


@row("BK-239", "BK-240", "BK-241", "BK-244", "BK-245")
def log_list(place):
    w, x = start(place)
    x.begin()
    low = w.inst.stats().checkpoint >> 32
    g = current(w)
    logs = x.logs()
    assert current(w) == g + 1
    w.add(100)
    assert x.logs() == logs and current(w) > g + 1
    assert logs == [str(w.data / f"edb{n:05X}.log") for n in range(low, g + 1)]
    info = (C.c_char * 20)()
    for size in (0, 15, 17, 20):
        struct.pack_into("<I", info, 0, size)
        w.fails(BAD_ARGUMENT, call, "JetGetLogInfoInstance2A", w.inst.handle, None, u32(0), None, info)
    struct.pack_into("<I", info, 0, 16)
    call("JetGetLogInfoInstance2A", w.inst.handle, None, u32(0), None, info)
    assert struct.unpack("<III4s", info.raw[:16]) == (16, low, g, b"edb\0")
    struct.pack_into("<I", info, 0, 20)
    call("JetGetLogInfoInstance2W", w.inst.handle, None, u32(0), None, info)
    assert struct.unpack("<III8s", info.raw) == (20, low, g, "edb\0".encode("utf-16-le"))
    x.end(ABORT)


@row("BK-243")
def chain_broken_by_hand(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    high = bkinfo(w)["full_prev"][1]
    many_logs(w)
    for g in range(w.logs()[0], high + 2):
        (w.data / f"edb{g:05X}.log").unlink(missing_ok=True)
    x.begin(INC)
    with cjet.Events() as events:
        w.fails("JET_errMissingFileToBackup", x.logs)
    assert [i for i in events.ids() if i in (459, 214)] == [459, 214]
    assert x.idle()
    x.run(w.place / "again")


# ---- files ----


@row("BK-117", "BK-118", "BK-119", "BK-120", "BK-217", "BK-229", "BK-230", "BK-232")
def database_stream(place):
    w, x = start(place)
    live = (w.data / "a.edb").stat().st_size
    low = w.inst.stats().checkpoint >> 32
    x.begin()
    with cjet.Events() as events:
        data = x.bytes(w.data / "a.edb")
    kib = (live - 2 * PAGE) // 1024
    assert [(e[0], e[2]) for e in events.seen] == [
        (220, [str(w.data / "a.edb"), f"{kib} Kb" if kib < 1024 else f"{kib // 1024} Mb"]),
        (221, [str(w.data / "a.edb")]),
    ]
    assert len(data) == live + PAGE
    assert data[:PAGE] == data[PAGE : 2 * PAGE]
    assert struct.unpack_from("<I", data, 52)[0] == 2  # dirty
    assert struct.unpack_from("<II", data, AT_PREV["full_cur"] + 16) == (low, 0)
    trailer = data[-PAGE:]
    assert trailer[64:92] == data[24:52] and trailer[92:120] == data[108:136]  # signatures
    assert struct.unpack_from("<II", trailer, 56) == (low, current(w))
    checksum = 0x89ABCDEF
    for (word,) in struct.iter_unpack("<I", trailer[4:]):
        checksum ^= word
    assert struct.unpack_from("<I", trailer)[0] == checksum
    x.end(ABORT)
    assert struct.unpack_from("<II", (w.data / "a.edb").read_bytes(), AT_PREV["full_cur"] + 16) == (0, 0)


@row("BK-211", "BK-212", "BK-213")
def open_refuses_names(place):
    w, x = start(place)
    low, high, handle = u32(), u32(), u64()
    x.begin()
    for name in (None, b""):
        w.fails(BAD_ARGUMENT, call, "JetOpenFileInstanceA", w.inst.handle, name, C.byref(handle), C.byref(low), C.byref(high))
    path = text(w.data / "a.edb")
    for places in ((None, C.byref(low), C.byref(high)), (C.byref(handle), None, C.byref(high)), (C.byref(handle), C.byref(low), None)):
        w.fails(BAD_ARGUMENT, call, "JetOpenFileInstanceA", w.inst.handle, path, *places)
    with cjet.Events() as events:
        for name in ("/etc/passwd", w.data / "A.EDB", w.data / "nothing", "x" * 5000):
            w.fails("JET_errDatabaseNotFound", x.open, name)
    assert events.ids() == [217] * 4 and not x.idle()
    os.chdir(w.data)
    x.open("./a.edb")  # the same file by another spelling
    x.close()
    x.logs()
    (w.data / "edb00077.log").write_bytes(bytes(65536))
    for name in ("/etc/passwd", w.data / "edb.log", w.data / "edb00077.log", w.data / "edb.chk"):
        w.fails(BAD_ARGUMENT, x.open, name)
    assert not x.idle()
    x.end(ABORT)


@row("BK-219", "BK-220", "BK-221", "BK-222", "BK-223", "BK-224")
def rules_of_reading(place):
    w, x = start(place)
    x.begin()

    def refused(*args, **kwargs):
        before = x.buffer.map[:]
        w.fails(BAD_ARGUMENT, lambda: x.read(*args, **kwargs))
        assert x.buffer.map[:] == before

    size = x.open(w.data / "a.edb")
    for n in (0, 1, 4095, 4097, 3 * PAGE + 512, PAGE, 2 * PAGE):
        refused(n)
    for off in (1, 8, 512, 2048):
        refused(4 * PAGE, at=x.buffer.at + off)
    refused(4 * PAGE, at=0)
    refused(4 * PAGE, handle=x.handle.value + 1)
    assert len(x.read(3 * PAGE)) == 3 * PAGE
    assert len(x.read(PAGE)) == PAGE
    got = 4 * PAGE
    refused(PAGE + 1)
    while got < size:
        x.buffer.map[:] = b"\xee" * x.chunk
        part = x.read(40 * PAGE)
        assert len(part) == min(40 * PAGE, size - got)
        assert x.buffer.map[len(part) :] == b"\xee" * (x.chunk - len(part))
        got += len(part)
    assert x.read() == b"" == x.read(PAGE)
    x.close()
    log = x.logs()[0]
    size = x.open(log)
    assert size == 65536
    for n in (0, 512, PAGE):
        refused(n)
    assert len(x.read(2 * PAGE)) == 2 * PAGE
    assert sum(len(x.read(3 * PAGE)) for _ in range(20)) == size - 2 * PAGE
    x.close()
    x.end(ABORT)


@row("BK-225")
def chunks_of_any_size(place):
    w, x = start(place, rows=200)
    for _ in range(50):  # until nothing is written any more
        if w.inst.stats().cache_dirty == 0:
            break
        time.sleep(0.02)
    x.begin()
    x.chunk, x.buffer = 256 * PAGE, Buffer(256 * PAGE)
    images = [x.bytes(w.data / "a.edb", pages * PAGE) for pages in (3, 5, 16, 256)]
    assert len({image[2 * PAGE : -PAGE] for image in images}) == 1
    x.end(ABORT)


@row("BK-228", "BK-234", "BK-236")
def handles(place):
    w, x = start(place)
    x.begin()
    for handle in (0, 1, 2, -1, 2**63, 2**64 - 1, x.buffer.at):
        w.fails(BAD_ARGUMENT, lambda h=handle: x.read(handle=h & (2**64 - 1)))
        w.fails(BAD_ARGUMENT, lambda h=handle: x.close(handle=h & (2**64 - 1)))
    x.open(w.data / "a.edb")
    first = x.handle.value
    x.close()
    w.fails(BAD_ARGUMENT, x.close)
    w.fails(BAD_ARGUMENT, x.read)
    x.open(w.data / "a.edb")
    assert x.handle.value != first
    w.fails(BAD_ARGUMENT, lambda: x.read(handle=first))
    w.fails(BAD_ARGUMENT, lambda: x.close(handle=first))
    x.read()
    last = x.handle.value
    x.end(ABORT)
    x.begin()
    w.fails(BAD_ARGUMENT, lambda: x.read(handle=last))
    x.end(ABORT)


@row("BK-233", "BK-144", "BK-145", "BK-146")
def a_database_left_out_keeps_its_logs(place):
    w, x = start(place, ("a.edb", "b.edb"), params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save([w.data / "a.edb"], w.place / "set")
    size = x.open(w.data / "b.edb")
    x.read(8 * PAGE)
    with cjet.Events() as events:
        x.close()
    assert [(e[0], e[2]) for e in events.seen] == [(222, [str(w.data / "b.edb"), str(8 * PAGE), str(size)])]
    x.save(x.logs(), w.place / "set")
    assert x.truncatable() == []  # b.edb has never been backed up
    there = w.logs()
    with cjet.Events() as events:
        x.truncate()
    assert events.ids() == [225] and set(there) <= set(w.logs())
    x.end()
    assert bkinfo(w, "a.edb")["full_prev"] != (0, 0) and bkinfo(w, "b.edb") == NONE
    x.run(w.place / "both")
    high = bkinfo(w, "b.edb")["full_prev"][1]
    many_logs(w)
    x.run(w.place / "both", grbit=INC, truncate=False)  # only the full one limits
    x.begin()
    x.save([w.data / "a.edb"], w.place / "third")
    x.save(x.logs(), w.place / "third")
    gone = [generation(p) for p in x.truncatable()]
    assert gone and max(gone) == high - 1 < (w.inst.stats().checkpoint >> 32) - 1
    x.truncate()
    x.end()


@row("BK-147")
def increments_know_no_such_limit(place):
    w, x = start(place, ("a.edb", "b.edb"), params=SMALL_DEPTH)
    x.run(w.place / "set")
    many_logs(w)
    x.begin(INC)
    checkpoint = w.inst.stats().checkpoint >> 32
    x.save(x.logs(), w.place / "set")
    gone = [generation(p) for p in x.truncatable()]
    assert max(gone) >= checkpoint - 1
    x.truncate()
    x.end()


def damage(path, at, n=2):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(n)
        f.seek(at)
        f.write(bytes(b ^ 0xFF for b in old))


def settled(w):
    """Clean on disk and attached again."""
    w.inst.term()
    w.inst = cjet.Instance(w.data, log_kib=64)
    w.inst.init()
    w.ses = w.inst.session()
    w.dbids = [w.ses.open(w.data / name) for name in w.names]
    return External(w.inst)


@row("BK-226", "BK-105")
def a_bad_page_drops_its_database(place):
    w, _ = start(place, ("a.edb", "b.edb"))
    x = settled(w)
    damage(w.data / "b.edb", (w.data / "b.edb").stat().st_size // PAGE // 2 * PAGE + 300)
    x.begin()
    x.save([w.data / "a.edb"], w.place / "set")
    x.open(w.data / "b.edb")
    with cjet.Events() as events:
        w.fails("JET_errReadVerifyFailure", lambda: [x.read() for _ in range(1000)])
    assert [i for i in events.ids()] == [474, 217]
    w.fails(BAD_ARGUMENT, x.read)  # its handle is closed
    w.fails(BAD_ARGUMENT, x.close)
    x.save(x.logs(), w.place / "set")
    assert x.truncatable() == []
    with cjet.Events() as events:
        x.truncate()
        x.end()
    assert 213 in events.ids()
    assert bkinfo(w, "a.edb")["full_prev"] != (0, 0) and bkinfo(w, "b.edb") == NONE
    assert not (w.place / "set" / "b.edb").exists()


@row("BK-227")
def a_bad_log_cancels(place):
    w, x = start(place)
    x.begin()
    x.save(x.attached(), w.place / "set")
    log = x.logs()[0]
    damage(log, PAGE + 100)
    x.open(log)
    with cjet.Events() as events:
        w.fails("JET_errLogReadVerifyFailure", x.read)
    assert events.ids() == [218, 214] and events.seen[0][2][1] == log
    for step in (x.read, x.close, x.logs, x.truncate, x.end):
        w.fails(NO_BACKUP, step)
    assert bkinfo(w) == NONE and os.path.exists(log)


@row("BK-216")
def a_log_removed_cancels(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    many_logs(w)
    x.begin(INC)
    logs = x.logs()
    os.rename(logs[1], w.place / "kept")
    with cjet.Events() as events:
        w.fails("JET_errMissingFileToBackup", x.open, logs[1])
    assert events.ids() == [459, 214]
    assert x.idle()
    os.rename(w.place / "kept", logs[1])
    x.run(w.place / "set", grbit=INC)


@row("BK-231")
def chunk_parameters_have_no_effect(place):
    w, x = start(place, params={K.JET_paramBackupChunkSize: 1, K.JET_paramBackupOutstandingReads: 900})
    x.run(w.place / "set")
    assert restored(w, w.place / "set") == 60


# ---- truncation ----


@row("BK-142", "BK-247", "BK-250", "BK-252", "BK-086")
def truncation(place):
    w, x = start(place, params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save(x.attached(), w.place / "set")
    x.save(x.logs(), w.place / "set")
    there = w.logs()
    gone = [generation(p) for p in x.truncatable()]
    assert gone and gone == there[: len(gone)]
    with cjet.Events() as events:
        x.truncate()
        assert w.logs() == there[len(gone) :]
        assert x.truncatable() == []
        x.truncate()
        assert w.logs() == there[len(gone) :]
    first, last = f"edb{gone[0]:05X}.log", f"edb{gone[-1]:05X}.log"
    assert [(e[0], e[2]) for e in events.seen] == [(224, [first, last]), (225, [])]
    x.end()


@row("BK-152", "BK-153")
def every_log_must_be_read(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    many_logs(w, 4)
    there = w.logs()
    x.begin(INC)
    logs = x.logs()

    def refused():
        with cjet.Events() as events:
            w.fails("JET_errLogFileNotCopied", x.truncate)
        assert events.ids() == [520] and set(there) <= set(w.logs())

    refused()
    for path in logs[:1] + logs[3:]:  # 1 and 3 twice have the sum of 1, 2, 2, 3 ...
        x.bytes(path)
    x.bytes(logs[1]), x.bytes(logs[1])
    refused()
    x.open(logs[2])
    x.read(2 * PAGE)
    x.close()
    refused()
    x.bytes(logs[2])
    x.truncate()
    x.end()


@row("BK-148")
def a_log_gone_already(place):
    w, x = start(place, params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save(x.attached(), w.place / "set")
    x.save(x.logs(), w.place / "set")
    gone = x.truncatable()
    assert len(gone) >= 3
    os.unlink(gone[1])
    with cjet.Events() as events:
        x.truncate()
    assert (227, 1, ["1"]) in events.seen and not any(os.path.exists(p) for p in gone)
    x.end()
    assert bkinfo(w)["full_prev"] != (0, 0)


@row("BK-149")
def deletion_that_fails(place):
    w, x = start(place, params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save(x.attached(), w.place / "set")
    x.save(x.logs(), w.place / "set")
    gone = x.truncatable()
    with cjet.fault("unlink", pathlib.Path(gone[1]).name, error=1):
        with pytest.raises(JetError):
            x.truncate()
    assert all(os.path.exists(p) for p in gone[1:])
    x.end()
    assert bkinfo(w)["full_prev"] == (0, 0)


# ---- end ----


@row("BK-255")
def end_is_one_of_two(place):
    w, x = start(place)
    x.begin()
    for grbit in (0, NORMAL | ABORT, ABORT | K.JET_bitBackupTruncateDone, NORMAL | 0x1000, K.JET_bitBackupTruncateDone):
        w.fails(BAD_ARGUMENT, x.end, grbit)
    assert not x.idle()
    x.end(ABORT)


@row("BK-256", "BK-257", "BK-083")
def ends_that_stamp_nothing(place):
    w, x = start(place)
    header = w.header()
    for logs, grbit in ((True, ABORT), (False, NORMAL), (False, ABORT)):
        x.begin()
        x.save(x.attached(), w.place / "set")
        if logs:
            x.save(x.logs(), w.place / "set")
        with cjet.Events() as events:
            x.end(grbit)
        assert events.ids() == [215] and x.idle() and bkinfo(w) == NONE
    assert {k: v for k, v in w.header().items() if "prev" in k.lower()} == {k: v for k, v in header.items() if "prev" in k.lower()}
    x.run(w.place / "full")
    before = bkinfo(w)
    x.begin(INC)
    with cjet.Events() as events:
        x.end(NORMAL)  # its logs were never listed
    assert events.ids() == [215] and bkinfo(w) == before


@row("BK-258", "BK-259", "BK-260")
def ends_with_options(place):
    w, x = start(place)
    x.run(w.place / "one", truncate=False, end=NORMAL | K.JET_bitBackupNoDbHeaderUpdate)
    assert bkinfo(w) == NONE
    x.run(w.place / "two", truncate=False, end=NORMAL | K.JET_bitBackupTruncateDone)
    stamped = bkinfo(w)
    assert stamped["full_prev"] != (0, 0) == stamped["copy_prev"]
    x.begin()
    x.save(x.attached(), w.place / "three")
    x.open(x.logs()[0])
    x.read()
    with cjet.Events() as events:
        x.end()
    assert events.ids()[-1] == 213 and x.idle()


@row("BK-287", "BK-288", "BK-289", "BK-069")
def term_during_a_backup(place):
    w, x = start(place)
    x.begin()
    x.open(w.data / "a.edb")
    x.read()
    w.fails("JET_errBackupInProgress", w.inst.term, K.JET_bitTermComplete)
    assert len(x.read()) > 0
    x.close()
    x.open(w.data / "a.edb")
    with cjet.Events() as events:
        w.inst.term(K.JET_bitTermComplete | K.JET_bitTermStopBackup)
    assert [i for i in events.ids() if i in (213, 214, 215, 226)] == [226]
    for end in (K.JET_bitTermAbrupt, None):
        w.inst = cjet.Instance(w.data, log_kib=64)
        w.inst.init()
        x = External(w.inst)
        x.begin()
        x.logs()
        with cjet.Events() as events:
            w.inst.term(end) if end is not None else call("JetTerm", w.inst.handle)
        assert [i for i in events.ids() if i in (213, 214, 215, 226)] == [226]


@row("BK-069", "BK-011")
def term_while_a_read_is_inside(place):
    w, _ = start(place)
    x = settled(w)
    cjet.set_param(w.inst.handle, K.PYJET_paramBackupReadRetries, 16)
    damage(w.data / "a.edb", 9 * PAGE + 300)
    x.begin()
    x.open(w.data / "a.edb")
    seen = []

    def read():
        try:
            x.read()
        except JetError as e:
            seen.append(e.name)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.2)
    assert not seen  # it tries again
    began = time.monotonic()
    w.inst.term(K.JET_bitTermAbrupt)
    reader.join()
    assert seen == ["JET_errTermInProgress"] and time.monotonic() - began < 5


@row("BK-130", "BK-290")
def crash_at_each_step(place):
    """The instance dies between two steps: it recovers, nothing is lost, nothing is stamped."""
    for step in ("begin", "open", "read", "logs", "truncate"):
        w, x = start(place, ("a.edb",), data=f"data-{step}")
        x.begin()
        if step == "open":
            x.open(w.data / "a.edb")
        elif step != "begin":
            x.save(x.attached(), w.place / f"set-{step}")
        if step in ("logs", "truncate"):
            x.save(x.logs(), w.place / f"set-{step}")
        if step == "truncate":
            x.truncate()
        w.add(3)
        w.fails("JET_errDirtyShutdown", w.inst.term, K.JET_bitTermDirty)
        with cjet.Instance(w.data, log_kib=64):
            assert bkinfo(w) == NONE
        assert count(w.data / "a.edb") == 63


@row("BK-150")
def crash_between_truncation_and_stamping(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    many_logs(w)
    many_logs(w)
    x.begin(INC)
    x.save(x.logs(), w.place / "set")
    x.truncate()
    w.fails("JET_errDirtyShutdown", w.inst.term, K.JET_bitTermDirty)
    w.inst = cjet.Instance(w.data, log_kib=64)
    w.inst.init()
    w.ses = w.inst.session()
    w.dbids = [w.ses.open(w.data / "a.edb")]
    x = External(w.inst)
    x.begin(INC)
    w.fails("JET_errMissingFileToBackup", x.logs)
    x.run(w.place / "full")
    x.run(w.place / "full", grbit=INC)


# ---- several threads ----


@row("BK-270")
def calls_wait_for_each_other(place):
    """Any thread makes the next call; two at once are made one after the other."""
    w, x = start(place, rows=400)
    x.begin()
    size = x.open(w.data / "a.edb")
    parts, lock = [], threading.Lock()

    def reader():
        mine = External(w.inst)
        mine.handle = x.handle
        while part := mine.read(4 * PAGE):
            with lock:
                parts.append(len(part))

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(parts) == size
    x.close()
    x.logs()
    x.end()


# ---- without an instance ----


@row("BK-178", "BK-179", "BK-180", "BK-322")
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


@row("BK-116", "BK-113")
def exported(place):
    for stem in ("JetGetAttachInfo", "JetOpenFile", "JetGetLogInfo"):
        for form in ("", "A", "W"):
            assert getattr(lib, stem + form) and getattr(lib, stem + "Instance" + form)
    for stem in ("JetGetLogInfoInstance2", "JetGetTruncateLogInfoInstance"):
        assert all(getattr(lib, stem + form) for form in ("", "A", "W"))
    for name in ("JetBeginExternalBackup", "JetReadFile", "JetCloseFile", "JetTruncateLog", "JetEndExternalBackup"):
        assert getattr(lib, name) and getattr(lib, name + "Instance")
    assert lib.JetEndExternalBackupInstance2
