"""Fault walk over the interpreter's allocations: allocation n of a scenario fails, for n = 0, 1, 2 ... until it runs untouched.

    python tests/crash/pywalk.py --seed 1
    python tests/crash/pywalk.py --only insert --first 212 --count 1       one point again
    python tests/crash/pywalk.py --every 20                                a slice

The allocator of all three domains is replaced (tests/c/pyalloc.c), so that every call of the C API that needs memory fails once,
those of the extension, of pyjet's Python and of the interpreter beneath them. Judged at each point: no crash; MemoryError (the
engine's out-of-memory is one) or a right result, no other exception and no SystemError; nothing left behind when the point is
repeated: no allocation where the extension asked for the memory, no object of pyjet's anywhere (CPython leaks some blocks of its own
when it cannot make a cell or a frame: counted, not judged); the same instance works on; what was committed is there, also after a
restart.
"""

import collections
import datetime
import faulthandler
import gc
import logging
import pathlib
import random
import shutil
import sys
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import memory  # noqa: E402
import pyjet  # noqa: E402
import walks  # noqa: E402
from building import python_module  # noqa: E402
from child import Child, ChildFailed  # noqa: E402

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
REPEATS = 4  # of a point that seems to leak: caches fill once, leaks every time


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
        with pyjet.Instance(self.place / "new", log_file_size=256 << 10) as inst, inst.session() as ses:
            db = ses.create(self.place / "new" / "a.edb")
            t = db.create_table("t", COLUMNS, INDEXES)
            t.insert(row(1))
            return shown(t.get(1))

    def judge(self, result, exception):
        assert exception is not None or result == wanted(1)
        gc.collect()
        if not (self.place / "new" / "a.edb").exists():
            return
        with pyjet.Instance(self.place / "new", log_file_size=256 << 10) as inst, inst.session() as ses:
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


SCENARIOS = {c.__name__.lower(): c for c in (Create, Insert, Read, Backup, Restore, Close)}
pyalloc = None
unraisable = []


def one_point(scenario, after):
    """(allocations failed, asked for by the extension?, exception's name or None)."""
    scenario.ready()
    result = exception = None
    pyalloc.fail(after, 1)
    try:
        result = scenario.act()
    except BaseException as e:  # not only Exception: a SystemError or an exit is what is looked for
        exception = e
    _, failed, inside = pyalloc.stop()
    name = None if exception is None else type(exception).__name__
    masked = not inside and not isinstance(exception, (pyjet.errors.JetError, SystemError))
    masked |= isinstance(exception, TypeError) and "os.PathLike object, not PosixPath" in str(exception)  # PyOS_FSPath: any error is this one
    assert exception is None or isinstance(exception, MemoryError) or masked, f"{name}: {exception!r} ({exception.__context__!r})"
    assert exception is None or failed, f"no fault, and yet {exception!r}"
    if exception is not None:
        exception.__traceback__ = None
    scenario.judge(result, exception)
    scenario.tidy()
    bad = [u for u in unraisable if u != "MemoryError"]
    unraisable.clear()
    assert not bad, f"raised where nobody can hear it: {bad}"
    return failed, inside, name


def blocks():
    gc.collect()
    return pyalloc.blocks()


def objects():
    """Living objects of pyjet's, but for classes and what is made once."""
    return sum(type(o).__module__.partition(".")[0] == "pyjet" for o in gc.get_objects())


def walk(report, place, name, first, every, most):
    """In a child: the points of a scenario. {"points", "totals"}"""
    global pyalloc
    faulthandler.enable()
    pyalloc = python_module("pyalloc")
    logging.raiseExceptions = False
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda u: unraisable.append(u.exc_type.__name__)
    pyalloc.install()
    place = pathlib.Path(place)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    scenario = SCENARIOS[name](place)
    for _ in range(3):
        one_point(scenario, 1 << 60)  # fills the caches
    totals, points, after = collections.Counter(), 0, first
    while most is None or points < most:
        report(["AT", after])
        before, ours = blocks(), objects()
        failed, inside, error = one_point(scenario, after)
        if failed == 0:
            break
        points += 1
        totals[f"error {error or 'unnoticed'}"] += 1
        totals["asked for by the extension"] += inside
        grown, kept = [], []
        for _ in range(REPEATS):
            now, still = blocks(), objects()
            grown.append(now - before)
            kept.append(still - ours)
            if grown[-1] <= 0:
                break
            before, ours = now, still
            totals["points tried again for leaks"] += 1
            one_point(scenario, after)
        assert grown[-1] <= 0 or not inside, f"the same point again and again leaves allocations behind each time: {grown}"
        assert min(kept) <= 0, f"the same point again and again leaves objects behind each time: {kept}"
        totals["leaks of the interpreter's own"] += grown[-1] > 0
        after += every
    scenario.end()
    return {"points": points, "totals": totals}


def play(place, seed, names=SCENARIOS, first=0, every=1, most=None, jobs=1, say=lambda text: None):
    """{"points": n, ...}; AssertionError with all that failed."""
    rng, totals, failed, running, waiting = random.Random(seed), collections.Counter(), [], [], list(names)
    python_module("pyalloc")  # built once, before the children
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            start = first + (rng.randrange(every) if every > 1 else 0)
            running.append((name, Child(walk, str(place / name), name, start, every, most)))
        name, child = running.pop(0)
        try:
            found = child.join(7200)
        except ChildFailed as e:
            at = child.lines[-1][1] if child.lines else None
            failed.append(f"{name}, allocation {at}, seed {seed}:\n{e}")
            say(f"FAILED {failed[-1]}")
            continue
        totals["points"] += found["points"]
        totals[f"scenario {name}"] += found["points"]
        totals.update(found["totals"])
        say(f"{name:10} {found['points']:6} points")
    assert not failed, f"{len(failed)} walks failed; the first: {failed[0]}"
    return totals


def main():
    args = walks.parser(__doc__, "allocation").parse_args()
    place = memory.folder("pywalk-")
    names = [n for n in SCENARIOS if args.only is None or args.only in n]
    print(f"seed {args.seed}, {len(names)} scenarios, in {place}", flush=True)
    try:
        totals = play(place, args.seed, names, args.first, args.every, args.count, args.jobs, say=lambda text: print(text, flush=True))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    walks.show(totals)
    if args.log:
        walks.note(args.seed, len(names), 1, totals["points"])
    print(f"{totals['points']} allocations failed, seed {args.seed}: no crash, nothing lost, nothing left behind")


if __name__ == "__main__":
    main()
