"""Information that carries backup state: JetGetInstanceInfo, file and log information, inst.info(), pyjet.header; restore's options."""

import ctypes as C
import datetime
import json
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet
from child import run
from cjet import ERR, K, u32

import pyjet
from pyjet import errors, schema

INSTANCE_INFO = cjet._struct("INSTANCE_INFO", ("hInstanceId", C.c_uint64), ("szInstanceName", C.c_void_p), ("cDatabases", C.c_int64),
                             ("szDatabaseFileName", C.POINTER(C.c_void_p)), ("display", C.c_void_p), ("slv", C.c_void_p))


def narrow(address):
    return C.string_at(address).decode()


def wide(address):
    raw = b""
    while raw[-2:] != b"\0\0" or len(raw) % 2:
        raw += C.string_at(address + len(raw), 2)
    return raw[:-2].decode("utf-16-le")


def instances(form, text):
    n, array = u32(), C.POINTER(INSTANCE_INFO)()
    cjet.call(f"JetGetInstanceInfo{form}", C.byref(n), C.byref(array))
    found = {text(array[i].szInstanceName): (array[i].hInstanceId, [text(array[i].szDatabaseFileName[k]) for k in range(array[i].cDatabases)]) for i in range(n.value)}
    cjet.lib.JetFreeBuffer(array)
    return found


def fails(error, call, *args):
    with pytest.raises(cjet.JetError) as caught:
        call(*args)
    assert caught.value.name == error, caught.value


def instance_info(report, place):
    """BK-358: two running instances, one that is only created, none."""
    place = pathlib.Path(place)
    n, array = u32(7), C.POINTER(INSTANCE_INFO)()
    cjet.call("JetGetInstanceInfoA", C.byref(n), C.byref(array))
    assert n.value == 0 and not array
    one, two, idle = (cjet.Instance(place / name, log_kib=64) for name in ("one", "two", "idle"))
    one.init(), two.init()
    ses = one.session()
    paths = [str(place / "one" / name) for name in ("a.edb", "Größe-𝄞.edb")]
    for path in paths:
        ses.close(ses.create(path))
    for form, text in (("A", narrow), ("W", wide), ("", narrow)):
        found = instances(form, text)
        assert found == {one.name: (one.handle.value, paths), two.name: (two.handle.value, []), idle.name: (idle.handle.value, [])}
    assert cjet.lib.JetGetInstanceInfoA(None, C.byref(array)) == ERR["JET_errInvalidParameter"]
    assert cjet.lib.JetGetInstanceInfoA(C.byref(n), None) == ERR["JET_errInvalidParameter"]
    ses.detach(paths[0])
    assert instances("A", narrow)[one.name][1] == paths[1:]
    signature = (C.c_uint8 * 28)()
    cjet.call("JetGetInstanceMiscInfo", one.handle, signature, u32(28), u32(K.JET_InstanceMiscInfoLogSignature))
    info = log_info(place / "one" / "edb.log", 0)
    assert bytes(signature) == info[4:32]
    fails("JET_errBufferTooSmall", cjet.call, "JetGetInstanceMiscInfo", one.handle, signature, u32(27), u32(0))
    fails("JET_errInvalidParameter", cjet.call, "JetGetInstanceMiscInfo", one.handle, None, u32(28), u32(0))
    fails("JET_errInvalidParameter", cjet.call, "JetGetInstanceMiscInfo", one.handle, signature, u32(28), u32(9))
    fails("JET_errNotInitialized", cjet.call, "JetGetInstanceMiscInfo", idle.handle, signature, u32(28), u32(0))


LOG_SIZES = (80, 88, 104)


def log_info(path, level):
    room = C.create_string_buffer(LOG_SIZES[level])
    cjet.call("JetGetLogFileInfoA", cjet.text(path), room, u32(LOG_SIZES[level]), u32(level))
    return room.raw


def number(raw, at, size=4):
    return int.from_bytes(raw[at : at + size], "little")


def misc(path, size):
    room = C.create_string_buffer(size)
    cjet.call("JetGetDatabaseFileInfoA", cjet.text(path), room, u32(size), u32(K.JET_DbInfoMisc))
    return room.raw



def file_info(report, place):
    """BK-359, BK-360: of files in a set, of attached databases, of damaged files."""
    place = pathlib.Path(place)
    inst = cjet.Instance(place / "data", log_kib=64)
    inst.init()
    ses = inst.session()
    dbid = ses.create(place / "data" / "a.edb")
    ses.create_table(dbid, "t", {"id": (K.JET_coltypLong,)})
    inst.jet_backup(place / "set")
    sizes = sorted(size for size in range(100, 560) if misc_ok(place / "set" / "a.edb", size))
    assert len(sizes) == 7, sizes
    whole = misc(place / "set" / "a.edb", sizes[-1])
    for size in sizes:
        assert misc(place / "set" / "a.edb", size) == whole[:size]  # each form is the beginning of the next
    fails("JET_errInvalidBufferSize", misc, place / "set" / "a.edb", sizes[0] + 4 if sizes[0] + 4 not in sizes else sizes[0] + 8)
    in_set = json.loads(pyjet._jet.dump_header(str(place / "set" / "a.edb")))
    low = in_set["current_full_backup"]["gen_low"]
    assert low > 0 and low.to_bytes(4, "little") in whole
    # an attached database is answered from memory; the stamp of the backup is there
    live = misc(place / "data" / "a.edb", sizes[-1])
    assert live[:8] == whole[:8] and live != whole
    room = C.create_string_buffer(sizes[-1])
    cjet.call("JetGetDatabaseInfoA", ses.id, dbid, room, u32(sizes[-1]), u32(K.JET_DbInfoMisc))
    assert room.raw == live
    for level, size, check in ((K.JET_DbInfoFilesize, 8, lambda v: v == (place / "data" / "a.edb").stat().st_size),
                               (K.JET_DbInfoFilesizeOnDisk, 8, lambda v: v == (place / "data" / "a.edb").stat().st_blocks * 512),
                               (K.JET_DbInfoDBInUse, 4, lambda v: v == 1), (K.JET_DbInfoPageSize, 4, lambda v: v == 4096),
                               (K.JET_DbInfoFileType, 4, lambda v: v == K.JET_filetypeDatabase)):
        value = C.create_string_buffer(size)
        cjet.call("JetGetDatabaseFileInfoA", cjet.text(place / "data" / "a.edb"), value, u32(size), u32(level))
        assert check(int.from_bytes(value.raw, "little")), level
        fails("JET_errInvalidBufferSize", cjet.call, "JetGetDatabaseFileInfoA", cjet.text(place / "data" / "a.edb"), value, u32(size + 1), u32(level))
    pages = u32()
    cjet.call("JetGetDatabaseInfoA", ses.id, dbid, C.byref(pages), u32(4), u32(K.JET_DbInfoFilesizeOnDisk))
    assert 0 < pages.value
    upgrade = (u32 * 7)(28)
    cjet.call("JetGetDatabaseFileInfoA", cjet.text(place / "set" / "a.edb"), upgrade, u32(28), u32(K.JET_DbInfoUpgrade))
    assert upgrade[6] == 2  # already upgraded
    upgrade[0] = 5
    fails("JET_errInvalidParameter", cjet.call, "JetGetDatabaseFileInfoA", cjet.text(place / "set" / "a.edb"), upgrade, u32(28), u32(K.JET_DbInfoUpgrade))
    fails("JET_errFileNotFound", misc, place / "none.edb", sizes[0])
    log = max((place / "set").glob("*.log"))
    fails("JET_errFileInvalidType", misc, log, sizes[0])
    fails("JET_errInvalidParameter", cjet.call, "JetGetDatabaseFileInfoA", cjet.text(log), room, u32(4), u32(99))
    # logs
    generation = int(log.name[3:8], 16)
    for level in range(3):
        raw = log_info(log, level)
        assert number(raw, 0) == generation
        assert number(raw, 64) == 4096 and number(raw, 68) == 1 and number(raw, 72) * 4096 == log.stat().st_size and number(raw, 76) == 4096
    room = C.create_string_buffer(200)
    fails("JET_errInvalidBufferSize", cjet.call, "JetGetLogFileInfoA", cjet.text(log), room, u32(84), u32(0))
    fails("JET_errInvalidParameter", cjet.call, "JetGetLogFileInfoA", cjet.text(log), room, u32(80), u32(3))
    fails("JET_errFileNotFound", cjet.call, "JetGetLogFileInfoA", cjet.text(place / "none.log"), room, u32(80), u32(0))
    data = bytearray(log.read_bytes())
    data[100] ^= 1
    (place / "bad.log").write_bytes(data)
    (place / "short.log").write_bytes(log.read_bytes()[:-4096])
    for name in ("bad.log", "short.log"):
        fails("JET_errLogFileCorrupt", cjet.call, "JetGetLogFileInfoA", cjet.text(place / name), room, u32(80), u32(0))
    inst.term()


def misc_ok(path, size):
    room = C.create_string_buffer(size)
    return cjet.lib.JetGetDatabaseFileInfoA(cjet.text(path), room, u32(size), u32(K.JET_DbInfoMisc)) == 0


def test_instance_info(tmp_path):
    """BK-358"""
    run(instance_info, str(tmp_path))


def test_file_info(tmp_path):
    """BK-359, BK-360"""
    run(file_info, str(tmp_path))


# ---- the Python layer ----


@pytest.fixture
def world(tmp_path):
    """An instance whose table counts commits; (time, position, rows) of each."""

    class W:
        place = tmp_path
        inst = pyjet.Instance(tmp_path / "data", log_file_size=128 << 10)
        session = inst.session()
        db = session.create(tmp_path / "data" / "a.edb")
        table = db.create_table("t", {"id": schema.Long(), "v": schema.LongBinary()}, {"pk": schema.Index("+id", primary=True)})


        def commits(self, n):
            for _ in range(n):
                self.table.insert(id=len(self.history), v=b"x" * 900)
                at = pyjet.LgPos.from_int(self.inst.stats["log_tail"] - 1)
                self.history.append((datetime.datetime.now(), at))

    w = W()
    w.history = []
    yield w
    w.inst.close()


def rows(path):
    with pyjet.open(path) as db:
        return [r["id"] for r in db.tables["t"]]


def test_restore_to_a_moment(world, tmp_path):
    world.commits(30)
    world.inst.backup(tmp_path / "set")
    world.commits(60)
    world.inst.backup(tmp_path / "set", incremental=True)
    time.sleep(0.02)
    world.commits(30)
    time.sleep(0.02)
    moment = datetime.datetime.now()
    time.sleep(0.02)
    world.commits(30)
    for n in (40, 75, 100, 149):
        at = world.history[n][1]
        for stop in (at, str(at)):
            result = pyjet.restore(tmp_path / "set", tmp_path / "to", stop_at=stop, roll_forward=tmp_path / "data", replace=True)
            assert rows(result.databases[0]) == list(range(n + 1))
    for stop in (moment, moment.astimezone(datetime.timezone.utc)):
        result = pyjet.restore(tmp_path / "set", tmp_path / "to", stop_at=stop, roll_forward=tmp_path / "data", replace=True, rename={"a.edb": "then.edb"})
        assert rows(tmp_path / "to" / "then.edb") == list(range(120)) and result.databases == (str(tmp_path / "to" / "then.edb"),)
    assert sorted(p.name for p in (tmp_path / "to").iterdir()) == ["then.edb"]
    with pytest.raises(errors.EndingRestoreLogTooLowError):
        pyjet.restore(tmp_path / "set", tmp_path / "early", stop_at=world.history[3][1])
    with pytest.raises(errors.MissingLogFileError):
        pyjet.restore(tmp_path / "set", tmp_path / "early", stop_at=pyjet.LgPos(10**6))
    for bad in ({"a.edb": "x/y.edb"}, {"a.edb": ""}, {"a.edb": ".."}):
        with pytest.raises(errors.InvalidParameterError):
            pyjet.restore(tmp_path / "set", tmp_path / "early", rename=bad)
    with pytest.raises(errors.DatabaseNotFoundError):
        pyjet.restore(tmp_path / "set", tmp_path / "early", rename={"no.edb": "x.edb"})
    with pytest.raises(TypeError):
        pyjet.restore(tmp_path / "set", tmp_path / "early", stop_at=7)
    assert not (tmp_path / "early").exists() and not list(tmp_path.glob(".*restoring"))


def test_an_increment_without_its_full_set_is_refused(world, tmp_path):
    world.inst.backup(tmp_path / "set")
    world.commits(3)
    with pytest.raises(errors.MissingFullBackupError, match="BackupRepo"):
        world.inst.backup(tmp_path / "other", incremental=True)
    assert not (tmp_path / "other").exists()
    with pytest.raises(errors.MissingFullBackupError), world.inst.backup_iter(tmp_path / "other", incremental=True) as steps:
        list(steps)
    world.inst.backup(tmp_path / "set", incremental=True)


def test_info(world, tmp_path):
    before = world.inst.info()
    assert before.running and before.logging and not before.circular_log and not before.backup_running
    assert before.log_path == str(tmp_path / "data") and before.log_file_size == 128 << 10
    (database,) = before.databases
    assert database.path == str(tmp_path / "data" / "a.edb") and not database.header.full_backup and not database.header.clean
    world.commits(5)
    result = world.inst.backup(tmp_path / "set")
    after = world.inst.info()
    stamp = after.databases[0].header.full_backup
    assert stamp and (stamp.gen_low, stamp.gen_high) == result.generations
    assert abs(datetime.datetime.now(datetime.timezone.utc) - stamp.time) < datetime.timedelta(minutes=5)
    assert after.generation > before.generation and after.log_tail > before.log_tail
    assert json.loads(json.dumps(after.to_dict()))["databases"][0]["header"]["full_backup"]["gen_low"] == stamp.gen_low
    assert "<table>" in after._repr_html_() and "full_backup" in after._repr_html_()
    idle = pyjet.Instance(tmp_path / "idle", init=False)
    assert not idle.info().running and idle.info().databases == ()
    idle.close()


def test_header(world, tmp_path):
    world.commits(5)
    world.inst.backup(tmp_path / "set")
    world.inst.close()
    database = pyjet.header(tmp_path / "data" / "a.edb")
    assert isinstance(database, pyjet.DatabaseHeader) and database.clean and not database.from_backup
    copy = pyjet.header(tmp_path / "set" / "a.edb")
    assert copy.from_backup and not copy.clean and copy.sign_db == database.sign_db
    log = pyjet.header(tmp_path / "data" / "edb.log")
    assert isinstance(log, pyjet.LogHeader) and log.signature == database.sign_log and log.attached[0].path.endswith("a.edb")
    checkpoint = pyjet.header(tmp_path / "data" / "edb.chk")
    assert isinstance(checkpoint, pyjet.CheckpointHeader) and checkpoint.signature == log.signature and checkpoint.full_backup > pyjet.LgPos()
    for found in (database, copy, log, checkpoint):
        assert json.dumps(found.to_dict()) and found._repr_html_().startswith("<table><caption>")
    (tmp_path / "nameless").write_bytes((tmp_path / "data" / "edb.chk").read_bytes())
    assert pyjet.header(tmp_path / "nameless").checkpoint == checkpoint.checkpoint
    with pytest.raises(FileNotFoundError):
        pyjet.header(tmp_path / "none.edb")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 64)
    with pytest.raises(errors.JetError):
        pyjet.header(tmp_path / "noise")


def test_positions():
    at = pyjet.LgPos.parse("0000000A:0001:0028")
    assert (at.generation, at.segment, at.byte) == (10, 1, 40) and str(at) == "0000000A:0001:0028"
    assert pyjet.LgPos.from_int(int(at)) == at and pyjet.LgPos(9, 5) < at < pyjet.LgPos(11)
    for bad in ("", "1:2", "x:y:z"):
        with pytest.raises(errors.InvalidParameterError):
            pyjet.LgPos.parse(bad)
    with pytest.raises(errors.InvalidParameterError):
        pyjet.LgPos(-1)
