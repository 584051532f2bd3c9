"""Rows of the behaviours for JetBackupInstance over the C API: arguments, order of errors, folders, what goes into a set."""

import os
import pathlib
import re
import shutil
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import (  # noqa: E402
    ABORT, bkinfo, current, damage, INC, many_logs, NONE, PAGE, settled, SMALL_DEPTH, start,
)
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from cjet import ERR, K, call, text, u32, u64  # noqa: E402
from test_priority1 import ATOMIC, TABLE, World, count, files, restored  # noqa: E402

ROWS = Rows()


def listing(folder):
    """Everything below a folder: {relative path: bytes, or None for a folder}."""
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


# ---- no path ----


@ROWS("BK-021")
def circular_logging_deletes_by_itself(place):
    w = World(place, circular=True, params=SMALL_DEPTH)
    w.add(100)
    with cjet.Events() as events:
        assert w.backup(None) == 0
    assert 225 in events.ids() and 224 not in events.ids()


@ROWS("BK-022", "BK-023", "BK-024")
def no_path_is_silent(place):
    for path in (None, ""):
        w = World(pathlib.Path(place) / f"w{path}", params=SMALL_DEPTH)
        w.backup()
        many_logs(w)
        before, at, logs = bkinfo(w), current(w), w.logs()
        checkpoint = w.inst.stats().checkpoint >> 32
        there = set(w.place.iterdir())
        heard = []
        if path is None:
            assert w.inst.jet_backup(None, 0, lambda *a: heard.append(a)) == 0
        else:
            fn = cjet.STATUS_FN(lambda *a: heard.append(a) or 0)
            assert cjet.lib.JetBackupInstanceA(w.inst.handle, b"", u32(0), fn) == 0
        assert heard == [] and current(w) == at and bkinfo(w) == before
        assert set(w.place.iterdir()) == there
        assert w.logs() != logs and w.logs()[0] >= checkpoint
        w.inst.term()


# ---- arguments ----


@ROWS("BK-034")
def bits_of_other_calls(place):
    w = World(place)
    for bit in (0x2, 0x8, 0x20, K.JET_bitInternalCopy):  # KeepOldLogs, FullWithAllLogs, Surrogate: not for callers
        for path in ("set", None):
            w.fails("JET_errInvalidGrbit", w.backup, path, bit)
    assert not (w.place / "set").exists()


@ROWS("BK-057")
def a_path_that_is_too_long(place):
    w = World(place)
    room = K.JET_cbFullNameMost - len(str(w.place)) - 2  # with the separator that follows a folder's name
    fits = "x" * 100 + "/" + "y" * (room - 101)
    assert len(str(w.place / fits) + "/") == K.JET_cbFullNameMost == 255
    w.fails("JET_errInvalidPath", w.backup, fits + "z")
    assert set(os.listdir(w.place)) == {"data"}
    assert w.backup(fits) == 0
    assert "a.edb" in files(w.place / fits)


@ROWS("BK-058")
def a_path_that_is_a_file(place):
    w = World(place)
    (w.place / "set").write_text("mine")
    for grbit in (0, ATOMIC, INC, ATOMIC | INC):
        w.fails("JET_errInvalidPath", w.backup, "set", grbit)
    assert (w.place / "set").read_text() == "mine"


@ROWS("BK-070")
def which_error_comes_first(place):
    """Each fault is taken away in its turn, and the next one shows."""
    w = World(place, circular=True)
    path, bad = text(w.place / "missing"), u32(0x100)
    cjet.set_param(w.inst.handle, K.JET_paramCreatePathIfNotExist, 0)

    def result(handle, grbit, where):
        return cjet.lib.JetBackupInstanceA(handle, where, grbit, None)

    def poison():
        with cjet.fault("write", "edb.log", error=5):
            try:
                w.add(5)
            except cjet.JetError:
                pass

    long = text(w.place / ("x" * 300))
    assert result(u64(cjet.NIL), bad, long) == ERR["JET_errInvalidParameter"]
    fresh = cjet.Instance(w.place / "fresh")
    assert result(fresh.handle, bad, long) == ERR["JET_errNotInitialized"]
    assert result(w.inst.handle, bad, long) == ERR["JET_errInvalidGrbit"]
    assert result(w.inst.handle, u32(INC), long) == ERR["JET_errInvalidPath"]
    assert result(w.inst.handle, u32(INC), path) == ERR["JET_errInvalidBackup"]
    assert result(w.inst.handle, u32(0), path) == ERR["JET_errInvalidPath"]
    call("JetBeginExternalBackupInstance", w.inst.handle, u32(0))
    assert result(w.inst.handle, u32(0), path) == ERR["JET_errInvalidPath"]
    cjet.set_param(w.inst.handle, K.JET_paramCreatePathIfNotExist, 1)
    assert result(w.inst.handle, u32(0), path) == ERR["JET_errBackupInProgress"]
    call("JetEndExternalBackupInstance2", w.inst.handle, u32(ABORT))
    poison()
    assert result(w.inst.handle, bad, long) == ERR["JET_errLogWriteFail"]
    call("JetStopServiceInstance", w.inst.handle)
    assert result(w.inst.handle, bad, long) == ERR["JET_errClientRequestToStopJetService"]


@ROWS("BK-070", "in progress before missing full")
def in_progress_comes_before_missing_full(place):
    w = World(place)
    call("JetBeginExternalBackupInstance", w.inst.handle, u32(0))
    w.fails("JET_errBackupInProgress", w.backup, "set", INC)
    call("JetEndExternalBackupInstance2", w.inst.handle, u32(ABORT))
    w.fails("JET_errMissingFullBackup", w.backup, "set", INC)


# ---- the state of the instance ----


def crashed(report, place):
    World(place, rows=120)
    os._exit(0)


@ROWS("BK-048")
def while_recovery_runs(place):
    from child import Child

    child = Child(crashed, place)
    assert child.finish() == 0
    inst = cjet.Instance(pathlib.Path(place) / "data", log_kib=64)
    reached, go_on, seen = threading.Event(), threading.Event(), []

    def told(*_):
        reached.set()
        assert go_on.wait(20)
        return 0

    def initialise():
        fn = cjet.PROGRESS_FN(told)
        seen.append(cjet.lib.PyjetInit(cjet.C.byref(inst.handle), u32(0), fn, None, None))

    thread = threading.Thread(target=initialise)
    thread.start()
    assert reached.wait(20), "recovery told nothing"
    path = text(pathlib.Path(place) / "set")
    assert cjet.lib.JetBackupInstanceA(inst.handle, path, u32(0), None) == ERR["JET_errBackupNotAllowedYet"]
    assert cjet.lib.JetBeginExternalBackupInstance(inst.handle, u32(0)) == ERR["JET_errBackupNotAllowedYet"]
    assert not (pathlib.Path(place) / "set").exists()
    go_on.set()
    thread.join()
    assert seen == [0]
    assert cjet.lib.JetBackupInstanceA(inst.handle, path, u32(0), None) == 0
    call("JetTerm2", inst.handle, u32(1))


@ROWS("BK-050")
def after_a_page_could_not_be_written(place):
    """A write of the database that fails for good makes the instance unavailable; what is on disk stays recoverable."""
    w = World(place, params=SMALL_DEPTH)
    with cjet.fault("write", "a.edb", error=5):
        until = time.monotonic() + 20
        while True:
            err = cjet.lib.JetBackupInstanceA(w.inst.handle, text(w.place / "set"), u32(0), None)
            if err == ERR["JET_errInstanceUnavailable"]:
                break
            shutil.rmtree(w.place / "set", ignore_errors=True)
            assert time.monotonic() < until, f"still {err}"
            try:
                w.add(40)
            except cjet.JetError:
                pass
    assert not (w.place / "set").exists()
    e = w.fails("JET_errInstanceUnavailable", w.backup)
    assert "initialise" in e.detail


@ROWS("BK-063")
def after_the_log_could_not_be_written(place):
    w = World(place)
    with cjet.fault("write", "edb.log", error=5):
        must_fail(w)
    for grbit in (0, ATOMIC):
        e = w.fails("JET_errLogWriteFail", w.backup, "set", grbit)
        assert "terminate" in e.detail
    assert not (w.place / "set").exists()


def must_fail(w):
    try:
        w.add(5)
    except cjet.JetError:
        return
    raise AssertionError("the log was written after all")


# ---- the folder ----


@ROWS("BK-084", "BK-132")
def a_full_destination(place):
    """Everything is as before, and the same call succeeds when there is room again."""
    w = World(place, rows=200)
    w.backup("older")
    older, before, logs = listing(w.place / "older"), bkinfo(w), w.logs()
    (w.place / "set").mkdir()
    for after in (0, 1):
        with cjet.fault("write", "set/", after=after, error=28):
            e = w.fails("JET_errDiskFull", w.backup)
            assert e.hint
        assert listing(w.place / "set") == {} and bkinfo(w) == before
        assert set(logs) <= set(w.logs()) and listing(w.place / "older") == older
    w.add(5)
    w.backup()
    assert restored(w) == 205


@ROWS("BK-096")
def even_a_hidden_file_or_a_folder(place):
    w = World(place)
    for make in (lambda p: p.mkdir(), lambda p: p.write_text("")):
        (w.place / "set").mkdir()
        make(w.place / "set" / ".mine")
        w.fails("JET_errBackupDirectoryNotEmpty", w.backup)
        assert os.listdir(w.place / "set") == [".mine"]
        shutil.rmtree(w.place / "set")


@ROWS("BK-121")
def two_databases_of_one_name(place):
    w = World(place)
    other = w.place / "elsewhere"
    other.mkdir()
    w.ses.create(other / "a.edb")
    with cjet.Events() as events:
        e = w.fails("JET_errFileAlreadyExists", w.backup)
    assert e.hint and 214 in events.ids()
    assert files(w.place / "set") == []


@ROWS("BK-123")
def no_temporary_database(place):
    w = World(place)
    before = files(w.data)
    w.backup()
    allowed = re.compile(r"a\.edb|a\.pat|edb[0-9A-F]{5}\.log")
    assert all(allowed.fullmatch(name) for name in files(w.place / "set")), files(w.place / "set")
    assert not [name for name in before if name.startswith("tmp")]


@ROWS("BK-124")
def no_database_at_all(place):
    inst = cjet.Instance(pathlib.Path(place) / "data", log_kib=64)
    inst.init()
    assert inst.jet_backup(pathlib.Path(place) / "set") == 0
    assert files(pathlib.Path(place) / "set") and all(name.endswith(".log") for name in files(pathlib.Path(place) / "set"))
    inst.term()


@ROWS("BK-133")
def no_marker_beside_the_live_file(place):
    w = World(place)
    w.backup()
    assert "a.pat" in files(w.place / "set") and (w.place / "set" / "a.pat").stat().st_size == 0
    assert not list(w.data.glob("*.pat"))


@ROWS("BK-141")
def without_the_markers(place):
    w = World(place)
    w.backup()
    (w.place / "set" / "a.pat").unlink()
    assert restored(w) == 60
    w.inst.term()
    bare = w.place / "bare"
    bare.mkdir()
    for p in (w.place / "set").iterdir():
        if p.suffix != ".pat":
            shutil.copy(p, bare)
    shutil.copy(w.data / "a.edb", bare / "a.edb")
    w.fails("JET_errPatchFileMissing", cjet.restore, bare, w.place / "bare-restored")


# ---- pages and logs on their way ----


@ROWS("BK-062", "BK-104")
def zeroes_are_no_damage(place):
    w = World(place)
    w.inst.term()
    size = (w.data / "a.edb").stat().st_size
    with cjet.Instance(w.data, log_kib=64) as inst, inst.session() as ses:
        ses.attach(w.data / "a.edb")
        inst.jet_backup(w.place / "set")
        logs = [p for p in (w.place / "set").glob("*.log") if not any(p.read_bytes()[-PAGE:])]
        pages = (w.data / "a.edb").read_bytes()
        zero = [at for at in range(0, size, PAGE) if not any(pages[at : at + PAGE])]
    assert logs, "every log was full to its end"
    assert zero, "no page of the file was never written"
    assert restored(w) == 60


@ROWS("BK-105")
def a_page_in_the_wrong_place(place):
    w, _ = start(place, rows=300)
    settled(w)
    path = w.data / "a.edb"
    page = path.read_bytes()[40 * PAGE : 41 * PAGE]
    assert any(page)
    with open(path, "r+b") as f:
        f.seek(60 * PAGE)
        f.write(page)
    w.fails("JET_errReadVerifyFailure", w.backup)


@ROWS("BK-106")
def a_page_that_reads_well_the_third_time(place):
    """What is on disk is bad for two reads, and good for the third."""
    w, _ = start(place, rows=300)
    settled(w)
    cjet.set_param(w.inst.handle, K.PYJET_paramBackupReadRetries, 16)
    path, at = w.data / "a.edb", 50 * PAGE + 200
    damage(path, at)
    polls = []

    def told(_, snp, snt, done, total):
        """Polled each 50 ms of the pauses of 100 and 200 ms: the third poll is between the second read and the third."""
        if snt == 0:
            polls.append(done)
            if polls == [0, 0, 0]:
                damage(path, at)
        return 0

    began = time.monotonic()
    with cjet.Events() as events:
        w.inst.backup(w.place / "set", 0, told)
    assert time.monotonic() - began >= 0.29 and polls.count(0) == 6
    retried = [e for e in events.seen if e[0] == 493]
    assert len(retried) == 1 and any("a.edb" in p for p in retried[0][2])
    assert restored(w) == 300


@ROWS("BK-107")
def retries_are_a_parameter(place):
    w, _ = start(place, rows=300)
    settled(w)
    damage(w.data / "a.edb", 50 * PAGE + 200)
    fresh = u64()
    call("JetCreateInstanceA", cjet.C.byref(fresh), b"default of the retries")
    assert cjet.get_param(fresh, K.PYJET_paramBackupReadRetries)[0] == 16
    assert sum(100 * i for i in range(1, 17)) == 13600
    for retries, pauses in ((0, 0.0), (3, 0.6)):
        cjet.set_param(w.inst.handle, K.PYJET_paramBackupReadRetries, retries)
        began = time.monotonic()
        w.fails("JET_errReadVerifyFailure", w.backup)
        assert pauses <= time.monotonic() - began < 10
    call("JetTerm2", fresh, u32(1))


@ROWS("BK-110")
def one_generation_a_backup(place):
    w = World(place)
    for i in range(3):
        before = current(w)
        w.backup(f"set{i}")
        assert current(w) == before + 1


@ROWS("BK-125")
def a_database_that_grows_meanwhile(place):
    w = World(place, rows=200)
    grown = []

    def paused(percent):
        if percent == 25:
            size = (w.data / "a.edb").stat().st_size
            w.add(400)
            grown.append((w.data / "a.edb").stat().st_size - size)

    size = (w.data / "a.edb").stat().st_size
    w.inst.pause(paused)
    w.backup()
    assert grown[0] >= 100 * PAGE
    copy = (w.place / "set" / "a.edb").stat().st_size
    assert copy == size + PAGE, (copy, size)
    assert restored(w) == 600


@ROWS("BK-126", "100 backups")
def no_torn_page(place):
    """Two writers on the same pages; each page of a hundred copies is verified by a reader of its own."""
    w = World(place, rows=120, params=SMALL_DEPTH)
    over, copying, errors = threading.Event(), threading.Event(), []

    def write(lane):
        try:
            with w.inst.session() as ses, ses.table(ses.open(w.data / "a.edb", attach=False), "t") as t:
                n = 0
                while not over.is_set():
                    copying.wait()  # what they do while pages are verified is in no copy
                    n += 1
                    with ses.transaction(K.JET_bitCommitLazyFlush):
                        assert t.seek([("id", 2 * (n % 60) + lane)])
                        t.replace(v=bytes([n % 256]) * (200 + n % 1200))
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=write, args=(lane,)) for lane in (0, 1)]
    for t in threads:
        t.start()
    try:
        for _ in range(100):
            copying.set()
            w.backup("set")
            copying.clear()
            raw = (w.place / "set" / "a.edb").read_bytes()
            for pgno, at in enumerate(range(2 * PAGE, len(raw) - PAGE, PAGE), 1):
                page = raw[at : at + PAGE]
                assert page == bytes(PAGE) or sound(page, pgno), f"page {pgno}"
            shutil.rmtree(w.place / "set")
    finally:
        over.set()
        copying.set()
        for t in threads:
            t.join()
    assert not errors, errors
    w.backup()
    assert restored(w) == 120


def sound(page, pgno):
    """The xor half of a page's checksum (first 4 bytes hold it; edb-format: every word of the page but these, and the page number)."""
    xor, bits = int.from_bytes(page[8:] + bytes(8), "little"), 8 * PAGE
    while bits > 32:  # one half upon the other
        bits //= 2
        xor = (xor >> bits) ^ (xor & ((1 << bits) - 1))
    return xor ^ pgno == int.from_bytes(page[:4], "little")


@ROWS("BK-136")
def an_attach_that_runs_is_waited_for(place):
    w = World(place)
    w.ses.create(w.place / "late.edb")
    w.ses.end()
    w.ses = w.inst.session()
    call("JetDetachDatabaseA", w.ses.id, text(w.place / "late.edb"))
    cjet.set_fault("open read", "late.edb", count=1, delay_ms=400)

    def attach():
        with w.inst.session() as ses:
            ses.attach(w.place / "late.edb")

    thread = threading.Thread(target=attach)
    thread.start()
    until = time.monotonic() + 20
    while cjet.lib.PyjetFaultHits() == 0:  # now it stands in the midst of the attach
        assert time.monotonic() < until
        time.sleep(0.001)
    w.backup()
    thread.join()
    cjet.set_fault()
    assert "late.edb" in files(w.place / "set")


@ROWS("BK-138", "BK-139")
def records_in_the_log(place):
    w = World(place, ("a.edb", "b.edb"), rows=80, params=SMALL_DEPTH)
    many_logs(w)
    w.backup("kept")
    many_logs(w)
    low = current(w)
    with cjet.fault("write", "set/a.edb", error=28):
        w.fails("JET_errDiskFull", w.backup)
    w.add(1)
    failed = phases(w, low)
    assert [p for p, *_ in failed] == [BEGIN_RECORD, ABORT_RECORD, STOP_RECORD], failed
    w.backup()
    w.add(1)
    w.inst.term()
    good = phases(w, low)[len(failed) :]
    assert [p for p, *_ in good] == [BEGIN_RECORD, PREPARE_RECORD, TRUNCATE_RECORD, UPDATE_RECORD, UPDATE_RECORD, STOP_RECORD], good
    assert sorted(dbid for p, dbid, _ in good if p == UPDATE_RECORD) == [1, 2]
    assert good[1][2], "PrepareLogs is not the first record of its generation"


BEGIN_RECORD, PREPARE_RECORD, TRUNCATE_RECORD, UPDATE_RECORD, ABORT_RECORD, STOP_RECORD = 1, 2, 3, 4, 5, 6


def phases(w, low):
    """(phase, dbid, first of its generation?) of the Backup2 records from a generation on, by their bytes: type, phase, and a type of 0."""
    found = []
    for path in sorted(w.data.glob("edb?????.log")) + [w.data / "edb.log"]:
        raw = path.read_bytes()
        if struct.unpack_from("<I", raw, 4)[0] < low:
            continue
        for m in re.finditer(rb"\x3c([\x01-\x06])\x00\x00\x00\x00[\x01\x02\x05\x06]([\x00-\x07])", raw):
            found.append((m[1][0], m[2][0], PAGE <= m.start() < 2 * PAGE and m.start() < PAGE + 64))
    return found


# ---- what may be deleted ----


@ROWS("BK-143")
def a_long_transaction_keeps_its_logs(place):
    w = World(place, params=SMALL_DEPTH)
    many_logs(w)
    ses = w.inst.session()
    dbid = ses.open(w.data / "a.edb", attach=False)
    ses.begin()
    with ses.table(dbid, "t") as t:
        t.insert(id=100_000, v=b"never committed")
        first = current(w)
        for i in range(3):
            w.add(60)
            w.backup(f"set{i}")
            assert w.logs()[0] <= first < current(w)
        ses.rollback()
    many_logs(w)
    w.backup("last")
    assert w.logs()[0] > first


@ROWS("BK-154")
def a_kill_while_logs_go(place):
    """Deletion ends at each of its unlinks in turn: what is left is without a hole, and recovers."""
    w = World(place, params=SMALL_DEPTH)
    for stop in range(3):
        many_logs(w, 4)
        before = w.logs()
        with cjet.fault("unlink", "data/edb0", after=stop, error=5):
            w.fails("JET_errDiskIO", w.backup, None)
        left = w.logs()
        assert left == before[stop:], (before, left)
        assert left == list(range(left[0], left[-1] + 1))
    assert w.backup(None) == 0


@ROWS("BK-131")
def all_is_synced_before_a_log_goes(place):
    """In the order of calls: the last sync of the set's files and folder comes before the first unlink of a live log."""
    w = World(place, params=SMALL_DEPTH)
    many_logs(w)
    (w.place / "set").mkdir()
    # a sync of any file of the set that fails, or of its folder, ends the run with every live log there
    for part in ("set/a.edb", "set/edb", "set/a.pat"):
        logs = w.logs()
        with cjet.fault("sync", part, error=5):
            w.fails("JET_errDiskIO", w.backup)
            assert cjet.lib.PyjetFaultHits() > 0
        assert set(logs) <= set(w.logs()) and files(w.place / "set") == []
    logs = w.logs()
    with cjet.fault("dirsync", "set", error=5):
        w.fails("JET_errDiskIO", w.backup)
    assert set(logs) <= set(w.logs())
    w.backup()
    assert w.logs()[0] > logs[0]
