"""Ranges, look-ups, iteration in a snapshot, transactions, many rows."""

import gc
import threading

import pyjet
import pytest


def ids(rows):
    return [row["id"] for row in rows]


def test_ranges_are_half_open(people):
    assert ids(people.range("pk", 5, 9)) == [5, 6, 7, 8]
    assert ids(people.range("pk", 5, 9, inclusive=True)) == [5, 6, 7, 8, 9]
    assert ids(people.range("pk", low=97)) == [97, 98, 99]
    assert ids(people.range("pk", high=3)) == [0, 1, 2]
    assert ids(people.range("pk", 5, 9, reverse=True)) == [8, 7, 6, 5]
    assert ids(people.range("pk", 5, 9, inclusive=True, reverse=True)) == [9, 8, 7, 6, 5]
    assert ids(people.range("pk", 9, 5)) == [] and ids(people.range("pk", 1000, 2000)) == []
    assert ids(people.range("pk", reverse=True)) == list(range(99, -1, -1))


def test_ranges_by_part_of_a_key(people):
    assert ids(people.range("by_name", "name3", "name3", inclusive=True)) == list(range(93, 0, -10))
    assert ids(people.range("by_name", "name3", "name4")) == list(range(93, 0, -10))
    assert ids(people.range("by_name", prefix="name3")) == list(range(93, 0, -10))
    assert ids(people.range("by_name", ("name3", 93), ("name3", 63))) == [93, 83, 73]
    assert ids(people.range("by_name", ("name3", 93), ("name3", 63), inclusive=True)) == [
        93,
        83,
        73,
        63,
    ]
    assert len(ids(people.range("by_name", prefix="name"))) == 100
    assert ids(people.range("by_name", prefix="nameX")) == []
    with pytest.raises(ValueError):
        people.range("by_name", low=1, prefix="x")


def test_get_and_find(people):
    assert people.get(5)["name"] == "name5"
    assert people.get("name5", index="by_name")["id"] == 95
    assert people.get("name5", 15, index="by_name")["id"] == 15
    with pytest.raises(pyjet.RecordNotFoundError) as caught:
        people.get(1000)
    assert isinstance(caught.value, LookupError)
    assert people.get(1000, default=None) is None and people.find(1000) is None
    assert people.find(50, match="gt")["id"] == 51 and people.find(50, match="lt")["id"] == 49
    assert people.find(99, match="gt") is None and people.find(-1, match="le") is None
    assert people.find(-5, match="ge")["id"] == 0 and people.find(1000, match="le")["id"] == 99
    with pytest.raises(pyjet.IndexNotFoundError, match="by_name"):
        people.get(1, index="nothing")
    with pytest.raises(TypeError):
        people.get(1, 2)


def test_get_after_its_cursor_has_ended(ses, people):
    """The lookup that get() keeps goes with the transaction that opened its cursor; the next get makes another."""
    with pytest.raises(RuntimeError), ses.transaction():
        assert people.get(5)["id"] == 5
        assert people.get(1000, default="none") == "none"
        raise RuntimeError
    for _ in range(2):
        assert people.get(5)["id"] == 5
        assert people.get(1000, default="none") == "none"
    people.add_column("later", pyjet.Long())
    assert people.get(5)["later"] is None


def test_get_by_the_beginning_of_a_key(db):
    table = db.create_table(
        "two",
        {"a": pyjet.Long(), "b": pyjet.Long()},
        {"pk": pyjet.Index("+a", "+b", primary=True)},
    )
    table.insert_many({"a": n // 10, "b": n % 10} for n in range(30))
    for _ in range(2):
        assert table.get(1)["b"] == 0 and table.get(1, 7)["b"] == 7
        assert table.get(3, default=None) is None and table.get(1, 10, default=None) is None
        with pytest.raises(pyjet.RecordNotFoundError):
            table.get(1, 10)
        with pytest.raises(TypeError):
            table.get(1, 2, 3)


def test_row_is_a_mapping(people):
    row = people.get(7)
    assert dict(row) == {"id": 7, "name": "name7", "age": 7}
    assert list(row) == row.keys() == ["id", "age", "name"] or set(row) == {"id", "name", "age"}
    assert (
        row == {"id": 7, "name": "name7", "age": 7}
        and row == people.get(7)
        and row != people.get(8)
    )
    assert len(row) == 3 and "age" in row and "x" not in row and row.get("x", 1) == 1
    assert repr(row).startswith("Row({")
    match row:
        case {"age": age}:
            assert age == 7


def test_update_and_delete(people):
    row = people.get(7)
    row.update(age=70, name="other")
    assert row["age"] == 70 and people.get(7)["name"] == "other"
    assert ids(people.range("by_name", prefix="other")) == [7]
    with pytest.raises(pyjet.RecordPrimaryChangedError):
        row.update(id=700)
    assert row["id"] == 7 and people.get(7)["age"] == 70
    row.delete()
    assert people.find(7) is None
    with pytest.raises(pyjet.RecordDeletedError):
        row.update(age=1)
    with pytest.raises(pyjet.KeyDuplicateError):
        people.insert(id=8)


def test_a_loop_may_change_what_it_reads(people):
    for row in people.rows():
        if row["id"] % 2:
            row.delete()
        else:
            row.update(age=row["age"] + 1000)
            people.insert(id=row["id"] + 10_000)
    assert len(people) == 100
    assert sorted(r["age"] for r in people.rows() if r["id"] < 1000) == list(range(1000, 1100, 2))


def test_iteration_reads_one_snapshot(people, inst, ses, db):
    rows = people.rows()
    first = next(rows)
    people.insert(id=5000)
    people.get(50).delete()
    assert [first["id"], *ids(rows)] == list(range(100))
    assert ids(people.rows())[-1] == 5000 and len(people) == 100


def test_iterators_interleave_and_close(people, ses):
    a, b = people.rows(), people.range("by_age", 10, 20)
    pairs = [(next(a)["id"], next(b)["id"]) for _ in range(10)]
    assert pairs == [(n, n + 10) for n in range(10)]
    a.close()
    assert list(a) == [] and list(b) == []
    with people.rows() as rows:
        next(rows)
    for _ in range(50):
        next(people.rows())
    gc.collect()
    assert ses.level == 0
    people.insert(id=10_000)


def test_columns_are_projected(people):
    row = next(people.rows(columns=["name"]))
    assert dict(row) == {"name": "name0"}
    assert dict(people.get(3, columns=("age", "id"))) == {"age": 3, "id": 3}
    row.update(age=5)
    assert people.get(0)["age"] == 5 and dict(row) == {"name": "name0"}


def test_insert_many(people):
    assert (
        people.insert_many(((n, f"x{n}") for n in range(1000, 3500)), columns=("id", "name"))
        == 2500
    )
    assert people.insert_many([]) == 0
    assert people.insert_many([{"id": -1}, {"name": "only", "id": -2}]) == 2
    assert len(people) == 2602
    with pytest.raises(TypeError, match="columns="):
        people.insert_many([(1, 2)])
    with pytest.raises(ValueError, match="2 columns"):
        people.insert_many([(1, 2, 3)], columns=("id", "age"))
    with pytest.raises(TypeError):
        people.insert_many(5)


def test_insert_many_outside_commits_by_thousands(people):
    def rows():
        for n in range(1000, 3500):
            if n == 3200:
                raise RuntimeError("the source ended")
            yield {"id": n}

    with pytest.raises(RuntimeError, match="the source"):
        people.insert_many(rows())
    assert len(people) == 100 + 2000
    with pytest.raises(pyjet.KeyDuplicateError):
        people.insert_many({"id": n} for n in [*range(5000, 5500), 5])
    assert len(people) == 100 + 2000


def test_insert_many_inside_is_all_or_nothing(people, ses):
    with pytest.raises(pyjet.KeyDuplicateError):
        with ses.transaction():
            people.insert_many({"id": n} for n in [*range(5000, 5500), 5])
    assert len(people) == 100 and ses.level == 0


def test_transactions(people, ses):
    with ses.transaction():
        people.insert(id=1000)
        with pytest.raises(RuntimeError):
            with ses.transaction():
                people.insert(id=1001)
                assert ses.level == 2 and people.get(1001)["id"] == 1001
                raise RuntimeError
        assert people.find(1001) is None and people.get(1000)["id"] == 1000
    assert ses.level == 0 and people.get(1000)["id"] == 1000
    with ses.transaction() as t:
        people.insert(id=1002)
        t.rollback()
    assert people.find(1002) is None
    with ses.transaction(readonly=True):
        with pytest.raises(pyjet.TransReadOnlyError):
            people.insert(id=1003)
    with pytest.raises(pyjet.NotInTransactionError):
        ses.rollback()
    with pytest.raises(pyjet.TransTooDeepError):
        for _ in range(8):
            ses.begin()
    ses.rollback(all=True)
    assert ses.level == 0


def test_write_conflict_and_isolation(people, inst, tmp_path):
    failures = []

    def other():
        with inst.session() as mine:
            table = mine.open(tmp_path / "data" / "a.edb").tables["people"]
            row = table.get(5)
            failures.append(row["age"])
            try:
                row.update(age=99)
            except pyjet.WriteConflictError as error:
                failures.append(error)

    with people.database.session.transaction():
        people.get(5).update(age=77)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert failures[0] == 5 and isinstance(failures[1], pyjet.WriteConflictError)
    assert people.get(5)["age"] == 77


def test_ddl(db, ses):
    t = db.create_table("x", {"a": pyjet.Long()}, {"pk": pyjet.Index("+a", primary=True)})
    assert db.create_table("x", {"a": pyjet.Long()}, exist_ok=True) is t
    with pytest.raises(pyjet.TableDuplicateError):
        db.create_table("x", {"a": pyjet.Long()})
    t.insert_many({"a": n} for n in range(10))
    t.add_column("b", pyjet.Text(default="new"))
    assert t.get(3)["b"] == "new"
    t.get(3).update(b="set")
    t.create_index("by_b", pyjet.Index("+b"))
    assert [r["a"] for r in t.range("by_b", "set", None)] == [3]
    t.delete_index("by_b")
    t.delete_column("b")
    assert "b" not in t.get(3) and set(t.indexes) == {"pk"}
    db.rename_table("x", "y")
    assert list(db.tables) == ["y"] and "Y" in db.tables and "x" not in db.tables
    assert len(db.tables["y"]) == 10
    db.delete_table("y")
    assert list(db.tables) == []
    with pytest.raises(KeyError):
        db.tables["y"]
    with pytest.raises(pyjet.IndexInvalidDefError, match="ascii"):
        db.create_table("z", {"k": pyjet.Text()}, {"pk": pyjet.Index("+k", primary=True)})


def test_table_without_primary_index(db):
    t = db.create_table("heap", {"v": pyjet.Long()})
    t.insert_many({"v": n} for n in (5, 3, 9))
    assert [r["v"] for r in t.rows()] == [5, 3, 9]
    with pytest.raises(pyjet.IndexNotFoundError):
        t.get(1)


def test_autoincrement_grows_and_lazy_commits_read_back(table, ses):
    with ses.transaction(lazy=True):
        first = table.insert()["id"]
    assert table.insert()["id"] == first + 1
    ses.flush()


@pytest.mark.parametrize("how", ["close", "drop", "collect"])
def test_rows_end_in_another_thread(people, inst, monkeypatch, how):
    """Given up, or dropped, or collected in a cycle by a thread that did not begin their snapshot: it ends, and says nothing."""
    said, errors = [], []
    monkeypatch.setattr("sys.unraisablehook", said.append)
    rows = [people.rows()]
    next(rows[0])
    (reader,) = people.database.session._reading

    def end():
        cycle = [rows.pop()]
        cycle.append(cycle if how == "collect" else None)
        try:
            if how == "close":
                cycle[0].close()
        except Exception as e:
            errors.append(e)
        del cycle
        gc.collect()

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert not errors and not said
    assert reader.handle.ended and not people.database.session._reading
    assert len(list(people.rows())) == 100


def test_find_wants_values_of_its_index(people):
    for match in ("ge", "gt", "le", "lt"):
        for key in ((), (1, 2)):
            with pytest.raises(TypeError, match="give 1 to 1 values"):
                people.find(*key, match=match)
        with pytest.raises(TypeError):
            people.find("x", 5, 6, match=match, index="by_name")


def test_append_is_for_long_columns(db):
    table = db.create_table("a", {"b": pyjet.Binary(), "l": pyjet.LongBinary()})
    row = table.insert(b=b"abc", l=b"abc")
    with pytest.raises(pyjet.InvalidColumnTypeError, match="b is no LongBinary"):
        table.append(row, "b", b"d")
    table.append(row, "l", b"d")
    assert [dict(r) for r in table.rows()] == [{"b": b"abc", "l": b"abcd"}]
