"""Rows of the behaviours for atomic sets and increments over the C API: temp, new and old at each moment; chains of increments."""

import os
import pathlib
import shutil
import struct
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import bkinfo, current, damage, INC, many_logs, PAGE, settled, SMALL_DEPTH, start  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K  # noqa: E402
from test_priority1 import ATOMIC, World, count, files  # noqa: E402

ROWS = Rows()


def below(w, name="set"):
    return sorted(os.listdir(w.place / name))


def rows_of(w, name="set"):
    """Restores a set into a place of its own, as often as one likes."""
    to = w.place / f"restored{len(list(w.place.glob('restored*')))}"
    _, found = cjet.restore(w.place / name, to)
    return count(sorted(found)[0])


def fail(w, name="set", grbit=ATOMIC):
    with cjet.fault("write", f"{name}/temp/", error=28):
        w.fails("JET_errDiskFull", w.backup, name, grbit)


# ---- atomic ----


@ROWS("BK-155", "BK-156")
def where_files_are_while_it_runs(place):
    w = World(place, rows=200)
    seen = []
    w.inst.pause(lambda percent: seen.append((below(w), "a.edb" in files(w.place / "set" / "temp"))))
    w.backup("set", ATOMIC)
    assert seen == [(["temp"], True)] * 3 and below(w) == ["new"]
    first = {name: (w.place / "set" / "new" / name).read_bytes() for name in below(w, "set/new")}
    seen.clear()

    def second(percent):
        old = w.place / "set" / "old"
        same = {name: (old / name).read_bytes() for name in os.listdir(old)} == first
        seen.append((below(w), same))

    w.add(3)
    w.inst.pause(second)
    w.backup("set", ATOMIC)
    assert seen == [(["old", "temp"], True)] * 3 and below(w) == ["new"]


@ROWS("BK-157", "BK-158")
def a_failed_second_run(place):
    w = World(place, rows=120)
    w.backup("set", ATOMIC)
    w.add(10)
    fail(w)
    assert below(w) == ["old"] and rows_of(w) == 120
    w.add(10)
    fail(w)
    assert below(w) == ["old"] and rows_of(w) == 120
    w.backup("set", ATOMIC)
    assert below(w) == ["new"] and rows_of(w) == 140


OPERATIONS = {
    "rename": 3, "unlink": 6, "dir": 3, "dirsync": 8, "sync": 4, "open": 8, "write": 6, "size": 3,
}  # fmt: skip


@ROWS("BK-159", "errors")
def an_error_at_each_operation(place):
    """Each file operation below the directory fails, one after the other: one whole set is there after each, the older or the newer."""
    w = World(place, rows=60)
    w.backup("set", ATOMIC)
    done = w.rows
    for op, most in OPERATIONS.items():
        for after in range(most):
            w.add(1)
            with cjet.fault(op, "/set", after=after, count=1, error=5):
                err = cjet.lib.JetBackupInstanceA(w.inst.handle, cjet.text(w.place / "set"), cjet.u32(ATOMIC), None)
                hits = cjet.lib.PyjetFaultHits()
            found = rows_of(w)
            shutil.rmtree(sorted(w.place.glob("restored*"))[-1])
            assert found in (done, w.rows), f"{op} {after}: {found}, neither {done} nor {w.rows}"
            assert err < 0 or found == w.rows, f"{op} {after}: told as a success"
            done = found
            if hits == 0:
                break
    assert w.backup("set", ATOMIC) == 0 and rows_of(w) == w.rows


def crash(report, place, op, after):
    """Ends the process, hard, at the n-th such operation below the directory: what it had done stays, nothing else."""
    w = World(place, rows=40)
    w.backup("set", ATOMIC)
    w.add(7)
    report(["before"])
    cjet.set_fault(op, "/set", after=after, count=1, error=0, delay_ms=60_000)

    def die():
        import time

        until = time.monotonic() + 20
        while cjet.lib.PyjetFaultHits() == 0 and not over and time.monotonic() < until:
            time.sleep(0.001)
        if not over:
            os._exit(7)

    import threading

    over = []
    thread = threading.Thread(target=die)
    thread.start()
    w.backup("set", ATOMIC)
    over.append(True)
    thread.join()
    cjet.set_fault()
    return "whole"


STEPS = [(op, after) for op, most in {"rename": 5, "unlink": 6, "dir": 3, "dirsync": 6, "sync": 3}.items() for after in range(most)]


@pytest.mark.parametrize("op, after", STEPS, ids=lambda x: str(x))
def test_a_crash_at_each_operation(memory_path, op, after):
    """BK-159, BK-028: killed just before the n-th rename, unlink, mkdir or sync of a second atomic run: one of the two is there, whole."""
    from child import Child

    child = Child(crash, str(memory_path), op, after)
    while child.take(None):
        pass
    status = os.waitstatus_to_exitcode(child.finish())
    assert status in (0, 7) and (status == 7 or after > 0), "no such operation"

    def look(report):
        to = memory_path / "restored"
        _, found = cjet.restore(memory_path / "set", to)
        return count(sorted(found)[0])

    assert run(look) in (40, 47)

    def again(report):  # and the live folder starts, and backs up there
        inst = cjet.Instance(memory_path / "data", log_kib=64)
        inst.init()
        with inst.session() as ses:
            ses.attach(memory_path / "data" / "a.edb")
            inst.jet_backup(memory_path / "set", ATOMIC)
        inst.term()
        shutil.rmtree(memory_path / "restored")
        _, found = cjet.restore(memory_path / "set", memory_path / "restored", work=memory_path / "w2")
        return count(sorted(found)[0])

    assert run(again) == 47 and os.listdir(memory_path / "set") == ["new"]


@ROWS("BK-160")
def both_are_there_at_the_start(place):
    w = World(place, rows=40)
    w.backup("set", ATOMIC)
    shutil.copytree(w.place / "set" / "new", w.place / "set" / "old")
    (w.place / "set" / "old" / "a.edb").write_bytes(b"an older one")
    w.add(5)
    w.backup("keep", ATOMIC)
    fail(w)
    assert below(w) == ["old"] and rows_of(w) == 40


@ROWS("BK-161", "BK-163")
def an_atomic_increment(place):
    w = World(place, rows=40)
    w.backup("set", ATOMIC)
    w.add(40)
    cwd = w.place / "cwd"
    (cwd / "old").mkdir(parents=True)
    os.chdir(cwd)
    before = set(below(w, "set/new"))
    w.backup("set", ATOMIC | INC)
    assert below(w) == ["old"] and os.listdir(cwd / "old") == []
    added = set(below(w, "set/old")) - before
    assert added and all(name.endswith(".log") for name in added)
    assert rows_of(w) == 80
    w.add(5)
    w.backup("set", ATOMIC | INC)
    assert rows_of(w) == 85
    w.backup("set", ATOMIC)
    assert below(w) == ["new"] and rows_of(w) == 85


@ROWS("BK-162")
def an_atomic_increment_without_a_set(place):
    w = World(place)
    w.backup("elsewhere")
    (w.place / "set").mkdir()
    w.fails("JET_errInvalidPath", w.backup, "set", ATOMIC | INC)
    assert below(w) == []
    cjet.set_param(w.inst.handle, K.JET_paramCreatePathIfNotExist, 0)
    w.fails("JET_errInvalidPath", w.backup, "missing", ATOMIC | INC)
    assert not (w.place / "missing").exists()


@ROWS("BK-097", "BK-098")
def plain_and_atomic_do_not_mix(place):
    w = World(place, rows=40)
    w.backup("atomic", ATOMIC)
    w.fails("JET_errBackupDirectoryNotEmpty", w.backup, "atomic", INC)
    w.fails("JET_errBackupDirectoryNotEmpty", w.backup, "atomic", 0)
    (w.place / "atomic" / "new").rename(w.place / "atomic" / "old")
    w.fails("JET_errBackupDirectoryNotEmpty", w.backup, "atomic", INC)
    assert below(w, "atomic") == ["old"] and rows_of(w, "atomic") == 40
    w.backup("plain")
    there = {p.name: p.read_bytes() for p in (w.place / "plain").iterdir()}
    for grbit in (ATOMIC, ATOMIC | INC):
        w.fails("JET_errBackupDirectoryNotEmpty", w.backup, "plain", grbit)
        assert {p.name: p.read_bytes() for p in (w.place / "plain").iterdir()} == there


@ROWS("BK-099", "BK-100")
def a_stale_temp(place):
    w = World(place, rows=40)
    for grbit in (0, ATOMIC):
        stale = w.place / f"set{grbit}" / "temp"
        stale.mkdir(parents=True)
        (stale / "a.edb").write_bytes(b"half a copy")
        (stale / "edb00001.log").write_bytes(b"")
        w.backup(f"set{grbit}", grbit)
        assert not stale.exists()
    stale = w.place / "set" / "temp" / "folder"
    stale.mkdir(parents=True)
    for grbit in (0, ATOMIC):
        w.fails("JET_errDeleteBackupFileFail", w.backup, "set", grbit)
        assert below(w) == ["temp"]


@ROWS("BK-101")
def a_folder_that_cannot_be_made(place):
    w = World(place, rows=40)
    (w.place / "set").mkdir()
    with cjet.fault("dir", "set/temp", error=13):
        e = w.fails("JET_errMakeBackupDirectoryFail", w.backup, "set", ATOMIC)
    assert "set/temp" in e.detail and below(w) == []


# ---- increments ----


def generations(folder):
    return sorted(int(name[3:8], 16) for name in files(folder) if name.endswith(".log"))


@ROWS("BK-164")
def a_chain_without_a_hole(place):
    w = World(place, ("a.edb", "b.edb"), rows=40, params=SMALL_DEPTH)
    w.backup()
    databases = {n: (w.place / "set" / n).read_bytes() for n in ("a.edb", "b.edb")}
    for _ in range(3):
        many_logs(w, 2)
        top = current(w)
        w.backup("set", INC)
        found = generations(w.place / "set")
        assert found == list(range(found[0], found[-1] + 1))
        assert top <= found[-1] < current(w)  # the clean-up in the background may have rolled the log meanwhile
    names = files(w.place / "set")
    assert [n for n in names if not n.startswith("edb0")] == ["a.edb", "a.pat", "b.edb", "b.pat"]
    assert {n: (w.place / "set" / n).read_bytes() for n in databases} == databases
    assert rows_of(w) == w.rows


@ROWS("BK-165")
def a_log_of_an_increment_is_missing(place):
    w = World(place, rows=40, params=SMALL_DEPTH)
    w.backup()
    tops = []
    for _ in range(3):
        many_logs(w, 2)
        w.backup("set", INC)
        tops.append(generations(w.place / "set")[-1])
    (w.place / "set" / f"edb{tops[1]:05X}.log").unlink()
    to = w.place / "to"
    e = w.fails("JET_errMissingRestoreLogFiles", cjet.restore, w.place / "set", to)
    assert e.hint and not (to / "a.edb").exists()


@ROWS("BK-166")
def a_live_log_was_deleted_by_hand(place):
    w = World(place, rows=40, params=SMALL_DEPTH)
    w.backup()
    before = {p.name: p.read_bytes() for p in (w.place / "set").iterdir()}
    full = bkinfo(w)["full_prev"][1]
    while w.inst.stats().checkpoint >> 32 < full + 4:
        w.add(20)
    logs = w.logs()
    for gone in ([full + 2], list(range(logs[0], full + 2))):  # a hole; and all up to the first that the set does not have
        kept = {w.data / f"edb{gen:05X}.log": (w.data / f"edb{gen:05X}.log").read_bytes() for gen in gone}
        for path in kept:
            path.unlink()
        with cjet.Events() as events:
            w.fails("JET_errMissingFileToBackup", w.backup, "set", INC)
        assert [e for e in events.seen if e[0] == 459] == [(459, 2, [f"edb{gone[-1]:05X}.log"])]
        assert {p.name: p.read_bytes() for p in (w.place / "set").iterdir()} == before
        for path, raw in kept.items():
            path.write_bytes(raw)
    for gen in range(logs[0], full + 2):
        (w.data / f"edb{gen:05X}.log").unlink()
    w.backup("again")
    assert rows_of(w, "again") == w.rows


@ROWS("BK-167", "BK-168")
def logs_of_the_same_name(place):
    w = World(place, rows=40)
    w.backup()
    w.add(40)
    w.backup("set", INC)
    overlap = generations(w.place / "set")
    kept = w.logs()
    assert set(overlap) & set(kept), "no overlap: nothing is shown"
    w.add(40)
    again = w.place / "set" / f"edb{max(set(overlap) & set(kept)):05X}.log"
    whole = again.read_bytes()
    again.write_bytes(whole[: 2 * PAGE] + bytes(len(whole) - 2 * PAGE))  # the same log, spoilt behind its header
    w.backup("set", INC)
    assert again.read_bytes() == whole and rows_of(w) == 120
    other = World(w.place / "other", ("z.edb",), rows=300)
    name = f"edb{other.logs()[-1]:05X}.log"
    w.add(1)
    while current(w) <= other.logs()[-1]:
        w.add(20)
    shutil.copy(other.data / name, w.place / "set" / name)
    foreign = (w.place / "set" / name).read_bytes()
    before = {p.name: p.read_bytes() for p in (w.place / "set").iterdir()}
    e = w.fails("JET_errFileAlreadyExists", w.backup, "set", INC)
    assert "another log sequence" in e.detail
    assert (w.place / "set" / name).read_bytes() == foreign
    assert {p.name: p.read_bytes() for p in (w.place / "set").iterdir()} == before


@ROWS("BK-169")
def after_a_restore(place):
    w = World(place, rows=40)
    w.backup()
    w.inst.term()
    _, found = cjet.restore(w.place / "set", w.place / "back")
    inst = cjet.Instance(w.place / "fresh-logs", log_kib=64)
    inst.init()
    with inst.session() as ses:
        ses.attach(found[0])
        w.fails("JET_errMissingFullBackup", inst.jet_backup, w.place / "set", INC)
        inst.jet_backup(w.place / "set2")
        inst.jet_backup(w.place / "set2", INC)
    inst.term()


@ROWS("BK-093", "BK-170")
def databases_that_come_and_go(place):
    w = World(place, rows=40)
    w.backup()
    w.ses.end()
    w.ses = w.inst.session()
    w.ses.detach(w.data / "a.edb")
    w.dbids = [w.ses.open(w.data / "a.edb")]
    w.add(20)
    assert w.backup("set", INC) == 0 and rows_of(w) == 60
    w.ses.create(w.data / "late.edb")
    with cjet.Events() as events:
        w.fails("JET_errMissingFullBackup", w.backup, "set", INC)
    assert any("late.edb" in p for e in events.seen if e[0] == 206 for p in e[2])
    w.backup("set2")
    assert w.backup("set2", INC) == 0


@ROWS("BK-171")
def attached_to_another_log_sequence(place):
    w = World(place, rows=40)
    w.backup()
    w.inst.term()
    assert bkinfo(w)["full_prev"][0] > 0
    inst = cjet.Instance(w.place / "other-logs", log_kib=64)
    inst.init()
    with inst.session() as ses:
        ses.attach(w.data / "a.edb")
        assert set(bkinfo(w).values()) == {(0, 0)}
        w.fails("JET_errMissingFullBackup", inst.jet_backup, w.place / "set2", INC)
    inst.term()


@ROWS("BK-174")
def nothing_happened_since(place):
    w = World(place, rows=40)
    w.backup()
    before = generations(w.place / "set")
    top = current(w)
    assert w.backup("set", INC) == 0
    assert set(generations(w.place / "set")) - set(before) == {top}


@ROWS("BK-175")
def a_damaged_page_does_not_matter(place):
    w, _ = start(place, rows=300)
    w.backup()
    settled(w)
    damage(w.data / "a.edb", 50 * PAGE + 200)
    assert w.backup("set", INC) == 0
    w.fails("JET_errReadVerifyFailure", w.backup, "full")
    assert rows_of(w) == 300
