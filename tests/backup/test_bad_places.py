"""Destinations and sets that are not as they should be: each has its error, its hint, its event, and source and older sets stay whole."""

import errno
import os
import pathlib
import shutil
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import bkinfo, damage, INC, PAGE  # noqa: E402
from repo_world import kept  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K  # noqa: E402
from test_atomic import rows_of  # noqa: E402
from test_priority1 import ATOMIC, TABLE, World, count, files  # noqa: E402

ROWS = Rows()


def listing(folder):
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


class Kept:
    """What must not change whatever goes wrong: an older set, the headers' marks, the live logs."""

    def __init__(self, w):
        self.w = w
        if not (w.place / "older").exists():
            w.backup("older")
        self.older, self.marks, self.logs = listing(w.place / "older"), bkinfo(w), set(w.logs())

    def check(self):
        w = self.w
        assert listing(w.place / "older") == self.older and bkinfo(w) == self.marks and self.logs <= set(w.logs())
        w.add(1)  # and the instance goes on


def refused(w, error, name, grbit=0, status=None, ends=(213, 214, 215)):
    """The error, with a hint, and an entry of an error where the run had begun."""
    kept = Kept(w)
    with cjet.Events() as events:
        e = w.fails(error, w.backup, name, grbit, status)
    assert e.hint and 213 not in events.ids()
    begun = 210 in events.ids() or 211 in events.ids()
    assert not begun or {214, 215} & set(events.ids()), events.ids()
    kept.check()
    return e


# ---- the disk behind the destination ----


@ROWS("BK-132", "at each write")
def it_fills_up(place):
    w = World(place, rows=120)
    kept = Kept(w)
    for grbit, name in ((0, "set"), (ATOMIC, "atomic"), (INC, "older")):
        for op in ("write", "size", "open"):
            for after in (0, 1, 3):
                with cjet.fault(op, f"/{name}/", after=after, error=errno.ENOSPC), cjet.Events() as events:
                    err = cjet.lib.JetBackupInstanceA(w.inst.handle, cjet.text(w.place / name), cjet.u32(grbit), None)
                    if err == 0:
                        pytest.fail(f"{op} {after}: told as a success") if cjet.lib.PyjetFaultHits() else shutil.rmtree(w.place / name)
                        kept = Kept(w)
                        break
                assert err == cjet.ERR["JET_errDiskFull"] and cjet.lib.PyjetErrorHint(err), (op, after, err)
                assert {214, 217, 218} & set(events.ids()) and 213 not in events.ids(), (op, after, events.ids())
                kept.check()
                assert name == "older" or not files(w.place / name)
    w.backup("set")
    assert rows_of(w) == w.rows


def small_disk(place):
    """A file system of 1 MiB that only this process sees, or None where that is not allowed."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        return None
    libc.mount(b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
    to = pathlib.Path(place) / "small"
    to.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(to), b"tmpfs", 0, b"size=1m") != 0:
        return None
    return to


def on_a_small_disk(report, place):
    w = World(place, rows=40)
    to = small_disk(place)
    if to is None:
        return "no right to mount"
    (to / "set").mkdir()
    w.add(900)
    for grbit in (0, ATOMIC):
        refused(w, "JET_errDiskFull", "small/set", grbit)
        assert os.listdir(to / "set") == []
    return "shown"


def test_a_file_system_that_is_too_small(memory_path):
    """BK-132: of 1 MiB, mounted for this process only; where nobody may mount, it_fills_up stands for it with injected faults."""
    if run(on_a_small_disk, str(memory_path)) != "shown":
        pytest.skip("a file system cannot be mounted here")


def on_another_file_system(report, place, other):
    w = World(place, rows=40)
    for _ in range(2):
        w.inst.jet_backup(pathlib.Path(other) / "set", ATOMIC)
        w.add(3)
    w.inst.jet_backup(pathlib.Path(other) / "set", ATOMIC | INC)
    _, found = cjet.restore(pathlib.Path(other) / "set", w.place / "back")
    assert count(found[0]) == w.rows


def test_another_file_system(memory_path, tmp_path):
    """BK-029: a set on another file system than the database: the renames stay within the destination."""
    if os.stat(memory_path).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is one file system only")
    run(on_another_file_system, str(memory_path), str(tmp_path))


@ROWS("BK-079", "it disappears")
def it_disappears(place):
    """The folder is moved away in the midst: the run fails, or its files are all where the folder went; never a success without a set."""
    w = World(place, rows=200)
    kept = Kept(w)
    for grbit, name in ((0, "set"), (ATOMIC, "atomic")):
        away = w.place / f"{name}-away"

        def vanish(percent):
            if percent == 50:
                (w.place / name).rename(away)

        w.inst.pause(vanish)
        with cjet.Events() as events:
            err = cjet.lib.JetBackupInstanceA(w.inst.handle, cjet.text(w.place / name), cjet.u32(grbit), None)
        assert err < 0 and cjet.lib.PyjetErrorHint(err) and 214 in events.ids()
        w.inst.pause(lambda percent: None)
        kept.check()
        assert not (w.place / name).exists()
        w.backup(name, grbit)
        assert rows_of(w, name) == w.rows
        kept = Kept(w)


@ROWS("it turns read-only")
def it_turns_read_only(place):
    w = World(place, rows=200)
    (w.place / "set").mkdir()
    for grbit in (0, ATOMIC):
        for op in ("open", "dir", "write", "rename"):
            kept = Kept(w)
            with cjet.fault(op, "/set/", error=errno.EROFS), cjet.Events() as events:
                err = cjet.lib.JetBackupInstanceA(w.inst.handle, cjet.text(w.place / "set"), cjet.u32(grbit), None)
                hits = cjet.lib.PyjetFaultHits()
            assert err < 0 if hits else err == 0, (op, grbit, err)
            if err < 0:
                assert cjet.lib.PyjetErrorHint(err) and 214 in events.ids() and 213 not in events.ids(), (op, grbit, err, events.ids())
                assert cjet.ERR_NAME[err] in ("JET_errFileAccessDenied", "JET_errMakeBackupDirectoryFail"), (op, grbit, cjet.ERR_NAME[err])
                kept.check()
                assert not files(w.place / "set")
            else:
                shutil.rmtree(w.place / "set")
                (w.place / "set").mkdir()


# ---- whose directory it is ----


@ROWS("BK-095", "the live directory")
def the_live_directory_itself(place):
    """And one above it, where the live files lie in a folder that has a name of ours: nothing of them is touched."""
    for n, (folder, target) in enumerate((("data", "data"), ("x/temp", "x"), ("x/new", "x"), ("x/old", "x"))):
        live_directory(pathlib.Path(place) / f"w{n}", folder, target)


def live_directory(place, folder, target):
    w = World(place, rows=40, data=folder)
    w.backup("older")
    before = set(files(w.data))
    (w.place / "link").symlink_to(w.place / target)
    for name in (target, "link"):
        for grbit in (0, ATOMIC, INC, ATOMIC | INC):
            refused(w, "JET_errBackupDirectoryNotEmpty", name, grbit)
    assert before <= set(files(w.data)) and not [n for n in files(w.data) if n.endswith((".tmp", ".pat"))]
    w.add(40)
    w.inst.term()
    assert count(w.data / "a.edb") == w.rows


@ROWS("BK-168", "another instance's set")
def a_set_of_another_instance(place):
    w = World(place, rows=40)
    other = World(w.place / "o", ("z.edb",), rows=40)
    other.inst.jet_backup(w.place / "theirs")
    other.inst.jet_backup(w.place / "atomic", ATOMIC)
    theirs, atomic = listing(w.place / "theirs"), listing(w.place / "atomic")
    refused(w, "JET_errBackupDirectoryNotEmpty", "theirs")
    assert listing(w.place / "theirs") == theirs
    refused(w, "JET_errFileAlreadyExists", "theirs", INC)
    assert listing(w.place / "theirs") == theirs
    refused(w, "JET_errFileAlreadyExists", "atomic", INC | ATOMIC)
    after = {name.replace("old", "new", 1): raw for name, raw in listing(w.place / "atomic").items()}
    assert after == atomic


# ---- at the same time ----


@ROWS("BK-043", "BK-045", "threads")
def many_at_once(place):
    """Of eight that begin together on an instance one succeeds at least, the others are told so; another instance is not held up."""
    w = World(place, rows=200)
    other = World(w.place / "o", rows=40)
    results, start = {}, threading.Barrier(9)

    def backup(n, inst):
        start.wait()
        results[n] = cjet.lib.JetBackupInstanceA(inst.handle, cjet.text(w.place / f"set{n}"), cjet.u32(0), None)

    threads = [threading.Thread(target=backup, args=(n, w.inst if n < 8 else other.inst)) for n in range(9)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results[8] == 0 and set(results.values()) <= {0, cjet.ERR["JET_errBackupInProgress"]}
    good = [n for n in range(8) if results[n] == 0]
    assert good
    for n in range(8):
        if n in good:
            assert rows_of(w, f"set{n}") == 200
        else:
            assert not files(w.place / f"set{n}")


@ROWS("BK-134", "BK-135", "in a storm")
def databases_come_and_go_meanwhile(place):
    """Backups while another thread attaches, detaches and creates without end: each set restores, whichever databases it holds."""
    w = World(place, rows=60)
    over, counts, errors = threading.Event(), {"done": 0, "refused": 0}, []

    def come_and_go():
        n = 0
        try:
            with w.inst.session() as ses:
                while not over.is_set():
                    n += 1
                    path = w.data / f"x{n % 3}.edb"
                    try:
                        if path.exists():
                            ses.attach(path)
                        else:
                            ses.close(ses.create(path))
                        ses.detach(path)
                        counts["done"] += 1
                    except cjet.JetError as e:
                        assert e.name in ("JET_errBackupInProgress", "JET_wrnDatabaseAttached", "JET_errDatabaseInUse", "JET_errDatabaseNotFound"), e
                        counts["refused"] += 1
                        try:
                            ses.detach(path)
                        except cjet.JetError:
                            pass
        except Exception as e:
            errors.append(e)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for n in range(12):
            until, there = time.monotonic() + 10, counts["done"]
            while counts["done"] == there:
                assert time.monotonic() < until, "databases never come and go"
                time.sleep(0.001)
            w.backup(f"set{n}")
    finally:
        over.set()
        thread.join()
    assert not errors, errors
    assert counts["done"] and counts["refused"], counts
    for n in range(12):
        to = w.place / f"back{n}"
        _, found = cjet.restore(w.place / f"set{n}", to)
        assert count(next(p for p in found if p.name == "a.edb")) == 60


# ---- names ----


NAMES = ("a b", " lead", "trail ", "Größe-語-𝄞", "quote'\"s", "percent%20", "back\\slash", "new line\n", "-dash", "...", "~", "semi;colon")


@ROWS("BK-016", "names")
def names_of_every_kind(place):
    for n, name in enumerate(NAMES):
        w = World(pathlib.Path(place) / f"w{n}" / name, (name.replace("\\", "_").strip(". ~\n") + "x.edb",), rows=10)
        w.backup(name)
        w.add(5)
        w.backup(name, INC)
        w.backup(f"{name} atomic", ATOMIC)
        assert rows_of(w, name) == 15 and rows_of(w, f"{name} atomic") == 15
        w.inst.term()


@ROWS("BK-057", "W and bytes")
def names_that_are_too_long(place):
    """As long as JET allows, and one longer; a component longer than the file system allows; in bytes, not letters."""
    w = World(place, rows=10)
    room = K.JET_cbFullNameMost - 1 - len(str(w.place)) - 1
    tail = "/" + "é" * 60  # 120 bytes
    fits = "d" * (room - 121) + tail
    assert len(os.fsencode(w.place / fits)) == K.JET_cbFullNameMost - 1
    w.backup(fits)
    assert rows_of(w, fits) == 10
    refused(w, "JET_errInvalidPath", "d" + fits)
    assert not (w.place / ("d" + fits)).exists()
    wide = (str(w.place / ("d" + fits)) + "\0").encode("utf-16-le")
    assert cjet.lib.JetBackupInstanceW(w.inst.handle, wide, cjet.u32(0), None) == cjet.ERR["JET_errInvalidPath"]
    wide = (str(w.place / "wide ü") + "\0").encode("utf-16-le")
    assert cjet.lib.JetBackupInstanceW(w.inst.handle, wide, cjet.u32(0), None) == 0 and rows_of(w, "wide ü") == w.rows
    longest = w.data / ("n" * (259 - len(str(w.data)) - 5) + ".edb")
    assert len(str(longest)) == 259
    e = w.fails("JET_errInvalidPath", w.ses.create, str(longest) + "x")
    assert "259" in e.detail and not pathlib.Path(str(longest) + "x").exists()
    w.ses.create_table(w.ses.create(longest), "t", TABLE, [("pk", "+id", K.JET_bitIndexPrimary)])
    w.backup("set")
    assert longest.name in files(w.place / "set")
    assert {p.name for p in cjet.restore(w.place / "set", w.place / "r")[1]} == {"a.edb", longest.name}


# ---- sets that were tampered with ----


def told(events):
    """A restore that began tells its end; what is refused while the set is surveyed has at most an entry of its own (as in ESE)."""
    return 204 not in events.ids() or 205 in events.ids()


@ROWS("BK-298", "BK-301", "BK-302", "each file")
def each_file_of_a_set_is_missing(place):
    w = World(place, ("a.edb", "b.edb"), rows=40)
    w.backup()
    w.add(40)
    w.backup("set", INC)
    whole = listing(w.place / "set")
    live = kept(w.data)
    for n, name in enumerate(whole):
        bad = w.place / f"bad{n}"
        shutil.copytree(w.place / "set", bad)
        (bad / name).unlink()
        to = w.place / f"to{n}"
        try:
            with cjet.Events() as events:
                _, found = cjet.restore(bad, to)
        except cjet.JetError as e:
            assert e.hint and told(events), (name, e.name, events.ids())
            assert not list(to.glob("*.edb")), f"without {name} a database was put there all the same"
        else:
            assert not name.endswith(".edb") or len(found) == 1
            assert name.endswith((".pat", ".edb")) or name == max(k for k in whole if k.endswith(".log")), f"restored without {name}"
            assert all(40 <= count(p) <= 80 for p in found)  # the last log is no part of the full set's range
        shutil.rmtree(bad)
    assert listing(w.place / "set") == whole and live == kept(w.data)


@ROWS("BK-103", "one bit in each file")
def one_bit_is_flipped(place):
    """In each file of a set, at places spread over it: refused, or the same rows come back."""
    w = World(place, rows=60)
    w.backup()
    whole = listing(w.place / "set")
    n = refusals = 0
    for name, raw in whole.items():
        if not raw:
            continue
        for at in range(5, len(raw), max(len(raw) // 12, 1)):
            n += 1
            bad = w.place / f"bad{n}"
            shutil.copytree(w.place / "set", bad)
            changed = bytearray(raw)
            changed[at] ^= 1 << (at % 8)
            (bad / name).write_bytes(changed)
            to = w.place / f"to{n}"
            try:
                with cjet.Events() as events:
                    _, found = cjet.restore(bad, to)
                problems, _ = cjet.check_file(found[0])
                assert not problems, (name, at, problems[:3])
                assert count(found[0]) == 60, (name, at)
            except cjet.JetError as e:
                refusals += 1
                assert e.hint and told(events), (name, at, e.name, events.ids())
            shutil.rmtree(bad)
            shutil.rmtree(to, ignore_errors=True)
    assert refusals > 5


@ROWS("BK-299", "each log")
def logs_of_another_sequence(place):
    w = World(place, rows=60)
    other = World(w.place / "o", rows=200)
    w.backup()
    names = [n for n in files(w.place / "set") if n.endswith(".log") and (other.data / n).exists()]
    assert len(names) > 1
    for n, name in enumerate(names):
        bad = w.place / f"bad{n}"
        shutil.copytree(w.place / "set", bad)
        shutil.copy(other.data / name, bad / name)
        with cjet.Events() as events:
            e = w.fails("JET_errGivenLogFileHasBadSignature", cjet.restore, bad, w.place / f"to{n}")
        assert e.hint and 433 in events.ids() and not list((w.place / f"to{n}").glob("*.edb"))
