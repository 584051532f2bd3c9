"""Real files that Windows wrote: read value for value as edbcheck reads them; the two of update 20 also written."""

import json
import pathlib
import shutil
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K  # noqa: E402

READABLE = ("decompress_test.edb", "multivalue_longvalue.edb", "srudb_win10.dat", "secedit_win11.sdb", "srum_win10_clean")
WRITABLE = ("decompress_test.edb", "multivalue_longvalue.edb")
OURS = "pyjet_rows"


def open_sample(sample, name):
    path = sample(name)
    return next(p for p in path.rglob("*") if p.name.lower() == "srudb.dat") if path.is_dir() else path


def dumped(judge, path):
    """{table: [rows]} of edbcheck; a file as large as these fits."""
    done = judge("edbcheck.py", "dump", path)
    assert done.returncode == 0, done.stderr
    tables = {}
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        tables.setdefault(entry["table"], []).append(entry["record"])
    return tables


def read_all(report, path):
    with cjet.Reader(path) as reader:
        found = reader.contents(system=True)
    rows = {name: [cjet.row_as_dump(row) for row in rows] for name, rows in found.items()}
    pathlib.Path(str(path) + ".ours").write_text(json.dumps(rows, ensure_ascii=True))
    return sum(map(len, rows.values()))


def ours(path):
    count = run(read_all, str(path))
    return json.loads(pathlib.Path(str(path) + ".ours").read_text()), count


def same(mine, theirs):
    assert set(theirs) <= set(mine)
    for table in mine:
        expected = theirs.get(table, [])
        assert len(mine[table]) == len(expected), f"{table}: {len(mine[table])} rows, edbcheck has {len(expected)}"
        for i, (row, other) in enumerate(zip(mine[table], expected)):
            assert row == other, f"{table}, row {i}"


@pytest.mark.parametrize("name", READABLE)
def test_rows_equal_edbcheck(name, sample, judge):
    path = open_sample(sample, name)
    before = path.read_bytes()
    rows, count = ours(path)
    same(rows, dumped(judge, path))
    assert count > 100
    assert path.read_bytes() == before, "a file opened for reading changed"


@pytest.mark.parametrize("name", READABLE)
def test_our_check_agrees(name, sample):
    path = open_sample(sample, name)
    assert run(lambda report, p: cjet.check_file(p)[0], str(path)) == []


def write(report, path, page_size, sets):
    """Attaches, adds a table that takes rows while a full and an incremental backup run, detaches."""
    path, sets = pathlib.Path(path), pathlib.Path(sets)
    cjet.set_param(None, K.JET_paramDatabasePageSize, page_size)
    with cjet.Instance(path.parent / "log", log_kib=128) as inst, inst.session() as ses:
        dbid = ses.open(path)
        columns = {"id": (K.JET_coltypLong, K.JET_bitColumnAutoincrement), "v": (K.JET_coltypLongBinary,), "n": (K.JET_coltypLong,)}
        ses.create_table(dbid, OURS, columns, [("pk", "+id", K.JET_bitIndexPrimary), ("by_n", "-n", 0)])
        stop, count = threading.Event(), [0]

        def rows():
            with inst.session() as mine, mine.table(mine.open(path, attach=False), OURS) as t:
                while not stop.is_set():
                    with mine.transaction():
                        t.insert(v=bytes([count[0] % 251]) * (count[0] * 37 % 6000), n=count[0] % 17)
                    count[0] += 1

        thread = threading.Thread(target=rows)
        thread.start()
        inst.pause(lambda percent: stop.wait(0.1))
        inst.backup(sets)
        middle = count[0]
        stop.wait(0.2)
        inst.backup(sets, K.JET_bitBackupIncremental)
        at_return = count[0]
        stop.set()
        thread.join()
        ses.close(dbid)
        ses.detach(path)
    return [middle, at_return, count[0]]


def restore(report, sets, to, page_size):
    cjet.set_param(None, K.JET_paramDatabasePageSize, page_size)
    _, found = cjet.restore(sets, to)
    return str(found[0])


@pytest.mark.parametrize("name", WRITABLE)
def test_update_20_written(name, sample, judge, tmp_path):
    original = open_sample(sample, name)
    theirs = dumped(judge, original)
    path = tmp_path / name
    shutil.copyfile(original, path)
    page_size = json.loads(judge("edbcheck.py", "info", path).stdout)["pageSize"]
    full, incremental, last = run(write, str(path), page_size, str(tmp_path / "set"))
    assert full > 0 and incremental > full, "the writer did not write during the backups"
    user = [table for table in theirs if not table.startswith("MSys")]

    def look(where):
        done = judge("edbcheck.py", "check", where)
        assert done.returncode == 0, done.stdout
        tables = dumped(judge, where)
        for table in user:
            assert tables[table] == theirs[table], f"{table} changed"
        rows, _ = ours(where)
        same({k: v for k, v in rows.items() if not k.startswith("MSys")}, {k: v for k, v in tables.items() if not k.startswith("MSys")})
        return [row["n"] for row in tables[OURS]]

    assert look(path) == [i % 17 for i in range(last)]
    restored = pathlib.Path(run(restore, str(tmp_path / "set"), str(tmp_path / "restored"), page_size))
    seen = look(restored)
    assert seen == [i % 17 for i in range(len(seen))]
    assert full <= len(seen) <= incremental + 1
