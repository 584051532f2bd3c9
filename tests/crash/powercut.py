"""Simulated power cuts: what a trace of writes and syncs may leave is recovered and held against what was acknowledged.

    python -m tests.crash.powercut --states 2000 --seed 1

Each workload runs once in a child under the os room's recorder. replay.states makes folders out of its trace: what no
completed sync covers is kept, dropped or torn at 512 bytes, each write by itself. Each folder is recovered in a child;
what it holds must fit the marks that stand before the cut, and each set that was complete before it must restore.
"""

import argparse
import collections
import pathlib
import random
import shutil
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import bank  # noqa: E402
import cjet  # noqa: E402
import json  # noqa: E402
import replay  # noqa: E402
from child import run  # noqa: E402
from cjet import JetError, K  # noqa: E402

COUNTERS = ("undo_after_steal", "macros_half_redone", "records_filtered", "pages_restored", "pages_reconciled", "undone")
LOAD = {"insert": 6, "many": 4, "transfer": 1}
UPDATE = {"update": 8, "transfer": 4, "undone": 2, "lazy": 1, "insert": 1}
CHURN = {"many": 6, "few": 6, "delete": 2, "undone": 1, "insert": 2}
TABLES = {"table": 6, "insert": 2, "update": 2, "undone": 1}


class Work:
    """One workload. steps: of each thread; sets: backups between them; depth: of the checkpoint."""

    def __init__(self, name, weights, threads=2, steps=60, notes=1500, depth=20 << 20, sets=(), body=None):
        self.name, self.weights, self.threads, self.steps = name, weights, threads, steps
        self.notes, self.depth, self.sets, self.body = notes, depth, sets, body


WORKS = [
    Work("load", LOAD),
    Work("update", UPDATE),
    Work("split and merge", CHURN, notes=300),
    Work("log roll", UPDATE, steps=80, notes=6000),
    Work("checkpoint", bank.PLAIN, depth=32 << 10, notes=3000),
    Work("tables", TABLES, threads=1),
    Work("backup", bank.PLAIN, sets=("full", "incremental", "incremental", "atomic", "atomic", "atomic incremental")),
    Work("create and attach", None, body="attach"),
    Work("restore", bank.PLAIN, threads=1, steps=40, body="restore"),
]
GRBITS = {"full": 0, "incremental": 1, "atomic": K.JET_bitBackupAtomic, "atomic incremental": K.JET_bitBackupAtomic | 1}
SMALL = {False: 3000, True: 64}  # pages of cache


def instance(data, work, small, system=None):
    cjet.set_cache(SMALL[small])
    return cjet.Instance(data, log_kib=64, steal=small, params={K.JET_paramCheckpointDepthMax: work.depth})


# ---- recording ----


def record(report, top, work, small, seed):
    """Runs a workload under the recorder: top/run is what the power cut hits, top/trace the trace."""
    top = pathlib.Path(top)
    (top / "run" / "data").mkdir(parents=True)
    (top / "run" / "sets").mkdir()
    if work.body == "attach":
        return record_attach(top, work, small, seed)
    if work.body == "restore":
        return record_restore(top, work, small, seed)
    cjet.call("PyjetRecordStart", cjet.text(top / "run"), cjet.text(top / "trace"))
    with instance(top / "run" / "data", work, small) as inst:
        path = top / "run" / "data" / "bank.edb"
        with inst.session() as ses:
            dbid = ses.create(path)
            bank.create(ses, dbid, work.threads)
        mark(["CREATED"])
        together(inst, path, work, seed, top / "run" / "sets")
        stats = inst.stats()
        counted = {"undo_info": stats.undo_info, "cache_stolen": stats.cache_stolen, "log rolls": 0}
    cjet.lib.PyjetRecordStop()
    return counted


def mark(thing):
    cjet.mark(json.dumps(thing))


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
        target = sets / ("atomic" if "atomic" in kind else "plain")
        inst.pause(lambda percent, i=i: mark(["BP", i, percent]))
        mark(["BS", i, kind, target.name])
        inst.backup(target, GRBITS[kind])
        mark(["BE", i])
    for t in threads:
        t.join()
    if failed:
        raise failed[0]
    return workers[0]


ATTACH_TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}


def record_attach(top, work, small, seed):
    """Databases are created, filled, detached, attached, closed and opened."""
    rng = random.Random(seed)
    cjet.call("PyjetRecordStart", cjet.text(top / "run"), cjet.text(top / "trace"))
    with instance(top / "run" / "data", work, small) as inst, inst.session() as ses:
        counts, attached = {}, set()
        for _ in range(30):
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
    cjet.lib.PyjetRecordStop()
    return {}


def record_restore(top, work, small, seed):
    """A set made before the trace begins is restored; the cut hits the restore."""
    run_dir = top / "run"
    with instance(top / "before", work, small) as inst:
        path = top / "before" / "bank.edb"
        with inst.session() as ses:
            bank.create(ses, ses.create(path), work.threads)
        before = together(inst, path, Work(work.name, work.weights, work.threads, 20), seed, None)
        inst.backup(run_dir / "sets" / "plain")
        together_more(inst, path, work, seed, before)
        inst.backup(run_dir / "sets" / "plain", 1)
        with inst.session() as ses:
            state = bank.read_state(ses, ses.open(path, attach=False))
    (run_dir / "target").mkdir()
    (run_dir / "log").mkdir()
    shutil.copytree(run_dir, top / "base")
    (top / "state.json").write_text(json.dumps(state))
    cjet.call("PyjetRecordStart", cjet.text(run_dir), cjet.text(top / "trace"))
    mark(["RESTORING"])
    cjet.restore(run_dir / "sets" / "plain", run_dir / "target", run_dir / "log")
    mark(["RESTORED"])
    cjet.lib.PyjetRecordStop()
    return {}


def together_more(inst, path, work, seed, before):
    with inst.session() as ses:
        dbid = ses.open(path, attach=False)
        worker = bank.Worker(ses, dbid, 0, before.number, random.Random(f"{seed}+"), mark, before.own)
        for _ in range(work.steps):
            worker.step()


# ---- after the cut ----


def recover(report, top, work, small):
    """Opens what a cut left, reads all, ends cleanly, checks the file."""
    data = pathlib.Path(top) / "data"
    inst = instance(data, work, small)
    try:
        recovery = inst.init()
    except BaseException:
        inst.destroy()
        raise
    found = {name: getattr(recovery, name) for name, _ in cjet.RECOVERY._fields_}
    names = ["bank.edb"] if work.body is None else sorted(p.name for p in data.glob("d*.edb"))
    found["states"] = {}
    with inst.session() as ses:
        for name in names:
            if (data / name).exists():
                try:
                    dbid = ses.open(data / name)
                except JetError as e:
                    found["states"][name] = {"error": e.name}
                    continue
                found["states"][name] = read(ses, dbid, work)
    inst.term()
    found["findings"] = []
    for name, state in found["states"].items():
        if state is not None and "error" not in state:
            texts, sums = cjet.check_file(data / name)
            found["findings"] += [f"{name}: {text}" for text in texts]
            if sums.pages_leaked:
                found["findings"].append(f"{name}: {sums.pages_leaked} pages leaked")
    return found


def read(ses, dbid, work):
    tables = [n for n in ses.tables(dbid) if not n.startswith("MSys")]
    if work.body is None:
        return bank.read_state(ses, dbid) if "ledger" in tables else None
    if "t" not in tables:
        return None
    with ses.table(dbid, "t") as t:
        return {"rows": [r["id"] for r in t.all()]}


def read_set(report, path, work):
    return bank.read_set(path, work)


def check_bank(state, folder, work, small, totals):
    """A state of a bank workload."""
    found = run(recover, str(folder), work, small)
    for name in COUNTERS:
        totals[name] += found[name]
    assert not found["findings"], f"pyjet check: {found['findings'][:5]}"
    lines = [json.loads(text) for text in state.marks]
    created = ["CREATED"] in lines
    got = found["states"].get("bank.edb")
    if not created:
        totals["cut before the bank stood"] += 1
        return
    assert got is not None and "error" not in got, f"the bank is gone: {got}"
    model = bank.Model(bank.first_state(work.threads))
    model.lines = [line for line in lines if line[0] != "CREATED"]
    model.check(bank.from_json(got))
    check_sets(model, folder, totals)


def check_sets(model, folder, totals):
    started, complete = {}, {}
    for at, line in enumerate(model.lines):
        if line[0] == "BS":
            started[line[1]] = [at, line[2], line[3]]
        elif line[0] == "BP" and "incremental" not in started[line[1]][1]:
            started[line[1]][0] = at
        elif line[0] == "BE":
            begin, kind, name = started[line[1]]
            complete[name] = (begin, at, kind)
    for name, (begin, end, kind) in complete.items():
        got = run(read_set, str(folder / "sets" / name), str(folder.parent / f"work-{name}"))
        shutil.rmtree(folder.parent / f"work-{name}")
        cut = any(line[0] == "BS" and line[3] == name for line in model.lines[end:])
        model.check(bank.from_json(got), begin, None if cut else end, f"the set {name} ({kind})")
        totals[f"sets checked: {kind}"] += 1


def check_attach(state, folder, work, small, totals):
    found = run(recover, str(folder), work, small)
    assert not found["findings"], f"pyjet check: {found['findings'][:5]}"
    lines = [json.loads(text) for text in state.marks]
    created = {line[1] for line in lines if line[0] == "CREATED"}
    for name in created:
        got = found["states"].get(name)
        assert got is not None and "rows" in got, f"{name} was created, now {got}"
        least = max([line[2] + 1 for line in lines if line[:2] == ["IN", name]], default=0)
        most = max([line[2] + 1 for line in lines if line[:2] == ["ROW", name]], default=0)
        count = len(got["rows"])
        assert got["rows"] == list(range(count)), f"{name}: rows {got['rows']}"
        assert least <= count <= most, f"{name}: {count} rows, acknowledged {least}, asked for {most}"
    totals["databases checked"] += len(created)


def check_restore(state, folder, work, small, totals, top):
    """The set is untouched, and a second restore over the rest of the first succeeds."""
    expected = bank.from_json(json.loads((top / "state.json").read_text()))
    for path in (top / "base" / "sets").rglob("*"):
        if path.is_file():
            assert (folder / path.relative_to(top / "base")).read_bytes() == path.read_bytes(), f"{path.name} of the set changed"
    if '["RESTORED"]' in state.marks:
        assert bank.from_json(run(read_target, str(folder / "target" / "bank.edb"))) == expected
        totals["restores that were complete"] += 1
    else:
        shutil.rmtree(folder / "log")
        got = run(read_again, str(folder))
        assert bank.from_json(got) == expected, "restored again, something else came"
        totals["restores done again"] += 1


def read_target(report, path):
    with cjet.Reader(path) as reader:
        return bank.read_state(reader, reader.dbid)


def read_again(report, folder):
    folder = pathlib.Path(folder)
    _, found = cjet.restore(folder / "sets" / "plain", folder / "target", folder / "log")
    return read_target(report, found[0])


# ---- all of it ----


def cuts(top, work, small, seed, count, totals):
    """Records a workload and tries `count` states of it."""
    top = pathlib.Path(top)
    top.mkdir(parents=True)
    counted = run(record, str(top), work, small, seed)
    for name, value in counted.items():
        totals[name] += value
    base = top / "base" if work.body == "restore" else {"data": None, "sets": None}
    for state in replay.states(top / "trace", seed, count, base):
        folder = top / "run"  # the logs name the database by this path
        shutil.rmtree(folder)
        replay.materialise(state, folder)
        try:
            if work.body == "restore":
                check_restore(state, folder, work, small, totals, top)
            elif work.body == "attach":
                check_attach(state, folder, work, small, totals)
            else:
                check_bank(state, folder, work, small, totals)
        except Exception as e:
            shutil.rmtree(folder)
            replay.materialise(state, folder)
            raise AssertionError(f"{work.name}, small={small}: {state}; left in {folder}: {e}") from e
        totals["states"] += 1


def play(place, states, seed, works=WORKS, sizes=(False, True), say=lambda text: None):
    totals = collections.Counter()
    runs = [(work, small) for work in works for small in sizes]
    for i, (work, small) in enumerate(runs):
        count = states * (i + 1) // len(runs) - states * i // len(runs)
        top = pathlib.Path(place) / f"{work.name.replace(' ', '-')}-{'small' if small else 'plain'}"
        cuts(top, work, small, f"{seed}/{i}", count, totals)
        shutil.rmtree(top)
        say(f"{work.name:20} {'64 pages, random steal' if small else 'plain':24} {count} states")
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", help="part of a workload's name")
    parser.add_argument("--dir", help="an empty or missing folder to work in, kept")
    args = parser.parse_args()
    memory = pathlib.Path("/dev/shm")
    place = args.dir or tempfile.mkdtemp(prefix="powercut-", dir=memory if memory.is_dir() else None)
    print(f"seed {args.seed}, {args.states} states", flush=True)
    works = [w for w in WORKS if args.only is None or args.only in w.name]
    totals = play(place, args.states, args.seed, works, say=lambda text: print(text, flush=True))
    for name, value in sorted(totals.items()):
        print(f"{name:32} {value}")
    if not args.dir:
        shutil.rmtree(place)
    print("verdict: nothing durable lost, nothing half there, every completed set restorable")


if __name__ == "__main__":
    main()
