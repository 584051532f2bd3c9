"""What is not a set's own is never deleted, emptied, written to or followed: links and foreign files among a set's folders and names."""

import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import current, INC, many_logs, PAGE, SMALL_DEPTH  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from test_atomic import below, rows_of  # noqa: E402
from test_bad_places import listing, refused  # noqa: E402
from test_priority1 import ATOMIC, World, count  # noqa: E402

ROWS = Rows()
NOT_EMPTY = "JET_errBackupDirectoryNotEmpty"


def treasure(w, name="treasure"):
    """A folder of the user, with a file for each name that a set has."""
    folder = w.place / name
    folder.mkdir()
    for file in ("photo.jpg", "a.edb", "a.pat", "edb00001.log"):
        (folder / file).write_text(f"{file}: the only copy")
    return folder


def stays(w, folder, error, grbit, named):
    """Refused with a hint that names it, and everything is as it was."""
    before = listing(w.place)
    e = refused(w, error, folder, grbit)
    after = listing(w.place / folder)
    assert str(named) in e.detail and after == {name[len(folder) + 1 :]: b for name, b in before.items() if name.startswith(folder + "/")}


# ---- links ----


@ROWS("BK-095", "a link is not followed")
def links_called_temp_new_or_old(place):
    w = World(place, rows=40)
    mine = treasure(w)
    kept = listing(mine)
    w.backup("atomic", ATOMIC)
    for link, there, grbit in (
        ("temp", False, 0), ("temp", False, ATOMIC), ("new", False, ATOMIC), ("old", False, ATOMIC), ("temp", True, ATOMIC),
        ("old", True, ATOMIC), ("temp", True, ATOMIC | INC), ("old", True, ATOMIC | INC), ("new", False, ATOMIC | INC),
        ("old", False, ATOMIC | INC),
    ):  # fmt: skip
        at = w.place / "set"
        shutil.copytree(w.place / "atomic", at) if there else at.mkdir()
        (at / link).symlink_to(mine)
        stays(w, "set", NOT_EMPTY, grbit, at / link)
        assert listing(mine) == kept and (at / link).is_symlink()
        (at / link).unlink()
        (at / link).symlink_to(w.place / "nowhere")
        stays(w, "set", NOT_EMPTY, grbit, at / link)
        shutil.rmtree(at)


@ROWS("BK-079", "a link is not followed")
def a_link_takes_the_place_of_temp_meanwhile(place):
    """A failed run removes what it made, by name, in its own folder: not what has these names where a link leads."""
    w = World(place, rows=40)
    mine, at = treasure(w), w.place / "set"
    (mine / "edb00001.log").unlink()
    kept = listing(mine)

    def swap(percent):
        if percent == 75:
            (at / "temp").rename(at / "moved")
            (at / "temp").symlink_to(mine)

    w.inst.pause(swap)
    with cjet.fault("open", "edb0", error=28):
        w.fails("JET_errDiskFull", w.backup, "set", ATOMIC)
    assert (at / "moved").exists() and listing(mine) == kept


@ROWS("BK-164", "a link is not followed")
def links_with_names_of_logs(place):
    w = World(place, rows=40, params=SMALL_DEPTH)
    w.backup("older")
    w.backup()
    many_logs(w, 2)
    mine = treasure(w)
    kept = listing(mine)
    log = w.place / "set" / f"edb{current(w):05X}.log"
    log.symlink_to(mine / "photo.jpg")
    refused(w, "JET_errFileAlreadyExists", "set", INC)
    assert log.is_symlink() and listing(mine) == kept
    log.unlink()
    beside = w.place / "set" / f"edb{current(w):05X}.log.tmp"
    beside.symlink_to(mine / "photo.jpg")
    hard = w.place / "set" / f"edb{current(w) + 1:05X}.log.tmp"
    os.link(mine / "a.edb", hard)
    w.backup("set", INC)
    w.backup("set", INC)
    assert listing(mine) == kept and not beside.is_symlink() and rows_of(w) == w.rows


# ---- foreign files ----


def clean_database(w):
    if not (w.place / "clean").exists():
        cjet.restore(w.place / "elsewhere", w.place / "clean")
    return (w.place / "clean" / "a.edb").read_bytes()


def strangers(w, folder):
    """{name: bytes or a link's target}: each is no file of a set, by its name or by what it is."""
    live = next(p for p in sorted(w.data.glob("edb0*.log")))
    return {
        "photo.jpg": b"the only copy",
        ".hidden": b"",
        "a.txt": b"notes beside a.pat",
        "a.edb": clean_database(w),  # the user's own copy of the database, closed
        "b.edb": clean_database(w) if folder == "temp" else (w.place / "elsewhere" / "a.edb").read_bytes(),  # an older set's, kept
        "b.pat": b"not a marker",
        "edb00001.log": b"my diary",
        "edb0ABCD.log": live.read_bytes(),  # a log, of another generation than its name says
        "abc00001.log": live.read_bytes(),
        "edb0ABCE.log": w.place / "elsewhere" / "a.edb",
        "c.edb": w.place / "elsewhere" / "a.edb",
        "edb.log": b"",
        "edb.chk": b"",
    }


@ROWS("BK-095", "BK-098", "nothing foreign is deleted")
def a_foreign_file_in_each_folder(place):
    """In temp, new and old: every kind, over a whole set, and nothing of that set has gone when it is found."""
    w = World(place, rows=20)
    w.backup("elsewhere")
    w.backup("atomic", ATOMIC)
    at = w.place / "set"
    for folder in ("temp", "new", "old"):
        shutil.copytree(w.place / "atomic", at)
        (at / folder).mkdir(exist_ok=True)
        if folder == "old":
            shutil.copytree(at / "new", at / "old", dirs_exist_ok=True)
        for name, content in strangers(w, folder).items():
            stranger, was = at / folder / name, None
            if stranger.exists():
                was = stranger.read_bytes()
                stranger.unlink()
            stranger.symlink_to(content) if isinstance(content, pathlib.Path) else stranger.write_bytes(content)
            stays(w, "set", NOT_EMPTY, ATOMIC, stranger)
            if folder == "temp":
                stays(w, "set", NOT_EMPTY, ATOMIC | INC, stranger)
            stranger.unlink() if was is None else stranger.write_bytes(was)
        w.backup("set", ATOMIC)
        assert below(w) == ["new"] and rows_of(w) == w.rows
        shutil.rmtree(at)


@ROWS("BK-099", "BK-160", "what a set or a run left goes")
def every_leftover_of_ours_goes(place):
    """A run that was cut off, half of an old set, a damaged one: none of them is in the way of the next run."""
    w = World(place, ("a.edb", "b.edb"), rows=20)
    w.backup("atomic", ATOMIC)
    new, at = w.place / "atomic" / "new", w.place / "set"
    names = sorted(p.name for p in new.iterdir())
    w.ses.close(w.dbids.pop())
    w.ses.detach(w.data / "b.edb")
    w.names = ("a.edb",)
    markers_last = sorted(names, key=lambda name: name.endswith(".pat"))
    leftovers = [("old", markers_last[n:]) for n in range(1, len(names))] + [("temp", markers_last[:n]) for n in range(1, len(names) + 1)]
    for folder, some in leftovers:
        for path in (at / folder, at / "temp"):
            path.mkdir(parents=True, exist_ok=True)
        for name in some:
            shutil.copy(new / name, at / folder)
        (at / "temp" / "edb00001.log.tmp").write_bytes(b"half")
        (at / "temp" / "a.edb").write_bytes(bytes(3 * PAGE))
        w.backup("set", ATOMIC)
        assert below(w) == ["new"]
        for name in ("a.edb", next(n for n in os.listdir(at / "new") if n.endswith(".log"))):
            (at / "new" / name).write_bytes(bytes(2 * PAGE) + b"\xff" * 2 * PAGE)  # a disk that lost it
        w.backup("set", ATOMIC)
        assert below(w) == ["new"] and rows_of(w) == w.rows
        shutil.rmtree(at)


# ---- names ----

TAKEN = (
    "edb.log", "EDB.LOG", "edbtmp.log", "edb00005.log", "edb0000000A.jtx", "abc00001.log", "edbres00001.jrs", "edb.chk", "edb.dwr", "a.pat",
    "a.jfm", "edb00005.log.tmp",
)  # fmt: skip


@ROWS("names of the engine's own files")
def a_database_has_no_name_of_ours(place):
    """Created, attached, or restored as: in the log folder and elsewhere, since a set has logs and databases in one folder."""
    w = World(place, rows=20)
    w.backup()
    live = listing(w.data)
    (w.place / "other").mkdir()
    _, found = cjet.restore(w.place / "set", w.place / "clean")
    for name in TAKEN:
        for folder in (w.data, w.place / "other"):
            there = (folder / name).exists()
            e = w.fails("JET_errDatabaseInvalidName", w.ses.create, folder / name)
            assert name in e.detail and e.hint and (folder / name).exists() == there
        shutil.copy(found[0], w.place / "other" / name)
        w.fails("JET_errDatabaseInvalidName", w.ses.open, w.place / "other" / name)
        assert (w.place / "other" / name).read_bytes() == found[0].read_bytes()
        e = w.fails("JET_errDatabaseInvalidName", lambda name=name: cjet.restore(w.place / "set", w.place / "to", rename=[("a.edb", name)]))
        assert name in e.detail and not (w.place / "to" / name).exists()
    assert set(live) <= set(listing(w.data))
    w.add(1)


@ROWS("a name that ends with .tmp")
def a_database_may_be_called_tmp(place):
    """A restore passes over logs that were being written (.log.tmp), not over databases."""
    w = World(place, ("a.tmp",), rows=20)
    w.backup()
    _, found = cjet.restore(w.place / "set", w.place / "to")
    assert [p.name for p in found] == ["a.tmp"] and count(found[0]) == 20
