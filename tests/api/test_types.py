"""Values of every column type come back as they went in."""

import datetime as dt
import math
import uuid

import pyjet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LIMITS = {
    "ubyte": (0, 2**8 - 1),
    "short": (-(2**15), 2**15 - 1),
    "long": (-(2**31), 2**31 - 1),
    "currency": (-(2**63), 2**63 - 1),
    "ulong": (0, 2**32 - 1),
    "longlong": (-(2**63), 2**63 - 1),
    "ushort": (0, 2**16 - 1),
    "ulonglong": (0, 2**64 - 1),
}


def back(table, **values):
    row = table.insert(values)
    return {name: row[name] for name in values}


@pytest.mark.parametrize("column", LIMITS)
def test_ints_at_their_limits(table, column):
    for value in (*LIMITS[column], 0, 1):
        assert back(table, **{column: value}) == {column: value}
    for value in (LIMITS[column][0] - 1, LIMITS[column][1] + 1):
        with pytest.raises(OverflowError, match=column):
            table.insert({column: value})


@pytest.mark.parametrize(
    "column, values",
    [
        ("bit", [True, False]),
        ("single", [0.0, -1.5, math.inf, 3.3999999521443642e38]),
        ("double", [0.0, -1.5e300, math.inf, 5e-324]),
        ("binary", [b"", b"\0", bytes(255)]),
        ("text", ["", "a", "\u00e9\u4e2d", "x" * 127, "\U0001f600"]),
        ("ascii", ["", "\u20ac\u00e9\x81", "x" * 255]),
        ("longbinary", [b"", b"a", bytes(range(256)) * 400]),
        ("longtext", ["", "\u00e9" * 5000, "\U0001f600" * 3000, "\udc00 alone"]),
        ("longascii", ["", "\u0153" * 5000]),
        ("guid", [uuid.UUID(int=0x00112233445566778899AABBCCDDEEFF)]),
        ("numbers", [[1], [3, 1, 2], list(range(100))]),
        ("names", [["a", "b"], ["", "x"]]),
        ("longbinary", [bytearray(b"abc"), memoryview(b"abcdef")[1:3]]),
    ],
)
def test_values(table, column, values):
    for value in values:
        assert back(table, **{column: value})[column] == value


def test_all_in_one_row_and_none(table):
    values = {
        "bit": True,
        "long": 5,
        "text": "t",
        "longtext": "l" * 4000,
        "guid": uuid.uuid4(),
        "numbers": [1, 2],
        "date": dt.datetime(2024, 2, 29, 1),
    }
    row = table.insert(values)
    table.insert({})
    again = table.get(row["id"])
    assert {name: again[name] for name in values} == values
    assert all(again[name] is None for name in again if name not in values and name != "id")
    second = table.get(row["id"] + 1)
    assert set(second.values()) == {None, row["id"] + 1}


def test_none_is_null_missing_is_default(db):
    t = db.create_table(
        "d",
        {
            "k": pyjet.Long(autoincrement=True),
            "n": pyjet.Long(default=7),
            "s": pyjet.Text(default="dflt"),
        },
        {"pk": pyjet.Index("+k", primary=True)},
    )
    assert t.insert()["n"] == 7
    row = t.insert(n=None, s="")
    assert row["n"] is None and row["s"] == ""
    row.update(s=None)
    assert row["s"] is None
    assert t.columns["n"].default == 7 and t.columns["s"].default == "dflt"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(2079, 1, 1)))
def test_dates_keep_the_microsecond_before_2079(value):
    from pyjet import _jet

    plan = _jet.Plan([("d", 1, 8, 0, 0)])
    got = plan.decode("d", plan.encode("d", value))
    # before 1720 a double cannot hold it either: 65,536 days on both sides of 1899-12-30
    tolerance = dt.timedelta(0) if value.year > 1720 else dt.timedelta(microseconds=6)
    assert abs(got - value) <= tolerance


@pytest.mark.parametrize("micros", [0, 1, 20, 1000])
def test_the_last_moments_of_9999_are_dates(micros):
    from pyjet import _jet

    plan = _jet.Plan([("d", 1, 8, 0, 0)])
    value = dt.datetime.max - dt.timedelta(microseconds=micros)
    got = plan.decode("d", plan.encode("d", value))
    assert abs(got - value) <= dt.timedelta(microseconds=60)
    assert plan.encode("d", got) == plan.encode("d", value)


@pytest.mark.parametrize(
    "value, days",
    [
        (dt.datetime(1899, 12, 30), 0.0),
        (dt.datetime(1899, 12, 29, 6), -1.25),
        (dt.datetime(1900, 1, 1, 12), 2.5),
        (dt.datetime(2000, 1, 1), 36526.0),
        (dt.datetime(2024, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), 45292.0),
    ],
)
def test_ole_dates_are_the_known_numbers(value, days):
    import struct

    from pyjet import _jet

    plan = _jet.Plan([("d", 1, 8, 0, 0)])
    assert struct.unpack("<d", plan.encode("d", value))[0] == days
    naive = value.astimezone(dt.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
    assert plan.decode("d", struct.pack("<d", days)) == naive


@pytest.mark.parametrize("bits", [math.nan, math.inf, -math.inf, 1e9, -1e9, 2958466.0, -700000.0])
def test_bytes_that_are_no_date_come_as_floats(bits):
    import struct

    from pyjet import _jet

    plan = _jet.Plan([("d", 1, 8, 0, 0)])
    got = plan.decode("d", struct.pack("<d", bits))
    assert isinstance(got, float) and struct.pack("<d", got) == struct.pack("<d", bits)


def test_filetime(db):
    t = db.create_table(
        "f",
        {"k": pyjet.Long(), "at": pyjet.DateTime(filetime=True)},
        {"pk": pyjet.Index("+k", primary=True)},
    )
    value = dt.datetime(2023, 5, 6, 7, 8, 9, 123456)
    assert t.insert(k=1, at=value)["at"] == value
    assert t.read(t.get(1), "at") == (
        (value - dt.datetime(1601, 1, 1)) // dt.timedelta(microseconds=1) * 10
    ).to_bytes(8, "little")


@pytest.mark.parametrize(
    "column, value, error",
    [
        ("long", "5", TypeError),
        ("long", 1.5, TypeError),
        ("text", 5, TypeError),
        ("text", b"b", TypeError),
        ("binary", "s", TypeError),
        ("guid", "0", TypeError),
        ("date", 5, TypeError),
        ("numbers", [1, None], ValueError),
        ("ascii", "\u4e2d", ValueError),
        ("text", "x" * 128, pyjet.JetError),
        ("binary", bytes(256), pyjet.JetError),
        ("long", [1, 2], TypeError),
    ],
)
def test_wrong_values_are_refused_and_nothing_is_stored(table, column, value, error):
    with pytest.raises(error):
        table.insert({column: value})
    assert len(table) == 0


def test_unknown_column_is_a_key_error_too(table):
    with pytest.raises(pyjet.ColumnNotFoundError, match="nowhere"):
        table.insert(nowhere=1)
    with pytest.raises(KeyError):
        table.insert()["nowhere"]


def test_multi_values_grow_shrink_and_go(table):
    row = table.insert(numbers=[1, 2, 3])
    for values in ([9], [1, 2, 3, 4, 5], [], [7, 8]):
        row.update(numbers=values)
        assert row["numbers"] == (values or None)
        assert table.get(row["id"])["numbers"] == (values or None)


def test_schema_reads_back(table, db):
    fresh = db.tables["t"]
    for name, column in fresh.columns.items():
        assert column.name == name and column.id > 0
    assert fresh.columns["ascii"].ascii and not fresh.columns["text"].ascii
    assert fresh.columns["numbers"].multi_valued and fresh.columns["id"].autoincrement
    assert fresh.primary_index.key == "+id"
    assert {type(c).__name__ for c in fresh.columns.values()} >= {
        "Bit",
        "Guid",
        "LongText",
        "DateTime",
        "UnsignedLongLong",
    }


def test_long_values_in_pieces(table):
    row = table.insert(longbinary=b"0123456789")
    for _ in range(50):
        table.append(row, "longbinary", b"x" * 1000)
    assert table.read(row, "longbinary", offset=5, size=10) == b"56789xxxxx"
    assert len(table.read(row, "longbinary")) == 50_010
    assert table.get(row["id"])["longbinary"] == b"0123456789" + b"x" * 50_000
