"""Rows of facts/backup-behaviours.csv for JetBackupInstance and restore, over the C API; each test carries its rows' ids."""

import json
import pathlib
import shutil
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
from cjet import ERR, K, JetError  # noqa: E402

INC, ATOMIC = K.JET_bitBackupIncremental, K.JET_bitBackupAtomic
TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}
BEGIN, PROGRESS, FAIL, COMPLETE = 5, 0, 3, 6  # JET_snt


class World:
    """An instance with a database of rows, in a folder of its own."""

    def __init__(self, place, names=("a.edb",), rows=60, data="data", **settings):
        self.place = pathlib.Path(place)
        self.data = self.place / data
        self.inst = cjet.Instance(self.data, log_kib=64, **settings)
        self.inst.init()
        self.ses = self.inst.session()
        self.names, self.rows = names, 0
        self.dbids = [self.ses.create(self.data / name) for name in names]
        for dbid in self.dbids:
            self.ses.create_table(dbid, "t", TABLE, [("pk", "+id", K.JET_bitIndexPrimary)])
        self.add(rows)

    def add(self, rows, size=1500):
        for dbid in self.dbids:
            with self.ses.table(dbid, "t") as t:
                for i in range(self.rows, self.rows + rows):
                    with self.ses.transaction():
                        t.insert(id=i, v=bytes([i % 256]) * size)
        self.rows += rows

    def backup(self, name="set", grbit=0, status=None):
        return self.inst.jet_backup(self.place / name if name else None, grbit, status)

    def logs(self):
        """Generations on disk, without the current one."""
        return sorted(int(p.name[3:8], 16) for p in self.data.glob("edb?????.log"))

    def settle(self):
        """Waits for the checkpoint to leave the lowest log behind."""
        until = time.monotonic() + 10
        while self.inst.stats().checkpoint >> 32 <= self.logs()[0]:
            assert time.monotonic() < until, "the checkpoint does not move"
            time.sleep(0.05)

    def header(self, name="a.edb", folder=None):
        room = cjet.C.c_char_p()
        cjet.call("PyjetDumpHeader", cjet.text((folder or self.data) / name), cjet.C.byref(room))
        return json.loads(room.value)

    def fails(self, error, call, *args):
        try:
            call(*args)
        except JetError as e:
            assert e.name == error, f"{e}, expected {error}"
            assert e.hint or e.detail
            return e
        raise AssertionError(f"{error} did not come")


def files(folder):
    return sorted(p.name for p in pathlib.Path(folder).rglob("*") if p.is_file())


def count(path):
    with cjet.Reader(path) as reader, reader.table(reader.dbid, "t") as t:
        rows = t.all()
        assert [r["id"] for r in rows] == list(range(len(rows)))
        return len(rows)


def restored(world, name="set", **settings):
    """Rows of the first database of a set, restored."""
    _, found = cjet.restore(world.place / name, world.place / f"{name}-restored", **settings)
    return count(sorted(found)[0])


ROWS = Rows()


# ---- the set ----


@ROWS("BK-001", "BK-002", "BK-007", "BK-018", "BK-025", "BK-038", "BK-042", "BK-071")
def full_set_of_two_databases(place):
    w = World(place, ("a.edb", "b.edb"))
    (w.place / "set").mkdir()
    assert w.backup() == 0
    assert {"a.edb", "b.edb"} <= set(files(w.place / "set"))
    w.add(5)
    assert restored(w) == 60


@ROWS("BK-004")
def only_the_databases_of_the_named_instance(place):
    first, second = World(place, ("a.edb",), data="one"), World(place, ("b.edb",), data="two")
    first.backup()
    assert "b.edb" not in files(first.place / "set")
    assert second.rows == 60


@ROWS("BK-005", "BK-019", "BK-020")
def null_path_truncates(place):
    w = World(place, params={K.JET_paramCheckpointDepthMax: 64 << 10})
    w.add(100)
    w.inst.term()
    w.inst = cjet.Instance(w.data, log_kib=64)
    w.inst.init()
    before, there = w.logs(), set(w.place.iterdir())
    assert w.backup(None) == 0
    assert w.logs() != before and set(w.logs()) < set(before)
    assert set(w.place.iterdir()) == there
    after = w.logs()
    assert w.backup(None) == 0
    assert w.logs() == after


@ROWS("BK-016")
def path_of_many_letters(place):
    w = World(place)
    w.backup("Größe-语-𝄞")
    assert "a.edb" in files(w.place / "Größe-语-𝄞")


@ROWS("BK-008", "BK-035", "BK-036", "BK-037")
def callback_of_a_full_backup(place):
    w = World(place, rows=400)
    seen = []
    w.backup(status=lambda sesid, snp, snt, done, total: seen.append((snp, snt, done, total)))
    assert all(s[0] == 9 for s in seen)
    assert seen[0][1:] == (BEGIN, 0, 100) and seen[-1][1:] == (COMPLETE, 100, 100)
    steps = [s[2] for s in seen if s[1] == PROGRESS]
    assert steps == sorted(steps) and all(0 <= s <= 100 for s in steps) and len(steps) > 2


@ROWS("BK-017")
def others_go_on_meanwhile(place):
    w = World(place, rows=200)
    w.ses.begin()  # an open transaction does not matter
    done = []

    def paused(percent):
        with w.inst.session() as ses, ses.table(ses.open(w.data / "a.edb", attach=False), "t") as t, ses.transaction():
            assert t.seek([("id", 3)])
            t.insert(id=1000 + percent, v=b"")
            done.append(percent)

    w.inst.pause(paused)
    w.backup()
    assert done == [25, 50, 75]
    w.ses.commit()


@ROWS("BK-026", "BK-027", "BK-029", "BK-319")
def atomic_sets(place):
    w = World(place)
    w.backup("set", ATOMIC)
    assert (w.place / "set" / "new").is_dir()
    w.add(10)
    w.backup("set", ATOMIC)
    assert [p.name for p in (w.place / "set").iterdir()] == ["new"]
    assert restored(w) == 70
    w.add(5)
    assert w.backup("set", ATOMIC | INC) == 0
    assert [p.name for p in (w.place / "set").iterdir()] == ["old"]
    shutil.rmtree(w.place / "set-restored")
    shutil.rmtree(w.place / "set-restored-logs")
    assert restored(w) == 75


@ROWS("BK-028", "BK-103")
def a_failed_atomic_run_keeps_the_set(place):
    w = World(place, rows=200)
    w.backup("set", ATOMIC)
    w.add(20)
    with cjet.fault("write", "set/temp/a.edb", after=0, error=28):
        w.fails("JET_errDiskFull", w.backup, "set", ATOMIC)
    assert restored(w) == 200
    assert not (w.place / "set" / "temp").exists()


@ROWS("BK-030", "BK-031", "BK-073", "BK-077", "BK-320")
def increments(place):
    w = World(place)
    w.backup()
    full = {p.name: p.read_bytes() for p in (w.place / "set").iterdir()}
    head = w.header()
    w.add(40)
    w.backup("set", INC)
    first = set(files(w.place / "set")) - set(full)
    assert first and all(name.endswith(".log") for name in first)
    assert (w.place / "set" / "a.edb").read_bytes() == full["a.edb"]
    w.add(40)
    w.backup("set", INC)
    second = set(files(w.place / "set")) - set(full) - first
    assert second and min(second) > max(first)
    now = w.header()
    assert now != head and restored(w) == 140


@ROWS("BK-032", "BK-033")
def unknown_bits(place):
    w = World(place)
    for grbit in (K.JET_bitBackupSnapshot, 0x100, ATOMIC | 0x40000000):
        w.fails("JET_errInvalidGrbit", w.backup, "set", grbit)
        assert not (w.place / "set").exists()


@ROWS("BK-043")
def one_at_a_time(place):
    w = World(place, rows=200)
    errors = []

    def paused(percent):
        other = threading.Thread(target=lambda: errors.append(w.fails("JET_errBackupInProgress", w.backup, "second").code))
        other.start()
        other.join()

    w.inst.pause(paused)
    w.backup()
    assert errors == [-505] * 3 and not (w.place / "second").exists()
    assert restored(w) == 200


@ROWS("BK-051", "BK-052")
def circular_logging(place):
    w = World(place, circular=True)
    assert w.backup() == 0
    w.fails("JET_errInvalidBackup", w.backup, "set", INC)


@ROWS("BK-053", "BK-054", "BK-064")
def handles(place):
    w = World(place)
    for handle in (cjet.NIL, 0, 0x1234567):
        err = cjet.lib.JetBackupInstanceA(cjet.u64(handle), cjet.text(w.place / "set"), cjet.u32(0), None)
        assert err == ERR["JET_errInvalidParameter"], (handle, err)
    stale = cjet.u64(w.inst.handle.value)
    fresh = cjet.Instance(w.place / "other")
    w.fails("JET_errNotInitialized", fresh.jet_backup, w.place / "set")
    w.inst.term()
    assert cjet.lib.JetBackupInstanceA(stale, cjet.text(w.place / "set"), cjet.u32(0), None) == ERR["JET_errInvalidParameter"]


@ROWS("BK-055")
def missing_folder(place):
    w = World(place)
    cjet.set_param(w.inst.handle, K.JET_paramCreatePathIfNotExist, 0)
    logs = w.logs()
    for grbit in (0, ATOMIC, INC):
        with cjet.Events() as events:
            w.fails("JET_errInvalidPath", w.backup, "not/there", grbit, lambda *a: 1 / 0)
        assert 210 not in events.ids()
    assert w.logs() == logs


@ROWS("BK-056")
def missing_folders_are_made(place):
    w = World(place)
    assert w.backup("one/two") == 0
    assert "a.edb" in files(w.place / "one" / "two")


@ROWS("BK-059")
def without_logging(place):
    w = World(place, params={K.JET_paramRecovery: "off"})
    w.fails("JET_errLoggingDisabled", w.backup)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


@ROWS("BK-060", "BK-061", "BK-082")
def damaged_log(place):
    w = World(place)
    w.add(60)
    gen = w.logs()[-2]
    for at in (4096 + 300, 60):
        before = w.logs()
        flip(w.data / f"edb{gen:05X}.log", at)
        with cjet.Events() as events:
            w.fails("JET_errLogReadVerifyFailure", w.backup)
        assert 218 in events.ids()
        assert set(before) <= set(w.logs()), "logs were truncated"
        assert files(w.place / "set") == []
        flip(w.data / f"edb{gen:05X}.log", at)
    w.backup()


@ROWS("BK-065", "BK-102", "BK-079", "BK-081")
def damaged_page(place):
    w = World(place, rows=300)
    w.inst.term()
    flip(w.data / "a.edb", 4096 * 40 + 1000)
    inst = w.inst = cjet.Instance(w.data, log_kib=64)
    inst.init()
    w.ses = inst.session()
    w.ses.attach(w.data / "a.edb")
    with cjet.Events() as events:
        w.fails("JET_errReadVerifyFailure", w.backup)
    told = [e for e in events.seen if e[0] == 217]
    assert told and any("a.edb" in p for p in told[0][2])
    assert files(w.place / "set") == []
    w.fails("JET_errFileNotFound", cjet.survey, w.place / "set")


@ROWS("BK-067")
def session_in_two_threads(place):
    w = World(place)
    w.ses.begin()
    thread = threading.Thread(target=lambda: w.fails("JET_errSessionSharingViolation", w.ses.begin))
    thread.start()
    thread.join()
    assert w.backup() == 0
    assert ERR["JET_errSessionSharingViolation"] == -1910


@ROWS("BK-072", "BK-074", "BK-108", "BK-109")
def logs_of_a_full_set(place):
    w = World(place, params={K.JET_paramCheckpointDepthMax: 64 << 10})
    w.add(100)
    w.settle()
    top = w.logs()[-1] + 1
    before = w.logs()
    w.backup()
    assert w.logs()[-1] >= top
    found = cjet.survey(w.place / "set")
    assert "edb.log" not in files(w.place / "set")
    assert f"edb{top:05X}.log" in files(w.place / "set") and found.gen_high >= top
    assert w.logs()[0] > before[0], "nothing was truncated"
    assert w.logs()[0] <= found.gen_low


@ROWS("BK-075")
def logs_after_an_increment(place):
    w = World(place, params={K.JET_paramCheckpointDepthMax: 64 << 10})
    w.backup()
    w.add(120)
    w.settle()
    before = w.logs()
    w.backup("set", INC)
    assert w.logs()[0] > before[0]


@ROWS("BK-080")
def a_failed_increment_takes_its_own_away(place):
    w = World(place)
    w.backup()
    w.add(80)
    before = {p.name: p.read_bytes() for p in (w.place / "set").iterdir()}
    logs = w.logs()
    with cjet.fault("write", "set/edb", after=1, error=28):
        w.fails("JET_errDiskFull", w.backup, "set", INC)
    assert {p.name: p.read_bytes() for p in (w.place / "set").iterdir()} == before
    assert set(logs) <= set(w.logs())
    w.backup("set", INC)
    assert restored(w) == 140


@ROWS("BK-085", "BK-086")
def events_of_a_run(place):
    w = World(place, params={K.JET_paramCheckpointDepthMax: 64 << 10})
    w.add(100)
    w.settle()
    with cjet.Events() as events:
        w.backup()
    ids = [i for i in events.ids() if i in (210, 220, 221, 223, 224, 225, 213)]
    assert ids in ([210, 220, 221, 223, 224, 213], [210, 220, 221, 223, 225, 213]), ids
    gone = [e for e in events.seen if e[0] == 224]
    assert gone and sum(p.endswith(".log") for p in gone[0][2]) == 2


@ROWS("BK-088")
def events_of_a_failed_run(place):
    w = World(place, rows=200)
    with cjet.Events() as events, cjet.fault("write", "set/a.edb", error=28):
        w.fails("JET_errDiskFull", w.backup)
    last = [e for e in events.seen if e[0] in (213, 214, 215, 226)][-1]
    assert last[0] in (214, 215, 226) and last[1] == 2


@ROWS("BK-092")
def an_increment_needs_a_full_set(place):
    w = World(place)
    (w.place / "set").mkdir()
    with cjet.Events() as events:
        w.fails("JET_errMissingFullBackup", w.backup, "set", INC)
    told = [e for e in events.seen if e[0] == 206]
    assert told and any("a.edb" in p for p in told[0][2])


@ROWS("BK-094")
def circular_logging_switched_off(place):
    w = World(place, circular=True)
    w.inst.term()
    w.inst = cjet.Instance(w.data, log_kib=64)
    w.inst.init()
    with w.inst.session() as ses:
        ses.attach(w.data / "a.edb")
        w.backup()
        assert w.backup("set", INC) == 0


@ROWS("BK-095")
def a_foreign_file_in_the_folder(place):
    w = World(place)
    (w.place / "set").mkdir()
    (w.place / "set" / "mine.txt").write_text("keep")
    w.fails("JET_errBackupDirectoryNotEmpty", w.backup)
    assert files(w.place / "set") == ["mine.txt"]


# ---- restore ----


def ended(place, rows=60, more=0, inc=False, **settings):
    """A world with a set, its instance over."""
    w = World(place, rows=rows, **settings)
    w.backup()
    if more:
        w.add(more)
    if inc:
        w.backup("set", INC)
    w.inst.term()
    return w


def restorer(w, log="restore-log"):
    return cjet.Instance(w.place / log, log_kib=64)


@ROWS("BK-291", "BK-308")
def to_where_they_lay(place):
    w = ended(place, more=20)
    for p in w.data.glob("edb*"):
        p.unlink()
    inst = restorer(w)
    inst.restore(w.place / "set")
    assert count(w.data / "a.edb") == 60


@ROWS("BK-292", "BK-294", "BK-304", "BK-309", "BK-318")
def to_another_place(place):
    w = ended(place, more=20)
    before = {p: p.read_bytes() for p in (w.place / "set").iterdir()}
    original = (w.data / "a.edb").read_bytes()
    for i in range(2):
        (w.place / f"to{i}").mkdir()
        inst = restorer(w, f"log{i}")
        inst.restore(w.place / "set", w.place / f"to{i}")
        assert count(w.place / f"to{i}" / "a.edb") == 60
        inst.init()
        inst.term()
    assert {p: p.read_bytes() for p in (w.place / "set").iterdir()} == before
    assert (w.data / "a.edb").read_bytes() == original


@ROWS("BK-293")
def onto_a_running_instance(place):
    w = World(place)
    w.backup()
    w.fails("JET_errAlreadyInitialized", w.inst.restore, w.place / "set", w.place / "to")
    w.add(1)


@ROWS("BK-295", "BK-296", "BK-297")
def bad_places(place):
    w = ended(place)
    inst = restorer(w)
    (w.place / "restore-log").mkdir()
    cjet.set_param(inst.handle, K.JET_paramCreatePathIfNotExist, 0)
    w.fails("JET_errInvalidPath", inst.restore, w.place / "set", w.place / "missing")
    (w.place / "empty").mkdir()
    w.fails("JET_errFileNotFound", inst.restore, w.place / "empty", w.place / "empty")
    w.fails("JET_errInvalidParameter", inst.restore, None, w.place / "empty")
    cjet.set_param(inst.handle, K.JET_paramCreatePathIfNotExist, 1)
    inst.restore(w.place / "set", w.place / "missing")
    assert count(w.place / "missing" / "a.edb") == 60


def restore_fails(w, error, event, target="to"):
    (w.place / target).mkdir(exist_ok=True)
    inst = restorer(w)
    with cjet.Events() as events:
        w.fails(error, inst.restore, w.place / "set", w.place / target)
    assert event in events.ids(), events.seen
    assert not list((w.place / target).iterdir()), "a database was put there"


@ROWS("BK-298")
def a_log_in_the_middle_is_missing(place):
    w = ended(place, more=60, inc=True)
    logs = sorted((w.place / "set").glob("*.log"))
    logs[len(logs) // 2].unlink()
    restore_fails(w, "JET_errMissingRestoreLogFiles", 435)


@ROWS("BK-301")
def the_first_log_is_missing(place):
    w = ended(place, more=60, inc=True)
    sorted((w.place / "set").glob("*.log"))[0].unlink()
    restore_fails(w, "JET_errStartingRestoreLogTooHigh", 431)


@ROWS("BK-302")
def the_last_log_is_missing(place):
    w = ended(place)
    sorted((w.place / "set").glob("*.log"))[-1].unlink()
    restore_fails(w, "JET_errEndingRestoreLogTooLow", 432)


@ROWS("BK-299")
def a_log_of_another_sequence(place):
    w = ended(place, more=60, inc=True)
    other = World(place, ("z.edb",), rows=200, data="other")
    name = sorted((w.place / "set").glob("*.log"))[-1].name
    other.inst.term()
    shutil.copyfile(other.data / name, w.place / "set" / name)
    restore_fails(w, "JET_errGivenLogFileHasBadSignature", 433)


@ROWS("BK-303")
def live_logs_are_replayed(place):
    w = ended(place, more=25)
    (w.place / "to").mkdir()
    inst = cjet.Instance(w.data, log_kib=64)
    inst.restore(w.place / "set", w.place / "to")
    assert count(w.place / "to" / "a.edb") == 85


@ROWS("BK-307")
def a_live_log_is_missing(place):
    w = ended(place, more=200)
    logs = w.logs()
    (w.data / f"edb{logs[-2]:05X}.log").unlink()
    (w.place / "to").mkdir()
    inst = cjet.Instance(w.data, log_kib=64)
    with cjet.Events() as events:
        w.fails("JET_errMissingCurrentLogFiles", inst.restore, w.place / "set", w.place / "to")
    assert 450 in events.ids()


@ROWS("BK-306")
def live_logs_begin_too_late(place):
    w = ended(place, more=200)
    high = cjet.survey(w.place / "set").gen_high
    for gen in w.logs():
        if gen <= high + 1:
            (w.data / f"edb{gen:05X}.log").unlink()
    (w.place / "to").mkdir()
    inst = cjet.Instance(w.data, log_kib=64)
    with cjet.Events() as events:
        w.fails("JET_errExistingLogFileIsNotContiguous", inst.restore, w.place / "set", w.place / "to")
    assert 458 in events.ids()


@ROWS("BK-305")
def live_logs_of_another_sequence(place):
    w = ended(place)
    other = World(place, ("z.edb",), data="other")
    other.inst.term()
    (w.place / "to").mkdir()
    inst = cjet.Instance(other.data, log_kib=64)
    with cjet.Events() as events:
        w.fails("JET_errExistingLogFileHasBadSignature", inst.restore, w.place / "set", w.place / "to")
    assert 457 in events.ids()
