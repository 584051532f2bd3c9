"""Logs by whatever names JET_paramLegacyFileNames gives, or a foreign file system leaves: backed up, restored, rolled forward, gone on with."""

import datetime
import os
import shutil
import time

import pytest

import pyjet
from child import Child

NAMES = {3: ("edb.log", "edb00001.log"), 1: ("edb.log", "edb00000001.log"), 2: ("edb.jtx", "edb00001.jtx"), 0: ("edb.jtx", "edb00000001.jtx")}


def instance(folder, names, **params):
    return pyjet.Instance(folder, params={"LegacyFileNames": names, "LogFileSize": 128, **params})


def add(ses, path, first, n=100):
    db = ses.open(path, create=not os.path.exists(path))
    columns = {"id": pyjet.Long(), "v": pyjet.LongText()}
    table = db.create_table("t", columns=columns, indexes={"pk": pyjet.Index("+id", primary=True)}, exist_ok=True)
    with ses.transaction():
        table.insert_many({"id": i, "v": f"{i} " * 300} for i in range(first, first + n))


def ids(folder, names):
    with instance(folder, names) as inst, inst.session() as ses:
        return [row["id"] for row in ses.open(os.path.join(folder, "x.edb")).tables["t"].rows()]


@pytest.fixture(scope="module")
def made(request, tmp_path_factory):
    """A set of a full and an incremental backup with 200 rows, and the instance's own folder with 300."""
    place = tmp_path_factory.mktemp("made")
    live, path = str(place / "live"), str(place / "live" / "x.edb")
    with instance(live, request.param) as inst, inst.session() as ses:
        add(ses, path, 0)
        inst.backup(place / "set")
        add(ses, path, 100)
        inst.backup(place / "set", incremental=True)
        moment = datetime.datetime.now(datetime.timezone.utc)
        time.sleep(0.01)
        add(ses, path, 200)
    assert set(NAMES[request.param]) <= set(os.listdir(live)) | set(os.listdir(place / "set"))
    return request.param, moment, place


@pytest.fixture
def backed_up(made, tmp_path, monkeypatch):
    names, moment, place = made
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return names, moment


by_names = pytest.mark.parametrize("made", NAMES, indirect=True)


@by_names
def test_a_set_restores_and_goes_on(backed_up):
    names, _moment = backed_up
    pyjet.restore("set", "restored")
    assert ids("restored", names) == list(range(200))
    with instance("live", names) as inst, inst.session() as ses:
        add(ses, "live/x.edb", 300)
        inst.backup("set", incremental=True)
    pyjet.restore("set", "again")
    assert ids("again", names) == list(range(400))


@by_names
def test_a_set_is_rolled_forward(backed_up):
    names, moment = backed_up
    pyjet.restore("set", "whole", roll_forward="live")
    assert ids("whole", names) == list(range(300))
    pyjet.restore("set", "stopped", roll_forward="live", stop_at=moment)
    assert ids("stopped", names) == list(range(200))


@by_names
def test_an_increment_wants_its_own_sequence(backed_up, tmp_path):
    names, _moment = backed_up
    with instance("other", names) as inst, inst.session() as ses:
        for k in range(4):
            add(ses, "other/x.edb", 100 * k)
            inst.backup(f"full{k}")
        with pytest.raises(pyjet.errors.FileAlreadyExistsError, match="another log sequence"):
            inst.backup("set", incremental=True)
    pyjet.restore("set", "restored")
    assert ids("restored", names) == list(range(200))


@pytest.mark.parametrize("made", [3], indirect=True)
@pytest.mark.parametrize("upper", [str.upper, str.title])
def test_a_set_copied_by_a_file_system_that_changes_case(backed_up, upper):
    shutil.copytree("set", "copy")
    for name in os.listdir("copy"):
        os.rename(f"copy/{name}", f"copy/{upper(name)}")
    pyjet.restore("copy", "restored", rename={upper("x.edb"): "x.edb"})
    assert ids("restored", 3) == list(range(200))


@pytest.mark.parametrize("made", [3], indirect=True)
def test_hidden_files_of_others_are_no_databases(backed_up):
    for name in (".DS_Store", ".nfs0000000000a1b2c300000001", "._x.edb"):
        with open(f"set/{name}", "wb") as f:
            f.write(bytes(range(256)) * 64)
    pyjet.restore("set", "restored")
    assert os.listdir("restored") == ["x.edb"]
    assert ids("restored", 3) == list(range(200))


def test_a_hidden_database_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with instance("live", 3) as inst, inst.session() as ses:
        add(ses, "live/.x.edb", 0)
        inst.backup("set")
    pyjet.restore("set", "restored")
    assert ".x.edb" in os.listdir("restored")
    with open("set/.x.edb", "r+b") as f:
        f.write(bytes(2 * 4096))
    with pytest.raises(pyjet.errors.FileNotFoundError, match="stands for a database"):
        pyjet.restore("set", "again")


def writer(report, names, first, kill):
    """Circular logs, until those of the run before are gone: what lies below the checkpoint is deleted."""
    inst = instance("live", names, CircularLog=True, CheckpointDepthMax=128 << 10)
    before = inst.stats["log_tail"] >> 32
    with inst.session() as ses:
        while inst.stats["checkpoint"] >> 32 <= before + 1:
            add(ses, "live/x.edb", first)
            first += 100
        report(["rows", first])
        if kill:
            os._exit(0)
    inst.close()


@pytest.mark.parametrize("names, kill", [((3, 0, 3), False), ((3, 0, 3), True), ((0, 1, 2), True)])
def test_an_instance_changes_its_names(tmp_path, monkeypatch, names, kill):
    """A checkpoint that stayed under the old name is stale when the old name comes back: its logs are gone."""
    monkeypatch.chdir(tmp_path)
    rows = 0
    for given in names:
        child = Child(writer, given, rows, kill)
        child.wait_line("rows")
        while child.take(None):
            pass
        child.finish()
        rows = child.lines[-1][1]
    assert ids("live", names[0]) == list(range(rows))
    extensions = {os.path.splitext(name)[1] for name in os.listdir("live")} - {".edb", ".jrs", ".dwr"}
    assert extensions == ({".log", ".chk"} if names[0] & 1 else {".jtx", ".jcp"})
