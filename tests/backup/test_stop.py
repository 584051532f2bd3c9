"""JetStopBackup..., JetStopService... over the C API: rows of facts/backup-behaviours.csv by their ids."""

import ctypes as C
import pathlib
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
import pyjet  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
from cjet import ERR, K, JetError, u32, u64  # noqa: E402
from pyjet import api, errors  # noqa: E402

STOPPED, SERVICE = "JET_errBackupAbortByServer", "JET_errClientRequestToStopJetService"
TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}
CHUNK = 1 << 16


class World:
    def __init__(self, place, rows=60, data="data", **settings):
        self.place = pathlib.Path(place)
        self.data = self.place / data
        self.inst = cjet.Instance(self.data, log_kib=64, **settings)
        self.inst.init()
        self.ses = self.inst.session()
        self.dbid = self.ses.create(self.data / "a.edb")
        self.ses.create_table(self.dbid, "t", TABLE, [("pk", "+id", K.JET_bitIndexPrimary)])
        self.rows = 0
        self.add(rows)
        self.events = []
        self.sink = cjet.EVENT_FN(lambda _, e: self.events.append(e.contents.id))
        cjet.lib.PyjetSetEventSink(self.sink, None)

    def add(self, rows):
        with self.ses.table(self.dbid, "t") as t:
            for i in range(self.rows, self.rows + rows):
                with self.ses.transaction():
                    t.insert(id=i, v=bytes([i % 256]) * 1500)
        self.rows += rows

    def logs(self):
        return sorted(p.name for p in self.data.glob("edb?????.log"))

    def stamps(self):
        room = C.c_char_p()
        cjet.call("PyjetDumpHeader", cjet.text(self.data / "a.edb"), C.byref(room))
        return room.value.partition(b"full_backup")[2]

    def backup(self, name="set", grbit=0, **more):
        return self.inst.jet_backup(self.place / name if name else None, grbit, **more)

    def stop(self):
        return call("JetStopBackupInstance", self)

    def resume(self):
        return call("PyjetResumeBackupInstance", self)

    def term(self, grbit=K.JET_bitTermComplete | K.JET_bitTermStopBackup):
        self.inst.term(grbit)
        cjet.lib.PyjetSetEventSink(None, None)


def call(name, w, *args):
    return cjet.call(name, w.inst.handle, *args)


def fails(error, fn, *args, **more):
    try:
        fn(*args, **more)
    except JetError as e:
        assert e.name == error, f"{e}, expected {error}"
        assert e.hint or e.detail
        return
    raise AssertionError(f"{error} did not come")


# ---- an external backup, step by step ----


def begin(w, grbit=0):
    return call("JetBeginExternalBackupInstance", w, u32(grbit))


def open_file(w, path=None):
    handle, low, high = u64(), u32(), u32()
    path = cjet.text(path or w.data / "a.edb")
    call("JetOpenFileInstanceA", w, path, C.byref(handle), C.byref(low), C.byref(high))
    return handle


class Page:
    """A buffer at a page's border."""

    def __init__(self):
        self.room = C.create_string_buffer(b"\xaa" * (CHUNK + 4096), CHUNK + 4096)
        self.at = (C.addressof(self.room) + 4095) & ~4095
        self.got = u32()

    def bytes(self):
        return C.string_at(self.at, CHUNK)


def read(w, handle, page):
    call("JetReadFileInstance", w, handle, C.c_void_p(page.at), u32(CHUNK), C.byref(page.got))


def progress_calls(w, handle, page):
    """The calls that make progress, by name."""
    size, room = u32(), C.create_string_buffer(4096)
    lists = ("JetGetAttachInfoInstanceA", "JetGetLogInfoInstanceA", "JetGetTruncateLogInfoInstanceA")
    calls = {name: lambda name=name: call(name, w, room, u32(4096), C.byref(size)) for name in lists}
    calls["JetOpenFileInstanceA"] = lambda: open_file(w)
    calls["JetReadFileInstance"] = lambda: read(w, handle, page)
    calls["JetTruncateLogInstance"] = lambda: call("JetTruncateLogInstance", w)
    return calls


def close_file(w, handle):
    call("JetCloseFileInstance", w, handle)


def end(w, grbit=K.JET_bitBackupEndNormal):
    call("JetEndExternalBackupInstance2", w, u32(grbit))


ROWS = Rows()


# ---- JetStopBackupInstance ----


@ROWS("BK-263", "BK-264", "BK-267", "BK-269", "BK-270", "BK-271", "BK-272", "BK-273", "BK-274", "BK-275")
def an_external_backup_sees_errors_until_it_ends(place):
    for how in (K.JET_bitBackupEndNormal, K.JET_bitBackupEndAbort):
        w = World(pathlib.Path(place) / str(how), rows=200)
        logs, stamps = w.logs(), w.stamps()
        begin(w)
        handle, page = open_file(w), Page()
        application = threading.Thread(target=w.stop)
        application.start()
        application.join()
        for step in progress_calls(w, handle, page).values():
            fails(STOPPED, step)
        assert page.bytes() == b"\xaa" * CHUNK
        fails("JET_errBackupInProgress", begin, w)
        fails("JET_errBackupInProgress", w.resume)
        close_file(w, handle)
        end(w, how)
        assert [i for i in w.events if i in (213, 214, 215, 226)] == [226 if how == K.JET_bitBackupEndNormal else 215]
        assert w.logs() == logs and w.stamps() == stamps
        for step in (lambda: begin(w), lambda: w.backup(), lambda: w.backup(None), *progress_calls(w, handle, page).values()):
            fails(STOPPED, step)
        fails("JET_errNoBackup", end, w)
        w.resume()
        begin(w)
        end(w, K.JET_bitBackupEndAbort)
        w.term()


@ROWS("BK-263", "logs")
def stopped_among_the_logs(place):
    w = World(place, rows=200)
    begin(w)
    size, room, page = u32(), C.create_string_buffer(65536), Page()
    call("JetGetLogInfoInstanceA", w, room, u32(65536), C.byref(size))
    first = room.raw[: size.value].split(b"\0")[0]
    handle = open_file(w, first.decode())
    read(w, handle, page)
    w.stop()
    fails(STOPPED, read, w, handle, page)
    close_file(w, handle)
    fails(STOPPED, open_file, w, first.decode())
    end(w)
    assert 226 in w.events
    w.term()


@ROWS("BK-265", "BK-266", "BK-268")
def only_a_running_instance_can_be_stopped(place):
    other = World(place, data="other")
    begin(other)
    for handle in (u64(0), u64(cjet.NIL), u64(0x1234)):
        for name in ("JetStopBackupInstance", "PyjetResumeBackupInstance", "JetStopServiceInstance"):
            fails("JET_errInvalidParameter", cjet.call, name, handle)
    made = cjet.Instance(pathlib.Path(place) / "made")
    for name in ("JetStopBackupInstance", "JetStopServiceInstance"):
        fails("JET_errInvalidParameter", cjet.call, name, made.handle)
    made.init()
    made.term()
    fails("JET_errInvalidParameter", cjet.call, "JetStopBackupInstance", made.handle)
    handle, page = open_file(other), Page()
    read(other, handle, page)  # nothing changed for it
    end(other, K.JET_bitBackupEndAbort)
    other.term()


@ROWS("BK-276")
def a_backup_of_another_thread_ends_and_leaves_nothing(place):
    for where in ("pages", "logs"):
        w = World(pathlib.Path(place) / where, rows=400)
        logs, stamps, outcome = w.logs(), w.stamps(), []
        reached, go = threading.Event(), threading.Event()

        def pause(percent, reached=reached, go=go):
            if percent == 50 and where == "pages":
                reached.set()
                go.wait(20)

        def status(sesid, snp, snt, done, total, w=w, reached=reached, go=go):
            if where == "logs" and not reached.is_set() and 223 in w.events:
                reached.set()
                go.wait(20)

        def work(w=w, outcome=outcome, status=status):
            try:
                outcome.append(w.backup(status=status))
            except JetError as e:
                outcome.append(e.name)

        w.inst.pause(pause)
        thread = threading.Thread(target=work)
        thread.start()
        assert reached.wait(20), where
        assert (223 in w.events) == (where == "logs")
        w.stop()
        go.set()
        thread.join(20)
        assert outcome == [STOPPED] and not thread.is_alive()
        assert [i for i in w.events if i in (213, 214, 215, 226)] == [215]
        assert not any((w.place / "set").rglob("*")) and set(logs) <= set(w.logs()) and w.stamps() == stamps
        w.add(5)
        fails(STOPPED, w.backup)
        w.resume()
        w.inst.pause(None)
        w.backup()
        w.term()


@ROWS("BK-277", "BK-039")
def stop_from_the_callback(place):
    w = World(place)
    fails(STOPPED, w.backup, status=lambda *_: w.stop())
    assert not any((w.place / "set").rglob("*"))
    w.term()


@ROWS("BK-278", "BK-279", "BK-262")
def stop_with_nothing_running_holds_until_resume_or_restart(place):
    w = World(place)
    begin(w)
    end(w, K.JET_bitBackupEndAbort)
    begin(w)  # any end, and no stop: the next begin succeeds
    end(w, K.JET_bitBackupEndAbort)
    w.stop()
    w.stop()
    for attempt in (lambda: w.backup(), lambda: w.backup(None), lambda: w.backup(grbit=K.JET_bitBackupAtomic), lambda: begin(w)):
        fails(STOPPED, attempt)
    assert not (w.place / "set").exists()
    w.add(5)
    w.resume()
    w.resume()
    w.backup()
    w.stop()
    w.inst.term()
    with cjet.Instance(w.data, log_kib=64) as inst, inst.session() as ses:
        ses.open(w.data / "a.edb")
        inst.jet_backup(w.place / "set2")


@ROWS("BK-280")
def only_the_one_instance_is_stopped(place):
    a, b = World(place, data="a"), World(place, data="b")
    begin(a)
    begin(b)
    ha, hb, page = open_file(a), open_file(b), Page()
    a.stop()
    fails(STOPPED, read, a, ha, page)
    read(b, hb, page)
    assert page.got.value > 0
    end(b, K.JET_bitBackupEndAbort)
    b.backup("set-b")
    end(a)
    a.inst.term()
    b.term()


@ROWS("BK-281")
def a_snapshot_is_not_stopped(place):
    w = World(place)
    snapid = u64()
    cjet.call("JetOSSnapshotPrepare", C.byref(snapid), u32(K.JET_bitContinueAfterThaw))
    n, infos = u32(), C.c_void_p()
    cjet.call("JetOSSnapshotFreezeA", snapid, C.byref(n), C.byref(infos), u32(0))
    w.stop()
    cjet.call("JetOSSnapshotThaw", snapid, u32(0))
    cjet.call("JetOSSnapshotTruncateLog", snapid, u32(0))
    cjet.call("JetOSSnapshotEnd", snapid, u32(0))
    cjet.call("JetFreeBuffer", infos)
    fails(STOPPED, w.backup)
    w.term()


@ROWS("BK-282")
def the_forms_without_an_instance(place):
    for name in ("JetStopBackup", "JetStopService"):
        fails("JET_errInvalidParameter", cjet.call, name)  # no mode yet
    w = World(place)
    for name in ("JetStopBackup", "JetStopService"):
        fails("JET_errRunningInMultiInstanceMode", cjet.call, name)
    w.backup()
    w.term()


@ROWS("BK-282", "single")
def the_forms_without_an_instance_in_single_mode(place):
    for param, value in ((K.JET_paramSystemPath, f"{place}/"), (K.JET_paramLogFilePath, f"{place}/"), (K.JET_paramTempPath, f"{place}/")):
        cjet.set_param(None, param, value)
    inst = u64()
    cjet.call("JetInit", C.byref(inst))
    cjet.call("JetStopBackup")
    (pathlib.Path(place) / "set").mkdir()
    assert cjet.lib.JetBackupA(cjet.text(f"{place}/set"), u32(0), None) == ERR[STOPPED]
    sesid = u64()
    cjet.call("JetStopService")
    assert cjet.lib.JetBeginSessionA(inst, C.byref(sesid), None, None) == ERR[SERVICE]
    cjet.call("JetTerm", inst)


# ---- JetStopServiceInstance ----


@ROWS("BK-283", "BK-285", "BK-049")
def a_stopped_service_refuses_all_but_what_ends(place):
    w = World(place)
    table = w.ses.table(w.dbid, "t")
    other = w.inst.session()
    w.ses.begin()
    table.insert(id=1000, v=b"x")
    begin(w)
    handle, page = open_file(w), Page()
    call("JetStopServiceInstance", w)
    for step in progress_calls(w, handle, page).values():
        fails(SERVICE, step)
    fails(SERVICE, close_file, w, handle)
    fails(SERVICE, end, w)
    fails(SERVICE, w.backup)
    fails(SERVICE, begin, w)
    fails(SERVICE, w.ses.commit)
    fails(SERVICE, table.move, 1)
    fails(SERVICE, table.insert, id=1001, v=b"x")
    fails(SERVICE, w.ses.create, w.data / "b.edb")
    fails(SERVICE, w.inst.session)
    w.stop()  # not gated
    w.ses.rollback()
    table.close()
    w.ses.close(w.dbid)
    assert cjet.lib.JetResetSessionContext(other.id) != ERR[SERVICE]
    other.end()
    w.events.clear()
    w.inst.term(K.JET_bitTermAbrupt)
    assert 226 in w.events
    with cjet.Instance(w.data, log_kib=64) as inst, inst.session() as ses:
        dbid = ses.open(w.data / "a.edb")
        with ses.table(dbid, "t") as t:
            assert [r["id"] for r in t.all()] == list(range(60))
        inst.jet_backup(w.place / "set")


@ROWS("BK-284")
def a_backup_inside_runs_to_its_end(place):
    w = World(place, rows=200)
    w.inst.pause(lambda percent: call("JetStopServiceInstance", w))
    w.backup()
    fails(SERVICE, w.backup, "set2")
    w.term()


@ROWS("BK-286")
def parts_of_the_service(place):
    w = World(place, rows=200)
    quiet, tasks, emit, resume = 4, 2, 8, K.JET_bitStopServiceResume

    def stop(grbit):
        return call("JetStopServiceInstance2", w, u32(grbit))

    for bad in (1, 0x10, emit | quiet, emit | resume, emit | tasks, 0x40000000):
        fails("JET_errInvalidGrbit", stop, bad)
    stop(tasks)
    stop(quiet)
    stop(quiet | tasks)
    w.add(20)
    until = time.monotonic() + 10
    while w.inst.stats().cache_dirty > 0:  # all of it goes to disk, though the depth would keep it
        assert time.monotonic() < until, "the cache does not become quiet"
        time.sleep(0.05)
    stop(resume | tasks)
    stop(resume)
    w.add(20)
    time.sleep(0.5)
    assert w.inst.stats().cache_dirty > 0
    stop(emit)
    fails(SERVICE, w.backup)
    fails(SERVICE, stop, resume)
    fails(SERVICE, stop, resume | quiet)
    stop(0)
    w.term()
    w = World(place, data="again")
    stop(0)
    fails(SERVICE, stop, resume)
    w.term()


@ROWS("BK-288")
def term_stops_what_runs(place):
    w = World(place)
    begin(w)
    fails("JET_errBackupInProgress", w.inst.term, K.JET_bitTermComplete)
    w.inst.running = True
    w.term(K.JET_bitTermComplete | K.JET_bitTermStopBackup)
    assert 226 in w.events


# ---- Python ----


@ROWS("python")
def python_stops_and_resumes(place):
    place = pathlib.Path(place)
    inst = pyjet.Instance(place / "data")
    ses = inst.session()
    db = ses.create(place / "data" / "a.edb")
    t = db.create_table("t", {"id": pyjet.Long()})
    with pytest.raises(errors.BackupAbortByServerError), inst.external_backup() as backup:
        files = backup.files()
        f = next(iter(files))
        f.read(4096)
        stopper = threading.Thread(target=inst.stop_backup)
        stopper.start()
        stopper.join()
        with pytest.raises(errors.BackupAbortByServerError):
            f.read()
        with pytest.raises(errors.BackupInProgressError):
            inst.resume_backup()
        f.close()
    for again in (lambda: inst.backup(place / "set"), lambda: inst.external_backup().__enter__()):
        with pytest.raises(errors.BackupAbortByServerError, match="resume_backup"):
            again()
    inst.resume_backup()
    inst.backup(place / "set")
    with pytest.raises(errors.BackupAbortByServerError):  # from the progress callable itself
        inst.backup(place / "set2", progress=lambda p: inst.stop_backup())
    inst.stop_service(quiesce=True)
    inst.resume_service()
    t.insert(id=1)
    api.JetStopServiceInstance(inst)
    with pytest.raises(errors.ClientRequestToStopJetServiceError) as e:
        t.insert(id=2)
    assert e.value.hint
    with pytest.raises(errors.ClientRequestToStopJetServiceError):
        inst.resume_service()
    inst.stop_service()
    inst.close()
    with pyjet.Instance(place / "data") as inst, inst.session() as ses:
        assert [r["id"] for r in ses.open(place / "data" / "a.edb").table("t")] == [1]
