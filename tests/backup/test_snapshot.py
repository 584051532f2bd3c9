"""Snapshots of the operating system over the C API: rows of facts/backup-behaviours.csv by their ids, and what they rest on."""

import collections
import ctypes as C
import itertools
import json
import os
import pathlib
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import Child, run  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
from cjet import K, JetError, u32, u64  # noqa: E402

INC, COPY, CONTINUE, EXPLICIT = (
    K.JET_bitIncrementalSnapshot,
    K.JET_bitCopySnapshot,
    K.JET_bitContinueAfterThaw,
    K.JET_bitExplicitPrepare,
)
TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}
INFO = type("INFO", (C.Structure,), {"_fields_": [
    ("handle", u64), ("name", C.c_void_p), ("databases", u64), ("file", C.POINTER(C.c_void_p)), ("display", C.POINTER(C.c_void_p)),
    ("slv", C.c_void_p)]})  # fmt: skip


# ---- the calls ----


def prepare(grbit=0):
    snapid = u64()
    cjet.call("JetOSSnapshotPrepare", C.byref(snapid), u32(grbit))
    return snapid


def listing(name, snapid, grbit=0):
    n, infos = u32(), C.POINTER(INFO)()
    cjet.call(name, snapid, C.byref(n), C.byref(infos), u32(grbit))
    read = C.string_at if name.endswith("A") else wide_at
    found = [
        (i.handle, read(i.name), [read(i.file[k]) for k in range(i.databases)], [read(i.display[k]) for k in range(i.databases)])
        for i in infos[: n.value]
    ]
    cjet.call("JetFreeBuffer", infos)
    return found


def wide_at(address):
    units = itertools.takewhile(bool, (C.c_uint16.from_address(address + 2 * i).value for i in itertools.count()))
    return b"".join(u.to_bytes(2, "little") for u in units).decode("utf-16-le").encode()


def freeze(snapid):
    return listing("JetOSSnapshotFreezeA", snapid)


def by_id(name):
    return lambda snapid, grbit=0: cjet.call(name, snapid, u32(grbit))


thaw, abort, end = by_id("JetOSSnapshotThaw"), by_id("JetOSSnapshotAbort"), by_id("JetOSSnapshotEnd")
truncate = by_id("JetOSSnapshotTruncateLog")


def add(snapid, inst):
    cjet.call("JetOSSnapshotPrepareInstance", snapid, inst.handle, u32(0))


def fails(error, call, *args):
    try:
        call(*args)
    except JetError as e:
        assert e.name == error, f"{e}, expected {error}"
        assert e.hint or e.detail
        return
    raise AssertionError(f"{error} did not come")


def set_timeout(ms):
    cjet.set_param(None, K.JET_paramOSSnapshotTimeout, ms)


# ---- a world of accounts ----


class World:
    def __init__(self, place, rows=40, data="data", **settings):
        self.place = pathlib.Path(place)
        self.data = self.place / data
        self.inst = cjet.Instance(self.data, log_kib=64, **settings)
        self.inst.init()
        self.ses = self.inst.session()
        self.dbid = self.ses.create(self.data / "a.edb")
        self.ses.create_table(self.dbid, "t", TABLE, [("pk", "+id", K.JET_bitIndexPrimary)])
        self.rows = 0
        self.add(rows)

    def add(self, rows):
        with self.ses.table(self.dbid, "t") as t:
            for i in range(self.rows, self.rows + rows):
                with self.ses.transaction():
                    t.insert(id=i, v=bytes([i % 256]) * 1500)
        self.rows += rows

    def ids(self, ses=None):
        with (ses or self.ses).table(self.dbid, "t") as t:
            return [r["id"] for r in t.all()]

    def generations(self):
        return sorted(int(p.name[3:8], 16) for p in self.data.glob("edb?????.log"))

    def header(self):
        room = C.c_char_p()
        cjet.call("PyjetDumpHeader", cjet.text(self.data / "a.edb"), C.byref(room))
        return json.loads(room.value)

    def settle(self):
        until = time.monotonic() + 10
        while self.inst.stats().checkpoint >> 32 <= self.generations()[0]:
            assert time.monotonic() < until, "the checkpoint does not move"
            time.sleep(0.05)


def state_of(folder):
    """What the kernel shows of every file: bytes, and when they were changed last."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir()) if p.is_file()}


class Writer(threading.Thread):
    """Inserts rows of its own; notes when each was asked for and when it was acknowledged."""

    def __init__(self, world, number):
        super().__init__()
        self.world, self.number, self.stop = world, number, False
        self.asked, self.done, self.error = {}, {}, None

    def run(self):
        try:
            ses = self.world.inst.session()
            dbid = ses.open(self.world.data / "a.edb", attach=False)
            with ses.table(dbid, "t") as t:
                for i in itertools.count(self.number * 1_000_000):
                    if self.stop:
                        break
                    self.asked[i] = time.monotonic()
                    with ses.transaction():
                        t.insert(id=i, v=os.urandom(random.randrange(20, 3000)))
                    self.done[i] = time.monotonic()
            ses.end()
        except BaseException as e:
            self.error = e


def writing(world, n=4):
    writers = [Writer(world, k + 1) for k in range(n)]
    for w in writers:
        w.start()
    until = time.monotonic() + 30
    while not all(len(w.done) > 20 for w in writers):
        assert time.monotonic() < until and not any(w.error for w in writers), [w.error for w in writers]
        time.sleep(0.01)
    return writers


def finish(writers):
    for w in writers:
        w.stop = True
    for w in writers:
        w.join(30)
        assert not w.is_alive() and w.error is None, w.error


def recovered(folder, home):
    """The rows of a copy, put back where the files lay and recovered."""
    shutil.rmtree(home)
    shutil.copytree(folder, home)
    with cjet.Instance(home, log_kib=64) as inst, inst.session() as ses:
        dbid = ses.open(home / "a.edb")
        with ses.table(dbid, "t") as t:
            return [r["id"] for r in t.all()]


def checked(path):
    total = cjet.CHECK()
    cjet.call("PyjetCheckFile", cjet.text(path), u32(0), None, None, C.byref(total))
    return total.findings


ROWS = Rows()


# ---- arguments and states ----


@ROWS("BK-349")
def prepare_checks_its_arguments(place):
    snapid = u64()
    fails("JET_errNotInitialized", prepare)
    w = World(place)
    fails("JET_errInvalidGrbit", cjet.call, "JetOSSnapshotPrepare", C.byref(snapid), u32(0x10))
    fails("JET_errInvalidGrbit", cjet.call, "JetOSSnapshotPrepare", None, u32(0x10))  # before the pointer
    fails("JET_errInvalidParameter", cjet.call, "JetOSSnapshotPrepare", None, u32(0))
    snapid = prepare()
    assert snapid.value != 0
    fails("JET_errInvalidGrbit", cjet.call, "JetOSSnapshotPrepareInstance", snapid, w.inst.handle, u32(1))
    fails("JET_errInvalidParameter", cjet.call, "JetOSSnapshotPrepareInstance", snapid, u64(0), u32(0))
    fails("JET_errInvalidGrbit", cjet.call, "JetOSSnapshotFreezeA", snapid, None, None, u32(1))
    fails("JET_errInvalidParameter", cjet.call, "JetOSSnapshotFreezeA", snapid, None, None, u32(0))
    fails("JET_errInvalidParameter", cjet.call, "JetOSSnapshotGetFreezeInfoA", snapid, None, None, u32(0))
    for call, bad in ((thaw, 1), (abort, 1), (end, 2), (truncate, 2)):
        fails("JET_errInvalidGrbit", call, snapid, bad)
    end(snapid)
    w.inst.term()


@ROWS("BK-350")
def ids_and_sequence(place):
    w = World(place)
    for call in (freeze, thaw, abort, end, truncate, lambda i: add(i, w.inst), lambda i: listing("JetOSSnapshotGetFreezeInfoW", i)):
        fails("JET_errOSSnapshotInvalidSnapId", call, u64(12345))
    snapid = prepare(CONTINUE)
    for call in (thaw, truncate, lambda i: listing("JetOSSnapshotGetFreezeInfoA", i)):
        fails("JET_errOSSnapshotInvalidSequence", call, snapid)
    freeze(snapid)
    for call in (freeze, end, truncate, lambda i: add(i, w.inst)):
        fails("JET_errOSSnapshotInvalidSequence", call, snapid)
    thaw(snapid)
    for call in (freeze, thaw, lambda i: add(i, w.inst)):
        fails("JET_errOSSnapshotInvalidSequence", call, snapid)
    end(snapid)
    fails("JET_errOSSnapshotInvalidSnapId", end, snapid)
    w.inst.term()


@ROWS("BK-350", "thaw-ends")
def thaw_without_continue_ends_and_stamps(place):
    w = World(place)
    snapid = prepare()
    freeze(snapid)
    thaw(snapid)
    fails("JET_errOSSnapshotInvalidSnapId", end, snapid)
    assert w.header()["full_backup"]["gen_low"] > 0
    w.inst.backup(w.place / "set")  # nothing holds the instance any more
    w.inst.term()


@ROWS("BK-356")
def abort_in_every_state(place):
    w = World(place)
    before = w.header()
    for steps in ((), (freeze,), (freeze, thaw), (freeze, thaw, truncate)):
        snapid = prepare(CONTINUE)
        for step in steps:
            step(snapid)
        abort(snapid)
        fails("JET_errOSSnapshotInvalidSnapId", freeze, snapid)
        w.add(1)
    snapid = prepare()
    freeze(snapid)
    end(snapid, K.JET_bitAbortSnapshot)  # the same by JetOSSnapshotEnd
    fails("JET_errOSSnapshotInvalidSnapId", thaw, snapid)
    assert w.header()["full_backup"] == before["full_backup"]
    end(prepare())
    w.inst.term()


@ROWS("BK-355")
def kinds_and_their_stamps(place):
    w = World(place)
    fails("JET_errMissingFullBackup", freeze, missing := prepare(INC))
    abort(missing)
    w.inst.backup(w.place / "set")  # a streaming full one is no base of an incremental snapshot
    fails("JET_errMissingFullBackup", freeze, missing := prepare(INC | COPY))
    abort(missing)
    fields = {0: "full_backup", INC: "incremental_backup", COPY: "copy_backup", INC | COPY: "differential_backup"}
    seen = {}
    for kind in (0, COPY, INC | COPY, INC):
        w.add(20)
        snapid = prepare(kind | CONTINUE)
        freeze(snapid)
        newest = max(w.generations())
        fails("JET_errOSSnapshotInvalidSequence", end, snapid)
        thaw(snapid)
        end(snapid)
        seen[kind] = marks(w)[fields[kind]]
        assert seen[kind]["gen_high"] == newest, (kind, seen[kind])
        others = {k: v for k, v in marks(w).items() if k in {fields[s] for s in seen} - {fields[kind]}}
        assert all(others[fields[s]] == seen[s] for s in seen if s != kind)
    types = types_of(w)
    assert types == dict.fromkeys(types, 1), types
    fails("JET_errMissingFullBackup", w.inst.backup, w.place / "set", K.JET_bitBackupIncremental)  # BK-172
    w.inst.term()


HEADER = {"full_backup": (136, 356), "incremental_backup": (160, 360), "copy_backup": (420, 468), "differential_backup": (444, 472)}


def marks(w):
    raw = (w.data / "a.edb").read_bytes()[:4096]
    return {
        name: {"mark": raw[at : at + 8].hex(), "gen_low": int.from_bytes(raw[at + 16 : at + 20], "little"),
               "gen_high": int.from_bytes(raw[at + 20 : at + 24], "little")}
        for name, (at, _) in HEADER.items()
    }  # fmt: skip


def types_of(w):
    raw = (w.data / "a.edb").read_bytes()[:4096]
    return {name: int.from_bytes(raw[at : at + 4], "little") for name, (_, at) in HEADER.items()}


@ROWS("BK-354")
def logs_are_truncated_after_the_thaw(place):
    w = World(place, rows=400)
    snapid = prepare(CONTINUE)
    freeze(snapid)
    thaw(snapid)
    assert len(w.generations()) > 3
    truncate(snapid)  # without JET_bitAllDatabasesSnapshot: nothing
    assert len(w.generations()) > 3
    end(snapid)
    snapid = prepare(CONTINUE)
    freeze(snapid)
    newest = max(w.generations())
    thaw(snapid)
    truncate(snapid, K.JET_bitAllDatabasesSnapshot)
    assert w.generations() in ([], [newest], [newest + 1], [newest, newest + 1]), w.generations()
    fails("JET_errOSSnapshotInvalidSequence", cjet.call, "JetOSSnapshotTruncateLogInstance", snapid, w.inst.handle, u32(1))
    truncate(snapid, K.JET_bitAllDatabasesSnapshot)
    end(snapid)
    snapid = prepare(COPY | CONTINUE)
    freeze(snapid)
    thaw(snapid)
    fails("JET_errOSSnapshotInvalidSequence", truncate, snapid, K.JET_bitAllDatabasesSnapshot)
    abort(snapid)
    w.inst.term()
    with cjet.Instance(w.data, log_kib=64) as inst, inst.session() as ses:
        w.inst, w.dbid = inst, ses.open(w.data / "a.edb")
        assert w.ids(ses) == list(range(400))


@ROWS("BK-351", "BK-047")
def a_backup_and_a_snapshot_exclude_each_other(place):
    w = World(place)
    seen = []

    def during(percent):
        if seen:
            return
        snapid = prepare()
        for call, args in ((freeze, (snapid,)), (add, (snapid, w.inst))):
            try:
                call(*args)
                seen.append("success")
            except JetError as e:
                seen.append(e.name)
        abort(snapid)

    w.inst.pause(during)
    w.inst.backup(w.place / "set")
    w.inst.pause(None)
    assert seen == ["JET_errOSSnapshotNotAllowed"] * 2
    for steps in ((lambda i: add(i, w.inst),), (freeze,), (freeze, thaw)):
        snapid = prepare(CONTINUE)
        for step in steps:
            step(snapid)
        fails("JET_errBackupInProgress", w.inst.backup, w.place / "set2")
        fails("JET_errBackupInProgress", w.ses.create, w.data / "b.edb")
        other = prepare(EXPLICIT)
        fails("JET_errOSSnapshotNotAllowed", add, other, w.inst)
        abort(other)
        fails("JET_errOSSnapshotNotAllowed", freeze, other := prepare())
        abort(other)
        abort(snapid)
    assert not (w.place / "set2").exists()
    w.inst.backup(w.place / "set2")
    w.inst.term()


@ROWS("explicit")
def only_prepared_instances_take_part(place):
    a, b = World(place, data="a"), World(place, data="b")
    snapid = prepare(EXPLICIT)
    add(snapid, a.inst)
    found = freeze(snapid)
    path = str(a.data / "a.edb").encode()
    assert found == [(a.inst.handle.value, a.inst.name.encode(), [path], [b"a.edb"])]
    assert listing("JetOSSnapshotGetFreezeInfoA", snapid) == found
    assert listing("JetOSSnapshotGetFreezeInfoW", snapid) == found
    b.add(1)
    thaw(snapid)
    both = prepare()
    assert {i[0] for i in freeze(both)} == {a.inst.handle.value, b.inst.handle.value}
    thaw(both)
    a.add(1)
    a.inst.term()
    b.inst.term()


@ROWS("logging-off")
def no_snapshot_without_logs(place):
    w = World(place, params={K.JET_paramRecovery: "off"})
    snapid = prepare()
    fails("JET_errOSSnapshotNotAllowed", freeze, snapid)
    end(snapid)
    w.add(1)
    w.inst.term()


# ---- frozen ----


@ROWS("BK-352")
def nothing_changes_and_readers_go_on(place):
    w = World(place, rows=200)
    reader = w.inst.session()
    open_trx = w.inst.session()
    dbid = open_trx.open(w.data / "a.edb", attach=False)
    reader.open(w.data / "a.edb", attach=False)
    writers = writing(w)
    table = open_trx.table(dbid, "t")
    open_trx.begin()
    table.insert(id=500, v=b"not committed")
    snapid = prepare(CONTINUE)
    freeze(snapid)
    frozen_at = time.monotonic()
    first = state_of(w.data)
    done = collections.Counter({w_.number: len(w_.done) for w_ in writers})
    until, reads = time.monotonic() + 1.5, 0
    while time.monotonic() < until or reads < 3:  # one that waited for the thaw would never come back: this thread thaws
        with reader.transaction():
            assert len(w.ids(reader)) >= 200
        reads += 1
    assert state_of(w.data) == first
    for w_ in writers:
        assert len(w_.done) <= done[w_.number] + 1  # one may have been told between the freeze and the count
    thaw(snapid)
    thawed_at = time.monotonic()
    open_trx.commit()
    time.sleep(0.3)
    finish(writers)
    for w_ in writers:
        late = [i for i, at in w_.done.items() if frozen_at + 0.2 < at < thawed_at - 0.05]
        assert not late, "acknowledged while frozen"
        assert len(w_.done) > done[w_.number]
    end(snapid)
    assert 500 in w.ids()
    w.inst.term()


@ROWS("BK-352", "commit-waits")
def every_change_waits(place):
    w = World(place)
    w.ses.create_table(w.dbid, "gone", TABLE)
    changes = {
        "commit": lambda s, t: s.commit(),
        "lazy": lambda s, t: s.commit(K.JET_bitCommitLazyFlush),
        "rollback": lambda s, t: s.rollback(),
        "end": lambda s, t: s.end(),
        "roll": None,
        "insert": None,
        "ddl": None,
    }
    ready, order = threading.Barrier(len(changes) + 1), []

    def change(name, end_it):
        ses = w.inst.session()
        dbid = ses.open(w.data / "a.edb", attach=False)
        t = ses.table(dbid, "t")
        if end_it:
            ses.begin()
            t.insert(id=1000 + len(name), v=name.encode() * 3000)
        ready.wait(20)
        ready.wait(20)
        if end_it:
            end_it(ses, t)
        elif name == "roll":
            ses.commit(K.JET_bitForceNewLog)
        elif name == "insert":
            t.insert(id=2000, v=b"x")
        else:
            ses.delete_table(dbid, "gone")
        order.append(name)

    threads = [threading.Thread(target=change, args=item) for item in changes.items()]
    for thread in threads:
        thread.start()
    ready.wait(20)
    snapid = prepare(CONTINUE)
    freeze(snapid)
    still = state_of(w.data)
    ready.wait(20)
    time.sleep(0.8)
    assert order == [] and state_of(w.data) == still
    order.append("thaw")
    thaw(snapid)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert order[0] == "thaw" and sorted(order[1:]) == sorted(changes)
    end(snapid)
    assert [i for i in w.ids() if i >= 1000] == sorted({1000 + len("commit"), 1000 + len("lazy"), 2000})
    w.inst.term()


@ROWS("copy-recovers")
def a_plain_copy_is_the_moment_of_the_freeze(place):
    """Four writers, one open transaction, small cache: the copy has what was acknowledged before the freeze, and nothing asked for later."""
    cjet.set_cache(200)
    w = World(place, rows=100, steal=True, params={K.PYJET_paramVersionStoreBytes: 64 << 20})
    writers = writing(w)
    open_trx = w.inst.session()
    dbid = open_trx.open(w.data / "a.edb", attach=False)
    with open_trx.table(dbid, "t") as t:
        open_trx.begin()
        t.insert(id=500, v=b"u" * 4000)
        for number in range(3):
            snapid = prepare(CONTINUE)
            before = time.monotonic()
            freeze(snapid)
            after = time.monotonic()
            shutil.copytree(w.data, w.place / f"copy{number}")
            with w.inst.session() as reader:
                reader.open(w.data / "a.edb", attach=False)
                live = w.ids(reader)  # nothing is committed while frozen, so this is the oracle, exactly
            thaw(snapid)
            end(snapid)
            must = {i for x in writers for i, at in dict(x.done).items() if at < before}
            never = {i for x in writers for i, at in dict(x.asked).items() if at > after}
            assert must <= set(live) and not never & set(live)
            (w.place / f"copy{number}.json").write_text(json.dumps(live))
            time.sleep(0.2)
        open_trx.rollback()
    finish(writers)
    w.inst.term(K.JET_bitTermAbrupt)
    for number in range(3):
        live = json.loads((w.place / f"copy{number}.json").read_text())
        assert recovered(w.place / f"copy{number}", w.data) == live
        assert 500 not in live
        assert checked(w.data / "a.edb") == 0


@ROWS("BK-353")
def the_clock_thaws(place):
    w = World(place)
    set_timeout(100)
    snapid = prepare(CONTINUE)
    began = time.monotonic()
    freeze(snapid)
    w.add(1)  # waits for the clock
    assert 0.1 <= time.monotonic() - began < 5
    for call in (thaw, end, truncate, freeze):
        fails("JET_errOSSnapshotTimeOut", call, snapid)
    fails("JET_errBackupInProgress", w.inst.backup, w.place / "set")
    abort(snapid)
    fails("JET_errOSSnapshotInvalidSnapId", thaw, snapid)
    w.inst.backup(w.place / "set")
    set_timeout(70_000)
    snapid = prepare()
    freeze(snapid)
    time.sleep(0.3)
    thaw(snapid)
    w.inst.term()


@ROWS("BK-288", "term")
def term_while_frozen(place):
    w = World(place)
    inserted, frozen, committed = threading.Event(), threading.Event(), threading.Event()

    def one_row():
        w.ses.begin()
        with w.ses.table(w.dbid, "t") as t:
            t.insert(id=40, v=b"last")
        inserted.set()
        assert frozen.wait(10)
        w.ses.commit()  # waits for the freeze's end: the one call that is under way when the instance ends
        committed.set()

    snapid = prepare(CONTINUE)
    waits = threading.Thread(target=one_row)
    waits.start()
    assert inserted.wait(10)
    freeze(snapid)
    fails("JET_errBackupInProgress", w.inst.term, K.JET_bitTermComplete)
    w.inst.running = True
    frozen.set()
    time.sleep(0.1)
    assert not committed.is_set()
    w.inst.term(K.JET_bitTermComplete | K.JET_bitTermStopBackup)  # its call comes to its end first
    waits.join(10)
    assert committed.is_set()
    fails("JET_errOSSnapshotTimeOut", thaw, snapid)
    abort(snapid)
    fails("JET_errNotInitialized", prepare)
    with cjet.Instance(w.data, log_kib=64) as inst, inst.session() as ses:
        w.inst, w.dbid = inst, ses.open(w.data / "a.edb")
        assert w.ids(ses) == list(range(41))
        add(last := prepare(EXPLICIT), inst)
        inst.term(K.JET_bitTermAbrupt)
        end(last)


@ROWS("BK-288", "open transaction")
def term_while_frozen_between_two_calls(place):
    w = World(place)
    snapid = prepare(CONTINUE)
    w.ses.begin()
    with w.ses.table(w.dbid, "t") as t:
        t.insert(id=40, v=b"last")
    freeze(snapid)
    fails("JET_errTooManyActiveUsers", w.inst.term, K.JET_bitTermComplete | K.JET_bitTermStopBackup)
    w.inst.running = True  # the snapshot has left it, the instance runs on
    fails("JET_errOSSnapshotTimeOut", thaw, snapid)
    w.ses.commit()
    abort(snapid)
    assert w.ids() == list(range(41))
    w.inst.term()


@ROWS("fault")
def a_freeze_that_fails_leaves_no_trace(place):
    w = World(place)
    w.add(30)
    cjet.call("PyjetSetFault", C.byref(cjet.FAULT(ops=cjet.OPS["rename"], path_part=b".log", after=0, count=1, error=28)))
    snapid = prepare(CONTINUE)
    try:
        freeze(snapid)
        raise AssertionError("the roll of the log failed, the freeze did not")
    except JetError:
        pass
    cjet.call("PyjetSetFault", None)
    abort(snapid)
    try:  # the log could not be rolled: the instance has stopped, and its end says so
        w.inst.term(K.JET_bitTermAbrupt)
        raise AssertionError("the instance had stopped, its end did not say so")
    except JetError as e:
        assert e.name == "JET_errInstanceUnavailable", e
    with cjet.Instance(w.data, log_kib=64) as inst, inst.session() as ses:
        w.inst, w.dbid = inst, ses.open(w.data / "a.edb")
        assert w.ids(ses) == list(range(70))


@ROWS("events")
def every_step_has_its_event(place):
    w = World(place)
    seen = []
    sink = cjet.EVENT_FN(lambda _, e: seen.append((e.contents.id, [e.contents.rgszParams[i] for i in range(e.contents.cParams)])))
    cjet.lib.PyjetSetEventSink(sink, None)
    for kind, first in ((0, 2005), (INC, 2008), (COPY, 2009), (INC | COPY, 2010)):
        seen.clear()
        snapid = prepare(kind)
        freeze(snapid)
        thaw(snapid)
        assert [i for i, _ in seen if i >= 2000] == [first, 2001, 2003, 2006]
        assert all(p[0] == str(snapid.value).encode() for i, p in seen if i >= 2000)
    set_timeout(50)
    seen.clear()
    freeze(snapid := prepare())
    time.sleep(0.4)
    abort(snapid)
    assert [i for i, _ in seen if i >= 2000] == [2005, 2001, 2004, 2007]
    assert [p[1] for i, p in seen if i == 2004] == [b"50"]
    cjet.lib.PyjetSetEventSink(None, None)
    w.inst.term()


# ---- a process killed while frozen ----


def frozen_child(report, place):
    w = World(place)
    writers = writing(w)
    freeze(prepare())
    with w.inst.session() as reader:
        reader.open(w.data / "a.edb", attach=False)
        report(["FROZEN", len(w.ids(reader))])
    time.sleep(60)
    finish(writers)


def recover_child(report, place):
    with cjet.Instance(pathlib.Path(place) / "data", log_kib=64) as inst, inst.session() as ses:
        dbid = ses.open(pathlib.Path(place) / "data" / "a.edb")
        with ses.table(dbid, "t") as t:
            return len(t.all())


def test_killed_while_frozen(memory_path):
    child = Child(frozen_child, str(memory_path))
    child.wait_line("FROZEN")
    lines = child.kill()
    rows = next(line[1] for line in lines if line[0] == "FROZEN")
    assert run(recover_child, str(memory_path)) == rows
