"""What users do wrong and what disks do: the right JET_err with a hint, and nothing committed is lost."""

import os
import pathlib
import random
import shutil
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import Child, run  # noqa: E402
from cjet import ERR, K, JetError  # noqa: E402

TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,), "b": (K.JET_coltypBinary, 0, 20)}
PK = [("pk", "+id", K.JET_bitIndexPrimary)]


def fails(names, call, *args):
    try:
        call(*args)
    except JetError as e:
        assert e.name in names, f"{e}, expected {names}"
        assert e.hint, f"{e.name} has no hint"
        return e
    raise AssertionError(f"{names} did not come")


def fill(place, rows=200, log_kib=64):
    place = pathlib.Path(place)
    with cjet.Instance(place, log_kib=log_kib) as inst, inst.session() as ses:
        dbid = ses.create(place / "a.edb")
        ses.create_table(dbid, "t", TABLE, PK)
        add(ses, dbid, 0, rows)


def add(ses, dbid, first, rows, size=900):
    with ses.table(dbid, "t") as t:
        for i in range(first, first + rows):
            with ses.transaction():
                t.insert(id=i, v=bytes([i % 256]) * size)


def rows_of(place):
    with cjet.Reader(pathlib.Path(place) / "a.edb") as reader, reader.table(reader.dbid, "t") as t:
        rows = t.all(["id", "v"])
    assert all(r["v"] == bytes([r["id"] % 256]) * 900 for r in rows)
    return [r["id"] for r in rows]


CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(CASES))


def test_bad_input(name, memory_path):
    run(lambda report, place: CASES[name](pathlib.Path(place)), str(memory_path))


@case
def wrong_types(place):
    with cjet.Instance(place) as inst, inst.session() as ses:
        dbid = ses.create(place / "a.edb")
        ses.create_table(dbid, "t", TABLE, PK)
        with ses.table(dbid, "t") as t, ses.transaction():
            column = cjet.u32(t.columns["id"].columnid)
            t.prepare(K.JET_prepInsert)
            fails({"JET_errInvalidBufferSize"}, cjet.call, "JetSetColumn", ses.id, t.id, column, b"123", cjet.u32(3), cjet.u32(0), None)
            fails({"JET_errColumnNotFound", "JET_errBadColumnId"}, cjet.call, "JetSetColumn", ses.id, t.id, cjet.u32(77), b"1", cjet.u32(1), cjet.u32(0), None)
            fails({"JET_errNullInvalid"}, t.update)
            t.cancel()
            fails({"JET_errUpdateNotPrepared"}, t.set, "id", 5)
        add(ses, dbid, 0, 3)
    assert rows_of(place) == [0, 1, 2]


@case
def closed_handles(place):
    with cjet.Instance(place) as inst, inst.session() as ses:
        dbid = ses.create(place / "a.edb")
        ses.create_table(dbid, "t", TABLE, PK)
        t = ses.table(dbid, "t")
        t.close()
        fails({"JET_errInvalidTableId"}, t.delete)
        fails({"JET_errInvalidTableId"}, t.close)
        other = inst.session()
        other.end()
        fails({"JET_errInvalidSesid"}, other.begin)
        fails({"JET_errInvalidDatabaseId"}, ses.table, cjet.u32(5), "t")
        stray = cjet.u64(0xDEADBEEF)
        assert cjet.lib.JetBeginTransaction(stray) == ERR["JET_errInvalidSesid"]
        add(ses, dbid, 0, 2)
    assert rows_of(place) == [0, 1]
    fails({"JET_errInvalidSesid", "JET_errNotInitialized", "JET_errInvalidParameter"}, ses.begin)


@case
def a_session_in_two_threads(place):
    with cjet.Instance(place) as inst, inst.session() as ses:
        dbid = ses.create(place / "a.edb")
        ses.create_table(dbid, "t", TABLE, PK)
        errors = []
        with ses.transaction():
            thread = threading.Thread(target=lambda: errors.append(fails({"JET_errSessionSharingViolation"}, ses.commit)))
            thread.start()
            thread.join()
        assert errors
        add(ses, dbid, 0, 2)
    assert rows_of(place) == [0, 1]


@case
def missing_places(place):
    inst = cjet.Instance(place / "not" / "there", create_path=False)
    fails({"JET_errInvalidPath", "JET_errInvalidSystemPath", "JET_errInvalidLogDirectory", "JET_errInvalidLogPath"}, inst.init)
    inst.destroy()
    with cjet.Instance(place / "here") as inst, inst.session() as ses:
        fails({"JET_errFileNotFound"}, ses.attach, place / "here" / "none.edb")
        fails({"JET_errInvalidPath", "JET_errFileNotFound"}, ses.create, place / "nowhere" / "x.edb")
    fails({"JET_errFileNotFound"}, cjet.Reader, place / "none.edb")


@case
def not_a_database(place):
    rng = random.Random(1)
    with cjet.Instance(place / "i") as inst, inst.session() as ses:
        for size in (0, 1, 4095, 8192, 40960):
            path = place / f"junk{size}.edb"
            path.write_bytes(rng.randbytes(size))
            before = path.read_bytes()
            expected = {"JET_errDatabaseCorrupted", "JET_errFileInvalidType", "JET_errReadVerifyFailure", "JET_errFileIOBeyondEOF", "JET_errInvalidDatabase"}
            fails(expected, ses.attach, path)
            fails(expected, cjet.Reader, path)
            assert path.read_bytes() == before


@case
def a_cut_database(place):
    fill(place)
    whole = (place / "a.edb").read_bytes()
    rng = random.Random(2)
    for n in range(25):
        path = place / "cut.edb"
        path.write_bytes(whole[: rng.randrange(len(whole) - 4096)])
        try:
            with cjet.Reader(path) as reader:
                reader.contents()
        except JetError as e:
            assert e.hint, e
        try:
            findings, _ = cjet.check_file(path)
            assert findings, "a cut file, and nothing found"
        except JetError as e:
            assert e.hint, e
    assert rows_of(place) == list(range(200))


@case
def a_flipped_database(place):
    fill(place)
    whole = (place / "a.edb").read_bytes()
    rng = random.Random(3)
    found = 0
    for n in range(40):
        data = bytearray(whole)
        at = rng.randrange(8192, 80 * 4096)
        data[at] ^= 0xFF
        data[at + 1] ^= 0xFF
        path = place / "flipped.edb"
        path.write_bytes(data)
        try:
            with cjet.Reader(path) as reader:
                for table in reader.contents().values():
                    assert len(table) <= 200
        except JetError as e:
            found += 1
            assert e.name in ("JET_errReadVerifyFailure", "JET_errDatabaseCorrupted"), e
            assert e.hint, e
        used = any(whole[at // 4096 * 4096 :][:4096])
        if used:
            try:
                assert cjet.check_file(path)[0], f"byte {at} is changed, and nothing found"
            except JetError as e:
                assert e.hint, e
    assert found > 5


def dirty(report, place):
    """Dies with a database that needs its logs."""
    place = pathlib.Path(place)
    inst = cjet.Instance(place, log_kib=64)
    inst.init()
    ses = inst.session()
    dbid = ses.create(place / "a.edb")
    ses.create_table(dbid, "t", TABLE, PK)
    add(ses, dbid, 0, 300)


def test_damaged_logs(memory_path):
    """A damaged log is told; with the log put back nothing is lost."""
    place = memory_path / "d"
    run(dirty, str(place))
    logs = sorted(place.glob("edb0*.log"))
    assert len(logs) > 3
    for how in ("flip", "cut", "gone"):
        victim = logs[len(logs) // 2]
        data = victim.read_bytes()
        kept = shutil.copytree(place, memory_path / "try")
        target = kept / victim.name
        if how == "flip":
            broken = bytearray(data)
            broken[9000] ^= 0x55
            broken[9001] ^= 0x55
            target.write_bytes(broken)
        elif how == "cut":
            target.write_bytes(data[:20000])
        else:
            target.unlink()
        run(refuses, str(kept))
        target.write_bytes(data)
        run(recovers, str(kept), str(place))
        shutil.rmtree(kept)


def refuses(report, place):
    inst = cjet.Instance(place, log_kib=64)
    fails({"JET_errLogFileCorrupt", "JET_errMissingLogFile", "JET_errRequiredLogFilesMissing", "JET_errLogFileSizeMismatch",
           "JET_errLogCorruptDuringHardRecovery", "JET_errMissingPreviousLogFile", "JET_errCommittedLogFileCorrupt",
           "JET_errLogReadVerifyFailure"}, inst.init)  # fmt: skip
    inst.destroy()


def recovers(report, place, logged):
    """The database lies where the log says; its copy is put there."""
    place, logged = pathlib.Path(place), pathlib.Path(logged)
    shutil.rmtree(logged)
    shutil.copytree(place, logged)
    with cjet.Instance(logged, log_kib=64):
        pass
    assert rows_of(logged) == list(range(300))
    shutil.rmtree(logged)
    shutil.copytree(place, logged)


@case
def full_disk(place):
    fill(place)
    inst = cjet.Instance(place, log_kib=64)
    inst.init()
    done = 200
    with inst.session() as ses:
        dbid = ses.open(place / "a.edb")
        cjet.set_fault("write size", str(place), error=28)
        try:
            for _ in range(300):
                add(ses, dbid, done, 1)
                done += 1
            raise AssertionError("the disk was never full")
        except JetError as e:
            assert e.name in ("JET_errLogDiskFull", "JET_errDiskFull", "JET_errLogWriteFail", "JET_errInstanceUnavailable"), e
            assert e.hint, e
        cjet.set_fault()
    try:
        inst.term()
    except JetError as e:
        assert e.hint, e
    with cjet.Instance(place, log_kib=64):
        pass
    rows = rows_of(place)
    assert rows[:done] == list(range(done)) and len(rows) <= done + 1


@case
def read_only_folder(place):
    fill(place / "d")
    if os.geteuid() == 0:  # root may write anywhere: the fault says what the folder would
        cjet.set_fault("open dir rename unlink", str(place / "d"), error=30)
    else:
        os.chmod(place / "d", 0o500)
    inst = cjet.Instance(place / "d", log_kib=64)
    fails({"JET_errFileAccessDenied", "JET_errAccessDenied", "JET_errLogFilePathInUse", "JET_errLogWriteFail", "JET_errSystemPathInUse"}, inst.init)
    inst.destroy()
    cjet.set_fault()
    os.chmod(place / "d", 0o700)
    assert rows_of(place / "d") == list(range(200))


def holder(report, place):
    inst = cjet.Instance(place, log_kib=64)
    inst.init()
    ses = inst.session()
    ses.attach(pathlib.Path(place) / "a.edb")
    report(["HELD"])
    threading.Event().wait(60)


def second(report, place):
    place = pathlib.Path(place)
    inst = cjet.Instance(place, log_kib=64)
    fails({"JET_errLogFilePathInUse", "JET_errSystemPathInUse"}, inst.init)
    inst.destroy()
    with cjet.Instance(place.parent / "other", log_kib=64) as inst, inst.session() as ses:
        fails({"JET_errFileAccessDenied"}, ses.attach, place / "a.edb")


def test_two_processes(memory_path):
    place = memory_path / "d"
    run(lambda report, p: fill(p), str(place))
    first = Child(holder, str(place))
    first.wait_line("HELD")
    run(second, str(place))
    first.kill()
    run(lambda report, p: cjet.Instance(p, log_kib=64).init() and None, str(place))


def test_a_fork_is_told(memory_path):
    run(parent_of_fork, str(memory_path))


def parent_of_fork(report, place):
    """In a forked child the instance is dead; in the parent it goes on."""
    place = pathlib.Path(place)
    with cjet.Instance(place) as inst, inst.session() as ses:
        dbid = ses.create(place / "a.edb")
        ses.create_table(dbid, "t", TABLE, PK)
        pid = os.fork()
        if pid == 0:
            err = cjet.lib.JetBeginTransaction(ses.id)
            os._exit(0 if err == ERR["JET_errInstanceUnavailable"] else 1)
        assert os.waitpid(pid, 0)[1] == 0, "the child may use its parent's instance"
        add(ses, dbid, 0, 3)
    assert rows_of(place) == [0, 1, 2]


@pytest.fixture(autouse=True)
def no_fault_stays():
    yield
    cjet.set_fault()
