"""The lines of the benchmark: what runs, on which data, in which durability class, and what is compared.

Names are fixed: results of different days are found by them.
"""

import dataclasses

MEM, OS, DISK = "mem", "os", "disk"
ALL = ("pyjet", "sqlite", "lmdb", "bdb", "rocksdb")
WITH_LOGS = ("pyjet", "bdb", "rocksdb")  # the others have no increment, and nothing to redo or only a copy of pages
FOOTNOTES = {
    ("sqlite", MEM): "rollback journal in memory: kill -9 may damage the file",
    ("lmdb", MEM): "writable map, no sync: survives kill -9, not a power cut",
    ("bdb", MEM): "DB_TXN_NOSYNC: kill -9 loses the last commits, never a half one; reads are of a row, not of one moment",
    ("rocksdb", MEM): "a WriteBatch a transaction, no log: kill -9 loses what memtables hold; no conflicts, no uniqueness, reads as bdb's",
    ("pyjet", MEM): "JET_bitCommitLazyFlush: kill -9 loses the last commits, never a half one",
}


@dataclasses.dataclass(frozen=True)
class Line:
    name: str
    workload: str
    durability: str = MEM
    base: str = "small"  # small, big, none: the loaded database that a copy is made of
    args: tuple = ()
    ops: float = 1.0  # of the rows of the base; at least 1000
    metric: str = "cpu_rate"  # cpu_rate, wall_rate, p50, mb_s
    engines: tuple = ALL
    full_only: bool = False
    prepare: str = ""  # the workload that makes what this one restores or recovers


C_LINES = (
    Line("load_sorted", "load_sorted", base="none", args=("--batch", "1000")),
    Line("insert_random_lazy", "insert_random", ops=0.5, args=("--batch", "100")),
    Line("insert_random_os", "insert_random", OS, ops=0.5, args=("--batch", "100"), full_only=True),
    Line("insert_durable_t1", "insert_durable", DISK, ops=0.01, metric="p50"),
    Line("insert_durable_t4", "insert_durable", DISK, ops=0.04, args=("--threads", "4"), metric="wall_rate"),
    Line("get_txn1", "get", args=("--batch", "1"), full_only=True),
    Line("get_txn100", "get", ops=2, args=("--batch", "100")),
    Line("scan_full", "scan_full", ops=10),
    Line("scan_rows", "scan_rows", ops=10, full_only=True),
    Line("ycsb_a_t1", "ycsb_a", ops=0.5),
    Line("ycsb_a_t2", "ycsb_a", ops=0.5, args=("--threads", "2"), full_only=True),
    Line("backup_full_quiet", "backup_full_quiet", base="big", metric="mb_s"),
    Line("backup_full_writer", "backup_full_writer", base="big", args=("--batch", "10"), metric="mb_s", engines=WITH_LOGS),
    Line("backup_incr_1pct", "backup_incr_1pct", base="big", metric="wall_rate", engines=WITH_LOGS),
    Line("restore_full", "restore_full", base="big", metric="mb_s", prepare="backup_full_quiet"),
    Line("restore_replay", "restore_full", base="big", metric="mb_s", engines=WITH_LOGS, prepare="backup_incr_1pct"),
    Line("recover_kill9", "recover_open", DISK, ops=4, engines=WITH_LOGS, prepare="recover_prepare"),
)

PY_LINES = (
    Line("py_load_sorted", "load_sorted", base="none", engines=("pyjet", "sqlite3", "lmdb")),
    Line("py_insert_random", "insert_random", ops=0.2, engines=("pyjet", "sqlite3", "lmdb")),
    Line("py_get", "get", ops=1, engines=("pyjet", "sqlite3", "lmdb")),
    Line("py_iterate", "iterate", ops=1, engines=("pyjet", "sqlite3", "lmdb")),
)


def value(line, row):
    """The number that the line is compared by, of one result row."""
    if line.metric == "cpu_rate":
        return row["ops"] / max(row["cpu_s"], 1e-6)
    if line.metric == "wall_rate":
        return row["ops"] / max(row["wall_s"], 1e-9)
    if line.metric == "mb_s":
        return row["bytes"] / 1e6 / max(row["wall_s"], 1e-9)
    return row["p50_us"]
