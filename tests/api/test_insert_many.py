"""insert_many: what a row may be, what a value may be, and whose code runs meanwhile."""

import array
import collections
import ctypes
import itertools
import signal
import sys
import threading
import types

import pyjet
import pytest

NOTES = sys.version_info >= (3, 11)
NUMBERS = {
    "ubyte": (0, 2**8 - 1),
    "short": (-(2**15), 2**15 - 1),
    "ushort": (0, 2**16 - 1),
    "long": (-(2**31), 2**31 - 1),
    "ulong": (0, 2**32 - 1),
    "currency": (-(2**63), 2**63 - 1),
    "longlong": (-(2**63), 2**63 - 1),
    "ulonglong": (0, 2**64 - 1),
}


def rows_of(table, *columns):
    return [tuple(r[c] for c in columns) for r in table.rows(columns=columns)]


def check_note(error, row):
    assert not NOTES or error.value.__notes__ == [f"row {row} of those given, counted from 0"]


# ---- rows ----
class Given(dict):
    """A dict that answers for more than it holds."""

    def __getitem__(self, key):
        return {"id": 7, "name": "of its own"}[key]

    def keys(self):
        return ["id", "name"]

    def __iter__(self):
        return iter(self.keys())


class Plain(dict):
    pass


class KeysAndItems:
    def keys(self):
        return ("id", "name")

    def __getitem__(self, key):
        return {"id": 8, "name": "asked for"}[key]


class ItemsOnly:
    def __getitem__(self, key):
        return 1


def test_any_mapping_is_a_row(people):
    rows = [
        Plain(id=-9, name="a"),
        collections.OrderedDict(name="b", id=-8),
        collections.defaultdict(int, id=-7, name="c"),
        collections.UserDict(id=-6, name="d"),
        types.MappingProxyType({"id": -5, "name": "e"}),
        collections.ChainMap({"id": -4}, {"name": "f", "id": 0}),
        {**people.get(5), "id": -3},
    ]
    assert people.insert_many(rows) == 7
    assert rows_of(people, "id", "name")[:7] == [
        *zip(range(-9, -3), "abcdef", strict=True),
        (-3, "name5"),
    ]
    for row in (Given(), KeysAndItems()):
        people.get(row["id"]).delete()
        people.insert_many([row])
        assert people.get(row["id"])["name"] == row["name"]
    row = people.get(1)
    row.delete()
    assert people.insert_many([row]) == 1 and people.get(1) == row
    for wrong in (ItemsOnly(), 5, "text", b"bytes", (1, 2), [1, 2], None):
        with pytest.raises((TypeError, AttributeError)) as error:
            people.insert_many([{"id": 500}, wrong])
        check_note(error, 1)
    assert people.get(500, default=None) is None


def test_rows_of_different_shapes(people):
    """Names are looked up by what the row before had in their place: it must not matter."""
    shapes = [
        {"id": 100, "name": "a", "age": 1},
        {"age": 2, "id": 101, "name": "b"},
        {"id": 102},
        {"name": "d", "id": 103},
        {"".join(("na", "me")): "e", "".join(("i", "d")): 104},
        {"id": 105, "name": None, "age": 6},
        {"id": 106, "name": "g", "age": None},
    ]
    assert people.insert_many(itertools.chain(shapes, ({**s, "id": s["id"] + 7} for s in shapes[::-1]))) == 14
    want = [("a", 1), ("b", 2), (None, None), ("d", None), ("e", None), (None, 6), ("g", None)]
    assert rows_of(people, "name", "age")[100:] == want + want


def test_left_out_takes_the_default_and_none_does_not(db):
    table = db.create_table("d", {"id": pyjet.Long(), "n": pyjet.Long(default=5), "must": pyjet.Long(not_null=True, default=6)})
    table.insert_many([{"id": 1}, {"id": 2, "n": None}, {"id": 3, "n": 7, "must": 8}])
    assert rows_of(table, "id", "n", "must") == [(1, 5, 6), (2, None, 6), (3, 7, 8)]
    with pytest.raises(pyjet.NullInvalidError) as error:
        table.insert_many([{"id": 4}, {"id": 5, "must": None}])
    check_note(error, 1)
    assert len(table) == 3


def test_unknown_columns(people):
    for name in ("nobody", "", "ID ", 5, None, ("id",), "id\0"):
        with pytest.raises(pyjet.ColumnNotFoundError) as error:
            people.insert_many([{"id": 1000}, {"id": 1001}, {"id": 1002, name: 1}])
        check_note(error, 2)
    with pytest.raises(TypeError, match="unhashable"):
        people.insert_many([(1,)], columns=(["id"],))
    with pytest.raises(pyjet.ColumnNotFoundError):
        people.insert_many([(1, 2)], columns=("id", "nobody"))
    assert len(people) == 100


def test_sequences(people):
    columns = ("name", "id")
    rows = [("a", 200), ["b", 201], iter(("c", 202)), (v for v in ("d", 203)), {"e": 0, 204: 0}]
    assert people.insert_many(rows, columns=columns) == 5
    assert rows_of(people, "name", "id")[100:] == [*zip("abcde", range(200, 205), strict=True)]
    for wrong, kind in ((("a",), ValueError), (("a", 1, 2), ValueError), (5, TypeError), ("xyz", ValueError)):
        with pytest.raises(kind) as error:
            people.insert_many([("f", 300), wrong], columns=columns)
        check_note(error, 1)
    assert len(people) == 105


# ---- values ----
def test_bytes_and_what_is_like_them(db):
    table = db.create_table("b", {"n": pyjet.Long(autoincrement=True), "v": pyjet.LongBinary()})

    class Mine(bytes):
        pass

    reused = bytearray(b"first")

    def rows():
        sizes = (0, 1, 2, 255, 256, 257, 1000, 70_000)
        for size in sizes:
            yield {"v": bytes([size % 251]) * size}
        for size in sizes:
            yield {"v": bytearray([size % 241]) * size}
        yield {"v": Mine(b"x" * 300)}
        yield {"v": memoryview(b"0123456789")[2:5]}
        yield {"v": memoryview(b"")}
        yield {"v": array.array("H", [1, 2])}
        yield {"v": (ctypes.c_char * 0)()}
        yield {"v": reused}
        reused[:] = b"again and longer"
        yield {"v": reused}
        yield {"v": b"the last"}

    assert table.insert_many(rows()) == 24
    got = [v for (v,) in rows_of(table, "v")]
    sizes = (0, 1, 2, 255, 256, 257, 1000, 70_000)
    assert got[:8] == [bytes([n % 251]) * n for n in sizes]
    assert got[8:16] == [bytes([n % 241]) * n for n in sizes]
    assert got[16:] == [b"x" * 300, b"234", b"", array.array("H", [1, 2]).tobytes(), b"", b"first", b"again and longer", b"the last"]
    for wrong, kind in ((memoryview(b"0123")[::2], BufferError), ("text", TypeError), (5, TypeError), ([1], TypeError)):
        with pytest.raises(kind) as error:
            table.insert_many([{"v": b"good"}, {"v": wrong}])
        check_note(error, 1)
    assert len(table) == 24


def test_batches_of_very_long_values(db, ses):
    """More than a batch may hold in memory at once, in rows that are few."""
    table = db.create_table("l", {"n": pyjet.Long(), "v": pyjet.LongBinary(), "t": pyjet.LongText()})
    one = bytes(range(256)) * (3 << 12)

    def value(n):
        return {"n": n, "v": one[n:], "t": "ab" * (n * 1000)}

    with ses.transaction(lazy=True):
        assert table.insert_many(value(n) for n in range(7)) == 7  # 21 MiB: two batches
    assert table.insert_many([value(7), {"n": 8, "v": b""}]) == 2
    for row in table.rows():
        n = row["n"]
        assert row["v"] == (one[n:] if n < 8 else b"") and row["t"] == ("ab" * (n * 1000) if n < 8 else None)
    with pytest.raises(pyjet.ColumnTooBigError) as error:
        db.create_table("s", {"v": pyjet.Binary(max_length=10)}).insert_many([{"v": b"x" * n} for n in (9, 10, 11)])
    check_note(error, 2)


TEXTS = [
    *("abcdefghijklmnopqrstuvwxyz0123456789!?"[:n] for n in (0, 1, 15, 16, 17, 31, 32, 33)),
    "\0\x7f" * 9,
    "caf\xe9 \xff" * 7,
    "\u0100\u4e00" * 20,
    "\U0001f600x" * 20,
    "\ud800",
    "\udfff left, \ud800\udc00 both, \udc00\ud800 the wrong way",
    "\U0010ffff\uffff\ud83d",
]


def test_text_of_every_width(db):
    table = db.create_table("x", {"t": pyjet.LongText(), "s": pyjet.Text()})
    assert table.insert_many({"t": t, "s": t[:100]} for t in TEXTS) == len(TEXTS)
    joined = [t.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass") for t in TEXTS]
    assert rows_of(table, "t", "s") == [(t, t[:100]) for t in joined]

    class Mine(str):
        pass

    assert table.insert_many([(Mine("ab\u4e00"), Mine("plain"))], columns=("t", "s")) == 1
    assert rows_of(table, "t", "s")[-1] == ("ab\u4e00", "plain")
    with pytest.raises(TypeError, match="column 't'.*bytes"):
        table.insert_many([{"t": b"bytes"}])


def test_text_of_code_page_1252(db):
    table = db.create_table("x", {"t": pyjet.LongText(ascii=True)})
    every = bytes(range(256)).decode("latin-1")[:0x80] + "".join(chr(c) for c in range(0xA0, 0x100))
    texts = ["", "plain", "\0\x7f" * 40, every, "\u20ac\u0152\x81", "caf\xe9"]
    assert table.insert_many({"t": t} for t in texts) == len(texts)
    assert rows_of(table, "t") == [(t,) for t in texts]
    for wrong, word in (("ab\u4e00", r"U\+4E00 at 2 "), ("\ud800", r"U\+D800 at 0 "), ("x\U0001f600", r"U\+1F600 at 1 ")):
        with pytest.raises(ValueError, match=word) as error:
            table.insert_many([{"t": "good"}, {"t": wrong}])
        check_note(error, 1)


def test_ints_of_every_size(table):
    class Index:
        def __init__(self, value):
            self.value = value

        def __index__(self):
            return self.value

    class Mine(int):
        pass

    lows, highs = ({name: edge[i] for name, edge in NUMBERS.items()} for i in (0, 1))
    wrapped = [{name: kind(v) for name, v in highs.items()} for kind in (Index, Mine)]
    assert table.insert_many([lows, highs, *wrapped, {name: True for name in NUMBERS}]) == 5
    assert rows_of(table, *NUMBERS) == [tuple(lows.values()), *[tuple(highs.values())] * 3, (1,) * len(NUMBERS)]
    for name, (low, high) in NUMBERS.items():
        for wrong in (low - 1, high + 1, 2**63, -(2**63) - 1, 2**64, 10**400, -(10**400), Index(high + 1)):
            if low <= getattr(wrong, "value", wrong) <= high:
                continue
            with pytest.raises(OverflowError, match=name) as error:
                table.insert_many([{"long": 1}, {name: wrong}])
            check_note(error, 1)
        for wrong in (1.5, "1", b"1", [1]):
            with pytest.raises(TypeError, match=f"column '{name}'"):
                table.insert_many([{name: wrong}])
    assert len(table) == 5


# ---- which row ----
@pytest.mark.parametrize("inside", [False, True])
def test_the_row_that_fails_is_told(people, ses, inside):
    bad = [({"id": 5}, pyjet.KeyDuplicateError), ({"id": "x"}, TypeError), ({"x": 1}, pyjet.ColumnNotFoundError)]
    places = [*zip((1300, 999, 1000), bad, strict=True), *itertools.product((0, 127, 128), bad)]
    for at, (row, kind) in places:
        if inside:
            ses.begin()
        with pytest.raises(kind) as error:
            people.insert_many(itertools.chain(({"id": 1000 + n} for n in range(at)), [row]))
        check_note(error, at)
        if inside:
            ses.rollback()
        assert len(people) == 100 + (0 if inside else at // 1000 * 1000) and ses.level == 0
        with ses.transaction(lazy=True):
            for r in people.range("pk", 1000):
                r.delete()


def test_an_exception_of_the_source_is_no_rows(people):
    def source():
        yield {"id": 1000}
        raise KeyError("mine")

    with pytest.raises(KeyError) as error:
        people.insert_many(source())
    assert error.value.args == ("mine",) and not hasattr(error.value, "__notes__") and len(people) == 100


# ---- whose code runs meanwhile ----
class Hook:
    """A number that runs code when it is looked at."""

    def __init__(self, work, value=1):
        self.work, self.value = work, value

    def __index__(self):
        self.work()
        return self.value


def test_a_dict_that_changes_under_the_converter(people):
    """Also when its size stays the same, and when there is room for thousands of keys in it."""

    def changed(row, work):
        with pytest.raises(RuntimeError, match="the dict changed"):
            people.insert_many([{"id": 900}, row])

    for work in (dict.clear, lambda d: d.update(name="x"), lambda d: d.pop("age")):
        row = {"id": 901, "age": None}
        row["age"] = Hook(lambda row=row, work=work: work(row))
        changed(row, work)

    row = {n: 0 for n in range(2000)}  # as long as that once: a table of 8,192 places
    names = itertools.cycle(("age", "id"))

    def turn():
        row.clear() if len(row) != 1 else row.pop(next(iter(row)))
        row[next(names)] = Hook(turn)

    for n in range(2000):
        del row[n]
    row["id"] = Hook(turn)
    filler = [{"id": 2000 + n} for n in range(999)]  # and little room for values
    with pytest.raises(RuntimeError, match="the dict changed"):
        people.insert_many([*filler, row])
    assert len(people) == 100


def test_a_value_may_change_what_it_came_in(people):
    """A list is copied first; the dict's value is held while its code runs."""
    row = [Hook(lambda: row.clear(), 300), "name"]
    people.insert_many([row], columns=("id", "name"))
    given = {}
    given["id"] = Hook(lambda: given.update(id=None), 301)
    people.insert_many([given])
    assert rows_of(people, "id", "name")[100:] == [(300, "name"), (301, None)] and given == {"id": None}


class Odd(str):
    """A name whose comparison runs code."""

    work = None

    def __eq__(self, other):
        if self.work is not None:
            self.work()
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_a_name_may_run_code(people):
    name = Odd("age")
    row = {"id": 300, name: 5}
    people.insert_many([row])
    assert people.get(300)["age"] == 5
    name.work = row.clear
    with pytest.raises(RuntimeError, match="the dict changed"):
        people.insert_many([row])


def test_the_source_uses_the_same_session(people, ses):
    def source():
        for n in range(300):
            if n % 3 == 0:
                people.insert(id=2000 + n, name="by the source")
            if n == 150:
                people.insert_many({"id": 3000 + k} for k in range(1100))
                assert people.get(3500)["id"] == 3500
            yield {"id": 1000 + n, "age": Hook(lambda n=n: people.find(5), n)}

    assert people.insert_many(source()) == 300
    assert len(people) == 100 + 300 + 100 + 1100
    with pytest.raises(pyjet.KeyDuplicateError):
        people.insert_many({"id": (people.insert(id=5000 + n), 5000 + n)[1]} for n in range(3))
    assert len(people) == 1603


@pytest.mark.parametrize("end", ["cursor", "session", "instance"])
@pytest.mark.parametrize("when", [0, 5, 1500])
def test_the_source_ends_what_the_rows_go_to(people, ses, inst, end, when):
    work = {"cursor": people.close, "session": ses.close, "instance": inst.close}[end]

    def source():
        for n in itertools.count():
            if n == when:
                work()
            yield {"id": 1000 + n}
            if n == when + 2000:
                return

    kind = {"cursor": pyjet.InvalidTableIdError, "session": pyjet.InvalidSesidError, "instance": pyjet.JetError}[end]
    with pytest.raises(kind):
        people.insert_many(source())
    if end == "cursor":
        table = people.database.tables["people"]
        assert len(table) == 100 + when // 1000 * 1000


def test_the_source_rolls_back(people, ses):
    """What it takes back is gone; what comes after is as if it stood outside."""

    def source():
        for n in range(400):
            if n == 300:
                ses.rollback()
            yield {"id": 1000 + n}

    ses.begin()
    people.insert(id=999)
    assert people.insert_many(source()) == 400
    assert ses.level == 0 and [r["id"] for r in people.range("pk", 999)] == [*range(1000 + 256, 1400)]


def test_the_source_begins_a_transaction(people, ses):
    def source():
        for n in range(400):
            if n == 300:
                ses.begin()
            yield {"id": 1000 + n}

    assert people.insert_many(source()) == 400 and ses.level == 1
    ses.rollback()
    assert len(people) == 100


def test_rows_shared_with_another_thread(people):
    """One thread changes the dicts that the other gives: each is refused, or goes in as it was at some moment."""
    shared, stop = {"id": 1}, threading.Event()

    def change():
        while not stop.is_set():
            shared["name"] = "x"
            shared["age"] = 5
            shared.pop("name", None)
            shared.pop("age", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with people.database.session.transaction(lazy=True):
            for n in range(1000):
                shared["id"] = 1000 + n
                try:
                    people.insert_many([shared])
                except RuntimeError:
                    pass
    finally:
        stop.set()
        thread.join()
    assert {(r["name"], r["age"]) for r in people.range("pk", 1000)} <= {(a, b) for a in ("x", None) for b in (5, None)}


def test_ctrl_c(db, ses):
    """Nothing of Python runs between these rows: insert_many itself has to look."""
    table = db.create_table("endless", {"v": pyjet.Long()})

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for transaction in (False, True):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt) as error:
                if transaction:
                    with ses.transaction():
                        table.insert_many(itertools.repeat({"v": 1}))
                else:
                    table.insert_many(itertools.repeat({"v": 1}))
            assert ses.level == 0 and not hasattr(error.value, "__notes__")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(table) % 1000 == 0
