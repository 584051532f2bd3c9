"""pyjet demo: the main job from end to end, verified row by row.

A child process loads a table and, while writer threads insert, update and delete, takes a full and two incremental backups; then
it is killed (SIGKILL) in the middle of its writing. What it did is known to the parent, outside the process: each writer sends its
transaction before the commit ("try") and again when the commit has returned ("done"). Each writer owns its keys, and its every
transaction also writes its own number into a marker row, so that a database tells which prefix of each writer's history it holds.
Then the set must hold, for each writer, exactly the rows after transaction m, with m at least the last one done before the last
backup began; and the recovered original likewise, with m at least the last one done before the kill.
"""

import contextlib
import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata

import pyjet

from . import _jet
from .backup import human

_ROWS = 100_000  # without a word on it, and without a CSV file
_AFTER_BACKUPS = 0.5  # seconds of writing between the last backup and the kill


# ---- the data ----
def unicode_records():
    """The Unicode character database of Python, as columns and records."""
    columns = {
        "code": pyjet.Long(),
        "name": pyjet.Text(),
        "category": pyjet.Text(ascii=True),
        "bidirectional": pyjet.Text(ascii=True),
        "combining": pyjet.UnsignedByte(),
        "mirrored": pyjet.Bit(),
        "numeric": pyjet.Double(),
        "decomposition": pyjet.LongText(),
    }
    records = []
    for code in range(sys.maxunicode + 1):
        c = chr(code)
        name = unicodedata.name(c, None)
        if name is None:
            continue
        records.append(
            {
                "code": code,
                "name": name,
                "category": unicodedata.category(c),
                "bidirectional": unicodedata.bidirectional(c),
                "combining": unicodedata.combining(c),
                "mirrored": bool(unicodedata.mirrored(c)),
                "numeric": unicodedata.numeric(c, None),
                "decomposition": unicodedata.decomposition(c),
            }
        )
    return columns, records


def _column_name(name, at):
    """What a column may be called: no control characters, none of ! . [ ], code page 1252."""
    name = re.sub(r"[\x00-\x1f!.\[\]]", "_", name).strip()
    return name.encode("cp1252", "replace").decode("cp1252")[:50] or f"column{at + 1}"


def csv_records(path):
    """A CSV file whose first line names the columns; every value is text."""
    limit = csv.field_size_limit(sys.maxsize)  # it may be a long text
    try:
        with open(path, newline="", encoding="utf-8-sig") as f:
            return _read_csv(path, csv.reader(f))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _read_csv(path, lines):
    names, taken = [], {"key", "note"}
    for at, name in enumerate(next(lines, [])):
        name = _column_name(name, at)
        while name.lower() in taken:
            name = f"{name}_{at + 1}"
        names.append(name)
        taken.add(name.lower())
    records = [
        dict(zip(names, [*line, *[None] * (len(names) - len(line))])) for line in lines if line
    ]
    if not records:
        raise ValueError(f"{path} has no rows")
    return {name: pyjet.LongText() for name in names}, records


class Data:
    """The rows by key: 1 to count are loaded; further ones belong to the writers' inserts."""

    def __init__(self, rows, csv_path):
        self.columns, self.records = csv_records(csv_path) if csv_path else unicode_records()
        self.count = rows or (len(self.records) if csv_path else _ROWS)

    def row(self, key, note):
        return {"key": key, **self.records[(key - 1) % len(self.records)], "note": note}


# ---- the child ----
class _Writer(threading.Thread):
    def __init__(self, number, writers, instance, path, data, send, stop, seed):
        super().__init__(name=f"writer-{number}")
        self.number, self.writers, self.instance, self.path = number, writers, instance, path
        self.data, self.send, self.stop, self.failure = data, send, stop, None
        self.random = random.Random(f"{seed}-{number}")
        self.changed = {}
        self.inserted = []
        self.transactions = 0

    def _key(self):
        """A key of this writer's: of the loaded ones, or of those that it inserted."""
        loaded = (self.data.count + self.writers - 1 - self.number) // self.writers
        if self.inserted and (not loaded or self.random.random() < 0.3):
            return self.random.choice(self.inserted)
        return 1 + self.number + self.random.randrange(loaded) * self.writers

    def _choose(self):
        operations, seen = [], set()
        for _ in range(self.random.randint(1, 6)):
            note = f"{self.number}:{self.transactions + 1}:" + "x" * self.random.choice(
                (0, 10, 100, 500)
            )
            kind = self.random.choice("IIUUUD")
            if kind == "I" or self.data.count <= self.number and not self.inserted:
                kind = "I"
                key = self.data.count + 1 + self.number + len(self.inserted) * self.writers
                self.inserted.append(key)
            else:
                key = self._key()
            there = self.changed.get(key, "") is not None
            if key in seen or (kind != "I" and not there):
                if kind == "I":
                    self.inserted.pop()
                continue
            seen.add(key)
            operations.append([kind, key, None if kind == "D" else note])
        return operations

    def _apply(self, table, operations):
        for kind, key, note in operations:
            if kind == "I":
                table.insert(self.data.row(key, note))
            elif kind == "U":
                table.get(key).update(note=note)
            else:
                table.get(key).delete()

    def run(self):
        try:
            with self.instance.session() as session:
                database = session.open(self.path)
                table, marks = database.tables["rows"], database.tables["marks"]
                while not self.stop.is_set():
                    operations = self._choose()
                    self.send("try", self.number, self.transactions + 1, operations)
                    with session.transaction():
                        self._apply(table, operations)
                        marks.get(self.number).update(transactions=self.transactions + 1)
                    self.transactions += 1
                    self.send("done", self.number, self.transactions)
                    self.changed.update((key, note) for _, key, note in operations)
        except BaseException as error:
            self.failure = error
            self.send("failed", repr(error))


def _load(session, path, data):
    database = session.create(path)
    columns = {"key": pyjet.Long(), **data.columns, "note": pyjet.LongText(ascii=True)}
    indexes = {
        "pk": pyjet.Index("+key", primary=True),
        "by_note": pyjet.Index("+note", ignore_null=True),
    }
    table = database.create_table("rows", columns, indexes)
    marks = database.create_table(
        "marks",
        {"writer": pyjet.Long(), "transactions": pyjet.Long()},
        {"pk": pyjet.Index("+writer", primary=True)},
    )
    for low in range(1, data.count + 1, 10_000):
        with session.transaction(lazy=True):
            table.insert_many(
                data.row(key, None) for key in range(low, min(low + 10_000, data.count + 1))
            )
    return marks


def child(config):
    """The process that is killed. Its word to the parent goes through a pipe, one line a message."""
    pipe, lock = config["pipe"], threading.Lock()

    def send(*message):
        with lock:
            os.write(pipe, json.dumps(message).encode() + b"\n")

    data = Data(config["rows"], config["csv"])
    path = os.path.join(config["live"], "demo.edb")
    instance = pyjet.Instance(config["live"])
    session = instance.session()
    began = time.perf_counter()
    marks = _load(session, path, data)
    for number in range(config["writers"]):
        marks.insert(writer=number, transactions=0)
    session.flush()
    send("loaded", time.perf_counter() - began, os.path.getsize(path))
    stop = threading.Event()
    writers = [
        _Writer(n, config["writers"], instance, path, data, send, stop, config["seed"])
        for n in range(config["writers"])
    ]
    for writer in writers:
        writer.start()
    for at in range(3):
        time.sleep(0.2)
        send("backup begins", at)
        result = instance.backup(
            config["set"], incremental=at > 0, progress=config["progress"] or None
        )
        send("backup", at, result.to_dict())
    send("backups done")
    while True:  # until the kill
        time.sleep(1)


# ---- the parent ----
class Oracle:
    """What the child said. Histories are by writer: transaction number -> operations."""

    def __init__(self, writers):
        self.history = [{} for _ in range(writers)]
        self.done = [0] * writers
        self.tried = [0] * writers
        self.done_at_backup = [0] * writers
        self.loaded = None
        self.backups = []
        self.finished = False
        self.failures = []

    def take(self, message):
        kind, *rest = message
        if kind == "try":
            number, transaction, operations = rest
            self.history[number][transaction] = operations
            self.tried[number] = transaction
        elif kind == "done":
            self.done[rest[0]] = rest[1]
        elif kind == "loaded":
            self.loaded = rest
        elif kind == "backup begins":
            self.done_at_backup = list(self.done)
        elif kind == "backup":
            self.backups.append(rest[1])
        elif kind == "backups done":
            self.finished = True
        elif kind == "failed":
            self.failures.append(rest[0])

    def changes(self, marks):
        """key -> note (None: deleted) after the first so many transactions of each writer."""
        state = {}
        for number, history in enumerate(self.history):
            for transaction in range(1, marks[number] + 1):
                state.update((key, note) for _, key, note in history[transaction])
        return state


def verify(database, data, oracle, at_least):
    """Compares every row with what the oracle says; gives back (rows compared, list of differences)."""
    marks = {row["writer"]: row["transactions"] for row in database.tables["marks"].rows()}
    wrong = []
    for number, least in enumerate(at_least):
        if not least <= marks.get(number, -1) <= oracle.tried[number]:
            wrong.append(
                f"writer {number}: {marks.get(number)} transactions, {least} to {oracle.tried[number]} expected"
            )
    if wrong:
        return 0, wrong
    state = oracle.changes(marks)
    inserted = sorted(key for key, note in state.items() if key > data.count and note is not None)
    expected = [
        key for key in range(1, data.count + 1) if state.get(key, "") is not None
    ] + inserted
    compared = 0
    wanted = iter(expected)
    for row in database.tables["rows"].rows():
        key = next(wanted, None)
        compared += 1
        if key is None or row != data.row(key, state.get(key)):
            wrong.append(
                f"key {row['key']}: the row is not what was written"
                if key == row["key"]
                else f"key {row['key']} where {key} was expected"
            )
            if len(wrong) >= 10:
                break
    else:
        missing = sum(1 for _ in wanted)
        if missing:
            wrong.append(f"{missing} rows are missing")
    return compared, wrong


def _run_child(config, oracle):
    """Starts the child, listens, kills it when its backups are done and it has written on for a while."""
    read, write = os.pipe()
    config["pipe"] = write
    argv = [
        sys.executable,
        "-c",
        # this very package, not one that happens to lie in the current folder
        "import json,sys; sys.path[0] = sys.argv[2]; from pyjet import demo; demo.child(json.loads(sys.argv[1]))",
        json.dumps(config),
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    ]
    process = subprocess.Popen(argv, pass_fds=(write,), stdout=subprocess.DEVNULL)
    os.close(write)
    killer = None
    try:
        with os.fdopen(read, "rb") as pipe:
            for line in pipe:
                if not line.endswith(b"\n"):
                    break  # the kill cut it
                oracle.take(json.loads(line))
                if oracle.finished and killer is None:
                    killer = threading.Timer(_AFTER_BACKUPS, process.kill)
                    killer.start()
                if oracle.failures:
                    break
    finally:
        process.kill()
        if killer is not None:
            killer.cancel()
        rc = process.wait()
    if oracle.failures or not oracle.finished or rc != -signal.SIGKILL:
        raise RuntimeError(
            f"the child ended by itself ({rc}): {'; '.join(oracle.failures) or 'see its messages'}"
        )


def _verdict(rows):
    return "equal" if not rows else "DIFFERENT"


def _table(lines):
    widths = [max(len(str(line[at])) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        yield "  ".join(
            str(cell).ljust(w) if at == 0 else str(cell).rjust(w)
            for at, (cell, w) in enumerate(zip(line, widths))
        )


def _line(name, size, seconds, rows="", verdict=""):
    rate = f"{size / seconds / 1e6:.1f}" if seconds and size else ""
    return [name, human(size) if size else "", f"{seconds:.2f}", rate, rows, verdict]


def _work(options, out, folder):
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    data = Data(options.rows, options.csv)
    oracle = Oracle(options.writers)
    live, backup_set, restored = (
        os.path.join(folder, name) for name in ("live", "set", "restored")
    )
    config = {
        "live": live, "set": backup_set, "rows": data.count, "csv": options.csv, "writers": options.writers, "seed": seed,
        "progress": not (out.quiet or out.json),
    }  # fmt: skip
    _run_child(config, oracle)
    lines = [["step", "size", "seconds", "MB/s", "rows", "verdict"]]
    lines.append(_line("load", oracle.loaded[1], oracle.loaded[0], data.count))
    for at, result in enumerate(oracle.backups):
        lines.append(
            _line(
                f"{result['kind']} backup" + (f" {at}" if at else ""),
                result["bytes"],
                result["duration"],
            )
        )
    lines.append(["killed (SIGKILL)", "", "", "", f"{sum(oracle.done)} transactions done", ""])
    result = pyjet.restore(backup_set, restored, progress=out.progress())
    began = time.perf_counter()
    findings = _jet.check_file(result.databases[0])["findings"]
    with pyjet.open(result.databases[0]) as database:
        compared, wrong = verify(database, data, oracle, oracle.done_at_backup)
    wrong += [f"{findings} findings in the restored database"] if findings else []
    lines.append(_line("restore", result.bytes, result.duration))
    lines.append(
        _line("verify restored", 0, time.perf_counter() - began, compared, _verdict(wrong))
    )
    began = time.perf_counter()
    with pyjet.Instance(live) as instance, instance.session() as session:
        database = session.open(os.path.join(live, "demo.edb"))
        lines.append(
            _line("recover original", instance.recovery.bytes, time.perf_counter() - began)
        )
        began = time.perf_counter()
        compared_live, wrong_live = verify(database, data, oracle, oracle.done)
    lines.append(
        _line(
            "verify recovered", 0, time.perf_counter() - began, compared_live, _verdict(wrong_live)
        )
    )
    return (
        lines,
        wrong,
        wrong_live,
        {
            "seed": seed,
            "transactions": sum(oracle.done),
            "rows_restored": compared,
            "rows_recovered": compared_live,
        },
    )


def run(options, out):
    """The demo; 0 only when the restored set and the recovered original are both equal to what was acknowledged."""
    if options.rows is not None and options.rows < 1 or options.writers < 1:
        raise ValueError("--rows and --writers are at least 1")
    with contextlib.ExitStack() as stack:
        if options.dir:
            os.makedirs(options.dir, exist_ok=True)
            if os.listdir(options.dir):
                raise pyjet.errors.DestinationNotEmptyError(options.dir, "Name a new folder.")
            folder = os.path.abspath(options.dir)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyjet-demo-"))
        lines, wrong, wrong_live, numbers = _work(options, out, folder)
    equal = not wrong and not wrong_live
    if out.json:
        print(
            json.dumps(
                {
                    "v": 1,
                    "type": "summary",
                    "op": "demo",
                    "equal": equal,
                    **numbers,
                    "table": lines,
                    "differences": wrong + wrong_live,
                }
            )
        )
        return 0 if equal else 1
    for line in _table(lines):
        print(line)
    for difference in wrong + wrong_live:
        print(f"DIFFERENT: {difference}", file=sys.stderr)
    print(f"{'all equal' if equal else 'NOT EQUAL'} (seed {numbers['seed']})")
    return 0 if equal else 1
