"""python bench/py/drive.py ENGINE WORKLOAD DIR [--n N] [--ops N] [--seed N] [--class mem]: one workload, one line of JSON.

The loops are what a user would write: the binding is measured, not the engine alone.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import struct
import sys
import time

BATCH = 100


def key(slot):
    return struct.pack(">QQ", slot, slot * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)


def values(count, seed):
    """Incompressible values of 100 bytes, made before the clock runs."""
    data = random.Random(seed).randbytes(count * 100)
    return [data[i : i + 100] for i in range(0, len(data), 100)]


class Pyjet:
    def __init__(self, folder, create):
        import pyjet

        self.version = getattr(pyjet, "__version__", "")
        self.inst = pyjet.Instance(str(folder), circular_log=True).__enter__()
        self.ses = self.inst.session()
        self.db = self.ses.open(str(folder / "kv.edb"), create=create)
        if create:
            columns = {"k": pyjet.Binary(max_length=16), "v": pyjet.Binary(max_length=100)}
            indexes = {"pk": pyjet.Index("+k", primary=True)}
            self.db.create_table("kv", columns=columns, indexes=indexes)
        self.table = self.db.tables["kv"]

    def load(self, rows):
        with self.ses.transaction(lazy=True):
            self.table.insert_many({"k": k, "v": v} for k, v in rows)

    def insert(self, rows):
        insert = self.table.insert
        for start in range(0, len(rows), BATCH):
            with self.ses.transaction(lazy=True):
                for k, v in rows[start : start + BATCH]:
                    insert(k=k, v=v)

    def get(self, keys):
        get, total = self.table.get, 0
        with self.ses.transaction(readonly=True):
            for k in keys:
                total += len(get(k)["v"])
        return total

    def iterate(self):
        total = 0
        for row in self.table.rows():
            total += len(row["v"])
        return total

    def close(self):
        self.inst.close()


class Sqlite3:
    def __init__(self, folder, create):
        import sqlite3

        self.version = sqlite3.sqlite_version
        self.c = sqlite3.connect(folder / "kv.sqlite", isolation_level=None)
        self.c.execute("PRAGMA cache_size=-1048576")
        self.c.execute("PRAGMA journal_mode=WAL")
        self.c.execute("PRAGMA synchronous=OFF")
        if create:
            self.c.execute("CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")

    def load(self, rows):
        self.c.execute("BEGIN")
        self.c.executemany("INSERT INTO kv VALUES(?,?)", rows)
        self.c.execute("COMMIT")

    def insert(self, rows):
        for start in range(0, len(rows), BATCH):
            self.c.execute("BEGIN")
            for row in rows[start : start + BATCH]:
                self.c.execute("INSERT INTO kv VALUES(?,?)", row)
            self.c.execute("COMMIT")

    def get(self, keys):
        total = 0
        self.c.execute("BEGIN")
        for k in keys:
            total += len(self.c.execute("SELECT k, v FROM kv WHERE k=?", (k,)).fetchone()[1])
        self.c.execute("COMMIT")
        return total

    def iterate(self):
        total = 0
        for _, v in self.c.execute("SELECT k, v FROM kv ORDER BY k"):
            total += len(v)
        return total

    def close(self):
        self.c.close()


class Lmdb:
    def __init__(self, folder, create):
        import lmdb

        self.version = ".".join(map(str, lmdb.version()))
        self.env = lmdb.open(str(folder), map_size=4 << 30, sync=False)

    def load(self, rows):
        with self.env.begin(write=True) as txn:
            for k, v in rows:
                txn.put(k, v, append=True)

    def insert(self, rows):
        for start in range(0, len(rows), BATCH):
            with self.env.begin(write=True) as txn:
                for k, v in rows[start : start + BATCH]:
                    txn.put(k, v)

    def get(self, keys):
        total = 0
        with self.env.begin() as txn:
            for k in keys:
                total += len(txn.get(k))
        return total

    def iterate(self):
        total = 0
        with self.env.begin() as txn:
            for _, v in txn.cursor():
                total += len(v)
        return total

    def close(self):
        self.env.sync(True)
        self.env.close()


def workload(name, engine, n, ops, seed):
    """Returns (operations, function, bytes that it must meet or None)."""
    if name == "load_sorted":
        rows = [(key(2 * i), v) for i, v in enumerate(values(n, seed))]
        return n, lambda: engine.load(rows), None
    if name == "insert_random":
        slots = random.Random(seed).sample(range(n), ops)
        rows = [(key(2 * i + 1), v) for i, v in zip(slots, values(ops, seed + 1), strict=True)]
        return ops, lambda: engine.insert(rows), None
    if name == "get":
        choose = random.Random(seed)
        keys = [key(2 * choose.randrange(n)) for _ in range(ops)]
        engine.iterate()
        return ops, lambda: engine.get(keys), ops * 100
    if name == "iterate":
        engine.iterate()
        return n, engine.iterate, n * 100
    raise SystemExit(f"no workload {name}")


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["pyjet", "sqlite3", "lmdb"])
    parser.add_argument("workload")
    parser.add_argument("dir", type=pathlib.Path)
    for name in ("--n", "--ops", "--seed", "--batch"):
        parser.add_argument(name, type=int, default=1)
    parser.add_argument("--class", dest="durability", default="mem")
    options = parser.parse_args(argv)
    make = {"pyjet": Pyjet, "sqlite3": Sqlite3, "lmdb": Lmdb}[options.engine]
    engine = make(options.dir, options.workload == "load_sorted")
    ops, run, wanted = workload(options.workload, engine, options.n, options.ops, options.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    met = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    engine.close()
    row = {"engine": options.engine, "version": engine.version, "workload": options.workload, "n": options.n, "threads": 1}
    row.update(batch=BATCH, durability=options.durability, ops=ops, wall_s=wall, cpu_s=cpu, python=sys.version.split()[0])
    row.update(rss_peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, bytes=0, load=os.getloadavg()[0])
    row["misses"] = 0 if wanted is None or met == wanted else 1
    print(json.dumps(row))


if __name__ == "__main__":
    main()
