"""Fault walk: the n-th call of a kind fails, for n = 1, 2, 3 ... until the scenario runs untouched.

    make walk && python tests/crash/faultwalk.py --seed 1
    python tests/crash/faultwalk.py --only commit --kind "sync EIO" --first 17 --count 1     one point again
    python tests/crash/faultwalk.py --every 20                                               a slice

Each point runs in a fork: the scenario with the fault, then without it the instance is ended, its memory counted, and a new
instance opens what is there. Judged: only errors that this fault may cause; no crash, no hang; a failed sync of the current log or of a
database leaves no instance that works on, and no call that says nothing; an instance that cannot go on says so in every later call; nothing stays allocated; no log is deleted by a backup that failed; all that was
acknowledged is there, no transaction half, `check` finds nothing; a set that was complete still restores.

With PYJET_LIBRARY naming the library of `make SANITIZE=address walk`, and libasan preloaded, the same under ASan.
"""

import collections
import contextlib
import ctypes as C
import errno
import mmap
import os
import pathlib
import random
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ.setdefault("PYJET_LIBRARY", str(HERE.parent.parent / "build" / "release" / "libpyjet-walk.so"))
import bank  # noqa: E402
import cjet  # noqa: E402
import judge  # noqa: E402
import memory  # noqa: E402
import walks  # noqa: E402
from child import Child, ChildFailed, run  # noqa: E402
from cjet import FOREVER, JetError, K, u32, u64  # noqa: E402

cjet.lib.walk_hits.restype = cjet.u64
cjet.lib.walk_live.restype = cjet.C.c_int64
MEMORY, EINTR, SHORT = 1, 2, 3
PATIENCE = 180  # a full log disk makes each rollback wait for room, some 30 s in all at one point on an idle machine

# kind: (operations of os.h, errno) or a number of tests/c/alloc_faults.c
KINDS = {
    "write EIO": ("write", errno.EIO),
    "write ENOSPC": ("write", errno.ENOSPC),
    "write half": ("write", -1),
    "sync EIO": ("sync", errno.EIO),
    "sync EIO of the log": ("sync", errno.EIO, "/edb.log"),
    "sync EIO of the bank": ("sync", errno.EIO, "/data/bank.edb"),
    "folder sync EIO": ("dirsync", errno.EIO),
    "read EIO": ("read", errno.EIO),
    "open EIO": ("open", errno.EIO),
    "open EMFILE": ("open", errno.EMFILE),
    "size ENOSPC": ("size", errno.ENOSPC),
    "rename EIO": ("rename", errno.EIO),
    "unlink EIO": ("unlink", errno.EIO),
    "folder ENOSPC": ("dir", errno.ENOSPC),
    "no memory": MEMORY,
    "interrupted": EINTR,
    "short transfer": SHORT,
}
UNSEEN = ("interrupted", "short transfer")  # nobody may notice
FATAL = ("sync EIO of the log", "sync EIO of the bank")  # never tried again as if nothing had happened

DISK = {"JET_errDiskIO", "JET_errDiskReadVerificationFailure", "JET_errLogWriteFail", "JET_errInstanceUnavailable", "JET_errNTSystemCallFailed",
        "JET_errFileSystemCorruption", "JET_errRollbackRequired", "JET_errFileIOBeyondEOF", "JET_errTermInProgress",
        "JET_errDeleteBackupFileFail", "JET_errMakeBackupDirectoryFail"}  # fmt: skip
FULL = {"JET_errDiskFull", "JET_errLogDiskFull", "JET_errInstanceUnavailableDueToFatalLogDiskFull"}
EXPECTED = {
    errno.EIO: DISK,
    -1: DISK,
    errno.ENOSPC: DISK | FULL,
    errno.EMFILE: DISK | {"JET_errOutOfFileHandles"},
    MEMORY: {"JET_errOutOfMemory", "JET_errOutOfThreads", "JET_errVersionStoreOutOfMemory", "JET_errInstanceUnavailable", "JET_errRollbackRequired",
             "JET_errLogWriteFail"},
    EINTR: set(),
    SHORT: set(),
}  # fmt: skip
GONE = {"JET_errInstanceUnavailable", "JET_errInstanceUnavailableDueToFatalLogDiskFull"}


class Fault:
    """One point: the calls of a kind from number `after` on."""

    def __init__(self, kind, after, count):
        self.kind, self.after, self.count = kind, after, count
        self.plan = KINDS[kind]
        self.allowed = EXPECTED[self.plan if isinstance(self.plan, int) else self.plan[1]]

    def stops(self):
        """May the instance be unavailable after it? A failed write or sync, or a rollback that could not be done."""
        writes = ("write", "sync", "size", "rename", "dirsync", "unlink", "open", "dir")
        return self.count > 1 or not isinstance(self.plan, int) and self.plan[0] in writes

    @contextlib.contextmanager
    def armed(self, part):
        if isinstance(self.plan, int):
            cjet.lib.walk_set(self.plan, cjet.u64(self.after), cjet.u64(self.count))
        else:
            op, error, *only = self.plan
            cjet.set_fault(op, only[0] if only else part, self.after, self.count, error)
        try:
            yield
        finally:
            self.hits = cjet.lib.walk_hits() if isinstance(self.plan, int) else cjet.lib.PyjetFaultHits()
            cjet.lib.walk_set(0, cjet.u64(0), cjet.u64(0))
            cjet.set_fault()


class World:
    """A bank in a folder, the errors that were met, and what was said of commits."""

    def __init__(self, place, fault, seed):
        self.place, self.fault, self.rng = pathlib.Path(place), fault, random.Random(seed)
        self.data, self.path = self.place / "data", self.place / "data" / "bank.edb"
        self.lines, self.errors, self.created = [], [], False
        self.model = bank.Model(bank.first_state(1))
        self.inst, self.lost, self.cache, self.zero = None, [], 200, False
        self.second, self.rows, self.frozen = self.data / "second.edb", None, None

    def instance(self):
        cjet.set_cache(self.cache)
        params = {K.JET_paramCheckpointDepthMax: 64 << 10, K.JET_paramZeroDatabaseDuringBackup: int(self.zero)}
        self.inst = cjet.Instance(self.data, log_kib=64, sessions=8, params=params)
        return self.inst

    def attempt(self, fn, *args):
        """fn(*args); None when it fails with an error that is kept."""
        try:
            return fn(*args)
        except JetError as e:
            self.errors.append(e.name)
            assert e.hint, f"{e.name} has no hint"
            return None

    def open(self):
        """A running instance with a session on the bank, or None."""
        if self.attempt(self.instance) is None or self.attempt(self.inst.init) is None:
            return None
        ses = self.attempt(self.inst.session)
        return None if ses is None or self.attempt(ses.open, self.path) is None else ses

    def work(self, ses, steps, weights=None, notes=3000):
        """Transactions; one that fails is rolled back, one whose commit fails ends the work. True: all went well."""
        number = self.numbers()
        dbid = self.attempt(ses.open, self.path)
        worker = dbid and self.attempt(bank.Worker, ses, dbid, 0, number, self.rng, self.lines.append, self.known(), weights, notes)
        if not worker:
            return False
        whole = True
        for _ in range(steps):
            before = worker.number
            if self.attempt(worker.step) is None:
                whole = False
                with contextlib.suppress(JetError):
                    ses.rollback(K.JET_bitRollbackAll)
                if worker.number != before:
                    break  # nobody knows whether that commit lasts
        return whole

    def numbers(self):
        return self.model.base["ledger"][0] if not self.lines else max(line[2] for line in self.lines if line[0] == "I")

    def known(self):
        """What thread 0 has written, by what was said."""
        own = {name: dict(rows) for name, rows in self.model.known.get(0, {}).items()}
        scratch = {name: collections.defaultdict(lambda: [0]) for name in bank.TABLES}
        for line in self.lines:
            for op in line[3] if line[0] == "I" else ():
                bank._apply(scratch, own, op)
        return own

    def goes_on(self):
        """The fault is over. True: the instance is unavailable. Else a session can make, fill and read a table."""
        if self.inst is None or not self.inst.running:
            return False
        try:
            with self.inst.session() as ses:
                dbid = ses.open(self.path) if self.created else None
                if dbid:
                    ses.create_table(dbid, "after", {"n": (K.JET_coltypLong,)})
                    with ses.transaction(), ses.table(dbid, "after") as t:
                        t.insert(n=1)
                        assert t.all() == [{"n": 1}]
                    ses.delete_table(dbid, "after")
        except JetError as e:
            assert e.name in GONE, f"the fault is over, and yet {e.name}: {e} (errors {self.errors})"
            return True
        return False

    def end(self):
        """Ends the instance whatever it says; a poisoned one must have said that it is."""
        if self.inst is not None:
            if self.inst.running:
                self.attempt(self.inst.term, K.JET_bitTermComplete | K.JET_bitTermStopBackup)  # a caller's backup may still stand
            self.inst.destroy()
            self.inst = None


# ---- scenarios: prepare(world) without faults (once, copied), act(world) with them ----


def make_bank(w):
    with w.instance() as inst, inst.session() as ses:
        bank.create(ses, ses.create(w.path), 1)
    w.inst = None
    w.created = True


def some_work_of(w, *how):
    ses = w.open()
    assert ses is not None and w.work(ses, *how), w.errors
    w.end()
    w.created = True


def act_create(w):
    if w.attempt(w.instance) is None or w.attempt(w.inst.init) is None:
        return
    ses = w.attempt(w.inst.session)
    dbid = ses and w.attempt(ses.create, w.path)
    if dbid and w.attempt(lambda: bank.create(ses, dbid, 1) or True):
        w.created = True


def act_load(w):
    ses = w.open()
    if ses is not None:
        w.work(ses, 6, {"many": 3, "insert": 2})


def act_commit(w):
    ses = w.open()
    if ses is not None:
        w.work(ses, 15, {"transfer": 3, "update": 2, "undone": 1, "lazy": 1, "table": 1}, 300)


def act_checkpoint(w):
    """So many long values that the log rolls and the checkpoint moves."""
    ses = w.open()
    if ses is not None:
        w.work(ses, 14, {"insert": 3, "update": 3, "few": 1, "many": 1}, 9000)


def act_term(w):
    w.attempt(w.inst.term)


def prepare_dirty(w):
    """Work that no end was made of: a fork does it and dies."""
    make_bank(w)

    def writer(report):
        ses = w.open()
        w.work(ses, 12)
        return w.lines

    w.lines = run(writer)


def act_init(w):
    w.attempt(w.instance) and w.attempt(w.inst.init)


SETS = {"backup": 0, "atomic": K.JET_bitBackupAtomic, "incremental": K.JET_bitBackupIncremental}


def back_up(w, kind):
    ses = w.open()
    if ses is None:
        return
    w.work(ses, 3)
    logs, begun, name = generations(w.data), len(w.lines), "atomic" if kind == "atomic" else "plain"
    done = w.attempt(w.inst.backup, w.place / "sets" / name, SETS[kind])
    w.lost = sorted(logs - generations(w.data))
    if done is not None or w.lost:  # logs go when the set is complete, whatever fails after it: so it must restore
        w.complete[name] = begun
    w.work(ses, 3)


def back_up_and_wipe(w):
    w.zero = True
    back_up(w, "backup")


def generations(folder):
    return {p.name for p in folder.glob("edb[0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F].log")}


def prepare_set(kind):
    def prepare(w):
        make_bank(w)
        with w.instance() as inst, inst.session() as ses:
            ses.open(w.path)
            w.work(ses, 12)
            inst.backup(w.place / "sets" / ("atomic" if kind == "atomic" else "plain"), SETS[kind])
        w.inst = None

    return prepare


def act_restore(w):
    def restore():
        _, found = cjet.restore(w.place / "sets" / "plain", w.place / "target", w.place / "work")
        return found[0]

    w.restored = w.attempt(restore)


# ---- a second database: created, filled, indexed, dropped from, detached, attached ----

SECOND = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "k": (K.JET_coltypLong,), "v": (K.JET_coltypLongBinary,)}


def fill(ses, dbid, first, n):
    with ses.transaction(), ses.table(dbid, "s") as t:
        for i in range(first, first + n):
            t.insert(id=i, k=i * 7 % 31, v=bytes([i % 251]) * (2500 if i % 4 == 0 else 60))


def act_second(w):
    ses = w.open()
    dbid = ses and w.attempt(ses.create, w.second)
    if not dbid:
        return
    w.rows = 0  # acknowledged

    def filled(first, n):
        fill(ses, dbid, first, n)
        w.rows = first + n

    def indexed():
        with ses.table(dbid, "s") as t:
            cjet.create_index(ses, t.id, "by_k", "+k")

    def unindexed():
        with ses.table(dbid, "s") as t:
            cjet.call("JetDeleteIndexA", ses.id, t.id, b"by_id")

    steps = [
        lambda: ses.create_table(dbid, "s", SECOND, [("pk", "+id", K.JET_bitIndexPrimary), ("by_id", "-id", 0)]),
        lambda: filled(0, 40),
        lambda: ses.create_table(dbid, "gone", SECOND, [("pk", "+id", K.JET_bitIndexPrimary)]),
        indexed,
        lambda: filled(40, 40),
        lambda: ses.delete_table(dbid, "gone"),
        unindexed,
        lambda: ses.close(dbid),
        lambda: ses.detach(w.second),
        lambda: ses.attach(w.second),
    ]
    for step in steps:
        if w.attempt(lambda step=step: step() or True) is None:
            with contextlib.suppress(JetError):
                ses.rollback(K.JET_bitRollbackAll)
            return


def judge_second(w, ses):
    """All that was acknowledged is there, indexes agree. Called while an instance runs; the file is checked after its end."""
    dbid = ses.open(w.second)
    if "s" not in ses.tables(dbid):
        assert w.rows == 0, f"the table of {w.rows} rows is gone"
        return
    with ses.table(dbid, "s") as t:
        rows = {r["id"]: (r["k"], r["v"]) for r in t.all()} if len(t.columns) == 3 else {}
        assert sorted(rows) == list(range(len(rows))) and w.rows <= len(rows), f"{w.rows} rows were acknowledged, {len(rows)} are there"
        assert all(rows[i] == (i * 7 % 31, bytes([i % 251]) * (2500 if i % 4 == 0 else 60)) for i in rows), "a row is not what it was"
        for index in t.indexes():
            assert {r["id"] for r in t.all(index=index)} == set(rows), f"index {index} disagrees"


# ---- others copy: external backup, snapshot ----


def act_external(w):
    """As a backup program does it: databases, logs, truncation; every file through JetReadFile."""
    ses = w.open()
    if ses is None:
        return
    w.work(ses, 3)
    logs, begun, inst = generations(w.data), len(w.lines), w.inst
    memory = mmap.mmap(-1, 64 << 12)
    at = C.addressof((C.c_char * (64 << 12)).from_buffer(memory))

    def listed(name):
        room, actual = C.create_string_buffer(8192), u32()
        cjet.call(name, inst.handle, room, u32(8192), C.byref(actual))
        return [os.fsdecode(part) for part in room.raw[: actual.value].split(b"\0") if part]

    def copy(path):
        handle, low, high, parts, actual = u64(), u32(), u32(), [], u32(1)
        cjet.call("JetOpenFileInstanceA", inst.handle, os.fsencode(path), C.byref(handle), C.byref(low), C.byref(high))
        try:
            while actual.value:
                cjet.call("JetReadFileInstance", inst.handle, handle, C.c_void_p(at), u32(64 << 12), C.byref(actual))
                parts.append(memory[: actual.value])
        finally:
            cjet.lib.JetCloseFileInstance(inst.handle, handle)
        (w.place / "sets" / "plain" / os.path.basename(path)).write_bytes(b"".join(parts))

    def whole():
        for path in listed("JetGetAttachInfoInstanceA"):
            copy(path)
        for path in listed("JetGetLogInfoInstanceA"):
            copy(path)
        copied.append(True)
        cjet.call("JetTruncateLogInstance", inst.handle)
        return True

    copied = []
    (w.place / "sets" / "plain").mkdir()
    if w.attempt(lambda: cjet.call("JetBeginExternalBackupInstance", inst.handle, u32(0)) or True):
        done = w.attempt(whole)
        if done:
            ended = w.attempt(lambda: cjet.call("JetEndExternalBackupInstance2", inst.handle, u32(K.JET_bitBackupEndNormal)) or True)
        else:  # an error of a log has ended it already
            cjet.lib.JetEndExternalBackupInstance2(inst.handle, u32(K.JET_bitBackupEndAbort))
        w.lost = sorted(logs - generations(w.data))
        # a truncation that fails half-way has deleted logs, all of them copied: what is copied must restore then
        assert copied or not w.lost, f"a backup that failed has deleted {w.lost}"
        if done and ended or w.lost:
            w.complete["plain"] = begun
    w.work(ses, 3)


def act_snapshot(w):
    """Frozen, the files copied by another hand, thawed: the copy recovers to what was acknowledged before the freeze."""
    ses = w.open()
    if ses is None:
        return
    w.work(ses, 4)
    snapid, n, infos = u64(), u32(), C.c_void_p()
    if w.attempt(lambda: cjet.call("JetOSSnapshotPrepare", C.byref(snapid), u32(0)) or True):
        if w.attempt(lambda: cjet.call("JetOSSnapshotFreezeA", snapid, C.byref(n), C.byref(infos), u32(0)) or True):
            cjet.lib.JetFreeBuffer(infos)
            shutil.copytree(w.data, w.place / "frozen")
            w.frozen = len(w.lines)
            w.attempt(lambda: cjet.call("JetOSSnapshotThaw", snapid, u32(0)) or True)
        else:
            cjet.lib.JetOSSnapshotAbort(snapid, u32(0))
    w.work(ses, 4)


class Scenario:
    def __init__(self, prepare, act, before=None, had=(), cache=200):
        self.prepare, self.act, self.before, self.had, self.cache = prepare, act, before, had, cache


def open_and_work(w):
    ses = w.open()
    w.work(ses, 6)


def much_work(w):
    """A bank of several times 64 pages."""
    make_bank(w)
    some_work_of(w, 30, {"insert": 3, "many": 2}, 9000)


SCENARIOS = {
    "create": Scenario(lambda w: None, act_create),
    "load": Scenario(make_bank, act_load),
    "commit": Scenario(make_bank, act_commit),
    "checkpoint": Scenario(make_bank, act_checkpoint),
    "term": Scenario(make_bank, act_term, open_and_work),
    "init after a kill": Scenario(prepare_dirty, act_init),
    "backup": Scenario(make_bank, lambda w: back_up(w, "backup")),
    "wiping": Scenario(make_bank, back_up_and_wipe),
    "incremental": Scenario(prepare_set("backup"), lambda w: back_up(w, "incremental"), had=("plain",)),
    "atomic": Scenario(prepare_set("atomic"), lambda w: back_up(w, "atomic"), had=("atomic",)),
    "restore": Scenario(prepare_set("backup"), act_restore, had=("plain",)),
    "small cache": Scenario(much_work, act_commit, cache=64),
    "second database": Scenario(make_bank, act_second),
    "external": Scenario(make_bank, act_external),
    "snapshot": Scenario(make_bank, act_snapshot),
}


def point(report, place, name, lines, seed, kind, after, count):
    """In a fork: one fault point. {"hits", "errors"}; raises what is wrong."""
    scenario, fault = SCENARIOS[name], Fault(kind, after, count)
    w = World(place, fault, f"{seed}/{name}")
    w.lines, w.created, w.complete, w.restored = [list(line) for line in lines], w.path.exists(), dict.fromkeys(scenario.had, len(lines)), None
    w.cache = scenario.cache
    live = cjet.lib.walk_live()
    if scenario.before:
        scenario.before(w)
        assert not w.errors, w.errors
    with fault.armed(str(w.place)):
        scenario.act(w)
    verdict_of_errors(w, fault)
    gone = w.goes_on()
    assert not gone or fault.stops(), f"{fault.kind} is no reason to stop the instance (errors {w.errors})"
    if fault.hits and fault.kind in FATAL:
        assert gone or w.errors, f"{fault.kind}, and nobody was told"
        assert gone or not w.created or w.inst is None or not w.inst.running, f"{fault.kind}, and the instance works on"  # a bank that was never made is removed
    met, ran = len(w.errors), w.inst is not None and w.inst.running
    w.end()
    assert w.errors[met:] == [] or gone or set(w.errors[met:]) <= GONE and fault.stops(), f"the fault is over, and the end gives {w.errors[met:]}"
    assert not gone or not ran or w.errors[-1] in GONE, f"the end of an instance that is unavailable does not say so: {w.errors}"
    errors, left = w.errors, cjet.lib.walk_live() - live
    verdict_after(w)
    assert left == 0, f"{left} allocations left, errors {errors}"
    return {"hits": fault.hits, "errors": errors}


def verdict_of_errors(w, fault):
    wrong = [name for name in w.errors if name not in fault.allowed]
    assert not wrong, f"{fault.kind} made {wrong} (all: {w.errors})"
    if fault.hits == 0:
        assert not w.errors, f"no fault, and yet {w.errors}"
    after = [i for i, name in enumerate(w.errors) if name in GONE]
    assert not after or set(w.errors[after[0] :]) <= GONE | {"JET_errTermInProgress"}, f"unavailable, and then not: {w.errors}"


def verdict_after(w):
    """Without faults: what a new instance finds."""
    w.errors = []
    if w.created:
        ses = w.open()
        assert ses is not None, f"the restart fails: {w.errors}"
        state = bank.read_state(ses, ses.open(w.path, attach=False))
        if w.rows is not None:
            judge_second(w, ses)
        w.end()
        assert not w.errors, f"the end after a restart fails: {w.errors}"
        w.model.lines = w.lines
        w.model.check(state)
        judge.sound(w.path)
        if w.rows is not None:
            judge.sound(w.second)
    elif w.data.exists():
        w.attempt(w.instance) and w.attempt(w.inst.init)
        w.end()
        assert not w.errors, f"the restart fails: {w.errors}"
    for name, begun in w.complete.items():
        of_set = bank.read_set(w.place / "sets" / name, w.place / "again")
        w.model.lines = w.lines
        w.model.check(of_set, begun, None, f"the set {name} (logs {w.lost} were deleted)")
    if w.restored:
        judge.sound(w.restored)
    if w.frozen is not None:
        judge_frozen(w)


def judge_frozen(w):
    """The files as they were while frozen, in the place of the others: what was acknowledged then, no more than was asked for."""
    shutil.rmtree(w.data)
    shutil.copytree(w.place / "frozen", w.data)
    ses = w.open()
    assert ses is not None, f"the frozen copy does not start: {w.errors}"
    state = bank.read_state(ses, ses.open(w.path, attach=False))
    w.end()
    w.model.lines = w.lines[: w.frozen]
    w.model.check(state)
    judge.sound(w.path)


# ---- the walk ----


def prepared(report, place, seed, name):
    w = World(place, None, f"{seed}/{name}/before")
    (w.place / "sets").mkdir(parents=True)
    w.data.mkdir()
    SCENARIOS[name].prepare(w)
    return w.lines


def warm_up(place):
    """What a process allocates once and keeps, before the points count what is left."""
    w = World(place, None, 0)
    w.data.mkdir(parents=True)
    make_bank(w)
    with contextlib.suppress(JetError):
        cjet.restore(w.place / "no set", w.place / "no", w.place / "work")
    shutil.rmtree(place)


def walk(report, place, seed, name, kind, count, first, every, most):
    """In a child: all points of a scenario and a kind. {"points": n, "errors": {name: times}}"""
    place, totals, points = pathlib.Path(place), collections.Counter(), 0
    template = pathlib.Path(f"{place}-template")
    shutil.rmtree(place, ignore_errors=True)
    warm_up(place)
    lines = run(prepared, str(place), seed, name)
    shutil.copytree(place, template)
    after = first
    while most is None or points < most:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        report(["AT", after])
        found = run(point, str(place), name, lines, seed, kind, after, count, timeout=PATIENCE)
        if found["hits"] == 0:
            break
        points += 1
        totals.update(set(found["errors"]) or {"unnoticed"})
        after += every
    return {"points": points, "errors": totals}


def play(place, seed, names=SCENARIOS, kinds=KINDS, first=0, every=1, most=None, jobs=1, forever=True, say=lambda text: None):
    """{"points": n, ...}; raises AssertionError with the first point that failed, after all others."""
    place, totals, failed = pathlib.Path(place), collections.Counter(), []
    waiting = [(name, kind, count) for name in names for kind in kinds
               for count in ((1, FOREVER) if forever and kind not in UNSEEN else (1,))]  # fmt: skip
    rng, running = random.Random(seed), []
    while waiting or running:
        while waiting and len(running) < jobs:
            name, kind, count = waiting.pop(0)
            start = first + (rng.randrange(every) if every > 1 else 0)
            folder = place / f"{len(waiting)}"
            running.append((name, kind, count, folder, Child(walk, str(folder), seed, name, kind, count, start, every, most)))
        name, kind, count, folder, child = running.pop(0)
        often = "once" if count == 1 else "for ever"
        try:
            found = child.join(7200)
        except ChildFailed as e:
            at = child.lines[-1][1] if child.lines else None
            failed.append(f"{name}, {kind} {often}, call {at}, seed {seed}, left in {folder}:\n{e}")
            say(f"FAILED {failed[-1]}")
            continue
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(f"{folder}-template", ignore_errors=True)
        totals["points"] += found["points"]
        totals[f"scenario {name}"] += found["points"]
        totals[f"kind {kind}"] += found["points"]
        for error, n in found["errors"].items():
            totals[f"error {error}"] += n
        say(f"{name:18} {kind:16} {often:9} {found['points']:5} points")
    assert not failed, f"{len(failed)} walks failed; the first: {failed[0]}"
    return totals


def main():
    parser = walks.parser(__doc__, "call")
    parser.add_argument("--kind", help="part of a kind's name")
    parser.add_argument("--but", help="not the kinds with this in their names")
    args = parser.parse_args()
    place = memory.folder("faultwalk-")
    names = [n for n in SCENARIOS if args.only is None or args.only in n]
    kinds = [k for k in KINDS if (args.kind is None or args.kind in k) and (args.but is None or args.but not in k)]
    print(f"seed {args.seed}, {len(names)} scenarios, {len(kinds)} kinds, in {place}", flush=True)
    totals = play(place, args.seed, names, kinds, args.first, args.every, args.count, args.jobs, say=lambda text: print(text, flush=True))
    walks.show(totals)
    if args.log:
        walks.note(args.seed, len(names), len(kinds), totals["points"])
    print(f"{totals['points']} fault points, seed {args.seed}: nothing lost, nothing left behind")
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
