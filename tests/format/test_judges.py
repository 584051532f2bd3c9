"""What we write, as others read it: edbcheck, edblog, libesedb and dissect.esedb over every column type, page size and kind
of index. Each page size has a process of its own: there is one a process."""

import itertools
import json
import pathlib
import random
import struct
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K  # noqa: E402

PAGE_SIZES = (4096, 8192, 16384, 32768)
TAGGED, MULTI, FIXED = K.JET_bitColumnTagged, K.JET_bitColumnTagged | K.JET_bitColumnMultiValued, K.JET_bitColumnFixed

COLUMNS = {
    "id": (K.JET_coltypLong, K.JET_bitColumnAutoincrement),
    "bit": (K.JET_coltypBit,),
    "byte": (K.JET_coltypUnsignedByte,),
    "short": (K.JET_coltypShort,),
    "long": (K.JET_coltypLong,),
    "currency": (K.JET_coltypCurrency,),
    "single": (K.JET_coltypIEEESingle,),
    "double": (K.JET_coltypIEEEDouble,),
    "date": (K.JET_coltypDateTime,),
    "guid": (K.JET_coltypGUID,),
    "ushort": (K.JET_coltypUnsignedShort,),
    "ulong": (K.JET_coltypUnsignedLong,),
    "longlong": (K.JET_coltypLongLong,),
    "ulonglong": (K.JET_coltypUnsignedLongLong,),
    "fbin": (K.JET_coltypBinary, FIXED, 10),
    "ftext": (K.JET_coltypText, FIXED, 8),
    "vbin": (K.JET_coltypBinary, 0, 200),
    "vtext": (K.JET_coltypText, 0, 200),
    "vascii": (K.JET_coltypText, 0, 100, None, 1252),
    "tbin": (K.JET_coltypBinary, TAGGED),
    "tlong": (K.JET_coltypLong, TAGGED),
    "ttext": (K.JET_coltypText, TAGGED),
    "mlong": (K.JET_coltypLong, MULTI),
    "mtext": (K.JET_coltypText, MULTI),
    "lbin": (K.JET_coltypLongBinary,),
    "ltext": (K.JET_coltypLongText,),
    "lascii": (K.JET_coltypLongText, 0, 0, None, 1252),
    "mbin": (K.JET_coltypLongBinary, MULTI),
    "dlong": (K.JET_coltypLong, 0, 0, struct.pack("<i", 42)),
    "dtext": (K.JET_coltypText, TAGGED, 0, "given".encode("utf-16-le")),
}
U = K.JET_bitIndexUnique
INDEXES = (
    ("pk", "+id", K.JET_bitIndexPrimary),
    ("unique", "+long+id", U),
    ("descending", "-currency-guid", 0),
    ("mixed", "+short-double+vbin-bit", 0),
    ("ignore", "+tlong", K.JET_bitIndexIgnoreNull),
    ("ignore_any", "+vbin+ulong", K.JET_bitIndexIgnoreAnyNull),
    ("ignore_first", "-ushort+longlong", K.JET_bitIndexIgnoreFirstNull),
    ("no_null", "+id-byte", K.JET_bitIndexDisallowNull),
    ("several", "+mlong", 0),
    ("several_more", "+mlong-byte", 0),
    ("ascii", "+vascii", 0),
    ("fixed", "+fbin-ulonglong", 0),
    ("long_value", "+lbin", 0),
    ("date", "-date+single", 0),
)


def make_row(rng, n):
    """A row of random values: some NULL, some extremes, some of zero length."""

    def number(low, high):
        return rng.choice((None, low, high, 0 if low <= 0 else low, rng.randint(low, high)))

    def octets(most):
        return rng.choice((None, b"", rng.randbytes(rng.randint(1, most)), rng.randbytes(rng.randint(1, most))))

    def words(most, letters="abc ÄßЖ語𝄞"):
        return rng.choice((None, "", "".join(rng.choice(letters) for _ in range(rng.randint(1, most)))))

    def large(size):
        """No byte below 0x80: libesedb and dissect take a plain chunk that begins with one for a compressed one."""
        return bytes(b | 0x80 for b in rng.randbytes(size))

    long_one = rng.choice((None, b"", large(30), large(1000), large(4000), large(40000)))
    row = {
        "bit": rng.choice((None, True, False)),
        "byte": rng.randint(0, 255),
        "short": number(-(2**15), 2**15 - 1),
        "long": number(-(2**31), 2**31 - 1),
        "currency": number(-(2**63), 2**63 - 1),
        "single": rng.choice((None, 0.0, -1.5, struct.unpack("<f", struct.pack("<f", rng.uniform(-1e9, 1e9)))[0])),
        "double": rng.choice((None, 0.0, -0.25, 1e300, rng.uniform(-1, 1))),
        "date": rng.choice((None, struct.unpack("<q", struct.pack("<d", rng.uniform(1, 60000)))[0])),
        "guid": rng.choice((None, uuid.UUID(int=rng.getrandbits(128)))),
        "ushort": number(0, 2**16 - 1),
        "ulong": number(0, 2**32 - 1),
        "longlong": number(-(2**63), 2**63 - 1),
        "ulonglong": number(0, 2**64 - 1),
        "fbin": rng.choice((None, rng.randbytes(10))),
        "ftext": rng.choice((None, "".join(rng.choice("xyzÜ") for _ in range(4)))),
        "vbin": octets(60),
        "vtext": words(20),
        "vascii": words(30, "abcÄé ~"),
        "tbin": octets(80),
        "tlong": number(-5, 5),
        "ttext": words(15),
        "mlong": rng.choice((None, 7, [1, 2, 3], [rng.randint(-9, 9) * 10 + i for i in range(rng.randint(2, 6))])),
        "mtext": rng.choice((None, "one", ["two", "", "drei"])),
        "lbin": long_one,
        "ltext": words(rng.choice((10, 500, 3000))),
        "lascii": words(rng.choice((10, 700)), "plain text é"),
        "mbin": rng.choice((None, large(50), [large(20), large(3000), b"x"])),
    }
    if rng.random() < 0.5:
        row["dlong"], row["dtext"] = rng.choice((None, n)), rng.choice((None, f"own {n}"))
    return row


def for_libesedb(row):
    return {k: v for k, v in row.items() if k != "ulonglong" and v not in ("", b"") and (k, v) != ("dtext", None)}


def build(report, path, page_size, rows, table="types"):
    """Makes the database; gives back the values as edbcheck shows them, and the logs' folder."""
    path = pathlib.Path(path)
    cjet.set_param(None, K.JET_paramDatabasePageSize, page_size)
    rng = random.Random(page_size)
    expected = []
    with cjet.Instance(path.parent, log_kib=512) as inst, inst.session() as ses:
        dbid = ses.create(path)
        ses.create_table(dbid, table, COLUMNS, INDEXES[:7])
        with ses.table(dbid, table) as t:
            for n in range(rows):
                values = make_row(rng, n)
                with ses.transaction():
                    t.insert(**values)
                expected.append({"id": n + 1, "dlong": 42, "dtext": "given", **values})
            for name, key, grbit in INDEXES[7:]:  # built over what is there
                cjet.create_index(ses, t.id, name, key, grbit)
            cjet.add_column(ses, t.id, "late", K.JET_coltypLong, 0, 0, struct.pack("<i", -3))
            for n in range(0, rows, 5):  # gone, or changed
                assert t.seek([("id", n + 1)])
                with ses.transaction():
                    if n % 2:
                        t.delete()
                        expected[n] = None
                    else:
                        t.replace(vtext="changed", lbin=b"now " * 900, mlong=[5, 6], tlong=None)
                        before = expected[n]["mlong"]
                        rest = before[2:] if isinstance(before, list) else []
                        expected[n].update(vtext="changed", lbin=b"now " * 900, mlong=[5, 6, *rest], tlong=None)
        # libesedb refuses a table with a column of type 18 whatever its rows hold, and a row with tagged values of zero
        # length, or with an explicit NULL in a tagged column that has a default (edb-format.md section 20).
        ses.create_table(dbid, "known", {k: v for k, v in COLUMNS.items() if k != "ulonglong"})
        with ses.table(dbid, "known") as t, ses.transaction():
            for n in range(rows):
                t.insert(**for_libesedb(make_row(rng, n)))
        ses.create_table(dbid, "bare", {"b": (K.JET_coltypLongBinary,)})
        with ses.table(dbid, "bare") as t, ses.transaction():
            for n in range(30):
                t.insert(b=bytes([n]) * n * 300)
    return [cjet.row_as_dump({**row, "late": -3}) for row in expected if row is not None]


@pytest.fixture(scope="module", params=PAGE_SIZES)
def made(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(f"p{request.param}") / "all.edb"
    return path, run(build, str(path), request.param, 80), request.param


def test_edbcheck_has_nothing_to_say(made, judge):
    done = judge("edbcheck.py", "check", made[0])
    assert done.returncode == 0, done.stdout + done.stderr


def test_edbcheck_reads_what_was_written(made, judge):
    path, expected, _ = made
    done = judge("edbcheck.py", "dump", "--table", "types", path)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(got) == len(expected)
    for one, other in zip(got, expected):
        assert one == other


def read_back(report, path, page_size):
    with cjet.Reader(path) as reader, reader.table(reader.dbid, "types") as t:
        rows = [cjet.row_as_dump(row) for row in t.all()]
        order = {name: [r["id"] for r in t.all(["id"], index=name)] for name, _, _ in INDEXES}
        return rows, order, cjet.check_file(path)[0]


def test_we_read_what_was_written(made):
    path, expected, page_size = made
    rows, order, findings = run(read_back, str(path), page_size)
    assert rows == json.loads(json.dumps(expected))
    assert not findings
    by_id = {row["id"]: row for row in expected}
    assert set(order["pk"]) == set(by_id)
    assert set(order["ignore"]) == {i for i, r in by_id.items() if "tlong" in r}
    assert set(order["ignore_any"]) == {i for i, r in by_id.items() if "vbin" in r and "ulong" in r}
    # Of a key that is NULL altogether another flag decides, which this index has not given (edb-format.md 9.5, 12).
    assert set(order["ignore_first"]) == {i for i, r in by_id.items() if "ushort" in r or "longlong" not in r}
    assert len(order["several"]) == sum(len(r["mlong"]) if isinstance(r.get("mlong"), list) else 1 for r in by_id.values())
    ranks = [by_id[i].get("long") for i in order["unique"]]
    assert ranks == sorted(ranks, key=lambda v: (v is not None, v)), "NULL first, then upwards"
    ranks = [by_id[i].get("currency") for i in order["descending"]]
    assert ranks == sorted(ranks, key=lambda v: (v is not None, v), reverse=True), "downwards, NULL last"


def test_edblog_accepts_the_logs(made, judge):
    logs = [p for p in sorted(made[0].parent.glob("*.log")) if p.name != "edbtmp.log"]  # that one is zeros yet
    assert logs
    done = judge("edblog.py", "check", *logs)
    assert done.returncode == 0, done.stdout + done.stderr


def crash(report, folder, page_size, kill):
    """Leaves a dirty database with its logs; or recovers and ends."""
    folder = pathlib.Path(folder)
    cjet.set_param(None, K.JET_paramDatabasePageSize, page_size)
    inst = cjet.Instance(folder, log_kib=128)
    inst.init()
    ses = inst.session()
    if kill:
        dbid = ses.create(folder / "c.edb")
        ses.create_table(dbid, "types", COLUMNS, INDEXES)
        rng = random.Random(5)
        t = ses.table(dbid, "types")
        for n in range(150):
            with ses.transaction():
                t.insert(**make_row(rng, n))
            if n % 3 == 0:
                with ses.transaction():
                    assert t.seek([("id", rng.randint(1, n + 1))], K.JET_bitSeekGE)
                    t.delete() if n % 2 else t.replace(ttext="again", lbin=b"L" * 5000)
        ses.begin()
        t.insert(**make_row(rng, 999))
        return None  # the child ends here without a word to the instance
    ses.attach(folder / "c.edb")
    inst.term()


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_logs_after_recovery(page_size, tmp_path, judge):
    run(crash, str(tmp_path), page_size, True)
    run(crash, str(tmp_path), page_size, False)
    logs = [p for p in sorted(tmp_path.glob("*.log")) if p.name != "edbtmp.log"]
    assert len(logs) > 1
    done = judge("edblog.py", "check", *logs)
    assert done.returncode == 0, done.stdout + done.stderr
    done = judge("edbcheck.py", "check", tmp_path / "c.edb")
    assert done.returncode == 0, done.stdout + done.stderr
    done = judge("edblog.py", "chk", tmp_path / "edb.chk")
    assert done.returncode == 0, done.stdout + done.stderr


# ---- libesedb and dissect.esedb: what they cannot read is listed, nothing else is left out ----

# edb-format.md section 20, and what these versions show: cell kinds that the reader does not give as they are stored.
LIBESEDB_CANNOT = {"mlong", "mtext", "mbin"}  # several values: a call for one value does not give them
# and NULL in a fixed column: it gives the bytes below, without a look at the record's NULL bits.
FIXED_COLUMNS = {n for n, s in COLUMNS.items() if s[0] in cjet.SCALARS or s[0] in (K.JET_coltypBit, K.JET_coltypGUID) or s[1:2] == (FIXED,)}


def stored(page_size):
    """Column name -> what packs its values."""
    return {name: cjet.Column(0, spec[0], spec[4] if len(spec) > 4 else 1200, 0) for name, spec in {**COLUMNS, "late": (K.JET_coltypLong,)}.items()}


def raw_rows(path):
    """The rows as bytes, read by us: [{column: bytes}]."""
    packers = stored(0)
    with cjet.Reader(path) as reader, reader.table(reader.dbid, "known") as t:
        return [{k: packers[k].pack(v) for k, v in row.items() if v is not None and not isinstance(v, list)} for row in t.all()]


def read_raw(report, path):
    return [{k: v.hex() for k, v in row.items()} for row in raw_rows(path)]


def test_libesedb_reads_the_same(made):
    pyesedb = pytest.importorskip("pyesedb")
    ours = run(read_raw, str(made[0]))
    file = pyesedb.open(str(made[0]))
    table = file.get_table_by_name("known")
    names = [table.get_column(i).name for i in range(table.number_of_columns)]
    assert table.number_of_records == len(ours)
    compared = 0
    for n, expected in enumerate(ours):
        record = table.get_record(n)
        for i, name in enumerate(names):
            if name in LIBESEDB_CANNOT or (name in FIXED_COLUMNS and name not in expected):
                continue
            long = record.is_long_value(i)
            got = record.get_value_data_as_long_value(i).get_data() if long else record.get_value_data(i)
            if not got and name in ("dlong", "dtext"):
                continue  # it knows no defaults
            if name == "bit" and got is not None:
                got = b"\xff" if got != b"\0" else got
            assert (got or b"").hex() == expected.get(name, ""), f"row {n}, {name}"
            compared += name in expected
    assert compared > 500
    file.close()


def test_dissect_reads_the_same(made):
    esedb = pytest.importorskip("dissect.esedb")
    ours = run(read_back, str(made[0]), made[2])[0]
    compared = refused = 0
    with open(made[0], "rb") as f:
        table = esedb.EseDB(f).table("types")
        rows = list(table.records())
        assert len(rows) == len(ours)
        for record, expected in zip(rows, ours):
            for name in (*COLUMNS, "late"):
                try:
                    got = dissected(name, record.get(name))
                except tuple(DISSECT_CANNOT) as e:
                    assert name in DISSECT_CANNOT[type(e)], f"id {expected['id']}, {name}: {e!r}"
                    refused += 1
                    continue
                assert got == expected.get(name), f"id {expected['id']}, {name}: {got!r}, ours {expected.get(name)!r}"
                compared += 1
    assert compared > 2000
    assert refused < compared / 20


DISSECT_CANNOT = {
    UnboundLocalError: {"dtext"},  # an explicit NULL in a tagged column that has a default
}


def dissected(name, value):
    """dissect's value in edbcheck's words."""
    if isinstance(value, (tuple, list)):
        return [dissected(name, one) for one in value]
    if isinstance(value, memoryview):
        value = bytes(value)
    if name == "ulonglong" and isinstance(value, bytes):  # a type that it gives as bytes
        return struct.unpack("<Q", value)[0]
    if name == "date" and isinstance(value, bytes):
        return struct.unpack("<q", value)[0]
    return cjet.as_dump(value)


@pytest.mark.slow
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_a_million_rows(page_size, tmp_path, judge):
    path = tmp_path / "big.edb"
    run(build_big, str(path), page_size, 1_000_000, timeout=1200)
    done = judge("edbcheck.py", "check", path)
    assert done.returncode == 0, done.stdout + done.stderr
    logs = [p for p in tmp_path.glob("*.log") if p.name != "edbtmp.log"]
    done = judge("edblog.py", "check", *sorted(logs))
    assert done.returncode == 0, done.stdout + done.stderr
    run(libesedb_reads_big, str(path), 1_000_000, timeout=1200)
    run(dissect_reads_big, str(path), 1_000_000, timeout=3600)


def big_rows(rows):
    """What build_big puts in, in the order of the primary key."""
    rng = random.Random(1)
    for n in range(rows):
        yield n, b"w%d" % (n % 977), rng.randrange(10**6)


def libesedb_reads_big(report, path, rows):
    import pyesedb

    file = pyesedb.open(path)
    table = file.get_table_by_name("big")
    at = {table.get_column(i).name: i for i in range(table.number_of_columns)}
    assert table.number_of_records == rows
    for n, word, rank in big_rows(rows):
        record = table.get_record(n)
        got = record.get_value_data(at["id"]), record.get_value_data(at["word"]), record.get_value_data(at["n"])
        assert got == (struct.pack("<i", n), word, struct.pack("<i", rank)), n
    file.close()


def dissect_reads_big(report, path, rows):
    """Every record is parsed; the values of each hundredth are held against ours (each takes it a tenth of a millisecond)."""
    from dissect.esedb import EseDB

    with open(path, "rb") as f:
        count = 0
        for record, (n, word, rank) in zip(EseDB(f).table("big").records(), big_rows(rows), strict=True):
            count += 1
            if n % 100 == 0:
                assert (record.get("id"), bytes(record.get("word")), record.get("n")) == (n, word, rank), n
        assert count == rows


def build_big(report, path, page_size, rows):
    """Many rows and an index on them, beside the table of all types."""
    expected = build(report, path, page_size, 80)
    path = pathlib.Path(path)
    with cjet.Instance(path.parent, log_kib=512, params={K.PYJET_paramVersionStoreBytes: 16 << 20}) as inst, inst.session() as ses:
        dbid = ses.open(path)
        columns = {"id": (K.JET_coltypLong,), "word": (K.JET_coltypBinary, 0, 60), "n": (K.JET_coltypLong,)}
        ses.create_table(dbid, "big", columns, [("pk", "+id", K.JET_bitIndexPrimary), ("by_n", "+n-word", 0)])
        todo = big_rows(rows)
        with ses.table(dbid, "big") as t:
            for _ in range(0, rows, 1000):
                with ses.transaction(K.JET_bitCommitLazyFlush):
                    for n, word, rank in itertools.islice(todo, 1000):
                        t.insert(id=n, word=word, n=rank)
    return len(expected)
