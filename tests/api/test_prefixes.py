"""Prefix ranges against plain Python: bytes and text whose values go on with any byte, ascending and descending."""

import itertools

import pyjet
import pytest

PARTS = (b"", b"\0", b"A\xff", b"\xff" * 8, b"A" * 8, b"B")
VALUES = sorted({a + b for a, b in itertools.product(PARTS, PARTS)})


def kinds():
    """Column, and how a value of it is made of bytes (no NUL in text: a key ends there)."""
    yield "binary", pyjet.Binary(), lambda v: v
    yield "long", pyjet.LongBinary(), lambda v: v
    yield "ascii", pyjet.Text(ascii=True), lambda v: v.replace(b"\0", b"0").decode("latin-1")


@pytest.mark.parametrize("kind,column,make", list(kinds()), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("sign", "+-")
def test_a_prefix_gives_all_that_begins_with_it(db, ses, kind, column, make, sign):
    table = db.create_table(
        "p", {"id": pyjet.Long(), "n": pyjet.Long(), "v": column}, {"v": pyjet.Index(f"{sign}v"), "nv": pyjet.Index(f"+n{sign}v+id")}
    )
    values = [*dict.fromkeys(map(make, VALUES)), None]
    with ses.transaction():
        table.insert_many({"id": i, "n": i % 3, "v": v} for i, v in enumerate(values))
    for prefix in map(make, VALUES):
        want = [i for i, v in enumerate(values) if v is not None and v.startswith(prefix)]
        assert sorted(r["id"] for r in table.range("v", prefix=prefix)) == want, prefix
        assert sorted(r["id"] for r in table.range("v", prefix=prefix, reverse=True)) == want, prefix
        got = sorted(r["id"] for r in table.range("nv", prefix=(1, prefix)))
        assert got == [i for i in want if i % 3 == 1], prefix
    for prefix in map(make, PARTS):  # NULL is nobody's prefix, and an empty one is everybody's
        assert None not in [r["v"] for r in table.range("v", prefix=prefix)]
