"""python bench/backup.py [--size 2G] [--pairs 7] [--parts copy,writer,increment,restore,peers] [--dir DIR] [--out FILE]

Backup of a large database beside cp + sync of the same bytes, a fresh process each, in interleaved pairs whose order turns;
prints the median (min, max) of the ratios. Everything that was made is removed at the end, also when it fails.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

import run
from report import spread

PARTS = ("copy", "writer", "increment", "restore", "peers")
ROW_BYTES = 160  # of pyjet's file
FILES = {"pyjet": "kv.edb", "sqlite": "kv.sqlite", "lmdb": "data.mdb"}  # others: all that their folder holds
PEERS = {"sqlite": "sqlite3_backup", "lmdb": "mdb_env_copy", "bdb": "Berkeley DB's DB_ENV->backup", "rocksdb": "RocksDB's BackupEngine"}
MEMORY_LIMIT = 64 << 20
NOISY = 0.5  # cores that others used


def drop(path):
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def touch(path):
    with open(path, "rb", buffering=0) as f:
        buffer = bytearray(1 << 20)
        while f.readinto(buffer):
            pass


def cp_and_sync(sources, to):
    """Seconds for cp and sync of the files into the folder, folder included."""
    copies = [to / s.name for s in sources]
    words = ["cp", *map(str, sources), str(to)]
    command = f"{shlex.join(words)} && {shlex.join(['sync', *map(str, copies), str(to)])}"
    start = time.perf_counter()
    subprocess.run(["sh", "-c", command], check=True)
    return time.perf_counter() - start


def allocated(paths):
    return sum(p.stat().st_blocks * 512 for p in paths)  # LMDB's file has holes


class Bench:
    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.rows = int(options.gb * 1e9 / ROW_BYTES)
        self.loaded = None
        self.out = open(options.out, "w", encoding="utf-8") if options.out else None
        self.busy = []

    def note(self, **row):
        if self.out:
            self.out.write(json.dumps(row) + "\n")
            self.out.flush()

    def say(self, name, text):
        print(f"{name:34} {text}", flush=True)

    def folder(self, name):
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def drive(self, engine, workload, place, *more):
        command = [run.BUILD / f"bench_{engine}", workload, place, "--n", self.rows, *more]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{workload} of {engine}: exit {done.returncode}: {done.stderr.strip()} {done.stdout}")
        row = json.loads(done.stdout)
        self.busy.append(row["foreign_cpu"])
        self.note(**row)
        return row

    def load(self, engine):
        """The engine's database; one at a time is on disk."""
        if self.loaded is not None and self.loaded != engine:
            shutil.rmtree(self.work / self.loaded)
        if self.loaded != engine:
            self.drive(engine, "load_sorted", self.folder(engine), "--batch", "1000", "--cache", "256")
            self.loaded = engine
        return self.work / engine

    def pair(self, turn, mine, other):
        """Both, in turned order: seconds of each."""
        order = [("mine", mine), ("other", other)]
        took = {name: call() for name, call in (order if turn % 2 == 0 else order[::-1])}
        return took["mine"], took["other"]

    # ---- parts ----

    def sources(self, engine, base):
        """The files that are the engine's database."""
        return [base / FILES[engine]] if engine in FILES else sorted(p for p in base.iterdir() if p.is_file())

    def backup_once(self, engine, base, cold):
        for source in self.sources(engine, base):
            (drop if cold else touch)(source)
        row = self.drive(engine, "backup_only", base, "--to", self.folder("to"), "--cache", "256", "--cold", int(cold))
        shutil.rmtree(self.work / "to")
        return row

    def copy_once(self, sources, cold):
        for source in sources:
            (drop if cold else touch)(source)
        took = cp_and_sync(sources, self.folder("to"))
        shutil.rmtree(self.work / "to")
        return took

    def against_copy(self, engine, pairs, cold):
        base = self.load(engine)
        ratios, rates, memory = [], [], []
        for turn in range(pairs):
            rows = []

            def backup(rows=rows):
                rows.append(self.backup_once(engine, base, cold))
                return rows[0]["wall_s"] / (rows[0]["bytes"] if engine == "pyjet" else allocated(self.sources(engine, base)))

            def copy():
                sources = self.sources(engine, base)  # anew: RocksDB's are others after each time it was open
                return self.copy_once(sources, cold) / allocated(sources)

            mine, other = self.pair(turn, backup, copy)
            ratios.append(other / mine)
            rates.append(1 / mine / 1e6)
            memory.append(rows[0]["memory_added"])
            self.note(part="copy", engine=engine, cold=cold, turn=turn, backup_mb_s=1 / mine / 1e6, cp_mb_s=1 / other / 1e6)
        return ratios, rates, memory

    def copy(self):
        for cold in (False, True):
            ratios, rates, memory = self.against_copy("pyjet", self.options.pairs, cold)
            self.say(f"backup / cp + sync, {'cold' if cold else 'warm'}", f"{spread(ratios)}   {statistics.median(rates):.0f} MB/s")
            most = max(memory)
            verdict = "" if most <= MEMORY_LIMIT else ": more than 64 MB"
            self.say("  memory that the backup adds", f"{most / 1e6:.1f} MB at most{verdict}")

    def writer(self):
        """What a writer keeps of its rate; its pages are all in the cache, so that only the copy is in its way."""
        base = self.load("pyjet")
        more = ("--batch", "10", "--cache", int(self.options.gb * 1400) + 64)
        keeps, tail = {"backup": [], "cp": []}, {"backup": [], "cp": []}
        for turn in range(self.options.writer_pairs):
            for kind in ("backup", "cp") if turn % 2 == 0 else ("cp", "backup"):
                beside = ("--copy", base / FILES["pyjet"]) if kind == "cp" else ()
                row = self.drive("pyjet", "backup_full_writer", base, "--to", self.folder("to"), "--seed", turn + 1, *more, *beside)
                keeps[kind].append(row["writer_during"] / row["writer_before"])
                tail[kind].append(row["writer_p99_during_us"] / row["writer_p99_before_us"])
        shutil.rmtree(self.work / "to")
        for kind in keeps:
            self.say(f"writer keeps beside a {kind}", f"{spread(keeps[kind])}   p99 x {spread(tail[kind], 1)}")

    def increment(self):
        base = self.load("pyjet")
        row = self.drive("pyjet", "backup_incr_1pct", base, "--to", self.folder("to"), "--cache", "256")
        shutil.rmtree(self.work / "to")
        share = row["bytes"] / (base / FILES["pyjet"]).stat().st_size
        self.say("increment after 1 % / log written", f"{row['bytes'] / row['log_bytes']:.2f}   {share:.3f} of the database")

    def replayed(self, kept):
        """Seconds for what a restore has to do once cp has put the files in place: redo of the set's logs."""
        row = self.drive("pyjet", "replay_copied", kept, "--to", self.work / "to", "--cache", "256")
        return row["wall_s"]

    def restore(self):
        """A full set and an increment with one percent of the rows changed; beside it cp + sync of the set, and the replay alone."""
        base = self.load("pyjet")
        kept = self.folder("set")
        self.drive("pyjet", "backup_incr_1pct", base, "--to", kept, "--cache", "256")
        sources = sorted(p for p in kept.rglob("*") if p.is_file())
        for cold in (False, True):
            ratios, shares = [], []

            def warm(cold=cold):
                for source in sources:
                    (drop if cold else touch)(source)

            def restored(warm=warm):
                warm()
                row = self.drive("pyjet", "restore_full", kept, "--to", self.folder("restored"), "--cache", "256")
                shutil.rmtree(self.work / "restored")
                return row["wall_s"]

            def copied(warm=warm, shares=shares):
                warm()
                took = cp_and_sync(sources, self.folder("to"))
                for log in (self.work / "to").glob("*.log"):
                    log.unlink()  # they are redone from the set, and the new instance has its own
                replay = self.replayed(kept)
                shutil.rmtree(self.work / "to")
                shares.append(replay / (took + replay))
                return took + replay

            for turn in range(self.options.writer_pairs):
                mine, other = self.pair(turn, restored, copied)
                ratios.append(other / mine)
                self.note(part="restore", cold=cold, turn=turn, restore_s=mine, cp_and_replay_s=other)
            what = f"replay is {statistics.median(shares):.2f} of that"
            self.say(f"restore / cp + sync + replay, {'cold' if cold else 'warm'}", f"{spread(ratios)}   {what}")
        shutil.rmtree(kept)

    def vacuum_into(self, base):
        to = self.folder("to")
        start = time.perf_counter()
        with sqlite3.connect(base / FILES["sqlite"]) as db:
            db.execute("VACUUM INTO ?", (str(to / "copy"),))
        subprocess.run(["sync", to / "copy", to], check=True)
        took = time.perf_counter() - start
        db.close()
        return took

    def mdb_copy(self, base):
        to = self.folder("to")
        start = time.perf_counter()
        subprocess.run(["mdb_copy", base, to], check=True)
        subprocess.run(["sync", to / FILES["lmdb"], to], check=True)
        return time.perf_counter() - start

    def peer_tool(self, engine, name, call):
        base = self.load(engine)
        source = base / FILES[engine]
        ratios = []

        def mine(base=base, source=source):
            touch(source)
            return call(base)

        for turn in range(self.options.peer_pairs):
            tool, other = self.pair(turn, mine, lambda: self.copy_once([source], False))
            ratios.append(other / tool)
            self.note(part="peers", tool=name, turn=turn, ratio=other / tool)
        self.say(f"{name} / cp + sync, warm", spread(ratios))

    def peer_engine(self, engine, what):
        for cold in (False, True):
            ratios, rates, memory = self.against_copy(engine, self.options.peer_pairs, cold)
            figures = f"{spread(ratios)}   {statistics.median(rates):.0f} MB/s, adds {max(memory) / 1e6:.0f} MB"
            self.say(f"{what} / cp + sync, {'cold' if cold else 'warm'}", figures)

    def peers(self):
        for engine, what in PEERS.items():
            if reason := run.missing(engine):
                self.say(what, reason)
                continue
            run.build(engine)
            self.peer_engine(engine, what)
            if engine == "sqlite":
                self.peer_tool(engine, "VACUUM INTO", self.vacuum_into)
            if engine == "lmdb" and shutil.which("mdb_copy"):
                self.peer_tool(engine, "mdb_copy", self.mdb_copy)
        if not shutil.which("mdb_copy"):
            self.say("mdb_copy", "not installed (Debian: lmdb-utils)")


def gigabytes(text):
    """ "2G", "200M", "0.5": GB of 10^9 bytes."""
    units = {"G": 1.0, "M": 1e-3}
    number, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1.0)
    return float(number) * unit


def arguments(argv):
    parser = argparse.ArgumentParser(description="backup of a large database beside cp + sync")
    parser.add_argument(
        "--size", "--gb", dest="gb", type=gigabytes, default=2.0, help="of pyjet's file: 2G, 200M; the others hold the same rows"
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--writer-pairs", type=int, default=7, help="also those of restore")
    parser.add_argument("--peer-pairs", type=int, default=7)
    parser.add_argument("--parts", type=lambda s: s.split(","), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--dir", help="where the databases are made (default: a temporary folder below build/)")
    parser.add_argument("--out", help="JSON lines, one a run")
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if options.gb < 0.01 or min(options.pairs, options.writer_pairs, options.peer_pairs) < 1:
        parser.error("at least 0.01 GB, at least one pair")
    return options


def main(argv=None):
    options = arguments(argv)
    run.BUILD.mkdir(parents=True, exist_ok=True)
    place = options.dir or run.BUILD
    needed = int(options.gb * 4e9) + (1 << 30)
    if shutil.disk_usage(place).free < needed:
        raise SystemExit(f"{place}: {needed / 1e9:.0f} GB of room are needed; choose another --dir or a smaller --size")
    run.build("pyjet")
    with tempfile.TemporaryDirectory(dir=place) as work:
        bench = Bench(options, pathlib.Path(work))
        print(f"{options.gb:g} GB, {bench.rows} rows; median (min, max) of interleaved pairs; more is better", flush=True)
        for part in PARTS:
            if part in options.parts:
                getattr(bench, part)()
    noisy = sum(b > NOISY for b in bench.busy)
    print(f"{noisy} of {len(bench.busy)} runs stood beside other processes that used more than {NOISY:g} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
