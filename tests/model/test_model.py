"""A state machine against a plain twin: sessions with nested transactions see their snapshot and their own changes, tables,
columns and indexes come and go, and a crash leaves what was committed.

That it can fail is shown too: engines with one promise taken away are caught (at the end).
"""

import copy
import ctypes
import pathlib
import shutil
import sys

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
import memory  # noqa: E402
from child import run  # noqa: E402
from cjet import K, JetError  # noqa: E402

COLUMNS = {
    "id": (K.JET_coltypLong, K.JET_bitColumnNotNULL),
    "a": (K.JET_coltypLong,),
    "v": (K.JET_coltypLongBinary,),
}
INDEXES = [("pk", "+id", K.JET_bitIndexPrimary), ("by_a", "-a+id", K.JET_bitIndexIgnoreAnyNull)]
IDS = st.integers(0, 5)
NUMBERS = st.one_of(st.none(), st.integers(-3, 3))
VALUES = st.one_of(st.none(), st.integers(0, 9000))
WHO = st.integers(0, 2)
SIDE = st.integers(0, 2)  # tables beside "t", made and dropped by session 0


def value(size):
    return None if size is None else bytes(i % 251 for i in range(size))


def contents(table):
    return {r["id"]: (r["a"], None if r["v"] is None else len(r["v"])) for r in table.all(["id", "a", "v"])}


class Level(dict):
    """What a level changed, {id: row or None}, and the rows that it only locked: they conflict while it is open, and not later."""

    def __init__(self):
        super().__init__()
        self.locks = set()

    def take_over(self, inner):
        self.update(inner)
        self.locks |= inner.locks


class Twin:
    """One session's side of the model: levels of its transaction over a snapshot."""

    def __init__(self):
        self.snapshot, self.levels = None, []


class Engine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.place = memory.folder("pyjet-model-")
        self.committed, self.changed, self.clock, self.sets = {}, {}, 0, 0
        self.side, self.columns, self.crashes, self.restarts = {}, 0, 0, 0
        self.open_instance(True)

    def open_instance(self, fresh=False):
        self.inst = cjet.Instance(self.place / "data", log_kib=64)
        self.inst.init()
        path = self.place / "data" / "m.edb"
        self.sessions = [self.inst.session() for _ in range(3)]
        if fresh:
            dbid = self.sessions[0].create(path)
            self.sessions[0].create_table(dbid, "t", COLUMNS, INDEXES)
        self.dbids = [s.open(path) for s in self.sessions]
        self.cursors = [s.table(d, "t") for s, d in zip(self.sessions, self.dbids)]
        self.twins = [Twin() for _ in self.sessions]
        self.begun = [0] * 3

    # ---- what a session sees ----

    def view(self, who):
        twin = self.twins[who]
        rows = dict(self.committed if twin.snapshot is None else twin.snapshot)
        for level in twin.levels:
            for ident, row in level.items():
                rows.pop(ident, None) if row is None else rows.__setitem__(ident, row)
        return rows

    def conflicts(self, who, ident):
        """Somebody else changed the row: uncommitted, or committed after our snapshot."""
        others = any(ident in level or ident in level.locks for n, t in enumerate(self.twins) if n != who for level in t.levels)
        late = self.twins[who].snapshot is not None and self.changed.get(ident, 0) > self.begun[who]
        return others or late

    def note(self, who, ident, row):
        twin = self.twins[who]
        if twin.levels:
            twin.levels[-1][ident] = row
        else:
            self.commit_rows({ident: row})

    def commit_rows(self, rows):
        self.clock += 1
        for ident, row in rows.items():
            self.changed[ident] = self.clock
            self.committed.pop(ident, None) if row is None else self.committed.__setitem__(ident, row)

    # ---- transactions ----

    @rule(who=WHO)
    def begin(self, who):
        if len(self.twins[who].levels) < 4:
            self.sessions[who].begin()
            if not self.twins[who].levels:
                self.twins[who].snapshot, self.begun[who] = copy.copy(self.committed), self.clock
            self.twins[who].levels.append(Level())

    @rule(who=WHO, lazy=st.booleans())
    def commit(self, who, lazy):
        twin = self.twins[who]
        if not twin.levels:
            return
        self.sessions[who].commit(K.JET_bitCommitLazyFlush if lazy else 0)
        top = twin.levels.pop()
        if twin.levels:
            twin.levels[-1].take_over(top)
        else:
            twin.snapshot = None
            self.commit_rows(top)

    @rule(who=WHO, all_levels=st.booleans())
    def rollback(self, who, all_levels):
        twin = self.twins[who]
        if not twin.levels:
            return
        self.sessions[who].rollback(K.JET_bitRollbackAll if all_levels else 0)
        del twin.levels[0 if all_levels else -1 :]
        if not twin.levels:
            twin.snapshot = None

    @rule(who=WHO, changes=st.lists(st.tuples(IDS, st.sampled_from(["put", "delete"]), NUMBERS, VALUES), min_size=1, max_size=5),
          end=st.sampled_from(["commit", "lazy", "rollback", "rollback", "stays open"]))  # fmt: skip
    def several(self, who, changes, end):
        """What single steps rarely come to by chance: a level with changes in it, and its end."""
        if len(self.twins[who].levels) >= 4:
            return
        self.begin(who)
        for ident, what, a, size in changes:
            if what == "delete":
                self.delete(who, ident)
            elif ident in self.view(who):
                self.replace(who, ident, a, size)
            else:
                self.insert(who, ident, a, size)
        if end == "rollback":
            self.rollback(who, False)
        elif end != "stays open":
            self.commit(who, end == "lazy")

    # ---- changes ----

    @rule(who=WHO, ident=IDS, a=NUMBERS, size=VALUES)
    def insert(self, who, ident, a, size):
        there, conflict = ident in self.view(who), self.conflicts(who, ident)
        try:
            self.cursors[who].insert(id=ident, a=a, v=value(size))
        except JetError as e:
            allowed = ({"JET_errKeyDuplicate"} if there else set()) | ({"JET_errWriteConflict", "JET_errKeyDuplicate"} if conflict else set())
            assert e.name in allowed, f"{e}; there {there}, conflict {conflict}"
            return
        assert not there and not conflict, f"{ident} was inserted; there {there}, conflict {conflict}"
        self.note(who, ident, (a, size))

    def stand_on(self, who, ident):
        found = self.cursors[who].seek([("id", ident)])
        assert found == (ident in self.view(who)), f"seek {ident}: {found}"
        return found

    @rule(who=WHO, ident=IDS, a=NUMBERS, size=VALUES)
    def replace(self, who, ident, a, size):
        if not self.stand_on(who, ident):
            return
        conflict, same = self.conflicts(who, ident), self.view(who)[ident] == (a, size)
        try:
            self.cursors[who].replace(a=a, v=value(size))
        except JetError as e:
            assert e.name == "JET_errWriteConflict" and conflict, f"{e}; conflict {conflict}"
            return
        if same:  # a row replaced by itself is no change: its preparation locks it, for as long as the transaction is open
            if self.twins[who].levels:
                self.twins[who].levels[-1].locks.add(ident)
            return
        assert not conflict, f"{ident} was replaced under a conflict"
        self.note(who, ident, (a, size))

    @rule(who=WHO, ident=IDS)
    def delete(self, who, ident):
        if not self.stand_on(who, ident):
            return
        conflict = self.conflicts(who, ident)
        try:
            self.cursors[who].delete()
        except JetError as e:
            assert e.name == "JET_errWriteConflict" and conflict, f"{e}; conflict {conflict}"
            return
        assert not conflict, f"{ident} was deleted under a conflict"
        self.note(who, ident, None)

    # ---- reading ----

    @rule(who=WHO)
    def scan(self, who):
        assert contents(self.cursors[who]) == self.view(who)

    @rule(who=WHO, low=st.integers(-4, 4), high=st.integers(-4, 4))
    def scan_range(self, who, low, high):
        """by_a descends: from high down to low, both included."""
        t = self.cursors[who]
        expected = sorted(((i, r[0]) for i, r in self.view(who).items() if r[0] is not None and low <= r[0] <= high), key=lambda x: (-x[1], x[0]))
        t.index("by_a")
        try:
            got = []
            if t.seek([("a", high)], K.JET_bitSeekGE, K.JET_bitFullColumnStartLimit) and t.upper([("a", low)], True, K.JET_bitFullColumnEndLimit):
                got = [(r["id"], r["a"]) for r in t.rows(["id", "a"])]
        finally:
            t.index(None)
        assert got == expected

    # ---- schema ----

    def idle(self, who):
        return not self.twins[who].levels

    @rule(n=SIDE, rows=st.integers(0, 30), keep=st.booleans(), tree=st.booleans())
    def table_comes_or_goes(self, n, rows, keep, tree):
        """One transaction: the table is made and filled, or has rows added and is dropped; then all of it or nothing."""
        if not self.idle(0):
            return
        ses, dbid, name = self.sessions[0], self.dbids[0], f"side{n}"
        there = name in self.side
        ses.begin()
        if not there:
            ses.create_table(dbid, name, COLUMNS, INDEXES)
        with ses.table(dbid, name) as t:
            for i in range(rows):
                t.insert(id=1000 + len(self.side.get(name, {})) + i, a=i % 7, v=value(5000 if tree and i == 0 else i))
        if there:
            ses.delete_table(dbid, name)
        if not keep:
            ses.rollback()
            return
        ses.commit()
        if there:
            del self.side[name]
        else:
            self.side[name] = {1000 + i: (i % 7, 5000 if tree and i == 0 else i) for i in range(rows)}

    @rule(keep=st.booleans())
    def column_comes(self, keep):
        """On the table that all sessions use; the rows stay as they are."""
        if not self.idle(0) or self.columns == 5:
            return
        ses = self.sessions[0]
        ses.begin()
        cjet.add_column(ses, self.cursors[0].id, f"extra{self.columns}", K.JET_coltypLongText)
        if keep:
            ses.commit()
            self.columns += 1
        else:
            ses.rollback()

    @rule(n=SIDE, keep=st.booleans())
    def index_comes_and_goes(self, n, keep):
        name = f"side{n}"
        if not self.idle(0) or name not in self.side:
            return
        ses = self.sessions[0]
        with ses.table(self.dbids[0], name, K.JET_bitTableDenyRead) as t:
            ses.begin()
            cjet.create_index(ses, t.id, "by_a2", "+a-id")
            order = sorted(self.side[name], key=lambda i: (self.side[name][i][0], -i))
            assert [r["id"] for r in t.all(["id"], index="by_a2")] == order
            t.index(None)
            ses.commit() if keep else ses.rollback()
            if keep:
                cjet.call("JetDeleteIndexA", ses.id, t.id, b"by_a2")

    @rule(n=SIDE)
    def side_is_as_noted(self, n):
        if self.idle(0):
            self.check_side(f"side{n}")

    def check_side(self, name):
        ses, dbid = self.sessions[0], self.dbids[0]
        assert (name in ses.tables(dbid)) == (name in self.side), f"{name}: {ses.tables(dbid)}, expected {sorted(self.side)}"
        if name in self.side:
            with ses.table(dbid, name) as t:
                assert contents(t) == self.side[name]

    def check_all(self):
        assert contents(self.cursors[0]) == self.committed
        for n in range(3):
            self.check_side(f"side{n}")

    # ---- the whole ----

    @precondition(lambda self: self.restarts < 2)
    @rule(abrupt=st.booleans())
    def restart(self, abrupt):
        """Sessions end, open transactions are undone."""
        self.restarts += 1
        for who, twin in enumerate(self.twins):
            if twin.levels:
                self.sessions[who].rollback(K.JET_bitRollbackAll)
        self.inst.term(K.JET_bitTermAbrupt if abrupt else K.JET_bitTermComplete)
        self.open_instance()
        self.check_all()

    def copy_of_now(self):
        """The files as a kill would leave them: what was flushed by now, of every open transaction a part."""
        snapid, n, infos = ctypes.c_uint64(), ctypes.c_uint32(), ctypes.c_void_p()
        cjet.call("JetOSSnapshotPrepare", ctypes.byref(snapid), ctypes.c_uint32(0))
        cjet.call("JetOSSnapshotFreezeA", snapid, ctypes.byref(n), ctypes.byref(infos), ctypes.c_uint32(0))
        cjet.call("JetFreeBuffer", infos)
        shutil.copytree(self.place / "data", self.place / "copy")
        cjet.call("JetOSSnapshotThaw", snapid, ctypes.c_uint32(0))

    @precondition(lambda self: self.crashes < 2)
    @rule()
    def crash(self):
        """Nobody says goodbye: the files of this moment are recovered, what is open is undone."""
        self.crashes += 1
        self.copy_of_now()
        for who, twin in enumerate(self.twins):
            if twin.levels:
                self.sessions[who].rollback(K.JET_bitRollbackAll)
        self.inst.term(K.JET_bitTermAbrupt)
        shutil.rmtree(self.place / "data")
        (self.place / "copy").rename(self.place / "data")
        self.open_instance()
        self.check_all()

    @precondition(lambda self: self.sets < 2)
    @rule()
    def backup(self):
        self.sets += 1
        target = self.place / f"set{self.sets}"
        self.inst.backup(target)
        expected = copy.copy(self.committed)
        _, found = cjet.restore(target, self.place / f"back{self.sets}")
        with cjet.Reader(found[0]) as reader, reader.table(reader.dbid, "t") as t:
            assert contents(t) == expected

    @invariant()
    def sessions_live(self):
        assert len(self.sessions) == 3

    def teardown(self):
        if not hasattr(self, "inst"):
            return
        try:
            for who, twin in enumerate(self.twins):
                if twin.levels:
                    self.sessions[who].rollback(K.JET_bitRollbackAll)
                    twin.levels, twin.snapshot = [], None
            self.check_all()
        finally:  # the search goes on after a failure: nothing of it may stay
            self.inst.term(K.JET_bitTermAbrupt)
            findings, _ = cjet.check_file(self.place / "data" / "m.edb")
            shutil.rmtree(self.place)
        assert not findings, findings[:3]


def play(report, examples, steps, machine=Engine, **how):
    quiet = settings(**how, max_examples=examples, stateful_step_count=steps, deadline=None, database=None, print_blob=True,
                     suppress_health_check=list(HealthCheck))  # fmt: skip
    run_state_machine_as_test(machine, settings=quiet)


def test_engine_against_a_twin():
    run(play, 14, 50)


def same_row_twice(report):
    """A row replaced by itself: a lock that others meet while its transaction is open, and no change for those who come later."""
    engine = Engine()
    engine.start()
    for name, *values in [
        ("insert", 0, 1, 2, 30), ("begin", 0), ("replace", 0, 1, 2, 30), ("begin", 1), ("replace", 1, 1, 3, 30), ("begin", 0),
        ("replace", 0, 1, 2, 30), ("rollback", 0, False), ("delete", 1, 1), ("commit", 0, False), ("replace", 1, 1, 3, 30), ("commit", 1, False),
    ]:  # fmt: skip
        getattr(engine, name)(*values)
    assert engine.committed[1] == (3, 30)
    engine.teardown()


def test_a_row_replaced_by_itself():
    run(same_row_twice)


@pytest.mark.slow
def test_engine_against_a_twin_for_long():
    run(play, 400, 80, timeout=1800)


# ---- can it fail? Engines that break one promise each ----


class KeepsWhatWasRolledBack(Engine):
    @rule(who=WHO, all_levels=st.booleans())
    def rollback(self, who, all_levels):
        twin = self.twins[who]
        if twin.levels:
            self.sessions[who].commit()
            twin.levels.pop()
            twin.snapshot = twin.snapshot if twin.levels else None


class ReadsWithoutSnapshot(Engine):
    """Every reader looks through session 2, which has no transaction of its own."""

    @rule(who=WHO)
    def scan(self, who):
        if self.idle(2):
            assert contents(self.cursors[2]) == self.view(who)


class LosesTheLastCommitInACrash(Engine):
    def copy_of_now(self):
        if not hasattr(self, "old") and self.committed:
            self.old = max(self.committed)
            t = self.cursors[2]
            if self.idle(2) and not self.conflicts(2, self.old) and t.seek([("id", self.old)]):
                t.delete()
        super().copy_of_now()


class ForgetsATable(Engine):
    @rule(n=SIDE, rows=st.integers(0, 30), keep=st.booleans(), tree=st.booleans())
    def table_comes_or_goes(self, n, rows, keep, tree):
        super().table_comes_or_goes(n, rows, keep, tree)
        if self.idle(0) and len(self.side) == 2:
            self.sessions[0].delete_table(self.dbids[0], sorted(self.side)[0])


def caught(report, machine, steps):
    engine = machine()
    engine.start()
    try:
        for name, *values in steps:
            getattr(engine, name)(*values)
    except AssertionError:
        return "caught"
    return "not caught"


INSERT = ("insert", 0, 1, 2, 30)
MAKE = [("table_comes_or_goes", n, 5, True, True) for n in range(2)]


@pytest.mark.parametrize("machine, steps", [
    (KeepsWhatWasRolledBack, [("begin", 0), INSERT, ("rollback", 0, True), ("scan", 1)]),
    (ReadsWithoutSnapshot, [("begin", 0), ("insert", 1, 1, 2, 30), ("scan", 0)]),
    (LosesTheLastCommitInACrash, [INSERT, ("crash",)]),
    (ForgetsATable, [*MAKE, ("side_is_as_noted", 0)]),
])  # fmt: skip
def test_a_broken_engine_is_caught(machine, steps):
    assert run(caught, machine, steps) == "caught"
    assert run(caught, Engine, steps) == "not caught"


def searched(report):
    with pytest.raises(AssertionError):
        play(report, 60, 40, KeepsWhatWasRolledBack, phases=[Phase.generate], report_multiple_bugs=False)


@pytest.mark.slow
def test_the_search_finds_a_broken_engine():
    run(searched, timeout=1200)
