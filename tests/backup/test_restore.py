"""Restore: rows of facts/backup-behaviours.csv and each promise of section 10, over the C API; each test carries its rows' ids."""

import ctypes as C
import datetime
import hashlib
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
import cjet
from child import run
from rows import Rows, test_row  # noqa: E402, F401
from cjet import ERR, K, i32, u32
from test_priority1 import (
    BEGIN,
    COMPLETE,
    FAIL,
    INC,
    PROGRESS,
    World,
    count,
    ended,
    restorer,
)

ROWS = Rows()


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def contents(path):
    with cjet.Reader(path) as reader, reader.table(reader.dbid, "t") as t:
        return {r["id"]: r["v"] for r in t.all()}


def crash(inst):
    """Ends it without making anything clean."""
    with pytest.raises(cjet.JetError, match="JET_errDirtyShutdown"):
        inst.term(K.JET_bitTermDirty)


def is_sound(path):
    findings, _ = cjet.check_file(path)
    assert findings == []


class Ledger(World):
    """A world that knows, for every commit, the position behind it, its time and what the table then held."""

    def __init__(self, place, **settings):
        super().__init__(place, rows=0, **settings)
        self.now, self.history = {}, []
        self.random = random.Random(7)

    def commit(self):
        """One transaction of some inserts, replaces and deletes, beside one of another session that stays open."""
        with self.ses.table(self.dbids[0], "t") as t, self.ses.transaction():
            for _ in range(self.random.randrange(1, 4)):
                key, old = self.random.randrange(200), self.random.random()
                value = self.random.randbytes(self.random.choice((10, 500, 1800)))
                found = t.seek([("id", key)])
                if found and old < 0.3:
                    t.delete()
                    del self.now[key]
                elif found:
                    t.replace(v=value)
                    self.now[key] = value
                else:
                    t.insert(id=key, v=value)
                    self.now[key] = value
        self.history.append((self.inst.stats().log_tail, time.time(), dict(self.now)))

    def commits(self, n):
        for _ in range(n):
            self.commit()

    def at(self, stop):
        """What the commits up to a position left."""
        return next((state for tail, _, state in reversed(self.history) if tail <= stop + 1), {})


def logtime(seconds):
    t = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    ms = t.microsecond // 1000
    return bytes([t.second, t.minute, t.hour, t.day, t.month, t.year - 1900, 1 | (ms & 0x7F) << 1, ms >> 7 << 1])


# ---- the set is only read, and all of it is needed ----


@ROWS("BK-309", "BK-318")
def a_set_is_never_changed(place):
    w = ended(place, more=60, inc=True)
    before = hashes(w.place / "set")
    stamps = {p.name: p.stat().st_mtime_ns for p in (w.place / "set").iterdir()}
    for i in range(2):
        cjet.restore(w.place / "set", w.place / f"to{i}", stop=cjet.survey(w.place / "set").gen_high << 32 if i else 0)
        assert contents(w.place / f"to{i}" / "a.edb") == contents(w.place / "to0" / "a.edb")
        is_sound(w.place / f"to{i}" / "a.edb")
    with cjet.fault("write", "to2", after=1, error=28):
        w.fails("JET_errDiskFull", cjet.restore, w.place / "set", w.place / "to2")
    assert hashes(w.place / "set") == before
    assert {p.name: p.stat().st_mtime_ns for p in (w.place / "set").iterdir()} == stamps
    header = w.header(folder=w.place / "to0")
    assert header["state"] == "clean shutdown"
    for name in ("full_backup", "incremental_backup", "current_full_backup", "copy_backup", "differential_backup"):
        assert header[name]["gen_low"] == 0 and header[name]["mark"] == "00000000:0000:0000"


@ROWS("BK-301", "BK-302", "BK-298", "BK-301")
def one_file_missing(place):
    """Each log, then the database: every one fails, with a hint, and no database is put anywhere."""
    w = ended(place, more=60, inc=True)
    logs = sorted(p.name for p in (w.place / "set").glob("*.log"))
    errors = {}
    for name in [*logs, "a.edb"]:
        away = (w.place / "set" / name).rename(w.place / "away")
        inst = restorer(w)
        (w.place / "to").mkdir(exist_ok=True)
        with pytest.raises(cjet.JetError) as caught:
            inst.restore(w.place / "set", w.place / "to")
        errors[name] = caught.value.name
        assert caught.value.hint
        inst.destroy()
        # the last log is not missed before its records are: nothing says that the increment had one more
        assert not list((w.place / "to").iterdir()), (name, errors[name])
        away.rename(w.place / "set" / name)
        if name == logs[-2]:
            break
    assert errors[logs[0]] == "JET_errStartingRestoreLogTooHigh"
    assert set(list(errors.values())[1:]) == {"JET_errMissingRestoreLogFiles"}
    (w.place / "set" / "a.edb").rename(w.place / "away")
    inst = restorer(w)
    w.fails("JET_errFileNotFound", inst.restore, w.place / "set", w.place / "to")
    (w.place / "set" / "a.pat").unlink()
    w.fails("JET_errPatchFileMissing", inst.restore, w.place / "set", w.place / "to")


@ROWS("BK-313", "BK-311", "BK-105")
def one_bit_flipped(place):
    """In each file of a set: the restore fails, or what it gives is what was backed up."""
    w = ended(place, more=60, inc=True)
    whole = contents_of_restore(w, "whole")
    numbers = random.Random(11)
    outcomes = {}
    for p in sorted((w.place / "set").iterdir()):
        if p.stat().st_size == 0:
            continue  # a marker
        for i in range(8):
            data = p.read_bytes()
            at = numbers.randrange(len(data) * 8) if i else 8 * 100
            bad = bytearray(data)
            bad[at // 8] ^= 1 << at % 8
            p.write_bytes(bad)
            try:
                got = contents_of_restore(w, "flipped")
                assert got == whole, (p.name, at)
                outcomes.setdefault(p.name, []).append("same")
            except cjet.JetError as e:
                assert e.hint or e.detail
                outcomes.setdefault(p.name, []).append(e.name)
            p.write_bytes(data)
    assert sum(o != "same" for found in outcomes.values() for o in found) >= 1, outcomes


def contents_of_restore(w, name, **settings):
    for p in (w.place / name, w.place / f"{name}-logs"):
        shutil.rmtree(p, ignore_errors=True)
    _, found = cjet.restore(w.place / "set", w.place / name, **settings)
    return contents(found[0])


@ROWS("BK-313")
def damaged_logs(place):
    """Several bytes: no correction helps. A segment among good ones, and the last one that is used."""
    w = ended(place, more=60, inc=True)
    logs = sorted((w.place / "set").glob("*.log"))
    for p, segment, error in ((logs[1], 3, "JET_errLogCorruptDuringHardRestore"), (logs[-1], None, "JET_errLogTornWriteDuringHardRestore")):
        data = p.read_bytes()
        if segment is None:  # the last that holds records
            segment = max(i for i in range(1, len(data) // 4096) if any(data[i * 4096 : i * 4096 + 40]))
        bad = bytearray(data)
        for at in range(segment * 4096 + 45, segment * 4096 + 60):
            bad[at] ^= 0xFF
        p.write_bytes(bad)
        w.fails(error, cjet.restore, w.place / "set", w.place / "to")
        p.write_bytes(data)


@ROWS("BK-310", "BK-312")
def databases_that_do_not_belong(place):
    w = World(place)
    w.backup("first")
    w.add(30)
    w.backup("second")
    w.inst.term()
    shutil.copytree(w.place / "first", w.place / "set")
    shutil.copy(w.data / "a.edb", w.place / "set" / "a.edb")
    (w.place / "to").mkdir()
    w.fails("JET_errRestoreOfNonBackupDatabase", cjet.restore, w.place / "set", w.place / "to")
    data = bytearray((w.place / "first" / "a.edb").read_bytes())
    other = (w.place / "second" / "a.edb").read_bytes()
    data[-4096:] = other[-4096:]
    (w.place / "set" / "a.edb").write_bytes(data)
    with cjet.Events() as events:
        w.fails("JET_errDatabasePatchFileMismatch", cjet.restore, w.place / "set", w.place / "to")
    assert 430 in events.ids()


@ROWS("BK-141")
def markers(place):
    w = ended(place)
    (w.place / "set" / "a.pat").unlink()
    cjet.restore(w.place / "set", w.place / "to")
    assert count(w.place / "to" / "a.edb") == 60


@ROWS("BK-300")
def a_log_that_does_not_continue(place):
    w = ended(place, more=60, inc=True)
    p = sorted((w.place / "set").glob("*.log"))[2]
    data = bytearray(p.read_bytes())
    (w.place / "to").mkdir()
    data[24] ^= 1  # tmPrevGen: seconds
    data[:4] = bytes(4)
    seal = 0x89ABCDEF
    for i in range(4, 4096, 4):
        seal ^= int.from_bytes(data[i : i + 4], "little")
    data[:4] = seal.to_bytes(4, "little")
    p.write_bytes(data)
    with cjet.Events() as events:
        w.fails("JET_errGivenLogFileIsNotContiguous", cjet.restore, w.place / "set", w.place / "to")
    assert any(e[0] == 434 and e[2][0] == str(int(p.name[3:8], 16)) for e in events.seen)


# ---- places ----


@ROWS("BK-308")
def onto_existing_files(place):
    w = ended(place)
    to = w.place / "to"
    to.mkdir()
    (to / "a.edb").write_bytes(b"something else")
    (to / "note.txt").write_text("mine")
    inst = restorer(w)
    inst.restore(w.place / "set", to)
    assert count(to / "a.edb") == 60 and (to / "note.txt").read_text() == "mine"
    inst.restore(w.place / "set", to)  # and once more, its own logs lying there
    assert count(to / "a.edb") == 60


@ROWS("BK-308", "BK-309")
def into_the_set_itself(place):
    w = ended(place)
    before = hashes(w.place / "set")
    inst = restorer(w)
    w.fails("JET_errInvalidPath", inst.restore, w.place / "set", w.place / "set")
    other = cjet.Instance(w.place / "set", log_kib=64)
    (w.place / "to").mkdir()
    w.fails("JET_errInvalidPath", other.restore, w.place / "set", w.place / "to")
    assert hashes(w.place / "set") == before


@ROWS("BK-308")
def over_an_attached_database(place):
    w = World(place)
    w.backup()
    other = cjet.Instance(w.place / "log", log_kib=64)
    w.fails("JET_errFileAccessDenied", other.restore, w.place / "set", w.data)
    assert len(contents_through(w)) == 60


def contents_through(w):
    with w.ses.table(w.dbids[0], "t") as t:
        return t.all()


@ROWS("BK-316", "BK-309")
def full_destination(place):
    w = ended(place, rows=200)
    before = hashes(w.place / "set")
    for part, op in (("to/a.edb", "write"), ("restore-log", "write"), ("to/a.edb", "sync")):
        seen = []
        (w.place / "to").mkdir(exist_ok=True)
        inst = restorer(w)
        with cjet.Events() as events, cjet.fault(op, part, after=0, error=28), pytest.raises(cjet.JetError):
            inst.restore(w.place / "set", w.place / "to", lambda *a, seen=seen: seen.append(a))
        assert {204, 454, 205} <= set(events.ids())
        assert seen[0][:2] == (8, BEGIN) and seen[-1][1] == FAIL
        shutil.rmtree(w.place / "restore-log", ignore_errors=True)
        inst = restorer(w)
        inst.restore(w.place / "set", w.place / "to")  # again, and it is whole
        assert count(w.place / "to" / "a.edb") == 200
        shutil.rmtree(w.place / "restore-log")
        inst.destroy()
    assert hashes(w.place / "set") == before


@ROWS("BK-305", "BK-306")
def foreign_logs_at_the_destination(place):
    """Decision 38: logs that lie there are not mixed with those of the set; nothing of theirs is touched."""
    w = ended(place, more=20)
    other = World(place, ("z.edb",), data="other")
    other.inst.term()
    before = hashes(other.data)
    inst = cjet.Instance(other.data, log_kib=64)
    w.fails("JET_errExistingLogFileHasBadSignature", inst.restore, w.place / "set", other.data)
    assert hashes(other.data) == before
    live = hashes(w.data)
    own = cjet.Instance(w.data, log_kib=64)
    with pytest.raises(cjet.JetError) as caught:  # its own logs, and others to roll forward with
        options = cjet.RESTORE_OPTIONS(cjet.text(w.place / "set"), cjet.text(w.data), cjet.text(other.data))
        cjet.call("PyjetRestoreTo", own.handle, C.byref(options), None, None, None)
    assert caught.value.name == "JET_errExistingLogFileHasBadSignature"
    options = cjet.RESTORE_OPTIONS(cjet.text(w.place / "set"), cjet.text(w.data), None, stop=cjet.survey(w.place / "set").gen_high << 32)
    with pytest.raises(cjet.JetError) as caught:
        cjet.call("PyjetRestoreTo", own.handle, C.byref(options), None, None, None)
    assert caught.value.name == "JET_errExistingLogFileIsNotContiguous"
    assert hashes(w.data) == live


@ROWS("BK-292", "BK-317")
def other_names(place):
    w = World(place, ("a.edb", "b.edb"))
    w.backup()
    w.inst.term()
    with cjet.Events() as events:
        _, found = cjet.restore(w.place / "set", w.place / "to", rename=[("a.edb", "first.edb"), (w.data / "b.edb", w.place / "to" / "second.db")])
    assert sorted(p.name for p in found) == ["first.edb", "second.db"]
    assert count(w.place / "to" / "first.edb") == count(w.place / "to" / "second.db") == 60
    moved = [e[2] for e in events.seen if e[0] == 216]
    assert sorted(moved) == [[str(w.data / "a.edb"), str(w.place / "to" / "first.edb")], [str(w.data / "b.edb"), str(w.place / "to" / "second.db")]]
    again = w.place / "again"
    w.fails("JET_errDatabaseNotFound", lambda: cjet.restore(w.place / "set", again, rename=[("c.edb", "x.edb")]))
    w.fails("JET_errDatabaseDuplicate", lambda: cjet.restore(w.place / "set", again, rename=[("a.edb", "b.edb")]))
    w.fails("JET_errDatabaseInvalidName", lambda: cjet.restore(w.place / "set", again, rename=[("a.edb", "")]))
    w.fails("JET_errInvalidPath", lambda: cjet.restore(w.place / "set", again, rename=[("a.edb", "no/such/a.edb")]))
    for name in ("../outside.edb", "..", "x/../../outside.edb"):
        e = w.fails("JET_errInvalidPath", lambda name=name: cjet.restore(w.place / "set", again, rename=[("a.edb", name)]))
        assert name in e.detail and not (w.place / "outside.edb").exists()
    twice = [("a.edb", "x.edb"), (w.data / "a.edb", "y.edb")]
    e = w.fails("JET_errDatabaseDuplicate", lambda: cjet.restore(w.place / "set", again, rename=twice))
    assert "x.edb" in e.detail and "y.edb" in e.detail
    assert not list(again.iterdir())


@ROWS("BK-315", "BK-317", "BK-294", "BK-169")
def callback_and_events(place):
    w = ended(place, rows=300, more=60, inc=True)
    (w.place / "to").mkdir()
    seen, inst = [], restorer(w)
    with cjet.Events() as events:
        inst.restore(w.place / "set", w.place / "to", lambda *a: seen.append(a))
    assert {s[0] for s in seen} == {8} and seen[0][1] == BEGIN and seen[-1][1] == COMPLETE
    steps = [s[2] for s in seen if s[1] == PROGRESS]
    assert steps and steps == sorted(set(steps)) and steps[-1] <= 100
    told = {e[0]: e[2] for e in events.seen}
    assert told[204] == [str(w.place / "set"), str(w.place / "restore-log")] and 205 in told and 454 not in told
    assert told[216] == [str(w.data / "a.edb"), str(w.place / "to" / "a.edb")]
    inst.init()  # at once
    ses = inst.session()
    ses.attach(w.place / "to" / "a.edb")
    (w.place / "next").mkdir()
    w.fails("JET_errMissingFullBackup", inst.jet_backup, w.place / "next", INC)
    inst.jet_backup(w.place / "next")
    inst.term()


@ROWS("BK-321")
def other_calls_meanwhile(place):
    w = ended(place, rows=200)
    (w.place / "to").mkdir()
    inst, errors = restorer(w), []

    def heard(snp, snt, *_):
        if snt != PROGRESS:
            return
        other = threading.Thread(target=lambda: errors.append(cjet.lib.JetBackupInstanceA(inst.handle, cjet.text(w.place / "x"), u32(0), None)))
        other.start()
        other.join()
        ses = cjet.u64()
        errors.append(cjet.lib.JetBeginSessionA(inst.handle, C.byref(ses), None, None))
        errors.append(cjet.lib.JetRestoreInstanceA(inst.handle, cjet.text(w.place / "set"), cjet.text(w.place / "to"), None))

    inst.restore(w.place / "set", w.place / "to", heard)
    assert set(errors) == {ERR["JET_errRestoreInProgress"]}


@ROWS("BK-322")
def the_forms_without_an_instance(place):
    w = ended(place)
    for p in w.data.glob("edb*"):
        p.unlink()
    ready = cjet.Instance(w.place / "x")  # multi-instance mode
    assert cjet.lib.JetRestoreA(cjet.text(w.place / "set"), None) == ERR["JET_errRunningInMultiInstanceMode"]
    ready.destroy()
    (w.place / "log").mkdir()
    for param in (K.JET_paramSystemPath, K.JET_paramLogFilePath, K.JET_paramTempPath):
        cjet.set_param(None, param, str(w.place / "log") + "/")
    cjet.set_param(None, K.JET_paramLogFileSize, 64)
    cjet.call("JetRestoreA", cjet.text(w.place / "set"), None)
    assert count(w.data / "a.edb") == 60  # where it lay
    (w.place / "to").mkdir()
    shutil.rmtree(w.place / "log")
    (w.place / "log").mkdir()
    cjet.call("JetRestore2A", cjet.text(w.place / "set"), cjet.text(w.place / "to"), None)
    assert count(w.place / "to" / "a.edb") == 60


# ---- what follows the set ----


@ROWS("BK-303", "BK-304")
def roll_forward_from_another_folder(place):
    w = Ledger(place)
    w.commits(30)
    w.backup()
    w.commits(60)
    w.backup("set", INC)
    w.commits(90)
    crash(w.inst)
    live = hashes(w.data)
    _, found = cjet.restore(w.place / "set", w.place / "whole", roll_forward=w.data)
    assert contents(found[0]) == w.now
    is_sound(found[0])
    _, found = cjet.restore(w.place / "set", w.place / "alone")
    assert contents(found[0]) == w.history[89][2]
    assert hashes(w.data) == live


@ROWS("BK-307", "BK-370", "BK-314")
def live_logs_with_faults(place):
    w = Ledger(place)
    w.backup()
    w.commits(120)
    w.inst.term()
    high, logs = cjet.survey(w.place / "set").gen_high, w.logs()
    shutil.copytree(w.data, w.place / "live")
    (w.place / "live" / "edb.log").unlink()  # no current one: the archived ones are replayed
    _, found = cjet.restore(w.place / "set", w.place / "to", roll_forward=w.place / "live")
    assert contents(found[0]) in [state for _, _, state in w.history[40:]]
    missing = (w.place / "live" / f"edb{logs[-2]:05X}.log").rename(w.place / "away")
    with cjet.Events() as events:
        w.fails("JET_errMissingCurrentLogFiles", cjet.restore, w.place / "set", w.place / "to2", None, None, w.place / "live")
    assert any(e[0] == 450 and missing.name is not None for e in events.seen)
    missing.rename(w.place / "live" / f"edb{logs[-2]:05X}.log")
    bad = next(g for g in logs if g > high + 1)
    p = w.place / "live" / f"edb{bad:05X}.log"
    data = bytearray(p.read_bytes())
    data[3 * 4096 + 100 : 3 * 4096 + 200] = bytes(100)
    p.write_bytes(data)
    w.fails("JET_errLogCorruptDuringHardRecovery", cjet.restore, w.place / "set", w.place / "to3", None, None, w.place / "live")


# ---- to a moment ----


@ROWS("BK-303", "BK-304", "BK-129", "BK-127")
def point_in_time(place):
    """Many positions, in the increments of the set and in the live logs: row by row what the commits up to there left."""
    w = Ledger(place)
    w.commits(40)
    w.backup()
    first = len(w.history)
    with w.inst.session() as other:
        w.commits(50)
        w.backup("set", INC)
        w.commits(40)
        with other.table(other.open(w.data / "a.edb", attach=False), "t") as t:
            other.begin()
            t.insert(id=5000, v=b"never committed" * 50)
            w.commits(40)
            crash(w.inst)
    top = cjet.survey(w.place / "set").gen_high
    before = hashes(w.place / "set"), hashes(w.data)
    numbers = random.Random(5)
    chosen = sorted(numbers.sample(range(first, len(w.history)), 12)) + [len(w.history) - 1]
    generations = {w.history[n][0] >> 32 for n in chosen}
    assert min(generations) <= top < max(generations), "both in the set and behind it"
    for n in chosen:
        stop = w.history[n][0] - 1
        name = f"at{n}"
        result, found = cjet.restore(w.place / "set", w.place / name, roll_forward=w.data, stop=stop)
        assert contents(found[0]) == w.history[n][2] == w.at(stop), n
        is_sound(found[0])
        assert result.recovery.gen_last <= stop >> 32
    for gen in (top, top + 1):  # whole generations
        _, found = cjet.restore(w.place / "set", w.place / f"gen{gen}", roll_forward=w.data, stop=gen << 32)
        assert contents(found[0]) == w.at(((gen + 1) << 32 | 1 << 16) - 1), gen
    assert (hashes(w.place / "set"), hashes(w.data)) == before
    # the log of a restore to a moment goes on like any other
    logs = w.place / f"at{chosen[3]}-logs"
    inst = cjet.Instance(logs, log_kib=64)
    inst.init()
    ses = inst.session()
    with ses.table(ses.open(w.place / f"at{chosen[3]}" / "a.edb"), "t") as t, ses.transaction():
        t.insert(id=9000, v=b"later")
    crash(inst)
    inst = cjet.Instance(logs, log_kib=64)
    inst.init()
    inst.term()
    assert contents(w.place / f"at{chosen[3]}" / "a.edb") == {**w.history[chosen[3]][2], 9000: b"later"}


@ROWS("BK-304")
def moments_that_are_not_there(place):
    w = Ledger(place)
    w.commits(60)
    w.backup()
    w.commits(30)
    w.inst.term()
    found = cjet.survey(w.place / "set")
    for stop in (w.history[10][0] - 1, (found.gen_high << 32) - 1, found.gen_high << 32 | 1 << 16):
        e = w.fails("JET_errEndingRestoreLogTooLow", lambda stop=stop: cjet.restore(w.place / "set", w.place / "to", roll_forward=w.data, stop=stop))
        assert "backup" in e.detail
    w.fails("JET_errMissingLogFile", lambda: cjet.restore(w.place / "set", w.place / "to2", roll_forward=w.data, stop=(w.logs()[-1] + 5) << 32))
    w.fails("JET_errMissingLogFile", lambda: cjet.restore(w.place / "set", w.place / "to3", stop=(found.gen_high + 1) << 32))
    e = w.fails("JET_errMissingLogFile", lambda: cjet.restore(w.place / "set", w.place / "to4", roll_forward=w.data, stop=2**64 - 1))
    assert str(w.logs()[-1] + 1) in e.detail
    assert not [p for n in (2, 3, 4) for p in (w.place / f"to{n}").glob("*.edb")]  # told before anything is copied
    good = [0, 0, 0, 29, 2, 124, 1, 0]
    wrong = [bytes(value if i == at else b for i, b in enumerate(good))
             for at, value in ((0, 60), (1, 60), (2, 24), (3, 0), (3, 30), (4, 0), (4, 13), (5, 125))]  # fmt: skip
    for time in (*wrong, bytes([*good[:6], 0xFF, 0x0E]), b"\xff" * 8):  # the last but one: 1023 ms
        e = w.fails("JET_errInvalidParameter", lambda time=time: cjet.restore(w.place / "set", w.place / "to5", roll_forward=w.data, stop_time=time))
        assert "time" in e.detail
    w.fails("JET_errEndingRestoreLogTooLow", lambda: cjet.restore(w.place / "set", w.place / "to5", roll_forward=w.data, stop_time=bytes(good)))


@ROWS("BK-307", "a generation of a hostile header")
def a_live_log_that_claims_a_late_generation(place):
    """The walk over the live logs ends at the first that is missing, not at the generation that a header claims, two thousand millions further."""
    w = Ledger(place)
    w.commits(60)
    w.backup()
    w.commits(60)
    w.inst.term()
    shutil.copytree(w.data, w.place / "live")
    current = w.place / "live" / "edb.log"
    page = bytearray(current.read_bytes()[:4096])
    assert struct.unpack_from("<I", page, 4)[0] == w.logs()[-1] + 1
    struct.pack_into("<I", page, 4, 0x7FFFFFFF)
    words = struct.unpack("<1024I", page)
    sum_ = 0x89ABCDEF
    for word in words[1:]:
        sum_ ^= word
    assert struct.unpack_from("<I", current.read_bytes())[0] == sum_ ^ (w.logs()[-1] + 1) ^ 0x7FFFFFFF, "the header's checksum is an xor"
    struct.pack_into("<I", page, 0, sum_)
    with open(current, "r+b") as f:
        f.write(page)
    for gone in (None, w.logs()[0]):  # also with a gap in what the set has
        if gone is not None and (w.place / "live" / f"edb{gone:05X}.log").exists():
            (w.place / "live" / f"edb{gone:05X}.log").unlink()
        e = w.fails("JET_errMissingCurrentLogFiles", cjet.restore, w.place / "set", w.place / "to", None, None, w.place / "live")
        assert f"{w.logs()[-1] + 1:05X}" in e.detail and not (w.place / "to" / "a.edb").exists()


@ROWS("BK-304")
def times(place):
    """What was durable at a time, and nothing committed after it."""
    w = Ledger(place)
    w.commits(20)
    w.backup()
    first = len(w.history)
    for _ in range(6):
        w.commits(8)
        time.sleep(0.03)
    w.inst.term()
    for n in range(first + 7, len(w.history), 8):
        moment = w.history[n][1] + 0.012
        _, found = cjet.restore(w.place / "set", w.place / f"at{n}", roll_forward=w.data, stop_time=logtime(moment))
        assert contents(found[0]) == w.history[n][2], n
    _, found = cjet.restore(w.place / "set", w.place / "later", roll_forward=w.data, stop_time=logtime(time.time() + 100))
    assert contents(found[0]) == w.now
    w.fails("JET_errEndingRestoreLogTooLow", lambda: cjet.restore(w.place / "set", w.place / "never", stop_time=logtime(1e9)))


# ---- JetInit3 ----


def crashed(place, commits=150):
    w = Ledger(place)
    w.commits(commits)
    crash(w.inst)
    return w


@ROWS("BK-343", "BK-344", "BK-348")
def init_with_a_stop(place):
    w = crashed(place)
    logs = w.logs()
    shutil.copytree(w.data, w.place / "original")
    for k, stop in enumerate((w.history[100][0] - 1, logs[len(logs) // 2] << 32)):
        work = shutil.copytree(w.place / "original", w.data, dirs_exist_ok=True)
        (work / "edb.chk").unlink()
        inst, seen = cjet.Instance(work, log_kib=64), []
        w.fails("JET_errRecoveredWithoutUndo", lambda inst=inst, stop=stop, seen=seen: inst.init3((), stop, 0, lambda *a: seen.append(a)))
        inst.destroy()
        assert seen[0][:2] == (8, BEGIN) and seen[-1][1] == COMPLETE
        header = w.header()
        assert header["state"] == "dirty shutdown" and header["gen_max_required"] <= max(stop >> 32, 1)
        # what the operator does then: the logs behind go, and everything up to the stop is there
        if k == 1:
            for gen in logs:
                if gen > stop >> 32:
                    (work / f"edb{gen:05X}.log").unlink()
            (work / "edb.log").unlink()
            inst = cjet.Instance(work, log_kib=64)
            inst.init(K.JET_bitReplayIgnoreLostLogs)
            inst.term()
            assert contents(work / "a.edb") == w.at((((stop >> 32) + 1) << 32 | 1 << 16) - 1)
        else:  # or goes on to the end
            inst = cjet.Instance(work, log_kib=64)
            inst.init()
            inst.term()
            assert contents(work / "a.edb") == w.now
        for p in work.iterdir():
            p.unlink()


@ROWS("BK-342", "BK-345", "BK-346")
def init_with_bad_information(place):
    w = crashed(place, 20)
    inst = cjet.Instance(w.data, log_kib=64)
    info = cjet.RSTINFO(cbStruct=C.sizeof(cjet.RSTINFO))
    array, _ = cjet.restore_map([("/a", "/b")])

    def init(error, **fields):
        given = cjet.RSTINFO(cbStruct=C.sizeof(cjet.RSTINFO))
        for name, value in fields.items():
            setattr(given, name, value)
        w.fails(error, cjet.call, "JetInit3A", C.byref(inst.handle), C.byref(given), u32(0))

    init("JET_errInvalidParameter", cbStruct=C.sizeof(info) - 4)
    init("JET_errInvalidParameter", crstmap=1)
    init("JET_errInvalidParameter", rgrstmap=array, crstmap=15)
    init("JET_errInvalidParameter", rgrstmap=array, crstmap=-1)
    init("JET_errInvalidParameter", rgrstmap=array, crstmap=0)
    init("JET_errInvalidParameter", isec=4)
    init("JET_errInvalidParameter", logtimeStop=(cjet.u8 * 8)(*logtime(1e9)))
    init("JET_errDatabaseInvalidName", rgrstmap=cjet.restore_map([("/a", "")])[0], crstmap=1)
    cjet.set_param(inst.handle, K.JET_paramDeleteOutOfRangeLogs, 1)
    init("JET_errInvalidParameter", lGeneration=3)
    cjet.set_param(inst.handle, K.JET_paramDeleteOutOfRangeLogs, 0)
    init("JET_errMissingLogFile", lGeneration=w.logs()[-1] + 5)
    w.fails("JET_errInvalidGrbit", inst.init3, (), 0, 0x40000000)
    w.fails("JET_errRecoveredWithoutUndo", inst.init3, (), 0, K.JET_bitRecoveryWithoutUndo)
    inst.init3()
    inst.term()
    inst = cjet.Instance(w.data, log_kib=64)
    w.fails("JET_errRecoveredWithoutUndoDatabasesConsistent", inst.init3, (), 0, K.JET_bitRecoveryWithoutUndo)
    assert contents(w.data / "a.edb") == w.now


@ROWS("BK-347")
def init_with_a_map(place):
    w = crashed(place, 60)
    moved = w.place / "elsewhere" / "b.edb"
    moved.parent.mkdir()
    (w.data / "a.edb").rename(moved)
    inst = cjet.Instance(w.data, log_kib=64)
    with cjet.Events() as events:
        assert inst.init3([(w.data / "a.edb", moved)]) == 0
    assert [str(w.data / "a.edb"), str(moved)] in [e[2] for e in events.seen if e[0] == 216]
    inst.term()
    assert contents(moved) == w.now and not (w.data / "a.edb").exists()


# ---- JetInit4 ----


def wide(name):
    return name.decode().encode("utf-16-le") + b"\0\0"


@ROWS("BK-342", "init4")
def init4_with_bad_information(place):
    w = crashed(place, 20)
    inst = cjet.Instance(w.data, log_kib=64)

    def init(error, entry=None, count=1, **fields):
        e = cjet.RSTMAP2(C.sizeof(cjet.RSTMAP2), b"/a", b"/b", None, 0, 0)
        for name, value in (entry or {}).items():
            setattr(e, name, value)
        given = cjet.RSTINFO2(C.sizeof(cjet.RSTINFO2), C.pointer(e), count)
        for name, value in fields.items():
            setattr(given, name, value)
        for form in "AW":
            w.fails(error, cjet.call, "JetInit4" + form, C.byref(inst.handle), C.byref(given), u32(0))
            e.old, e.new = (None if name is None else wide(name) for name in (e.old, e.new))

    init("JET_errInvalidParameter", cbStruct=C.sizeof(cjet.RSTINFO))
    init("JET_errInvalidParameter", {"cbStruct": 16})
    init("JET_errInvalidParameter", count=15)
    init("JET_errInvalidParameter", count=-1)
    init("JET_errInvalidParameter", count=0)
    init("JET_errInvalidParameter", rgrstmap=None)
    init("JET_errInvalidParameter", isec=4)
    init("JET_errInvalidParameter", logtimeStop=(cjet.u8 * 8)(*logtime(1e9)))
    init("JET_errInvalidDbparamId", {"csetdbparam": 1})
    init("JET_errInvalidGrbit", {"grbit": 8})
    init("JET_errInvalidGrbit", {"grbit": K.JET_bitRestoreMapIgnoreWhenMissing | K.JET_bitRestoreMapFailWhenMissing})
    init("JET_errDatabaseInvalidName", {"new": b""})
    init("JET_errDatabaseInvalidName", {"new": None})
    w.fails("JET_errInvalidGrbit", inst.init4, (), 0, 0x40000000)
    w.fails("JET_errMissingLogFile", inst.init4, (), (w.logs()[-1] + 5) << 32)
    heard = []
    inst.init4(heard=heard)
    assert {x[2] for x in heard} == {4711} and [x[1] for x in heard][-1] == K.JET_sntComplete
    inst.term()
    assert contents(w.data / "a.edb") == w.now


@ROWS("BK-347", "init4")
def init4_with_a_map(place):
    """By the old name, or by the signature alone."""
    for old in (True, False):
        w = crashed(os.path.join(place, str(old)), 60)
        moved = w.place / "elsewhere" / "ünder an other name.edb"
        moved.parent.mkdir()
        (w.data / "a.edb").rename(moved)
        inst = cjet.Instance(w.data, log_kib=64)
        with cjet.Events() as events:
            assert inst.init4([(w.data / "a.edb" if old else None, moved, K.JET_bitRestoreMapFailWhenMissing)]) == 0
        assert [str(w.data / "a.edb"), str(moved)] in [e[2] for e in events.seen if e[0] == 216]
        inst.term()
        assert contents(moved) == w.now and not (w.data / "a.edb").exists()


@ROWS("init4-overwrite")
def init4_overwrites_what_the_log_creates(place):
    """Another database lies where CreateDB is redone: it is an error, or with JET_bitRestoreMapOverwriteOnCreate it goes."""
    w = crashed(place, 60)
    with cjet.Instance(w.place / "other", log_kib=64) as other, other.session() as ses:
        ses.create(w.place / "other" / "a.edb")
    (w.data / "edb.chk").unlink(missing_ok=True)  # from the first log on
    to = w.place / "other" / "a.edb"
    before = to.read_bytes()
    (w.data / "a.edb").unlink()
    inst = cjet.Instance(w.data, log_kib=64)
    w.fails("JET_errAttachedDatabaseMismatch", inst.init4, [(w.data / "a.edb", to, 0)])
    assert to.read_bytes() == before
    inst.init4([(w.data / "a.edb", to, K.JET_bitRestoreMapOverwriteOnCreate)])
    inst.term()
    assert contents(to) == w.now


# ---- JetExternalRestore ----


def external(w, to, map_, low=0, high=0, logs=None, status=None):
    array, n = cjet.restore_map(map_)
    fn = cjet.STATUS_FN(lambda s, snp, snt, p: status(snp, snt) or 0) if status else None
    return cjet.call("JetExternalRestoreA", cjet.text(to), cjet.text(to), array, i32(n), cjet.text(logs or w.place / "set"), i32(low), i32(high), fn)


def external2(w, to, map_, target=None, target_dirs=(None, None), size=16, base=b"edb", low=0, high=0):
    array, n = cjet.restore_map(map_)
    info = cjet.LOGINFO(size, low, high, base)
    return cjet.call("JetExternalRestore2A", cjet.text(to), cjet.text(to), array, i32(n), cjet.text(w.place / "set"), C.byref(info),
                     cjet.text(target), cjet.text(target_dirs[0]), cjet.text(target_dirs[1]), None)


def placed(w, name, *databases):
    """Copies of a set's databases where a client would have put them; the map that says so."""
    (w.place / name).mkdir()
    for d in databases:
        shutil.copy(w.place / "set" / d, w.place / name / f"new-{d}")
    return [(w.data / d, w.place / name / f"new-{d}") for d in databases]


@ROWS("BK-323", "BK-324", "BK-325", "BK-326", "BK-327", "BK-184")
def external_restore(place):
    w = World(place, ("a.edb", "b.edb"))
    w.backup()
    w.add(30)
    w.backup("set", INC)
    w.inst.term()
    before = hashes(w.place / "set")
    found = cjet.survey(w.place / "set")
    both, seen = placed(w, "to", "a.edb", "b.edb"), []
    assert external(w, w.place / "logs", both, found.gen_low, found.gen_high, status=lambda *a: seen.append(a)) == 0
    assert [count(new) for _, new in both] == [90, 90]
    assert seen[0] == (8, BEGIN) and seen[-1] == (8, COMPLETE)
    for _, new in both:
        is_sound(new)
    one = placed(w, "one", "a.edb")  # the other is in the logs, and ignored; the range is what is there
    original = hashes(w.data)
    external(w, w.place / "logs1", one)
    assert count(one[0][1]) == 90 and hashes(w.data) == original
    again = placed(w, "again", "a.edb")
    w.fails("JET_errMissingRestoreLogFiles", external, w, w.place / "logs2", again, found.gen_low, found.gen_high + 1)
    w.fails("JET_errStartingRestoreLogTooHigh", external, w, w.place / "logs2", again, found.gen_low + 1, found.gen_high)
    w.fails("JET_errFileNotFound", external, w, w.place / "logs2", [(w.data / "a.edb", w.place / "nowhere.edb")])
    w.fails("JET_errInvalidPath", external, w, w.place / "set", again)
    array, _ = cjet.restore_map(again)
    for given, n in ((array, -1), (array, 15), (None, 1), (array, 0)):
        err = cjet.lib.JetExternalRestoreA(b"x", b"x", given, i32(n), cjet.text(w.place / "set"), i32(0), i32(0), None)
        assert err == ERR["JET_errInvalidParameter"], n
    assert hashes(w.place / "set") == before
    external(w, w.place / "logs2", again)  # nothing of the failed tries is in its way
    assert count(again[0][1]) == 90


@ROWS("BK-323")
def external_restore_cut_off(place):
    """A try that fails after the trailer was taken off can be repeated."""
    w = ended(place, rows=200)
    to = placed(w, "to", "a.edb")
    with cjet.fault("write", "logs/edb", error=28):
        w.fails("JET_errDiskFull", external, w, w.place / "logs", to)
    shutil.rmtree(w.place / "logs")
    external(w, w.place / "logs", to)
    assert count(to[0][1]) == 200


@ROWS("BK-328", "BK-329", "BK-330")
def external_restore_with_a_target(place):
    w = World(place, ("a.edb",))
    w.backup()
    w.add(40)
    to = placed(w, "to", "a.edb")
    name = w.inst.name
    w.fails("JET_errInvalidParameter", external2, w, w.place / "x", to, name, (w.data, w.data))
    w.fails("JET_errInvalidParameter", external2, w, w.place / "x", to, None, (w.data, None))
    w.fails("JET_errInvalidParameter", external2, w, w.place / "x", to, None, (None, None), 20)
    w.fails("JET_errBadRestoreTargetInstance", external2, w, w.place / "x", to, "nobody")
    other = cjet.Instance(w.place / "other", base="oth")
    other.init()
    w.fails("JET_errBadRestoreTargetInstance", external2, w, w.place / "x", to, other.name)
    live = set(w.logs())
    assert external2(w, w.place / "logs", to, name) == ERR["JET_wrnTargetInstanceRunning"]
    assert count(to[0][1]) == 100 and set(w.logs()) > live  # rolled, and replayed to there
    by_folder = placed(w, "folder", "a.edb")
    assert external2(w, w.place / "logs2", by_folder, None, (w.data, w.data)) == ERR["JET_wrnTargetInstanceRunning"]
    w.add(5)  # the target goes on
    w.inst.term()
    down = placed(w, "down", "a.edb")
    shutil.copytree(w.data, w.place / "live")
    assert external2(w, w.place / "unused", down, None, (w.place / "live", w.place / "live")) == 0
    assert count(down[0][1]) == 105


@ROWS("BK-330")
def external_restore_with_a_circular_target(place):
    w = World(place, circular=True)
    w.backup()
    w.add(10)
    to = placed(w, "to", "a.edb")
    assert external2(w, w.place / "logs", to, w.inst.name) == 0
    assert count(to[0][1]) == 60
