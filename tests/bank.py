"""A bank with several writers, and a model that knows from their reports what a database may hold after a crash.

Every transaction raises its thread's row in `ledger` to its own number. So a database tells how far each thread got
(a vector of numbers), and everything in it is a function of that vector: the model computes it and compares all.

Reports (also marks of a trace), in the order in which they were said:

    ["I", thread, number, ops]     before the commit is asked for
    ["A", thread, number]          the durable commit returned
    ["L", thread, number]          the lazy commit returned (an "A" may follow: it was waited for)
    ["BS", n, kind, path]  ["BP", n, percent]  ["BE", n]   a backup begins, has read pages, returned

What may be there: a durable commit that returned must be; a commit that was not asked for must not be; and whoever is
there has with him all whose commit returned before his was asked for.
"""

import functools
import hashlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cjet  # noqa: E402
import reading  # noqa: E402
from cjet import ERR, K, JetError  # noqa: E402

ACCOUNTS = 40
BALANCE = 1000
TABLES = ("a", "b")
COLUMNS = {
    "id": (K.JET_coltypLong, K.JET_bitColumnNotNULL),
    "balance": (K.JET_coltypCurrency,),
    "ver": (K.JET_coltypLong,),
    "tag": (K.JET_coltypBinary, 0, 200),
    "note": (K.JET_coltypLongBinary,),
}
INDEXES = (
    ("pk", "+id", K.JET_bitIndexPrimary),
    ("by_tag", "+tag", K.JET_bitIndexIgnoreNull),
    ("by_balance", "-balance+id", K.JET_bitIndexUnique),
)
PLAIN = {"transfer": 4, "insert": 3, "update": 4, "delete": 2, "copy": 2, "many": 1, "few": 1, "table": 1, "undone": 2, "lazy": 1}


def tag_of(ident, ver):
    return None if ver % 7 == 3 else f"{(ident * 7919 + ver) % 997:03d}".encode() + b"t" * (ident % 60)


def note_of(ident, ver, size):
    """size None: NULL. Every other repeats one byte: what a checksum of parities does not miss when a sector of it is lost."""
    if size is None:
        return None
    if ver % 2 == 1:
        return bytes([ident % 251 + 1]) * size
    return hashlib.shake_128(f"{ident}/{ver}".encode()).digest(size)


@functools.lru_cache(maxsize=1 << 16)
def _digest_of(ident, ver, size):
    return digest(note_of(ident, ver, size))


def digest(note):
    return None if note is None else hashlib.blake2b(note, digest_size=8).hexdigest()


def row_of(ident, balance, ver, size):
    """What a database shows of a row, as read_state gives it."""
    tag = tag_of(ident, ver)
    return [balance, ver, None if tag is None else tag.decode(), _digest_of(ident, ver, size)]


def create(ses, dbid, threads):
    """The bank at its beginning, in one durable transaction."""
    for table in TABLES:
        ses.create_table(dbid, table, COLUMNS, INDEXES)
    ses.create_table(dbid, "ledger", {"thread": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "last": (K.JET_coltypLong,)},
                     [("pk", "+thread", K.JET_bitIndexPrimary)])
    with ses.transaction():
        for table in TABLES:
            with ses.table(dbid, table) as t:
                for i in range(ACCOUNTS):
                    t.insert(id=i, balance=BALANCE, ver=0, tag=tag_of(i, 0))
        with ses.table(dbid, "ledger") as t:
            for i in range(threads):
                t.insert(thread=i, last=0)


def first_state(threads):
    state = {name: {i: row_of(i, BALANCE, 0, None) for i in range(ACCOUNTS)} for name in TABLES}
    return {"ledger": {i: 0 for i in range(threads)}, "tables": state}


def read_state(ses, dbid):
    """Everything in the database; raises AssertionError when an index disagrees with its table. Not to be changed by the caller."""
    found = dict(map(_shown, reading.sections(ses, dbid)))
    return {"ledger": found.pop("ledger"), "tables": found}


@functools.lru_cache(maxsize=256)
def _shown(section):
    """Name and rows of a table. Databases after neighbouring crashes share most tables."""
    table = reading.Table(section)
    if table.name == "ledger":
        return table.name, {r["thread"]: r["last"] for r in table.rows}
    indexed = {"by_tag", "by_balance"}
    assert set(table.indexes) == indexed, f"{table.name} has the indexes {table.indexes}"
    return table.name, {r["id"]: [r["balance"], r["ver"], _text(r["tag"]), digest(r["note"])] for r in table.rows}


def _text(tag):
    return None if tag is None else tag.decode()


def differences(expected, got):
    lost = [k for k in expected if k not in got]
    extra = [k for k in got if k not in expected]
    wrong = [(k, expected[k], got[k]) for k in expected if k in got and expected[k] != got[k]]
    return f"lost {lost[:5]} ({len(lost)}), extra {extra[:5]} ({len(extra)}), different {wrong[:3]} ({len(wrong)})"


def from_json(state):
    """JSON made texts of the numbers."""
    return {
        "ledger": {int(k): v for k, v in state["ledger"].items()},
        "tables": {name: {int(k): v for k, v in rows.items()} for name, rows in state["tables"].items()},
    }


class Worker:
    """One writer: random transactions over its own rows and the shared accounts."""

    def __init__(self, ses, dbid, thread, number, rng, report, known, weights=None, notes=3000):
        self.ses, self.dbid, self.thread, self.number = ses, dbid, thread, number
        self.rng, self.report, self.notes = rng, report, notes
        self.own = known  # {table: {id: [ver, size]}} of this thread
        self.cursors = {name: ses.table(dbid, name) for name in (*TABLES, "ledger")}
        weights = weights or PLAIN
        self.kinds, self.weights = list(weights), list(weights.values())
        self.conflicts = 0

    def size(self):
        """Of a long value: none, small, one page, many pages."""
        return self.rng.choice((None, None, 0, 20, 300, self.rng.randrange(self.notes), self.rng.randrange(self.notes * 3)))

    def step(self):
        """One transaction; False when it met a conflict and was rolled back."""
        kind = self.rng.choices(self.kinds, self.weights)[0]
        ops, pending = [], {name: dict(rows) for name, rows in self.own.items()}
        self.ses.begin()
        try:
            if kind in ("undone", "lazy"):
                self.some(ops, pending)
                if kind == "undone" and self.rng.random() < 0.5:
                    self.ses.begin()
                    self.some(ops, pending)
                    self.ses.commit()
            else:
                getattr(self, kind)(ops, pending)
                if kind != "table" and self.rng.random() < 0.4:
                    self.some(ops, pending)
            if kind == "undone":
                self.ses.rollback()
                return True
            ledger = self.cursors["ledger"]
            assert ledger.seek([("thread", self.thread)])
            ledger.replace(last=self.number + 1)
        except JetError as e:
            self.ses.rollback(K.JET_bitRollbackAll)
            if e.code != ERR["JET_errWriteConflict"]:
                raise
            self.conflicts += 1
            return False
        self.number += 1
        self.report(["I", self.thread, self.number, ops])
        self.ses.commit(K.JET_bitCommitLazyFlush if kind == "lazy" else 0)
        self.report(["L" if kind == "lazy" else "A", self.thread, self.number])
        if kind == "lazy" and self.rng.random() < 0.3:
            self.ses.commit(K.JET_bitWaitLastLevel0Commit)
            self.report(["A", self.thread, self.number])
        self.own = pending
        return True

    def some(self, ops, pending):
        for _ in range(self.rng.randint(1, 4)):
            getattr(self, self.rng.choice(("transfer", "insert", "update", "delete", "copy")))(ops, pending)

    def transfer(self, ops, pending):
        source, target = self.rng.sample(TABLES, 2)
        x, y, amount = self.rng.randrange(ACCOUNTS), self.rng.randrange(ACCOUNTS), self.rng.randint(1, 50)
        for table, account, change in ((source, x, -amount), (target, y, amount)):
            t = self.cursors[table]
            assert t.seek([("id", account)]), f"account {table} {account} is not there"
            t.replace(balance=t.get("balance") + change)
        ops.append(["T", source, x, target, y, amount])

    def put(self, ops, pending, table, ident, ver, size):
        self.cursors[table].insert(id=ident, balance=-ident, ver=ver, tag=tag_of(ident, ver), note=note_of(ident, ver, size))
        pending.setdefault(table, {})[ident] = [ver, size]
        ops.append(["P", table, ident, ver, size])

    def insert(self, ops, pending):
        table = self.rng.choice(TABLES)
        ident = (self.thread + 1) * 1000000 + self.rng.randrange(3000)
        if ident not in pending.get(table, {}):
            self.put(ops, pending, table, ident, self.rng.randrange(100), self.size())

    def pick(self, pending):
        table = self.rng.choice(TABLES)
        rows = pending.get(table)
        return (table, self.rng.choice(list(rows))) if rows else (None, None)

    def update(self, ops, pending):
        table, ident = self.pick(pending)
        if table is None:
            return self.insert(ops, pending)
        t, ver, size = self.cursors[table], self.rng.randrange(100), self.size()
        assert t.seek([("id", ident)]), f"own row {table} {ident} is not there"
        t.replace(ver=ver, tag=tag_of(ident, ver), note=note_of(ident, ver, size))
        pending[table][ident] = [ver, size]
        ops.append(["P", table, ident, ver, size])

    def copy(self, ops, pending):
        """A row of its own once more, under another id: the two share a long value, until one is changed or goes."""
        table, source = self.pick(pending)
        ident = (self.thread + 1) * 1000000 + self.rng.randrange(3000)
        if table is None or ident in pending[table]:
            return self.update(ops, pending)
        t = self.cursors[table]
        assert t.seek([("id", source)]), f"own row {table} {source} is not there"
        t.copy(id=ident, balance=-ident)
        pending[table][ident] = list(pending[table][source])
        ops.append(["K", table, source, ident])

    def drop_row(self, ops, pending, table, ident):
        t = self.cursors[table]
        assert t.seek([("id", ident)]), f"own row {table} {ident} is not there"
        t.delete()
        del pending[table][ident]
        ops.append(["X", table, ident])

    def delete(self, ops, pending):
        table, ident = self.pick(pending)
        if table is not None:
            self.drop_row(ops, pending, table, ident)

    def many(self, ops, pending):
        """Neighbouring rows: splits."""
        table, first = self.rng.choice(TABLES), (self.thread + 1) * 1000000 + self.rng.randrange(3000)
        for ident in range(first, first + 30):
            if ident not in pending.get(table, {}):
                self.put(ops, pending, table, ident, self.rng.randrange(100), self.rng.choice((None, 60, 400)))

    def few(self, ops, pending):
        """Takes neighbours away: merges, emptied pages."""
        table = self.rng.choice(TABLES)
        rows = sorted(pending.get(table, {}))
        at = self.rng.randrange(len(rows)) if rows else 0
        for ident in rows[at : at + 60]:
            if self.rng.random() < 0.95:
                self.drop_row(ops, pending, table, ident)

    def table(self, ops, pending):
        """A table of this thread comes or goes."""
        name = f"own{self.thread}_{self.rng.randrange(2)}"
        if name in pending:
            self.ses.delete_table(self.dbid, name)
            del pending[name]
            ops.append(["D", name])
            return
        self.ses.create_table(self.dbid, name, COLUMNS, INDEXES)
        ops.append(["C", name])
        pending[name] = {}
        with self.ses.table(self.dbid, name) as t:
            self.cursors[name] = t
            for ident in range(self.rng.randrange(25)):
                self.put(ops, pending, name, ident, ident, self.rng.choice((None, 30, 900)))
        del self.cursors[name]


class Wrong(AssertionError):
    """A database holds what it must not, or lacks what it must have."""


class Course:
    """The states of a bank along its vectors, made out of each other: for a judge of many states of one history.

    What two threads do commutes (own rows, own tables, sums of transfers), so a state is a function of its vector.
    """

    KEPT = 24

    def __init__(self, base):
        self.kept = [(dict(base["ledger"]), base["tables"], {})]  # (vector, tables, known); rows are never changed in place

    def at(self, vector, lines):
        """({name: rows}, known) after what the lines say up to this vector; not to be changed."""
        start, tables, known = next(k for k in reversed(self.kept) if all(k[0].get(t, n + 1) <= n for t, n in vector.items()))
        if start == vector:
            return tables, known
        tables = {name: dict(rows) for name, rows in tables.items()}
        known = {t: {name: dict(rows) for name, rows in own.items()} for t, own in known.items()}
        for line in lines:
            if line[0] == "I" and start[line[1]] < line[2] <= vector[line[1]]:
                for op in line[3]:
                    _apply(tables, known.setdefault(line[1], {}), op)
        self.kept.append((dict(vector), tables, known))
        if len(self.kept) > self.KEPT:
            del self.kept[1]
        return tables, known


class Model:
    """What was reported since a known state.

    course: a Course from that state, when many models of one history ask for the same states (known must then be empty).
    """

    def __init__(self, base, known=None, course=None):
        self.base = base  # as read_state gives it
        self.known = known or {}  # {thread: {table: {id: [ver, size]}}}
        self.lines = []
        self.course = course

    def vector_of(self, state):
        return state["ledger"]

    def _bounds(self, lines):
        floor, roof = dict(self.base["ledger"]), dict(self.base["ledger"])
        done, before = dict(floor), {}
        for line in lines:
            if line[0] == "I":
                before[line[1], line[2]] = dict(done)
                roof[line[1]] = line[2]
            elif line[0] in ("A", "L"):
                done[line[1]] = line[2]
                if line[0] == "A":  # with it, all that had returned before it was asked for
                    for thread, number in {**before[line[1], line[2]], line[1]: line[2]}.items():
                        floor[thread] = max(floor[thread], number)
        return floor, roof, before

    def expected(self, vector):
        """The state at a vector; of a Course it is not to be changed."""
        if self.course is not None:
            tables, known = self.course.at(vector, self.lines)
            return {"ledger": dict(vector), "tables": tables}, known
        tables = {name: {k: list(r) for k, r in rows.items()} for name, rows in self.base["tables"].items()}
        known = {t: {name: dict(rows) for name, rows in own.items()} for t, own in self.known.items()}
        for line in self.lines:
            if line[0] == "I" and line[2] <= vector[line[1]]:
                for op in line[3]:
                    _apply(tables, known.setdefault(line[1], {}), op)
        return {"ledger": dict(vector), "tables": tables}, known

    def check(self, state, floor_lines=None, roof_lines=None, what="the database"):
        """Raises Wrong. floor_lines: what was said when the state was taken at the earliest, roof_lines: at the latest."""
        lines = self.lines if roof_lines is None else self.lines[:roof_lines]
        floor, _, _ = self._bounds(lines if floor_lines is None else self.lines[:floor_lines])
        _, roof, before = self._bounds(lines)
        vector = state["ledger"]
        if set(vector) != set(floor):
            raise Wrong(f"{what}: threads {sorted(vector)} in the ledger")
        for thread, number in vector.items():
            if number < floor[thread]:
                raise Wrong(f"{what}: thread {thread} is at {number}, but {floor[thread]} was acknowledged as durable")
            if number > roof[thread]:
                raise Wrong(f"{what}: thread {thread} is at {number}, but only {roof[thread]} was asked for")
            for other, least in before.get((thread, number), {}).items():
                if vector[other] < least:
                    raise Wrong(f"{what}: no commit point: {thread}/{number} is there, {other}/{least} came before it, {other} is at {vector[other]}")
        expected, known = self.expected(vector)
        if set(expected["tables"]) != set(state["tables"]):
            raise Wrong(f"{what}: tables {sorted(set(expected['tables']) ^ set(state['tables']))} at {vector}")
        for name, rows in expected["tables"].items():
            if rows != state["tables"][name]:
                raise Wrong(f"{what}: table {name} at {vector}: {differences(rows, state['tables'][name])}")
        return known

    def go_on(self, state, known):
        """This state is the base of what follows."""
        self.base, self.known, self.lines = state, known, []


def _apply(tables, own, op):
    kind = op[0]
    if kind == "T":
        _, source, x, target, y, amount = op
        for table, account, change in ((source, x, -amount), (target, y, amount)):
            balance, *rest = tables[table][account]
            tables[table][account] = [balance + change, *rest]  # a Course shares rows: none is changed in place
    elif kind == "P":
        _, table, ident, ver, size = op
        tables[table][ident] = row_of(ident, -ident, ver, size)
        own.setdefault(table, {})[ident] = [ver, size]
    elif kind == "K":
        _, table, source, ident = op
        tables[table][ident] = [-ident, *tables[table][source][1:]]
        own[table][ident] = list(own[table][source])
    elif kind == "X":
        del tables[op[1]][op[2]]
        del own[op[1]][op[2]]
    elif kind == "C":
        tables[op[1]], own[op[1]] = {}, {}
    elif kind == "D":
        del tables[op[1]], own[op[1]]


def read_set(path, work):
    """Restores a set to work/db and gives its state."""
    work = pathlib.Path(work)
    _, found = cjet.restore(path, work / "db", work / "log")
    findings, _ = cjet.check_file(found[0])
    assert not findings, f"{path}, restored: {findings[:5]}"
    with cjet.Reader(found[0]) as reader:
        return read_state(reader, reader.dbid)


if __name__ == "__main__":
    print(json.dumps(first_state(2)))
