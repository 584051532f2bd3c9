"""python bench/run.py [--quick|--full] [--peers sqlite,lmdb,...] [--n N] [--rounds R] [--lines A,B] [--out FILE]

Runs pyjet and its peers, each workload of each engine in a fresh process, engines one after another in rotated order within
a round, the physical anchor of a line in the same round. Writes one JSON object a run, then prints the table.
"""

import argparse
import fcntl
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import check
import lines
import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "bench"
C_PEERS = {  # header, a macro that it must define, Debian's package
    "sqlite": ("sqlite3.h", "SQLITE_VERSION", "libsqlite3-dev"),
    "lmdb": ("lmdb.h", "MDB_VERSION_FULL", "liblmdb-dev"),
    "bdb": ("db.h", "DB_BACKUP_UPDATE", "libdb5.3-dev"),
    "rocksdb": ("rocksdb/c.h", "ROCKSDB_LIBRARY_API", "librocksdb-dev"),
}
PY_PEERS = {"sqlite3": "sqlite3", "lmdb": "lmdb"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def missing(engine):
    """Why the driver of an engine cannot be built here, or None."""
    if engine not in C_PEERS:
        return None
    header, macro, package = C_PEERS[engine]
    text = f"#include <{header}>\n#ifndef {macro}\n#error\n#endif\n"
    probe = subprocess.run(["cc", "-E", "-xc", "-"], input=text, text=True, capture_output=True)
    return None if probe.returncode == 0 else f"{header} is not installed, or too old (Debian: {package})"


def build(engine):
    """By make; one of several processes at a time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make(engine)


def make(engine):
    done = subprocess.run(["make", "-s", "-C", str(HERE), engine], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench_{engine} does not build:\n{done.stderr}")


def find_engines(wanted):
    """C engines that can run here: their classes by name; and why the others cannot."""
    found, left_out = {}, []
    for engine in ("pyjet", *(e for e in C_PEERS if e in wanted)):
        if reason := missing(engine):
            left_out.append(f"no C line of {engine}: {reason}")
            say(left_out[-1])
            continue
        build(engine)
        found[engine] = classes(engine)
    return found, left_out


def classes(engine):
    info = subprocess.run([BUILD / f"bench_{engine}", "--info"], capture_output=True, text=True, check=True)
    return set(info.stdout.split()) & {lines.MEM, lines.OS, lines.DISK}


def find_python(wanted):
    found, left_out = [], []
    for engine, module in (("pyjet", "pyjet._jet"), *PY_PEERS.items()):
        if engine != "pyjet" and engine not in wanted and engine.removesuffix("3") not in wanted:
            continue
        try:
            there = importlib.util.find_spec(module) is not None
        except ImportError:
            there = False
        if there:
            found.append(engine)
        else:
            left_out.append(f"no Python line of {engine}: module {module} is not installed")
            say(left_out[-1])
    return found, left_out


def database_bytes(folder):
    """What the database takes, its logs aside: the largest file, or all tables of an engine that has many."""
    sizes = {p: p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file()}
    tables = [size for path, size in sizes.items() if path.suffix == ".sst"]
    return sum(tables) if tables else max(sizes.values())


class Suite:
    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.out = open(options.out, "w", encoding="utf-8") if options.out else None
        self.rows = []
        self.failed = False
        self.common = {"host": platform.node(), "machine": platform.machine(), "cpus": os.cpu_count(), "commit": commit()}

    def emit(self, row):
        row.update(self.common)
        self.rows.append(row)
        if self.out:
            self.out.write(json.dumps(row) + "\n")
            self.out.flush()

    def n(self, base):
        return self.options.n * (self.options.big if base == "big" else 1)

    def folder(self, name):
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def drive(self, command, killed=False):
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if killed and done.returncode == -9:
            return None
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()} {done.stdout}")
        return json.loads(done.stdout)

    def base(self, kind, engine, base):
        """The loaded database that lines of this engine copy; made once."""
        path = self.work / f"base-{kind}-{engine}-{base}"
        if not path.exists():
            path.mkdir()
            self.drive([*self.program(kind, engine), "load_sorted", path, "--n", self.n(base), "--batch", "1000"])
        return path

    @staticmethod
    def program(kind, engine):
        return [BUILD / f"bench_{engine}"] if kind == "c" else [sys.executable, HERE / "py" / "drive.py", engine]

    def place_for(self, kind, engine, line):
        """A copy of the loaded database, or an empty folder."""
        place = self.work / "run"
        shutil.rmtree(place, ignore_errors=True)
        if line.base == "none":
            place.mkdir()
        else:
            subprocess.run(["cp", "-r", self.base(kind, engine, line.base), place], check=True)  # keeps holes
        return place

    def run_line(self, kind, line, engine, round_number):
        place, to = self.place_for(kind, engine, line), self.folder("to")
        n = self.n(line.base)
        ops, seed = max(1000, int(n * line.ops)), round_number + 1
        common = ["--n", n, "--ops", ops, "--seed", seed, "--class", line.durability]
        program = self.program(kind, engine)
        if line.prepare:
            self.drive([*program, line.prepare, place, "--to", to, *common], killed=line.prepare == "recover_prepare")
        if line.workload.startswith("restore"):
            place, to = to, self.folder("restored")
        folders = [place, "--to", to] if line.workload.startswith(("backup", "restore")) else [place]
        row = self.drive([*program, line.workload, *folders, *common, *line.args])
        row.update(line=line.name, layer=kind, engine=engine, round=round_number, value=lines.value(line, row))
        row["noisy"] = row.get("foreign_cpu", 0) > 0.5
        if line.base == "big":
            row["db_bytes"] = database_bytes(self.base(kind, engine, "big"))
        self.verify(program, line, place, to, n, ops, seed)
        self.emit(row)

    def verify(self, program, line, place, to, n, ops, seed):
        """Every row that a recovery or a restore brought back, also of a set taken beside a writer: a wrong one voids the line."""
        updates = {"backup_full_quiet": 0, "backup_incr_1pct": n // 100, "recover_prepare": ops}
        if line.workload == "backup_full_writer":
            restored = self.folder("restored")
            self.drive([*program, "restore_full", to, "--to", restored, "--n", n])
            self.drive([*program, "verify_any", restored, "--n", n])
        elif line.prepare:
            made = to if line.workload.startswith("restore") else place
            self.drive([*program, "verify", made, "--n", n, "--seed", seed, "--updates", updates[line.prepare]])

    def try_line(self, kind, line, engine, round_number):
        """A line that fails is told, and voids itself; the others go on."""
        try:
            self.run_line(kind, line, engine, round_number)
        except (RuntimeError, json.JSONDecodeError, OSError) as error:
            say(f"{line.name} of {engine} failed: {error}")
            self.emit({"line": line.name, "layer": kind, "engine": engine, "round": round_number, "error": str(error)})
            self.failed = True

    def anchor_fsync(self, round_number):
        row = self.drive([BUILD / "bench_pyjet", "phys_fsync", self.folder("run"), "--ops", 1000])
        row.update(line="phys_fsync_append", layer="phys", engine="machine", round=round_number, value=row["p50_us"])
        self.emit(row)

    def anchor_copy(self, round_number):
        source = self.base("c", "pyjet", "big")
        to = self.folder("to")
        bytes_copied = sum(p.stat().st_size for p in source.glob("*.edb"))
        start = time.perf_counter()
        for path in source.glob("*.edb"):
            subprocess.run(["cp", path, to], check=True)
            subprocess.run(["sync", to / path.name, to], check=True)
        wall = time.perf_counter() - start
        row = {"line": "phys_copy_sync", "layer": "phys", "engine": "machine", "round": round_number, "bytes": bytes_copied}
        row.update(wall_s=wall, value=bytes_copied / 1e6 / wall, misses=0, foreign_cpu=0.0)
        self.emit(row)

    def run_round(self, number, engines, python):
        anchors = {"insert_durable_t1": self.anchor_fsync, "backup_full_quiet": self.anchor_copy}
        for kind, table, here in (("c", lines.C_LINES, engines), ("py", lines.PY_LINES, python)):
            for line in table:
                if not self.wanted(line):
                    continue
                if line.name in anchors:
                    anchors[line.name](number)
                offered = [e for e in line.engines if e in here and (kind == "py" or line.durability in engines[e])]
                shift = number % max(1, len(offered))
                for engine in offered[shift:] + offered[:shift]:
                    self.try_line(kind, line, engine, number)

    def wanted(self, line):
        if self.options.lines:
            return line.name in self.options.lines
        return self.options.full or not line.full_only


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def arguments(argv):
    parser = argparse.ArgumentParser(description="pyjet beside its peers, in one run")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="100,000 rows, 2 rounds: about two minutes (the default)")
    size.add_argument("--full", action="store_true", help="1,000,000 rows, 5 rounds, all lines")
    peers = ",".join(C_PEERS)
    parser.add_argument("--peers", default=peers, help=f"of {peers} (default: all that are installed), or none")
    parser.add_argument("--n", type=int, help="rows of the small database")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--lines", type=lambda s: s.split(","), help="only these")
    parser.add_argument("--dir", help="where the databases are made (default: a temporary folder below build/)")
    parser.add_argument("--out", help="JSON lines, one a run")
    parser.add_argument("--check", action="store_true", help="exit 1 when a line is below its floor")
    options = parser.parse_args(argv)
    if unknown := set(options.peers.split(",")) - {"none", *C_PEERS}:
        parser.error(f"--peers: {', '.join(sorted(unknown))}: there are {peers}, or none")
    options.n = options.n or (1_000_000 if options.full else 100_000)
    options.big = 5 if options.full else 3
    options.rounds = options.rounds or (5 if options.full else 2)
    if options.n < 1000:
        parser.error("--n: at least 1000 rows")
    return options


def main(argv=None):
    options = arguments(argv)
    wanted = set(options.peers.split(","))
    engines, left_out = find_engines(wanted)
    python, left_out_python = find_python(wanted)
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.dir or BUILD) as work:
        suite = Suite(options, pathlib.Path(work))
        start = time.monotonic()
        for number in range(options.rounds):
            suite.run_round(number, engines, python)
            say(f"round {number + 1} of {options.rounds}: {time.monotonic() - start:.0f} s")
    print(report.table(suite.rows))
    if left_out or left_out_python:
        print("", *left_out, *left_out_python, sep="\n")
    verdicts = check.judge(suite.rows, check.read_goals(HERE / "goals.toml"))
    print(check.table(verdicts))
    below = options.check and any(v.verdict == "FAIL" for v in verdicts)
    return 1 if below or suite.failed else 0


if __name__ == "__main__":
    sys.exit(main())
