"""A Table's columns and indexes keep up with what a rollback takes back and with what other sessions do."""

import pyjet
import pytest


def names(table):
    return sorted(table.columns), sorted(table.indexes)


@pytest.fixture
def small(db):
    columns = {"id": pyjet.Long(), "v": pyjet.Binary()}
    table = db.create_table("small", columns, {"pk": pyjet.Index("+id", primary=True), "v": pyjet.Index("+v")})
    table.insert_many({"id": n, "v": b"%d" % n} for n in range(5))
    return table


def test_a_rollback_takes_new_columns_and_indexes_back(small, ses):
    with pytest.raises(ZeroDivisionError), ses.transaction():
        small.add_column("new", pyjet.Long())
        small.create_index("by_new", pyjet.Index("+new"))
        small.insert(id=9, new=7)
        assert small.get(7, index="by_new")["id"] == 9
        raise ZeroDivisionError
    assert names(small) == (["id", "v"], ["pk", "v"])
    assert [dict(r) for r in small.rows()][4] == {"id": 4, "v": b"4"} and small.get(4)["v"] == b"4"
    small.insert(id=9)
    with pytest.raises(pyjet.IndexNotFoundError, match="has no index"):
        small.get(7, index="by_new")


def test_a_rollback_brings_dropped_ones_back(small, ses):
    ses.begin()
    small.delete_index("v")
    small.delete_column("v")
    assert names(small) == (["id"], ["pk"])
    ses.begin()
    small.add_column("inner", pyjet.Long())
    ses.rollback()
    assert names(small) == (["id"], ["pk"])
    ses.rollback()
    assert names(small) == (["id", "v"], ["pk", "v"])
    assert [r["v"] for r in small.rows(index="v")] == [b"%d" % n for n in range(5)]


def test_a_table_that_went_with_the_rollback(db, ses, small):
    ses.begin()
    gone = db.create_table("gone", {"a": pyjet.Long()})
    gone.add_column("b", pyjet.Long())
    ses.rollback()
    with pytest.raises(pyjet.ObjectNotFoundError):
        gone.insert(a=1)
    assert len(small) == 5


def test_columns_and_indexes_of_another_session(small, inst, db):
    with inst.session() as other:
        table = other.open(db.path).tables["small"]
        small.add_column("late", pyjet.Long(default=7))
        assert table.insert(id=20, late=3)["late"] == 3
        assert table.get(1, columns=["late"])["late"] == 7
        small.delete_column("late")
        assert dict(table.get(1)) == {"id": 1, "v": b"1"}
        small.add_column("later", pyjet.Long())
        with pytest.raises(pyjet.ColumnNotFoundError):
            table.insert_many([{"id": 30, "later": 1}])
        assert table.insert_many([{"id": 30, "later": 1}]) == 1
        small.create_index("by_later", pyjet.Index("+later", ignore_null=True))
        assert [r["id"] for r in table.rows(index="by_later")] == [30]
        small.add_column("last", pyjet.Long())
        assert table.get(1, columns=["last"])["last"] is None
        small.delete_column("last")
        with pytest.raises(pyjet.ColumnNotFoundError):
            list(table.rows())
        assert len(list(table.rows())) == 7
        with pytest.raises(pyjet.ColumnNotFoundError):
            table.insert(id=40, nobody=1)
        with pytest.raises(pyjet.IndexInUseError, match="another session has table small open"):
            small.delete_index("v")


def test_the_systems_own_tables_are_for_reading(db, small, ses):
    for name in ("MSysObjects", "MSysObjectsShadow", "MSysObjids"):
        table = db.tables[name]
        rows = list(table.rows())
        assert len(rows) > 5
        for change in (rows[0].delete, lambda r=rows[0]: r.update(**dict(r)), lambda t=table: t.insert(dict(rows[0])),
                       lambda t=table: t.insert_many([dict(rows[0])])):  # fmt: skip
            with pytest.raises(pyjet.PermissionDeniedError, match=f"{name} belongs to the engine"):
                change()
        assert len(list(table.rows())) == len(rows)
        with pytest.raises(pyjet.FixedDDLError):
            table.add_column("more", pyjet.Long())
    small.add_column("more", pyjet.Long())
