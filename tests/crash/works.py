"""What the power cuts interrupt: workloads that run once under the os room's recorder.

A recording leaves in its folder: `run` (what was recorded), `trace`, and, when `run` was not empty at START, `base`
(a copy of it as it was). What the judge needs beside the marks is in `known.json`.
"""

import functools
import json
import pathlib
import random
import shutil
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import bank  # noqa: E402
import cjet  # noqa: E402
import reading  # noqa: E402
import replay  # noqa: E402
from cjet import JetError, K  # noqa: E402

LOAD = {"insert": 6, "many": 4, "transfer": 1}
UPDATE = {"update": 8, "copy": 4, "transfer": 4, "undone": 2, "lazy": 1, "insert": 1}
CHURN = {"many": 6, "few": 6, "delete": 2, "copy": 2, "undone": 1, "insert": 2}
TABLES = {"table": 6, "insert": 2, "update": 2, "undone": 1}
LAZY = {"lazy": 8, "transfer": 1, "insert": 1}
LAZIEST = {"lazy": 1}
UNDONE = {"undone": 8, "many": 2, "update": 3, "transfer": 1}


class Work:
    """One workload. steps: of each thread; sets: backups between them; depth: of the checkpoint.

    body: the name of another recording than the bank's (record_<body>, and judge.check_<body>); a round has at most
    `most` states, so that a recording which holds few of them is made anew often.
    """

    def __init__(self, name, weights, threads=2, steps=60, notes=1500, depth=20 << 20, sets=(), body="bank",
                 circular=False, most=400, log_kib=64, zero=False, page=4096):  # fmt: skip
        self.name, self.weights, self.threads, self.steps, self.notes = name, weights, threads, steps, notes
        self.depth, self.sets, self.body, self.circular, self.most = depth, sets, body, circular, most
        self.log_kib, self.page = log_kib, page
        self.zero = zero  # full backups wipe what was deleted


WORKS = [
    Work("load", LOAD),
    Work("update", UPDATE),
    Work("split and merge", CHURN, notes=300),
    Work("log roll", UPDATE, steps=80, notes=6000),
    Work("checkpoint", bank.PLAIN, depth=32 << 10, notes=3000),
    Work("lazy commits", LAZY, depth=64 << 10),
    Work("rollbacks", UNDONE, depth=64 << 10),
    Work("full segments", LAZIEST, steps=90, notes=30000, log_kib=1024, most=60),  # the flusher wakes for 64 at a time
    Work("tables", TABLES, threads=1),
    Work("columns and indexes", None, steps=70, body="schema"),
    Work("circular", UPDATE, steps=80, notes=6000, depth=32 << 10, circular=True),
    Work("backup", bank.PLAIN, sets=("full", "incremental", "incremental")),
    Work("atomic backup", bank.PLAIN, sets=("atomic", "atomic", "atomic incremental", "atomic")),
    Work("wiping", CHURN, notes=300, depth=64 << 10, sets=("atomic", "atomic incremental", "atomic"), zero=True),
    Work("pages of 8 KiB", UPDATE, depth=64 << 10, page=8 << 10),  # larger than what the disk writes at once
    Work("pages of 32 KiB", CHURN, notes=6000, depth=128 << 10, sets=("full", "incremental"), page=32 << 10),
    Work("truncation", bank.PLAIN, notes=6000, depth=64 << 10, sets=("full", "truncate", "full", "truncate")),
    Work("create and attach", None, steps=30, body="attach"),
    Work("restore", bank.PLAIN, threads=1, steps=40, body="restore", most=120),
    Work("recovery", bank.PLAIN, threads=2, steps=40, body="recovery", depth=256 << 10, most=60),
]
GRBITS = {
    "full": 0,
    "incremental": K.JET_bitBackupIncremental,
    "atomic": K.JET_bitBackupAtomic,
    "atomic incremental": K.JET_bitBackupAtomic | K.JET_bitBackupIncremental,
    "truncate": 0,
}
SMALL = {False: 1000, True: 64}  # pages of cache
BASE = {"data": None, "sets": None}  # the folder of a bank before anything was done


def page_size(work):
    """Of the instances that this process makes from now on."""
    cjet.set_param(None, K.JET_paramDatabasePageSize, work.page)


def instance(data, work, small):
    page_size(work)
    cjet.set_cache(SMALL[small])
    params = {K.JET_paramCheckpointDepthMax: work.depth, K.JET_paramZeroDatabaseDuringBackup: int(work.zero)}
    return cjet.Instance(data, log_kib=work.log_kib, steal=small, circular=work.circular, params=params)


def record(report, top, work, small, seed):
    """Runs a workload under the recorder: top/run is what the power cut hits, top/trace the trace. Returns counts."""
    top = pathlib.Path(top)
    (top / "run" / "data").mkdir(parents=True)
    (top / "run" / "sets").mkdir()
    return globals()[f"record_{work.body}"](top, work, small, seed)


def base_of(top, work):
    """The folder as it was at START, for replay.states."""
    return top / "base" if (top / "base").is_dir() else BASE


def begin(top):
    cjet.call("PyjetRecordStart", cjet.text(top / "run"), cjet.text(top / "trace"))


def end():
    cjet.lib.PyjetRecordStop()


def mark(thing):
    cjet.mark(json.dumps(thing))


def record_bank(top, work, small, seed):
    begin(top)
    with instance(top / "run" / "data", work, small) as inst:
        path = top / "run" / "data" / "bank.edb"
        with inst.session() as ses:
            bank.create(ses, ses.create(path), work.threads)
        mark(["CREATED"])
        together(inst, path, work, seed, top / "run" / "sets")
        stats = inst.stats()
        counted = {"undo_info": stats.undo_info, "cache_stolen": stats.cache_stolen}
    end()
    return counted


def together(inst, path, work, seed, sets):
    """The writers and, between them, the backups. Gives back the worker of thread 0."""
    failed, workers = [], {}

    def write(thread):
        try:
            with inst.session() as ses:
                rng = random.Random(f"{seed}/{work.name}/{thread}")
                worker = bank.Worker(ses, ses.open(path, attach=False), thread, 0, rng, mark, {}, work.weights, work.notes)
                workers[thread] = worker
                for _ in range(work.steps):
                    worker.step()
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(work.threads)]
    for t in threads:
        t.start()
    for i, kind in enumerate(work.sets):
        back_up(inst, work, sets, i, kind)
    for t in threads:
        t.join()
    if failed:
        raise failed[0]
    return workers[0]


def back_up(inst, work, sets, i, kind):
    if kind == "truncate":
        inst.backup(None)  # deletes the logs that the last full backup made needless
        return
    full = max((n for n in range(i + 1) if work.sets[n] == "full"), default=0)
    target = sets / ("atomic" if "atomic" in kind else f"plain{full}")
    inst.pause(lambda percent: mark(["BP", i, percent]))
    mark(["BS", i, kind, target.name])
    inst.backup(target, GRBITS[kind])
    mark(["BE", i])


# ---- databases come and go ----

ATTACH_TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}


def record_attach(top, work, small, seed):
    """Databases are created, filled, detached, attached, closed and opened."""
    rng = random.Random(seed)
    begin(top)
    with instance(top / "run" / "data", work, small) as inst, inst.session() as ses:
        counts, attached = {}, set()
        for _ in range(work.steps):
            name = f"d{rng.randrange(3)}.edb"
            path = top / "run" / "data" / name
            if name not in counts:
                mark(["CREATING", name])
                dbid = ses.create(path)
                ses.create_table(dbid, "t", ATTACH_TABLE, [("pk", "+id", K.JET_bitIndexPrimary)])
                counts[name] = 0
                attached.add(name)
                ses.close(dbid)
                ses.commit(K.JET_bitWaitLastLevel0Commit)  # at level 0: all that was done is durable
                mark(["CREATED", name])
            elif name in attached and rng.random() < 0.4:
                mark(["DETACHING", name])
                ses.detach(path)
                attached.discard(name)
                mark(["DETACHED", name])
            else:
                if name not in attached:
                    mark(["ATTACHING", name])
                    ses.attach(path)
                    attached.add(name)
                    mark(["ATTACHED", name])
                dbid = ses.open(path, attach=False)
                with ses.table(dbid, "t") as t:
                    for _ in range(rng.randrange(1, 6)):
                        with ses.transaction():
                            t.insert(id=counts[name], v=bank.note_of(counts[name], 1, rng.randrange(2000)))
                            mark(["ROW", name, counts[name]])
                        mark(["IN", name, counts[name]])
                        counts[name] += 1
                ses.close(dbid)
    end()
    return {}


def read_attached(ses, dbid):
    """The ids of its rows, in order; raises AssertionError when one has another's long value."""
    (section,) = reading.sections(ses, dbid)
    return ids_of(section)


@functools.lru_cache(maxsize=64)
def ids_of(section):
    rows = reading.Table(section).rows
    wrong = [r["id"] for r in rows if r["v"] != bank.note_of(r["id"], 1, len(r["v"] or b""))]
    assert not wrong, f"the long values of the rows {wrong[:5]} ({len(wrong)}) are not what was written"
    return [r["id"] for r in rows]


# ---- columns and indexes come and go ----


def record_schema(top, work, small, seed):
    """One history, one transaction after another: known.json tells what the table looks like after each."""
    rng = random.Random(seed)
    begin(top)
    with instance(top / "run" / "data", work, small) as inst, inst.session() as ses:
        dbid = ses.create(top / "run" / "data" / "schema.edb")
        columns = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL)}
        ses.create_table(dbid, "t", columns, [("pk", "+id", K.JET_bitIndexPrimary)])
        ses.commit(K.JET_bitWaitLastLevel0Commit)
        mark(["CREATED"])
        history = [{"columns": ["id"], "indexes": [], "rows": {}}]
        for number in range(1, work.steps):
            now = json.loads(json.dumps(history[-1]))
            ses.begin()
            change_schema(ses, dbid, now, rng, number)
            mark(["I", number])
            ses.commit()
            mark(["A", number])
            history.append(now)
    end()
    (top / "known.json").write_text(json.dumps(history))
    return {}


def change_schema(ses, dbid, now, rng, number):
    """One random change to the table and to what `now` says of it."""
    free = [c for c in now["columns"] if c != "id" and f"by_{c}" not in now["indexes"]]
    kind = rng.choices(("rows", "column", "index", "drop index", "drop column"), (6, 3, 3, 2, 1))[0]
    with ses.table(dbid, "t") as t:
        if kind == "column" and len(now["columns"]) < 8:
            cjet.add_column(ses, t.id, f"c{number}", K.JET_coltypLongBinary if number % 3 == 0 else K.JET_coltypLong)
            now["columns"].append(f"c{number}")
        elif kind == "index" and free:
            name = rng.choice(free)
            cjet.create_index(ses, t.id, f"by_{name}", f"+{name}")
            now["indexes"].append(f"by_{name}")
        elif kind == "drop index" and now["indexes"]:
            name = rng.choice(now["indexes"])
            cjet.call("JetDeleteIndexA", ses.id, t.id, cjet.text(name))
            now["indexes"].remove(name)
        elif kind == "drop column" and free:
            name = rng.choice(free)
            cjet.call("JetDeleteColumnA", ses.id, t.id, cjet.text(name))
            now["columns"].remove(name)
            for row in now["rows"].values():
                row.pop(name, None)
        else:
            for ident in range(number * 100, number * 100 + rng.randrange(1, 25)):
                row = {c: cell_of(c, ident) for c in now["columns"] if c != "id" and rng.random() < 0.7}
                t.insert(id=ident, **row)
                now["rows"][str(ident)] = {c: shown(v) for c, v in row.items()}


def cell_of(column, ident):
    if int(column[1:]) % 3 == 0:
        return bank.note_of(ident, int(column[1:]), ident * 37 % 2500 + 1)
    return ident * 7 % 1000


def shown(value):
    return bank.digest(value) if isinstance(value, bytes) else value


def read_schema(ses, dbid):
    """What the file says: as an entry of the history; raises AssertionError when an index disagrees."""
    (section,) = reading.sections(ses, dbid)
    return shown_table(section)


@functools.lru_cache(maxsize=64)
def shown_table(section):
    table = reading.Table(section)
    rows = {str(r["id"]): {c: shown(v) for c, v in r.items() if c != "id" and v is not None} for r in table.rows}
    return {"columns": sorted(table.types), "indexes": sorted(table.indexes), "rows": rows}


# ---- restore ----


def record_restore(top, work, small, seed):
    """A set made before the trace begins is restored; the cut hits the restore."""
    run_dir = top / "run"
    with instance(top / "before", work, small) as inst:
        path = top / "before" / "bank.edb"
        with inst.session() as ses:
            bank.create(ses, ses.create(path), work.threads)
        before = together(inst, path, Work(work.name, work.weights, work.threads, 20), seed, None)
        inst.backup(run_dir / "sets" / "plain")
        go_on(inst, path, work, seed, before)
        inst.backup(run_dir / "sets" / "plain", K.JET_bitBackupIncremental)
        with inst.session() as ses:
            state = bank.read_state(ses, ses.open(path, attach=False))
    (run_dir / "target").mkdir()
    (run_dir / "log").mkdir()
    shutil.copytree(run_dir, top / "base")
    (top / "known.json").write_text(json.dumps(state))
    begin(top)
    mark(["RESTORING"])
    cjet.restore(run_dir / "sets" / "plain", run_dir / "target", run_dir / "log")
    mark(["RESTORED"])
    end()
    return {}


def go_on(inst, path, work, seed, before):
    with inst.session() as ses:
        dbid = ses.open(path, attach=False)
        worker = bank.Worker(ses, dbid, 0, before.number, random.Random(f"{seed}+"), mark, before.own)
        for _ in range(work.steps):
            worker.step()


# ---- recovery ----


def record_recovery(top, work, small, seed):
    """A bank loses power; the cut hits the recovery that follows, and its clean end."""
    counted = record_bank(top, work, small, seed)
    first = top / "first"
    (top / "trace").rename(first)
    shutil.rmtree(top / "run")
    trace = list(replay.records(first))
    created = next(i for i, record in enumerate(trace) if record.text == json.dumps(["CREATED"]))  # before it, there is no bank to read
    state = next(replay.states(trace, seed, 1, BASE, first=1 + max(len(trace) // 3, created + 1)))
    first.unlink()
    replay.materialise(state, top / "run")
    shutil.copytree(top / "run", top / "base")
    begin(top)
    data = top / "run" / "data"
    inst = instance(data, work, small)
    try:
        found = inst.init()
    except JetError:
        inst.destroy()
        raise
    mark(["READY"])
    with inst.session() as ses:
        got = bank.read_state(ses, ses.open(data / "bank.edb"))
        mark(["SEEN"])
    inst.term()
    mark(["ENDED"])
    end()
    (top / "known.json").write_text(json.dumps({"marks": state.marks, "state": got}))
    return {**counted, "recovered before": found.redone}
