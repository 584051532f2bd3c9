"""The judge's tools: the fast reading of databases says what the slow one says and sees each disagreement; states of the model that
are made out of each other are those made from the beginning; a tally goes on where it was stopped."""

import contextlib
import ctypes as C
import json
import pathlib
import random
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent)]
import bank  # noqa: E402
import cjet  # noqa: E402
import judge  # noqa: E402
import powercut  # noqa: E402
import reading  # noqa: E402
import tally  # noqa: E402
import works  # noqa: E402
from cjet import K, i32, u32, u64  # noqa: E402

FETCH = C.CFUNCTYPE(i32, u64, u64, C.POINTER(u32), u32, i32, C.POINTER(cjet.CELL), C.POINTER(cjet.CELL), C.POINTER(u32))
IGNORING = (("none", K.JET_bitIndexIgnoreNull), ("any", K.JET_bitIndexIgnoreAnyNull), ("first", K.JET_bitIndexIgnoreFirstNull), ("all", 0))


@contextlib.contextmanager
def small_bank(place, steps=40):
    """A bank after some work: (session, dbid, reports)."""
    said = []
    cjet.set_cache(1000)
    with cjet.Instance(place / "data", log_kib=64) as inst, inst.session() as ses:
        dbid = ses.create(place / "data" / "bank.edb")
        bank.create(ses, dbid, 1)
        worker = bank.Worker(ses, dbid, 0, 0, random.Random(3), said.append, {})
        for _ in range(steps):
            worker.step()
        yield ses, dbid, said


def test_reads_what_the_slow_way_reads(memory_path):
    with small_bank(memory_path) as (ses, dbid, _):
        seen = {}
        for section in reading.sections(ses, dbid):
            table = reading.Table(section)
            with ses.table(dbid, table.name) as t:
                assert table.rows == t.all()
                assert set(table.types) == set(t.columns)
                assert {*table.indexes, "pk"} == set(t.indexes())
            seen[table.name] = len(table.rows)
        assert set(seen) == {n for n in ses.tables(dbid) if not n.startswith("MSys")}
        assert seen["a"] > bank.ACCOUNTS


def test_what_an_index_leaves_out(memory_path):
    """NULLs in either column of a key, under each rule: the reader knows which rows have no entry."""
    columns = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "x": (K.JET_coltypLong,), "y": (K.JET_coltypLong,)}
    indexes = [("pk", "+id", K.JET_bitIndexPrimary), *((f"by_{n}", "+x-y", grbit) for n, grbit in IGNORING)]
    with cjet.Instance(memory_path / "data", log_kib=64) as inst, inst.session() as ses:
        dbid = ses.create(memory_path / "data" / "x.edb")
        ses.create_table(dbid, "t", columns, indexes)
        with ses.transaction(), ses.table(dbid, "t") as t:
            for i, (x, y) in enumerate(((None, None), (1, None), (None, 2), (3, 4))):
                t.insert(id=i, x=x, y=y)
        (section,) = reading.sections(ses, dbid)
        with ses.table(dbid, "t") as t:
            assert [len(t.all(index=f"by_{name}")) for name, _ in IGNORING] == [3, 1, 3, 4]
    assert len(reading.Table(section).rows) == 4


@contextlib.contextmanager
def lied_to(monkeypatch, change, short=True):
    """The reader is shown changed rows: change(cells, bookmarks, count, columns) after each fetch by an index, or by the primary one."""
    lib, calls = reading.library()
    real = cjet.lib.PyjetFetchRows

    def fetch(ses, cursor, ids, n, backwards, cells, marks, count):
        err = real(u64(ses), u64(cursor), ids, u32(n), i32(backwards), cells, marks, count)
        if err >= 0 and count[0] > 1 and (n == 4) == short:
            change(cells, marks, count, n)
        return err

    fn = FETCH(fetch)
    lying = (C.c_void_p * len(calls))(*calls)
    lying[reading.CALLS.index("PyjetFetchRows")] = C.cast(fn, C.c_void_p)
    monkeypatch.setattr(reading, "library", lambda: (lib, lying))
    yield
    monkeypatch.undo()


def swap(cells, i, j):
    a, b = cjet.CELL.from_buffer_copy(cells[i]), cjet.CELL.from_buffer_copy(cells[j])
    cells[i], cells[j] = b, a


def lose_the_last(cells, marks, count, n):
    count[0] -= 1


def show_twice(cells, marks, count, n):
    for c in range(n):
        cells[n + c] = cjet.CELL.from_buffer_copy(cells[c])
    marks[1] = cjet.CELL.from_buffer_copy(marks[0])


def swap_values(cells, marks, count, n):
    for c in range(n):
        swap(cells, c, n + c)


def show_another_key(cells, marks, count, n):
    marks[0].cb -= 1


def swap_rows(cells, marks, count, n):
    swap_values(cells, marks, count, n)
    swap(marks, 0, 1)


LIES = (
    (lose_the_last, True, "a row without an entry"),
    (show_twice, True, "two entries of a row"),
    (swap_values, True, "shows other values"),
    (show_another_key, True, "a row that is not there"),
    (swap_rows, False, "rows out of order"),
)


@pytest.mark.parametrize(("lie", "short", "told"), LIES, ids=[lie.__name__ for lie, *_ in LIES])
def test_sees_each_disagreement(memory_path, monkeypatch, lie, short, told):
    with small_bank(memory_path, 0) as (ses, dbid, _):
        bank.read_state(ses, dbid)
        with lied_to(monkeypatch, lie, short), pytest.raises(AssertionError, match=told):
            bank.read_state(ses, dbid)
        bank.read_state(ses, dbid)


def test_states_made_out_of_each_other(memory_path):
    """Any vector in any order, forwards and back."""
    with small_bank(memory_path, 120) as (ses, dbid, said):
        got = bank.read_state(ses, dbid)
    last, rng = got["ledger"][0], random.Random(1)
    said = [line for line in said if line[0] == "I"]
    course = bank.Course(bank.first_state(1))
    slow, fast = bank.Model(bank.first_state(1)), bank.Model(bank.first_state(1), course=course)
    slow.lines = fast.lines = said
    for number in [last, 0, *(rng.randint(0, last) for _ in range(60)), last]:
        assert fast.expected({0: number}) == slow.expected({0: number}), number
    assert fast.expected({0: last})[0] == got
    assert course.kept[0][0] == {0: 0}
    assert len(course.kept) <= bank.Course.KEPT


def test_a_row_with_anothers_long_value(memory_path):
    columns = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}
    with cjet.Instance(memory_path / "data", log_kib=64) as inst, inst.session() as ses:
        dbid = ses.create(memory_path / "data" / "x.edb")
        ses.create_table(dbid, "t", columns, [("pk", "+id", K.JET_bitIndexPrimary)])
        with ses.transaction(), ses.table(dbid, "t") as t:
            for i in range(4):
                t.insert(id=i, v=bank.note_of(i, 1, 1500))
        assert works.read_attached(ses, dbid) == [0, 1, 2, 3]
        with ses.transaction(), ses.table(dbid, "t") as t:
            assert t.seek([("id", 2)])
            t.replace(v=bank.note_of(3, 1, 1500))
        with pytest.raises(AssertionError, match=r"rows \[2\]"):
            works.read_attached(ses, dbid)


def test_a_set_is_restored_once_while_its_bytes_stay(memory_path):
    with small_bank(memory_path) as (ses, dbid, _):
        ses.inst.backup(memory_path / "run" / "sets" / "plain0")
        state = bank.read_state(ses, dbid)
    work = works.WORKS[0]
    case = judge.Case(memory_path, work, False, ())
    path = memory_path / "run" / "sets" / "plain0"
    assert judge.restored(case, path) == judge.restored(case, path) == state
    assert case.totals["sets restored"] == 1
    victim = max(path.rglob("*.edb"), key=lambda p: p.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[4096 * 4 + 100 : 4096 * 4 + 130] = b"x" * 30
    victim.write_bytes(data)
    with pytest.raises((cjet.JetError, AssertionError)):
        judge.restored(case, path)


# ---- counts that go on ----


def test_a_tally_goes_on_and_counts_a_state_once(tmp_path):
    what = {"seed": 1, "engine": "e"}
    first = tally.Tally(tmp_path / "t", what)
    first.add("0-0", "load", {"states": 3}, tally.pack([b"a" * 20, b"b" * 20]), 1.0)
    first.add("0-1", "update", {"states": 2}, tally.pack([b"b" * 20, b"c" * 20]), 1.0)
    first.fail("0-2", "load", "why", 1.0)
    first.file.close()
    with open(tmp_path / "t" / "rounds.jsonl", "a") as f:
        f.write('{"round": "0-3", "work": "lo')  # killed there
    again = tally.Tally(tmp_path / "t", what)
    assert again.done == {"0-0", "0-1", "0-2"}
    assert again.failed == ["why"]
    assert len(again.digests) == again.totals["distinct states"] == 3
    assert dict(again.of_work) == {"load": 2, "update": 1}
    assert (again.totals["states"], again.totals["rounds"]) == (5, 2)
    again.add("0-3", "load", {"states": 1}, tally.pack([b"d" * 20]), 1.0)
    again.file.close()
    assert len(tally.Tally(tmp_path / "t", what).digests) == 4
    with pytest.raises(SystemExit, match="engine was e, it is f now"):
        tally.Tally(tmp_path / "t", {"seed": 1, "engine": "f"})


def test_a_run_is_resumed(memory_path):
    """Until there are so many; then the same plan goes on behind the rounds that are done."""
    load = [w for w in powercut.WORKS if w.name == "create and attach"]
    small = [powercut.scaled(load[0], 0.1)]
    counts = tally.Tally(memory_path / "t", {})
    powercut.play(memory_path / "a", None, 1, small, (False,), distinct=20, tally=counts)
    assert len(counts.digests) >= 20
    counts.file.close()
    before = counts.done
    counts = tally.Tally(memory_path / "t", {})
    powercut.play(memory_path / "b", None, 1, small, (False,), distinct=len(counts.digests) + 1, tally=counts)
    rounds = [json.loads(line)["round"] for line in (memory_path / "t" / "rounds.jsonl").read_text().splitlines()[1:]]
    assert rounds == [f"{lap}-0" for lap in range(len(before) + 1)]


def test_the_log_has_a_line_a_run(tmp_path):
    counts = tally.Tally()
    counts.add("0-0", "load", {"states": 3}, tally.pack([b"a" * 20]), 1.0)
    tally.note(counts, 7, "2 caches", 12.3, tmp_path / "LOG.rst")
    counts.fail("0-1", "load", "why", 1.0)
    tally.note(counts, 8, "2 caches", 1, tmp_path / "LOG.rst")
    one, two = (tmp_path / "LOG.rst").read_text().splitlines()
    assert one.endswith(', 7, 1, 2 caches, 1, 3, 1, 12, "nothing lost"')
    assert two.endswith('"1 rounds failed"')
