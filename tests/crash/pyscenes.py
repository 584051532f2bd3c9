"""What pywalk.py does while allocations fail, and what has to be true after each that did."""

import contextlib
import datetime
import gc
import importlib.util
import os
import shutil
import signal
import time
import uuid

import child
import pyjet
import pyjet.backup
from pyjet import _jet, errors

COLUMNS = {
    "id": pyjet.Long(),
    "name": pyjet.Text(),
    "note": pyjet.LongBinary(),
    "when": pyjet.DateTime(),
    "guid": pyjet.Guid(),
    "rate": pyjet.Double(),
    "tags": pyjet.Text(multi_valued=True),
}
INDEXES = {"pk": pyjet.Index("+id", primary=True), "by_name": pyjet.Index("+name-id")}
MOMENT = datetime.datetime(2026, 11, 21, 8, 30)


def row(i, turn=0):
    return {
        "id": i,
        "name": f"name {i} {turn}",
        "note": bytes([i % 251]) * (3000 if i % 3 == 0 else 30),
        "when": MOMENT + datetime.timedelta(minutes=i),
        "guid": uuid.UUID(int=i),
        "rate": i / 8,
        "tags": [f"tag{k}" for k in range(i % 3)],
    }


def shown(r):
    return (r["id"], r["name"], bytes(r["note"]), r["when"], r["guid"], r["rate"], tuple(r["tags"] or ()))


def wanted(i, turn=0):
    return shown(row(i, turn))


FSPATH = "os.PathLike object, not"  # of a TypeError, whatever PyOS_FSPath met


def open_files():
    """Paths of the files that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, by a thread of the engine or after this listing
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


class Shop:
    """An instance that lives on from point to point, and what its table has to hold."""

    def __init__(self, place, rows=12):
        self.place = place
        self.start()
        self.table = self.db.create_table("t", COLUMNS, INDEXES)
        self.table.insert_many([row(i) for i in range(rows)])
        self.model = {i: wanted(i) for i in range(rows)}

    def start(self):
        self.inst = pyjet.Instance(self.place / "data", log_file_size=256 << 10)
        self.ses = self.inst.session()
        self.db = self.ses.open(self.place / "data" / "a.edb", create=True)

    def again(self):
        """A restart; the table is what the model says."""
        self.inst.close()
        self.start()
        self.table = self.db.table("t")
        self.judge()

    def judge(self):
        found = {r["id"]: shown(r) for r in self.table.rows()}
        assert found == self.model, f"lost {self.model.keys() - found.keys()}, extra {found.keys() - self.model.keys()}"
        assert [r["id"] for r in self.table.rows(index="by_name")] == [i for _, i in sorted((v[1], i) for i, v in self.model.items())]

    def close(self):
        self.inst.close()


class Scenario:
    """ready(); act() under the fault; judge(result or exception); tidy(). One object for all points of a walk."""

    every_restart = 200

    def __init__(self, place):
        self.place, self.points = place, 0

    def ready(self):
        pass

    def tidy(self):
        pass

    def end(self):
        pass


class Insert(Scenario):
    """A transaction: one row, many rows, an update, a delete."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)

    def act(self):
        s = self.shop
        with s.ses.transaction():
            s.table.insert(row(100))
            s.table.insert_many([tuple(row(i).values()) for i in (101, 102)], columns=list(COLUMNS))
            try:  # there already: the exception is made, and its note. Through a frame of Python CPython 3.11 may lose it
                pyjet._jet.insert_many(s.table._cursor(), s.table._plan, [row(0)])
            except pyjet.KeyDuplicateError:
                pass
            r = s.table.get(3)
            r.update(name="changed")
            s.table.get(4).delete()
        return True

    def judge(self, result, exception):
        s = self.shop
        assert s.ses.level == 0, f"level {s.ses.level}"
        with_it = {**s.model, **{i: wanted(i) for i in (100, 101, 102)}}
        del with_it[4]
        with_it[3] = (3, "changed", *with_it[3][2:])
        found = {r["id"]: shown(r) for r in s.table.rows()}
        assert found == (with_it if 100 in found else s.model), "half a transaction"
        assert 100 in found or exception is not None
        if 100 in found:  # as it was, for the next point
            with s.ses.transaction():
                for i in (100, 101, 102):
                    s.table.get(i).delete()
                s.table.get(3).update(name="name 3 0")
                s.table.insert(row(4))
        s.judge()
        self.points += 1
        if self.points % self.every_restart == 0:
            s.again()

    def end(self):
        self.shop.again()
        self.shop.close()


class Read(Scenario):
    """All rows, one row, an index range, a key that is not there, a long value in parts, the schema."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)

    def act(self):
        t = self.shop.table
        out = [shown(r) for r in t.rows()]
        out.append(shown(t.get(5)))
        out.append([r["id"] for r in t.rows(["id", "name"], index="by_name", reverse=True)])
        out.append([r["id"] for r in t.range("pk", 2, 6)])
        out.append(t.get(999, default=None))
        out.append([r["id"] for r in t.range("by_name", prefix="name 1")])
        out.append(t.find("name 7 0", index="by_name")["id"])
        out.append(bytes(t.read(t.get(3), "note", 100, 50)))
        out.append(len(t))
        out.append(sorted(t.to_dict()))
        return out

    def ready(self):
        if self.points == 0:
            self.right = self.act()

    def judge(self, result, exception):
        assert exception is not None or result == self.right, "another result"
        self.points += 1
        self.shop.table.insert(row(200))
        self.shop.table.get(200).delete()
        self.shop.judge()

    def end(self):
        self.shop.close()


class Backup(Scenario):
    """A full backup with a progress callable, into a new folder."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        self.set = place / "set"

    def act(self):
        return self.shop.inst.backup(self.set, progress=self.hear)

    def hear(self, step):
        self.heard = f"{step.percent:.0f}"

    def judge(self, result, exception):
        self.points += 1
        if result is not None or self.points % 20 == 0 and (self.set / "a.edb").exists():
            to = self.place / "to"
            pyjet.restore(self.set, to)
            with pyjet.open(to / "a.edb") as db:
                assert {r["id"]: shown(r) for r in db.table("t").rows()} == self.shop.model
            shutil.rmtree(to)
        self.shop.table.insert(row(200))
        self.shop.table.get(200).delete()
        self.shop.judge()

    def tidy(self):
        shutil.rmtree(self.set, ignore_errors=True)
        if self.points % 20 == 0:  # each backup that fails leaves a log more: the next ones would copy hundreds
            self.shop.again()
            self.shop.inst.backup(self.set)
            shutil.rmtree(self.set)

    def end(self):
        self.shop.inst.backup(self.set)
        self.shop.again()
        self.shop.close()


class Restore(Scenario):
    """The set of a backup to a new folder."""

    def __init__(self, place):
        super().__init__(place)
        shop = Shop(place)
        shop.inst.backup(place / "set")
        shop.close()
        self.model, self.to = shop.model, place / "to"
        self.set = {p.name: p.read_bytes() for p in (place / "set").iterdir()}

    def act(self):
        return pyjet.restore(self.place / "set", self.to)

    def judge(self, result, exception):
        assert {p.name: p.read_bytes() for p in (self.place / "set").iterdir()} == self.set, "the set changed"
        assert result is not None or exception is not None
        if self.to.exists():  # complete or not at all
            with pyjet.open(self.to / "a.edb") as db:
                assert {r["id"]: shown(r) for r in db.table("t").rows()} == self.model

    def tidy(self):
        for path in self.place.iterdir():
            if path.name != "set" and path.name != "data":
                shutil.rmtree(path, ignore_errors=True)


class Create(Scenario):
    """An instance, a session, a database, a table with indexes, one row; all closed again."""

    def act(self):
        with pyjet.Instance(self.place / "new", name="walk", log_file_size=256 << 10) as inst, inst.session() as ses:
            db = ses.create(self.place / "new" / "a.edb")
            t = db.create_table("t", COLUMNS, INDEXES)
            t.insert(row(1))
            return shown(t.get(1))

    def judge(self, result, exception):
        assert exception is not None or result == wanted(1)
        gc.collect()
        if not (self.place / "new" / "a.edb").exists():
            handle = _jet.JetCreateInstance2("walk")  # the name is free: no instance is left in the engine
            _jet.JetTerm2(handle, _jet.JET_bitTermAbrupt)
            return
        with pyjet.Instance(self.place / "new", name="walk", log_file_size=256 << 10) as inst, inst.session() as ses:
            db = ses.open(self.place / "new" / "a.edb")
            if result is not None:
                assert shown(db.table("t").get(1)) == wanted(1)

    def tidy(self):
        shutil.rmtree(self.place / "new", ignore_errors=True)


class Close(Scenario):
    """A session with a transaction under way, and its instance, are closed."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)

    def ready(self):
        self.shop.ses.begin()
        self.shop.table.insert(row(300))
        self.rows = iter(self.shop.table.rows())
        next(self.rows)

    def act(self):
        self.shop.ses.close()
        self.shop.inst.close()
        return True

    def judge(self, result, exception):
        self.rows = None
        self.shop.inst.close()  # what the fault has cut short; nothing when it is closed
        assert self.shop.inst.closed
        self.shop.start()
        self.shop.table = self.shop.db.table("t")
        self.shop.judge()

    def end(self):
        self.shop.close()


class Mine(Exception):
    """What a callable of the user's raises."""


@contextlib.contextmanager
def refused(*kinds):
    """A failure that belongs to the scenario. One of memory goes on its way."""
    try:
        yield
    except MemoryError:
        raise
    except kinds:
        return
    raise AssertionError(f"none of {kinds} was raised")


class Schema(Scenario):
    """Tables, columns and indexes come, are renamed and go; a second database is created, closed and detached."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        self.second = place / "data" / "b.edb"

    def act(self):
        s, db = self.shop, self.shop.db
        t = db.create_table("x", COLUMNS, INDEXES)
        t.insert(row(1))
        t.add_column("more", pyjet.Text(default="d"))
        t.create_index("by_more", pyjet.Index("+more"))
        db.rename_table("x", "y")
        t = db.table("y")
        found = [sorted(db.tables), t.to_dict(), t.get(1)["more"]]
        t.delete_index("by_more")
        t.delete_column("more")
        db.delete_table("y")
        other = s.ses.create(self.second)
        other.create_table("z", {"n": pyjet.Long()}).insert(n=1)
        other.close()
        s.ses.detach(self.second)
        return found

    def judge(self, result, exception):
        db, ses = self.shop.db, self.shop.ses
        gc.collect()
        for name in ("x", "y"):
            if name in db.tables:
                db.delete_table(name)  # no cursor was left on it
        for known in [d for d in ses._databases.values() if d.path == str(self.second)]:
            known.close()  # what the fault had no part in
        if self.second.exists():
            with contextlib.suppress(errors.DatabaseNotFoundError):
                ses.detach(self.second)  # nor the database open
            self.second.unlink()
        assert sorted(db.tables) == ["t"] and (exception is not None or result[0] == ["t", "y"] and result[2] == "d")
        self.shop.judge()
        self.points += 1
        if self.points % self.every_restart == 0:
            self.shop.again()

    def end(self):
        self.shop.again()
        self.shop.close()


class Load(Scenario):
    """The extension itself: a second module of it, with its types, functions and constants, and what pyjet asks it for at first."""

    def act(self):
        spec = importlib.util.spec_from_file_location("pyjet._jet", _jet.__file__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return len(module.error_list()), len(module.PARAMETERS), len(vars(module))

    def judge(self, result, exception):
        assert exception is not None or result == (len(_jet.error_list()), len(_jet.PARAMETERS), len(vars(_jet))), result


class Sessions(Scenario):
    """A few sessions, cursors and iterators of an instance that has room for five sessions: one left behind would be missed."""

    most = 5

    def __init__(self, place):
        super().__init__(place)
        self.inst = pyjet.Instance(place / "data", log_file_size=256 << 10, params={"MaxSessions": self.most})
        with self.inst.session() as ses:
            db = ses.create(place / "data" / "a.edb")
            db.create_table("t", COLUMNS, INDEXES).insert_many([row(i) for i in range(40)])
        self.room = self.counted()

    def counted(self):
        """How many sessions can be begun."""
        gc.collect()
        held = []
        with contextlib.suppress(errors.OutOfSessionsError):
            while True:
                held.append(_jet.JetBeginSession(self.inst))
        for handle in held:
            _jet.JetEndSession(handle)
        return len(held)

    def act(self):
        with self.inst.session() as ses:
            t = ses.open(self.place / "data" / "a.edb").table("t")
            with t.rows(index="by_name") as half, t.rows(reverse=True) as other:
                found = [next(half)["id"], next(other)["id"], sum(1 for _ in other)]
            with ses.transaction(readonly=True), t.range("pk", 3, 9) as rows:
                found.append([r["id"] for r in rows])
            del half, other, rows
            found.append(sum(1 for _ in t))
        return found

    def judge(self, result, exception):
        assert exception is not None or result == [0, 39, 39, list(range(3, 9)), 40], result
        assert self.counted() == self.room, "a session was left behind"

    def end(self):
        self.inst.close()


class Handles(Scenario):
    """Each call that opens something in the engine and makes an object for it: without the object it is not left open."""

    name = "walk of handles"

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        self.inst, self.ses, self.db = self.shop.inst, self.shop.ses, self.shop.db
        self.inst.backup(place / "set")
        pyjet.restore(place / "set", place / "clean")
        self.lone = place / "clean" / "a.edb"

    def ready(self):
        _jet.JetBeginExternalBackupInstance(self.inst, _jet.JET_bitInternalCopy)
        self.path, self.opened = _jet.JetGetAttachInfoInstance(self.inst)[0], None

    def act(self):
        _jet.JetTerm2(_jet.JetCreateInstance2(self.name))
        _jet.JetEndSession(_jet.JetBeginSession(self.inst))
        _jet.JetCloseTable(_jet.JetDupCursor(_jet.JetOpenTable(self.ses, self.db.dbid, "t")))
        _jet.JetEndSession(_jet.open_file(self.lone))
        self.opened = _jet.JetOpenFileInstance(self.inst, self.path)
        _jet.JetCloseFileInstance(self.inst, self.opened[0])
        _jet.JetCloseTable(_jet.JetCreateTableColumnIndex(self.ses, self.db.dbid, "w", [("n", _jet.JET_coltypLong, 0, 0, 0, None)], []))
        return self.opened[1] > 0

    def judge(self, result, exception):
        assert exception is not None or result
        gc.collect()
        _jet.JetTerm2(_jet.JetCreateInstance2(self.name))  # the name is free
        if self.opened is not None:  # known: its close may be what failed
            with contextlib.suppress(errors.InvalidParameterError):
                _jet.JetCloseFileInstance(self.inst, self.opened[0])
        handle, _ = _jet.JetOpenFileInstance(self.inst, self.path)  # one at a time
        _jet.JetCloseFileInstance(self.inst, handle)
        _jet.JetEndExternalBackupInstance2(self.inst, _jet.JET_bitBackupEndAbort)
        if "w" in self.db.tables:
            self.db.delete_table("w")  # no cursor is on it
        self.db.rename_table("t", "u")
        self.db.rename_table("u", "t")
        self.shop.table = self.db.table("t")
        assert str(self.lone) not in open_files(), "a lone file is left open"

    def end(self):
        self.shop.close()


class SnapshotIds(Scenario):
    """A snapshot that there is no number for is given up: nobody could end it."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        for _ in range(300):  # Python has small numbers already, and makes no others of them
            _jet.JetOSSnapshotAbort(_jet.JetOSSnapshotPrepare())

    def act(self):
        self.id = None
        self.id = _jet.JetOSSnapshotPrepare()
        _jet.JetOSSnapshotAbort(self.id)

    def judge(self, result, exception):
        if self.id is not None and exception is not None:  # known: its end may be what failed
            _jet.JetOSSnapshotAbort(self.id)
        following = _jet.JetOSSnapshotPrepare()
        _jet.JetOSSnapshotAbort(following)
        with refused(errors.OSSnapshotInvalidSnapIdError):
            _jet.JetOSSnapshotAbort(following - 1)

    def end(self):
        self.shop.close()


class Calls(Scenario):
    """The engine's calls on cursors by their own names."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        columns = {"id": pyjet.Long(), "v": pyjet.LongBinary(), "e": pyjet.Long(escrow=True, default=0)}
        self.table = self.shop.db.create_table("c", columns, {"pk": pyjet.Index("+id", primary=True)})
        self.shop.db.table("c").insert_many([{"id": i, "v": bytes([i]) * 900} for i in range(6)])

    def act(self):
        ses, ids = self.shop.ses, {c.name: c.id for c in self.table.columns.values()}
        with ses.transaction():
            c = _jet.JetOpenTable(ses, self.shop.db.dbid, "c")
            twin = _jet.JetDupCursor(c)
            _jet.JetSetCurrentIndex2(c, "pk")
            found = [_jet.JetGetCurrentIndex(c), _jet.JetMove(c, _jet.JET_MoveFirst), _jet.JetIndexRecordCount(c)]
            _jet.JetMakeKey(c, (3).to_bytes(4, "little"), _jet.JET_bitNewKey)
            found += [_jet.JetSeek(c, _jet.JET_bitSeekEQ), _jet.JetGetRecordPosition(c), _jet.JetRetrieveKey(c)]
            found += [_jet.JetRetrieveColumn(c, ids["v"]), _jet.JetRetrieveColumn(c, ids["v"], size=600)]
            _jet.JetGotoBookmark(twin, _jet.JetGetBookmark(c))
            found += [_jet.JetRetrieveColumn(twin, ids["id"]), _jet.JetEscrowUpdate(twin, ids["e"], 1)]
            _jet.JetPrepareUpdate(c, _jet.JET_prepReplace)
            _jet.JetSetColumn(c, ids["v"], b"changed")
            found.append(_jet.JetUpdate(c))
            _jet.JetMakeKey(c, (4).to_bytes(4, "little"), _jet.JET_bitNewKey)
            found += [_jet.JetSetIndexRange(c, _jet.JET_bitRangeUpperLimit), _jet.JetDelete(c)]
            _jet.JetCloseTable(twin)
            _jet.JetCloseTable(c)
            ses.rollback()
        found += [_jet.JetGetDatabaseInfo(ses, self.shop.db.dbid, _jet.JET_DbInfoFilename), _jet.JetGetVersion(ses)]
        with ses.transaction():
            self.table.append(self.table.get(2), "v", b"tail")
            self.table.escrow(self.table.get(2), "e", 2)
            ses.rollback()
        return found

    def ready(self):
        if self.points == 0:
            self.right = self.act()

    def judge(self, result, exception):
        self.points += 1
        assert exception is not None or result == self.right, (result, self.right)
        gc.collect()
        assert self.shop.ses.level == 0
        assert [(r["id"], r["v"], r["e"]) for r in self.table] == [(i, bytes([i]) * 900, 0) for i in range(6)]
        if self.points % 50 == 0:
            self.shop.db.rename_table("c", "d")  # refused while a cursor is open
            self.shop.db.rename_table("d", "c")
            self.table = self.shop.db.table("c")

    def end(self):
        self.shop.close()


EVERY_TYPE = {
    "bit": (pyjet.Bit(), [True, False, None]),
    "ubyte": (pyjet.UnsignedByte(), [0, 255]),
    "short": (pyjet.Short(), [-(1 << 15)]),
    "ulong": (pyjet.UnsignedLong(), [(1 << 32) - 1]),
    "currency": (pyjet.Currency(), [-(1 << 63)]),
    "ulonglong": (pyjet.UnsignedLongLong(), [(1 << 64) - 1]),
    "single": (pyjet.Single(), [0.5]),
    "double": (pyjet.Double(), [1e300]),
    "date": (pyjet.DateTime(), [MOMENT, datetime.datetime(1999, 12, 31, 23, 59, tzinfo=datetime.timezone.utc)]),
    "filetime": (pyjet.DateTime(filetime=True), [MOMENT]),
    "binary": (pyjet.Binary(), [b"", b"x" * 200, bytearray(b"array")]),
    "wide": (pyjet.Text(), ["", "a", "\u00e9", "\u20ac" * 40, "\U0001f600", "\ud800"]),
    "narrow": (pyjet.LongText(ascii=True), ["ascii", "\u20ac and \u00e9", "\u00e9"]),
    "guid": (pyjet.Guid(), [uuid.UUID(int=5)]),
    "many": (pyjet.Long(multi_valued=True), [[], [1], [1, 2, 3]]),
    "texts": (pyjet.Text(multi_valued=True), [["a", "\u20ac"]]),
}


class Types(Scenario):
    """Each type into a table and back, in rows of several shapes, and the ways to look at a row."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        columns = {"id": pyjet.Long(autoincrement=True), **{name: column for name, (column, _) in EVERY_TYPE.items()}}
        self.table = self.shop.db.create_table("types", columns, {"pk": pyjet.Index("+id", primary=True)})

    def act(self):
        t, found = self.table, []
        with self.shop.ses.transaction():
            for turn in range(6):
                made = t.insert({name: values[turn % len(values)] for name, (_, values) in EVERY_TYPE.items()})
                found.append({k: v for k, v in dict(made).items() if k != "id"})
            t.insert_many([{"narrow": "x" * 400, "binary": memoryview(b"view")}])
            for name, (_, values) in EVERY_TYPE.items():
                value = t._plan.encode(name, values[0])
                found.append(None if value is None or t.columns[name].multi_valued else t._plan.decode(name, value))
            made.update(texts=["b"], many=None)
            found += [made["texts"], made.values()[1:], made.items()[1:], repr(made)[:9], made == made, made.get("nothing", 5), "wide" in made]
            found.append([r["narrow"] for r in t.rows(["narrow"])])
            self.shop.ses.rollback()
        return found

    def ready(self):
        if self.points == 0:
            self.right = self.act()

    def judge(self, result, exception):
        self.points += 1
        assert exception is not None or result == self.right
        assert self.shop.ses.level == 0 and len(self.table) == 0

    def end(self):
        self.shop.close()


class Errors(Scenario):
    """What the engine refuses is told as its own class, with text, detail and hint; what the caller's code raises is the caller's."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)

    def attempts(self):
        t, ses, inst = self.shop.table, self.shop.ses, self.shop.inst
        yield lambda: t.insert(row(0))
        yield lambda: t.get(999)
        yield lambda: t.insert(nothing=1)
        yield lambda: t.insert(name="x" * 1000)
        yield lambda: t.insert(id="x")
        yield lambda: t.insert(id=1 << 40)
        yield lambda: t.insert(guid=5)
        yield lambda: t.insert_many([row(500), {"id": "x"}])
        yield lambda: t.insert_many([row(501), row(0)])
        yield lambda: t.insert_many([[1]], columns=["id", "name"])
        yield lambda: t.rows(["nothing"])
        yield lambda: t.range("nothing")
        yield lambda: t.get(1, 2, 3)
        yield lambda: self.shop.db.table("nothing")
        yield lambda: self.shop.db.create_table("t", COLUMNS)
        yield lambda: ses.open(self.place / "nothing.edb")
        yield lambda: ses.commit()
        yield lambda: inst.backup(self.place / "data")
        yield lambda: pyjet.restore(self.place / "nothing", self.place / "to")
        yield lambda: pyjet.open(self.place / "nothing.edb")
        yield lambda: inst.params["nothing"]
        yield lambda: inst.params.__setitem__("CircularLog", 7)
        yield lambda: _jet.JetMove(ses, 1)
        yield lambda: _jet.JetMove(t._main)
        yield lambda: _jet.JetMove(t._main, 1, 2, 3)
        yield lambda: _jet.error_texts("x")

    def act(self):
        found = []
        for attempt in self.attempts():
            try:
                attempt()
            except (MemoryError, SystemError):
                raise
            except Exception as e:
                found.append((type(e).__name__, str(e)))
            else:
                raise AssertionError("it was not refused")
        return found

    def ready(self):
        if self.points == 0:
            self.right = self.act()

    def judge(self, result, exception):
        self.points += 1
        if exception is None:  # a note, or the context of an exception, may be what there was no memory for
            for (name, text), (right, _) in zip(result, self.right, strict=True):
                assert name == right or FSPATH in text or "allocate lock" in text, (name, text, right)  # CPython's names for it
        self.shop.judge()

    def end(self):
        self.shop.close()


class Progress(Scenario):
    """Callables of a backup, a restore and a dump raise, or end the run by False."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        self.shop.inst.backup(place / "set")

    def act(self):
        def rude(*step):
            raise Mine

        inst, new = self.shop.inst, self.place / "new"
        with refused(Mine):
            inst.backup(new, progress=rude)
        with refused(errors.BackupAbortByServerError):
            inst.backup(new, progress=lambda step: False)
        with refused(errors.BackupAbortByServerError):  # the engine's refusal is the context of nothing here
            inst.backup(new, progress=lambda step: inst.stop_backup())
        inst.resume_backup()
        with refused(Mine):
            pyjet.restore(self.place / "set", new, progress=rude)
        with refused(Mine):
            _jet.dump_log(self.place / "set", "edb", rude)
        return True

    def judge(self, result, exception):
        self.points += 1
        with contextlib.suppress(errors.JetError):
            self.shop.inst.resume_backup()
        if (self.place / "new").exists():  # the fault met the clean-up itself: a folder may stay, which the next run takes
            (self.place / "new").rmdir()
        if self.points % 25 == 0:
            self.shop.again()
            self.shop.inst.backup(self.place / "other")
            shutil.rmtree(self.place / "other")
        self.shop.judge()

    def end(self):
        self.shop.close()


class External(Scenario):
    """An external backup is read, another left in its middle."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)

    def act(self):
        inst, size = self.shop.inst, 0
        with inst.external_backup("copy") as run:
            for file in run.files():
                size += len(file.readall())
                file.tarinfo()
            run.truncatable()
        with refused(Mine), inst.external_backup("copy") as run:
            next(run.files()).read(5000)
            raise Mine
        return size > 0

    def judge(self, result, exception):
        self.points += 1
        gc.collect()
        with self.shop.inst.external_backup("copy") as run:  # none is under way, no file is open
            for file in run.files():
                file.readall()
        if self.points % 10 == 0:
            self.shop.again()
            self.shop.inst.backup(self.place / "set")
            shutil.rmtree(self.place / "set")
        self.shop.judge()

    def end(self):
        self.shop.close()


class Freeze(Scenario):
    """The files stand still twice: once to the end, once given up."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)

    def act(self):
        with self.shop.inst.snapshot(kind="copy") as snap:
            found = sorted(os.path.basename(path) for path in snap.files)
        with refused(Mine), self.shop.inst.snapshot(kind="copy"):
            raise Mine
        return "a.edb" in found and "edb.log" in found

    def judge(self, result, exception):
        self.points += 1
        gc.collect()
        assert result is not False
        with self.shop.inst.snapshot(kind="copy"):
            pass
        self.shop.table.insert(row(200))
        self.shop.table.get(200).delete()
        if self.points % 10 == 0:  # each snapshot leaves a log more to be listed: without an end there would always be a further allocation
            self.shop.again()
            self.shop.inst.backup(self.place / "set")
            shutil.rmtree(self.place / "set")
        self.shop.judge()

    def end(self):
        self.shop.close()


class Look(Scenario):
    """What is told of instances, headers, sets, logs and files, and a database without an instance."""

    def __init__(self, place):
        super().__init__(place)
        self.shop = Shop(place)
        self.set = place / "set"
        self.shop.inst.backup(self.set)
        pyjet.restore(self.set, place / "clean")
        self.file = place / "clean" / "a.edb"

    def act(self):
        inst, lines = self.shop.inst, []
        found = [str(inst.info())[:40], len(inst.stats), len(list(inst.params.describe())), inst.attached()[0][0]]
        found += [pyjet.header(path).to_dict().keys() for path in sorted(self.set.iterdir()) if path.suffix in (".edb", ".log")]
        found += [sorted(self.shop.db.header), sorted(_jet.survey(self.set)), sorted(_jet.check_file(self.file))]
        _jet.dump_log(self.set, "edb", lines.append)
        found.append(len(lines))
        with pyjet.open(self.file) as db:
            found += [sorted(db.tables), [shown(r) for r in db.table("t").rows()] and len(db.table("t"))]
        found.append(str(inst.backup(self.place / "no", dry_run=True))[:20])
        return found

    def ready(self):
        if self.points == 0:
            self.right = self.act()

    def judge(self, result, exception):
        self.points += 1
        assert exception is not None or result == self.right, (result, self.right)
        gc.collect()
        assert not [path for path in open_files() if path.startswith((str(self.set), str(self.file)))], "a file is left open"

    def end(self):
        self.shop.close()


class Recover(Scenario):
    """An instance starts on what a kill has left."""

    def __init__(self, place):
        super().__init__(place)

        def killed(report):
            shop = Shop(place / "first")
            with shop.ses.transaction():
                shop.table.insert(row(50))
            shop.ses.begin()
            shop.table.insert(row(51))
            os.kill(os.getpid(), signal.SIGKILL)

        with contextlib.suppress(child.ChildFailed):
            child.run(killed)
        self.data = place / "first" / "data"  # the log names this place
        self.dirty = self.data.rename(place / "dirty")

    def ready(self):
        shutil.copytree(self.dirty, self.data)

    def act(self):
        with pyjet.Instance(self.data, log_file_size=256 << 10, progress=lambda step: None) as inst, inst.session() as ses:
            rows = ses.open(self.data / "a.edb").table("t").rows(["id"])
            return sorted(r["id"] for r in rows), inst.recovery.redone

    def judge(self, result, exception):
        assert exception is not None or result == ([*range(12), 50], True), result
        gc.collect()
        with pyjet.Instance(self.data, log_file_size=256 << 10) as inst, inst.session() as ses:
            assert len(ses.open(self.data / "a.edb").table("t")) == 13

    def tidy(self):
        shutil.rmtree(self.data, ignore_errors=True)


SCENARIOS = {
    c.__name__.lower(): c
    for c in (Create, Insert, Read, Backup, Restore, Close, Schema, Load, Sessions, Handles, SnapshotIds, Calls, Types, Errors, Progress, External, Freeze, Look, Recover)
}
