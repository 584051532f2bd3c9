"""The one rule for callbacks: slow, raising, stopping, calling back into the instance, or none; Begin ... Complete or Fail always pair."""

import pathlib
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import current, damage, INC, settled, start  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import Child  # noqa: E402
from cjet import call, K, u32  # noqa: E402
from test_priority1 import ATOMIC, BEGIN, COMPLETE, FAIL, PROGRESS, World, count, files, restored  # noqa: E402

import pyjet  # noqa: E402
from pyjet import api  # noqa: E402

ROWS = Rows()
BACKUP, RESTORE = 9, 8


def paired(heard, end):
    """(snp, snt, done): one Begin, percents that never go back, one end, nothing behind it."""
    assert heard[0][1:] == (BEGIN, 0), heard[:2]
    assert heard[-1][1] == end and [h[1] for h in heard[1:-1]] == [PROGRESS] * (len(heard) - 2)
    steps = [h[2] for h in heard if h[2] is not None]
    assert steps == sorted(steps) and all(0 <= s <= 100 for s in steps)
    assert len({h[2] for h in heard[1:-1]}) == len(heard) - 2, "a percent was told twice"
    assert end == FAIL or steps[-1] == 100


# ---- over the C API ----


@ROWS("BK-035", "BK-036", "BK-176", "every kind")
def begin_and_end_pair(place):
    w = World(place, rows=300)
    for grbit, folder in ((0, "set"), (INC, "set"), (ATOMIC, "atomic"), (ATOMIC | INC, "atomic")):
        heard = []
        w.backup(folder, grbit, lambda s, snp, snt, done, total: heard.append((snp, snt, done)))
        paired(heard, COMPLETE)
        assert {h[0] for h in heard} == {BACKUP}
        w.add(60)


@ROWS("BK-040", "BK-041")
def what_a_callback_is_given(place):
    w = World(place, rows=100)
    seen = []

    def heard(sesid, snp, snt, prog):
        seen.append((sesid, prog.contents.cbStruct, prog.contents.cunitTotal, threading.get_ident()))
        return 0

    fn = cjet.STATUS_FN(heard)
    call("JetBackupInstanceA", w.inst.handle, cjet.text(w.place / "set"), u32(0), fn)
    assert seen and {s[:3] for s in seen} == {(cjet.NIL, 12, 100)} and {s[3] for s in seen} == {threading.get_ident()}


@ROWS("each way to fail")
def fail_ends_what_began(place):
    """Whatever happens between Begin and the end: exactly one Fail comes, and comes last."""
    w, _ = start(place, rows=300)
    settled(w)

    def attempt(error, grbit=0, name="set", status=None):
        heard = []

        def tell(s, snp, snt, done, total):
            heard.append((snp, snt, done))
            if status is not None and snt == PROGRESS:
                status()

        w.fails(error, w.backup, name, grbit, tell)
        paired(heard, FAIL)

    with cjet.fault("write", "set/a.edb", error=28):
        attempt("JET_errDiskFull")
    with cjet.fault("rename", "set/temp", error=5):
        attempt("JET_errDiskIO", ATOMIC)
    with cjet.fault("sync", "set/edb", error=5):
        attempt("JET_errDiskIO")
    damage(w.data / "a.edb", 50 * 4096 + 200)
    attempt("JET_errReadVerifyFailure")
    damage(w.data / "a.edb", 50 * 4096 + 200)
    attempt("JET_errBackupAbortByServer", status=lambda: call("JetStopBackupInstance", w.inst.handle))
    call("PyjetResumeBackupInstance", w.inst.handle)
    w.backup()
    w.add(80)
    damage(w.data / f"edb{w.logs()[-1]:05X}.log", 4096 + 200)
    attempt("JET_errLogReadVerifyFailure", INC)


@ROWS("no begin, no end")
def nothing_is_told_of_what_did_not_begin(place):
    w = World(place)
    heard = []
    (w.place / "full").mkdir()
    (w.place / "full" / "x").write_text("")
    for error, name, grbit in (
        ("JET_errMissingFullBackup", "set", INC), ("JET_errInvalidGrbit", "set", 0x100), ("JET_errBackupDirectoryNotEmpty", "full", 0),
    ):  # fmt: skip
        w.fails(error, w.backup, name, grbit, lambda *a: heard.append(a))
    assert heard == []


@ROWS("BK-039", "values")
def its_value_is_ignored(place):
    w = World(place, rows=100)
    for value in (-1, -2147483648, 2147483647, cjet.ERR["JET_errCallbackFailed"]):
        fn = cjet.STATUS_FN(lambda s, a, b, p, value=value: value)
        assert cjet.lib.JetBackupInstanceA(w.inst.handle, cjet.text(w.place / f"set{value}"), u32(0), fn) == 0


@ROWS("locks")
def a_callback_sees_no_lock(place):
    """It reads, writes, commits, makes tables, sessions and databases' lists, and asks for a second backup, all from inside."""
    w = World(place, rows=120)
    done = []

    def inside(s, snp, snt, percent, total):
        with w.inst.session() as ses:
            dbid = ses.open(w.data / "a.edb", attach=False)
            with ses.transaction():
                with ses.table(dbid, "t") as t:
                    t.insert(id=1000 + len(done), v=b"x" * 100)
            if len(done) < 3:
                ses.create_table(dbid, f"made{len(done)}", {"a": (K.JET_coltypLong,)})
        if snt != COMPLETE:  # that one comes when all is over
            w.fails("JET_errBackupInProgress", w.backup, "second")
            w.fails("JET_errBackupInProgress", w.ses.create, w.data / "no.edb")
            w.fails("JET_errBackupInProgress", w.ses.detach, w.data / "a.edb")
        w.inst.stats()
        done.append(snt)

    w.backup("set", 0, inside)
    assert done[0] == BEGIN and done[-1] == COMPLETE
    with cjet.Reader(cjet.restore(w.place / "set", w.place / "r")[1][0]) as r, r.table(r.dbid, "t") as t:
        told_before_the_roll = [row["id"] for row in t.all() if row["id"] >= 1000]
    assert told_before_the_roll and told_before_the_roll == list(range(1000, 1000 + len(told_before_the_roll)))


@ROWS("slow")
def a_slow_callback_holds_nobody_up(place):
    w = World(place, rows=120)
    slept = []

    def slow(s, snp, snt, percent, total):
        if snt == BEGIN:
            began = time.monotonic()
            with w.inst.session() as ses, ses.table(ses.open(w.data / "a.edb", attach=False), "t") as t:
                n = 0
                while time.monotonic() - began < 0.5:
                    with ses.transaction():
                        t.insert(id=1000 + n, v=b"")
                    n += 1
            slept.append(n)

    w.backup("set", 0, slow)
    assert slept[0] > 20


@ROWS("BK-315", "BK-348", "pairs")
def restore_and_recovery_pair_too(place):
    w = World(place, rows=200)
    w.backup()
    w.inst.term()
    (w.place / "to").mkdir()
    heard = []
    inst = cjet.Instance(w.place / "logs", log_kib=64)
    inst.restore(w.place / "set", w.place / "to", lambda snp, snt, done: heard.append((snp, snt, done)) or 0)
    paired(heard, COMPLETE)
    assert {h[0] for h in heard} == {RESTORE} and count(w.place / "to" / "a.edb") == 200
    heard.clear()
    (w.place / "bad").mkdir()
    with cjet.fault("write", "bad/a.edb", after=1, error=28):
        inst = cjet.Instance(w.place / "logs2", log_kib=64)
        w.fails(
            "JET_errDiskFull", inst.restore, w.place / "set", w.place / "bad",
            lambda snp, snt, done: heard.append((snp, snt, done)) or 0,
        )  # fmt: skip
    paired(heard, FAIL)


# ---- from Python ----


def raw_instance(folder, name="callbacks"):
    inst = api.JetCreateInstance(f"{name} {folder}")
    for param in (api.JET_paramSystemPath, api.JET_paramLogFilePath, api.JET_paramTempPath):
        api.JetSetSystemParameter(inst, None, param, text=f"{folder}/")
    api.JetSetSystemParameter(inst, None, api.JET_paramCreatePathIfNotExist, 1)
    return inst


@pytest.fixture
def live(memory_path):
    """(instance, session, table) under ESE's names, some MiB of rows."""
    inst = raw_instance(memory_path / "d")
    api.JetInit(inst)
    ses = api.JetBeginSession(inst)
    dbid = api.JetCreateDatabase(ses, memory_path / "d" / "a.edb")
    table = api.JetCreateTable(ses, dbid, "t")
    column = api.JetAddColumn(ses, table, ("c", api.JET_coltypLongBinary, 0, 0, 0, None))
    api.JetBeginTransaction(ses)
    for n in range(400):
        api.JetPrepareUpdate(ses, table, api.JET_prepInsert)
        api.JetSetColumn(ses, table, column, bytes([n % 256]) * 7000)
        api.JetUpdate(ses, table)
    api.JetCommitTransaction(ses)
    yield inst
    api.JetTerm(inst)


def test_names_and_order_of_arguments(live, memory_path):
    """BK-003, BK-008, BK-007: (instance, destination, grbit, status_callback), None as the result; what the callback is given."""
    assert api.JetBackupInstance.__code__.co_varnames[:4] == ("instance", "destination", "grbit", "status_callback")
    seen = []
    assert api.JetBackupInstance(live, memory_path / "set", 0, lambda *a: seen.append(a)) is None
    assert {a[1] for a in seen} == {api.JET_snpBackup} and {len(a) for a in seen} == {4}
    data = seen[0][3]
    assert (data.cunitDone, data.cunitTotal) == (0, 100)
    with pytest.raises((AttributeError, TypeError)):
        data.cunitDone = 5
    assert api.JetBackupInstance(live, memory_path / "set2", 0, None) is None


def test_options_combine(live, memory_path):
    """BK-006: the options as members of an enumeration or as ints, one by one and together."""
    import enum

    class BackupGrbit(enum.IntFlag):
        Atomic = api.JET_bitBackupAtomic
        Incremental = api.JET_bitBackupIncremental

    for kind in (int, BackupGrbit):
        place = memory_path / kind.__name__
        api.JetBackupInstance(live, place / "plain", kind(0), None)
        api.JetBackupInstance(live, place / "plain", kind(1), None)
        api.JetBackupInstance(live, place / "atomic", kind(4), None)
        assert [p.name for p in (place / "atomic").iterdir()] == ["new"]
        api.JetBackupInstance(live, place / "atomic", kind(5), None)
        assert [p.name for p in (place / "atomic").iterdir()] == ["old"]
        assert pyjet.restore(place / "plain", place / "r1").databases and pyjet.restore(place / "atomic", place / "r2").databases


@pytest.mark.parametrize("phase", ("begin", "progress", "complete"))
def test_an_exception_ends_this_run(live, memory_path, phase):
    """BK-009: its files are removed, nothing is truncated or stamped, the exception reaches the caller, the next run succeeds."""
    number = {"begin": BEGIN, "progress": PROGRESS, "complete": COMPLETE}[phase]
    api.JetBackupInstance(live, memory_path / "older", 0, None)
    header = (memory_path / "d" / "a.edb").read_bytes()[136:484]
    logs = {p.name for p in (memory_path / "d").glob("edb0*.log")}
    told = []

    def bad(sesid, snp, snt, data):
        told.append(snt)
        if snt == number:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        api.JetBackupInstance(live, memory_path / "set", 0, bad)
    assert logs <= {p.name for p in (memory_path / "d").glob("edb0*.log")}
    if phase != "complete":  # told after all was done: the set is whole then
        assert not files(memory_path / "set") and (memory_path / "d" / "a.edb").read_bytes()[136:484] == header
    else:
        assert told[-1] == COMPLETE and pyjet.restore(memory_path / "set", memory_path / "back").databases
    api.JetBackupInstance(live, memory_path / "again", 0, lambda *a: None)
    assert pyjet.restore(memory_path / "again", memory_path / "r").databases


def test_an_exception_and_a_failure(live, memory_path):
    """BK-010: the callback's exception is raised, and carries the run's own error as its context."""
    (memory_path / "set").mkdir()

    def bad(sesid, snp, snt, data):
        if snt == api.JET_sntFail:
            raise ValueError("mine")

    with cjet.fault("write", "set/a.edb", error=28), pytest.raises(ValueError, match="mine") as caught:
        api.JetBackupInstance(live, memory_path / "set", 0, bad)
    assert isinstance(caught.value.__context__, pyjet.DiskFullError), repr(caught.value.__context__)


def test_others_run_meanwhile(live, memory_path):
    """BK-011: the interpreter's lock is free during the call, and held in the callback."""
    turns, over = [0], threading.Event()

    def count_on():
        while not over.is_set():
            turns[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count_on)
    thread.start()
    time.sleep(0.02)
    seen = []
    cjet.set_fault("write", "set/a.edb", count=3, delay_ms=100)
    try:
        before = turns[0]
        api.JetBackupInstance(live, memory_path / "set", 0, lambda *a: seen.append(turns[0]))
        during = turns[0] - before
    finally:
        cjet.set_fault()
        over.set()
        thread.join()
    assert seen and during > 100  # none at all while the lock is held; thousands when nothing else runs on the machine


def test_each_public_error_has_its_class():
    """BK-012: distinct classes below JetError, the number in .code."""
    names = {"NoBackup": -520, "BackupInProgress": -505, "MissingFullBackup": -560, "BackupAbortByServer": -801}
    classes = {}
    for name, code in names.items():
        cls = getattr(pyjet, f"{name}Error")
        assert issubclass(cls, pyjet.JetError) and cls.code == code
        classes[name] = cls
    assert len(set(classes.values())) == len(names)
    public = {code for name, code in cjet.ERR.items() if name.startswith("JET_err") and code < 0}
    of_classes = {}

    def visit(cls):
        for sub in cls.__subclasses__():
            if isinstance(getattr(sub, "code", None), int):
                of_classes.setdefault(sub.code, sub)
            visit(sub)

    visit(pyjet.JetError)
    missing = public - set(of_classes)
    assert not missing, sorted(missing)[:10]


def test_restore_needs_a_source(memory_path):
    """BK-013: None as the source is a mistake of the caller's, and nothing happens."""
    inst = raw_instance(memory_path / "r", "restorer")
    with pytest.raises((TypeError, ValueError, pyjet.InvalidParameterError)):
        api.JetRestoreInstance(inst, None, None, None)
    assert not (memory_path / "r").exists()
    api.JetTerm(inst)


def test_backup_and_restore_with_callbacks(memory_path):
    """BK-014, BK-015: a record written before the backup is found after the restore; snp tells which of both is running."""
    inst = raw_instance(memory_path / "d")
    api.JetInit(inst)
    ses = api.JetBeginSession(inst)
    dbid = api.JetCreateDatabase(ses, memory_path / "d" / "a.edb")
    table = api.JetCreateTable(ses, dbid, "t")
    column = api.JetAddColumn(ses, table, ("c", api.JET_coltypLong, 0, 0, 0, None))
    api.JetBeginTransaction(ses)
    api.JetPrepareUpdate(ses, table, api.JET_prepInsert)
    api.JetSetColumn(ses, table, column, b"\x07\0\0\0")
    api.JetUpdate(ses, table)
    api.JetCommitTransaction(ses)
    backup, restore = [], []
    api.JetBackupInstance(inst, memory_path / "set", 0, lambda *a: backup.append(a[1:3]))
    api.JetTerm(inst)
    inst = raw_instance(memory_path / "d", "again")
    api.JetRestoreInstance(inst, memory_path / "set", None, lambda *a: restore.append(a[1:3]))
    for told, snp in ((backup, 9), (restore, 8)):
        assert {t[0] for t in told} == {snp} and told[0][1] == BEGIN and told[-1][1] == COMPLETE
    api.JetInit(inst)
    ses = api.JetBeginSession(inst)
    api.JetAttachDatabase(ses, memory_path / "d" / "a.edb")
    dbid = api.JetOpenDatabase(ses, memory_path / "d" / "a.edb")
    table = api.JetOpenTable(ses, dbid, "t")
    api.JetMove(ses, table, api.JET_MoveFirst)
    assert api.JetRetrieveColumn(ses, table, column) == b"\x07\0\0\0"
    api.JetTerm(inst)


def test_friendly_layer_pairs_too(memory_path):
    """BK-037: phases and bytes of the friendly layer, full and incremental, ended well or not."""
    with pyjet.Instance(memory_path / "d", log_file_size=1 << 18) as inst, inst.session() as ses:
        t = ses.create(memory_path / "d" / "a.edb").create_table("t", {"v": pyjet.LongBinary()})
        t.insert_many({"v": bytes(9000)} for _ in range(300))
        for incremental in (False, True):
            steps = []
            inst.backup(memory_path / "set", incremental=incremental, progress=steps.append)
            assert [s.phase for s in steps] == ["begin"] + ["progress"] * (len(steps) - 2) + ["complete"]
            assert [s.done for s in steps] == sorted(s.done for s in steps)
            assert all(0 <= s.percent <= 100 for s in steps)
        steps = []
        with cjet.fault("write", "set2/a.edb", error=28), pytest.raises(pyjet.DiskFullError):
            inst.backup(memory_path / "set2", progress=steps.append)
        assert [s.phase for s in steps][0] == "begin" and [s.phase for s in steps][-1] == "fail"


def test_stop_from_inside(memory_path):
    """BK-277: stop_backup() in the callback ends this run and refuses later ones until resume_backup()."""
    with pyjet.Instance(memory_path / "d") as inst, inst.session() as ses:
        ses.create(memory_path / "d" / "a.edb")
        with pytest.raises(pyjet.BackupAbortByServerError):
            inst.backup(memory_path / "set", progress=lambda step: inst.stop_backup())
        with pytest.raises(pyjet.BackupAbortByServerError):
            inst.backup(memory_path / "set")
        assert not files(memory_path / "set")
        inst.resume_backup()
        inst.backup(memory_path / "set")
