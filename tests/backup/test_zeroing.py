"""JET_paramZeroDatabaseDuringBackup: what was deleted is in no page of the database, of the set, or of what is restored (BK-137)."""

import logging
import os
import shutil
import threading

import pytest

import pyjet
from pyjet import _jet

SECRET = b"wipe me out"  # every value that is to go begins with it, more often than a page holds records
KEEP = b"let it stay"


def value(word, n, size):
    """Noise with the word in it all over, so that any piece left over of a page names it."""
    return b"".join(word + b"%06d" % n + os.urandom(8) for _ in range(size // 25 + 1))[:size]


class World:
    """A table with an index and long values: one half stays, the other is deleted in several ways."""

    def __init__(self, place, page_size=None, zero=True):
        self.place = place
        params = {"ZeroDatabaseDuringBackup": int(zero), "CheckpointDepthMax": 1 << 16}
        self.inst = pyjet.Instance(place / "live", log_file_size=1 << 16, page_size=page_size, params=params)
        self.path = place / "live" / "a.edb"
        self.ses = self.inst.session()
        self.db = self.ses.create(self.path)
        self.table = self.make("t")
        self.wanted = {}

    def make(self, name):
        columns = {"id": pyjet.Long(), "short": pyjet.Binary(max_length=255), "raw": pyjet.LongBinary()}
        return self.db.create_table(name, columns, indexes={"by_short": pyjet.Index("+short")})

    def fill(self, rows=300):
        with self.ses.transaction():
            for n in range(rows):
                word = KEEP if n % 3 == 0 else SECRET
                row = {"id": n, "short": value(word, n, 100), "raw": value(word, n, (200, 3000, 9000)[n % 7 % 3])}
                self.table.insert(**row)
                if word == KEEP:
                    self.wanted[n] = row

    def delete(self):
        """Rows, a long value that shrinks, a column set to NULL, a table."""
        for row in list(self.table.rows()):
            if row["short"].startswith(SECRET):
                row.delete()
        gone = self.make("gone")
        with self.ses.transaction():
            for n in range(200):
                gone.insert(id=n, short=value(SECRET, n, 90), raw=value(SECRET, n, 5000))
        gone.close()
        self.db.delete_table("gone")
        for n in range(2):
            self.table.insert(id=1000 + n, short=value(KEEP, 1000 + n, 90), raw=value(SECRET, n, 2500))
        for row in list(self.table.rows()):
            if row["id"] >= 1000:
                row.update(raw=None if row["id"] == 1000 else KEEP)
                self.wanted[row["id"]] = {**row, "raw": None if row["id"] == 1000 else KEEP}

    def rows(self, path):
        with pyjet.open(path) as db:
            return {row["id"]: dict(row) for row in db.table("t")}

    def live(self):
        return {row["id"]: dict(row) for row in self.table}

    def close(self):
        self.inst.close()


def files_with(word, folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and word in p.read_bytes())


@pytest.fixture
def world(memory_path):
    w = World(memory_path)
    w.fill()
    w.delete()
    yield w
    w.close()


class Events(logging.Handler):
    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append((record.event_id, record.params))

    def __enter__(self):
        logger = logging.getLogger("pyjet.events")
        self.level, _ = logger.level, logger.setLevel(logging.INFO)
        logger.addHandler(self)
        return self

    def __exit__(self, *exc):
        logger = logging.getLogger("pyjet.events")
        logger.removeHandler(self)
        logger.setLevel(self.level)


def sound(judge, *paths):
    for path in paths:
        done = judge("edbcheck.py", "check", path)
        assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("page_size", [4096, 8192, 16384, 32768])
def test_what_was_deleted_is_nowhere(memory_path, judge, page_size):
    """BK-137, on each size of page: rows, index entries, long values, a dropped table, a value cut and one set to NULL."""
    world = World(memory_path, page_size)
    try:
        world.fill()
        world.delete()
        with Events() as events:
            world.inst.backup(memory_path / "set")
        order = [n for n, _ in events.seen if n in (210, 706, 707, 220, 213)]
        assert order == [210, 706, 707, 220, 213]
        path, pages, unused, nodes = dict(events.seen)[707]
        assert path == str(world.path) and int(pages) > 0 and int(unused) > 0 and int(nodes) >= 0
        assert files_with(SECRET, memory_path / "set") == []  # neither in its pages nor in its logs
        assert SECRET not in world.path.read_bytes()
        assert world.live() == world.wanted
        pyjet.restore(memory_path / "set", memory_path / "back")
        assert files_with(SECRET, memory_path / "back") == []
        assert world.rows(memory_path / "back" / "a.edb") == world.wanted
        done = judge("edblog.py", "check", *sorted((memory_path / "set").glob("*.log")))
        assert done.returncode == 0, done.stdout[-2000:]
    finally:
        world.close()
        if page_size != 4096:
            _jet.JetSetSystemParameter(None, _jet.JET_paramDatabasePageSize, 4096)
    sound(judge, world.path, memory_path / "back" / "a.edb")


def test_without_the_parameter_it_stays(memory_path):
    """The same world keeps the bytes: so the test above shows something."""
    world = World(memory_path, zero=False)
    world.fill()
    world.delete()
    with Events() as events:
        world.inst.backup(memory_path / "set")
    assert not {706, 707} & {n for n, _ in events.seen}
    pyjet.restore(memory_path / "set", memory_path / "back")
    assert "a.edb" in files_with(SECRET, memory_path / "back")
    world.close()
    assert SECRET in world.path.read_bytes()


def test_an_external_backup_wipes_too(world, memory_path):
    """BK-137: JetReadFile's page says so of full ones. Each database is wiped when its file is opened."""
    (memory_path / "set").mkdir()
    with Events() as events, world.inst.external_backup() as backup:
        for source in backup.files():
            with open(memory_path / "set" / source.name, "wb") as to:
                shutil.copyfileobj(source, to)
    assert {706, 707} <= {n for n, _ in events.seen}
    assert files_with(SECRET, memory_path / "set") == []
    pyjet.restore(memory_path / "set", memory_path / "back")
    assert world.rows(memory_path / "back" / "a.edb") == world.wanted


def test_an_increment_does_not_wipe(world, memory_path):
    world.inst.backup(memory_path / "set")
    world.table.insert(id=5000, short=SECRET, raw=SECRET * 300).delete()
    with Events() as events:
        world.inst.backup(memory_path / "set", incremental=True)
    assert not {706, 707} & {n for n, _ in events.seen}
    pyjet.restore(memory_path / "set", memory_path / "back")
    assert world.rows(memory_path / "back" / "a.edb") == world.wanted


def test_redo_wipes(memory_path, judge):
    """BK-137: a set from before, rolled forward over the records of the wiping, has none of the bytes either."""
    world = World(memory_path)
    world.fill()
    kept = memory_path / "kept"
    kept.mkdir()
    with world.inst.external_backup("copy") as backup:  # wipes what is there: nothing is deleted yet
        for source in backup.files():
            with open(kept / source.name, "wb") as to:
                shutil.copyfileobj(source, to)
    assert SECRET in (kept / "a.edb").read_bytes()
    world.delete()
    logs = memory_path / "logs"
    logs.mkdir()

    def keep_logs(event):
        if event.phase == "complete" or event.percent >= 99:
            for log in (memory_path / "live").glob("edb*.log"):
                shutil.copy(log, logs)

    world.inst.backup(memory_path / "set", progress=keep_logs)
    world.close()
    pyjet.restore(kept, memory_path / "back", roll_forward=logs)
    assert world.rows(memory_path / "back" / "a.edb") == world.wanted
    assert SECRET not in (memory_path / "back" / "a.edb").read_bytes()
    sound(judge, memory_path / "back" / "a.edb")


def test_what_somebody_still_reads_stays(memory_path):
    """A snapshot older than the deletion sees its rows while they would be wiped, and after; the next backup takes them."""
    world = World(memory_path)
    world.fill(30)
    with world.inst.session() as other:
        table = other.attach(world.path).table("t")
        with other.transaction(readonly=True):
            before = {row["id"]: dict(row) for row in table}
            world.delete()
            world.inst.backup(memory_path / "first")
            assert {row["id"]: dict(row) for row in table} == before
        assert SECRET in (memory_path / "first" / "a.edb").read_bytes()
        world.inst.backup(memory_path / "second")
    assert SECRET not in (memory_path / "second" / "a.edb").read_bytes()
    world.close()


def test_a_stop_while_it_wipes(world, memory_path):
    """The callback's exception ends the run before a byte is copied; nothing of the set stays; the next run works."""

    def stop(progress):
        if progress.phase == "progress":
            raise KeyError("enough")

    with Events() as events, pytest.raises(KeyError):
        world.inst.backup(memory_path / "set", progress=stop)
    assert 706 in dict(events.seen) and 220 not in dict(events.seen)
    assert not (memory_path / "set").exists()
    world.inst.backup(memory_path / "set")
    assert files_with(SECRET, memory_path / "set") == []


def test_beside_writers(memory_path, judge):
    """Splits, merges, drops and new tables go on while pages are wiped: sets and the live file stay sound, no row is touched."""
    world = World(memory_path)
    world.fill(60)
    ended, failed = threading.Event(), []

    def write(number):
        try:
            with world.inst.session() as ses:
                db = ses.attach(world.path)
                table = db.table("t")
                for n in range(100000, 10**9):
                    if ended.is_set():
                        return
                    name = f"w{number}_{n % 3}"
                    if name in db.tables:
                        db.delete_table(name)
                    scratch = db.create_table(name, {"id": pyjet.Long(), "raw": pyjet.LongBinary()})
                    with ses.transaction():
                        scratch.insert_many({"id": i, "raw": value(SECRET, i, 1500)} for i in range(20))
                        for i in range(20):
                            table.insert(id=number * 10**7 + n * 20 + i, short=value(SECRET, i, 80), raw=value(SECRET, i, 900))
                    for row in list(table.range("by_short", prefix=SECRET))[:15]:
                        try:
                            row.delete()
                        except (pyjet.errors.WriteConflictError, pyjet.errors.RecordDeletedError):
                            pass
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=write, args=(k,)) for k in (1, 2)]
    for thread in threads:
        thread.start()
    for n in range(6):
        world.inst.backup(memory_path / f"set{n}")
    ended.set()
    for thread in threads:
        thread.join()
    assert not failed
    kept = {n: row for n, row in world.live().items() if row["short"].startswith(KEEP)}
    assert kept == world.wanted
    world.close()
    sound(judge, world.path)
    for n in (0, 3, 5):
        pyjet.restore(memory_path / f"set{n}", memory_path / f"back{n}")
        path = memory_path / f"back{n}" / "a.edb"
        assert {n: row for n, row in world.rows(path).items() if row["short"].startswith(KEEP)} == world.wanted
        sound(judge, path)
