"""Backup and restore from Python: results, progress, exceptions in callbacks, Ctrl-C, refusals, events."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pyjet
import pytest


@pytest.fixture
def big(db):
    t = db.create_table(
        "big",
        {"id": pyjet.Long(), "v": pyjet.LongBinary()},
        {"pk": pyjet.Index("+id", primary=True)},
    )
    t.insert_many({"id": n, "v": os.urandom(1500)} for n in range(3000))
    return t


def rows_of(path, name):
    with pyjet.open(path) as db:
        return [dict(row) for row in db.tables[name].rows()]


def test_full_incremental_restore(people, inst, tmp_path):
    full = inst.backup(tmp_path / "sets" / "deep" / "set")
    assert full.kind == "full" and full.databases == 1 and full.bytes > 0 and full.duration > 0
    people.get(5).update(name="changed")
    people.insert(id=1000)
    inc = inst.backup(tmp_path / "sets" / "deep" / "set", incremental=True)
    assert inc.kind == "incremental" and inc.generations[1] > full.generations[1]
    want = [dict(row) for row in people.rows()]
    result = pyjet.restore(tmp_path / "sets" / "deep" / "set", tmp_path / "back" / "here")
    assert result.databases == (str(tmp_path / "back" / "here" / "a.edb"),)
    assert rows_of(result.databases[0], "people") == want
    assert sorted(os.listdir(tmp_path / "back" / "here")) == ["a.edb"] and os.listdir(
        tmp_path / "back"
    ) == ["here"]
    for r in (full, inc, result):
        assert str(tmp_path) in str(r) and "\n" not in str(r) and "<table>" in r._repr_html_()


def test_progress_is_told_and_never_goes_back(big, inst, tmp_path):
    steps = []
    inst.backup(tmp_path / "set", progress=steps.append)
    assert steps[0].phase == "begin" and steps[-1].phase == "complete" and steps[-1].percent == 100
    assert [s.done for s in steps] == sorted(s.done for s in steps) and {s.op for s in steps} == {
        "backup"
    }
    steps.clear()
    pyjet.restore(tmp_path / "set", tmp_path / "back", progress=steps.append)
    assert steps[-1].percent == 100 and [s.done for s in steps] == sorted(s.done for s in steps)


def test_an_exception_in_the_callback_ends_the_run(big, inst, tmp_path):
    class Mine(Exception):
        pass

    def fail(step):
        if step.phase == "progress":
            raise Mine

    with pytest.raises(Mine):
        inst.backup(tmp_path / "set", progress=fail)
    assert not (tmp_path / "set").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(Mine):
        inst.backup(tmp_path / "empty", progress=fail)
    assert os.listdir(tmp_path / "empty") == []
    with pytest.raises(pyjet.BackupAbortByServerError):
        inst.backup(tmp_path / "set", progress=lambda step: False)
    inst.backup(tmp_path / "set")
    with pytest.raises(Mine):
        pyjet.restore(tmp_path / "set", tmp_path / "back", progress=fail)
    assert not (tmp_path / "back").exists() and not [
        n for n in os.listdir(tmp_path) if "restoring" in n
    ]
    assert len(big) == 3000


def test_refusals(people, inst, tmp_path):
    with pytest.raises(pyjet.MissingFullBackupError):
        inst.backup(tmp_path / "set", incremental=True)
    assert not (tmp_path / "set").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    with pytest.raises(pyjet.BackupDirectoryNotEmptyError):
        inst.backup(tmp_path / "full")
    with pytest.raises(TypeError):
        inst.backup(tmp_path / "set", progress=5)
    inst.backup(tmp_path / "set")
    with pytest.raises(pyjet.DestinationNotEmptyError, match="replace=True"):
        pyjet.restore(tmp_path / "set", tmp_path / "full")
    assert (tmp_path / "full" / "x").read_text() == "mine"
    pyjet.restore(tmp_path / "set", tmp_path / "full", replace=True)
    assert os.listdir(tmp_path / "full") == ["a.edb"]
    with pytest.raises(pyjet.JetError):
        pyjet.restore(tmp_path / "nothing", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_stop_from_another_thread(big, inst, tmp_path):
    started, outcome = threading.Event(), []

    def slow(step):
        started.set()
        time.sleep(0.05)

    def work():
        try:
            outcome.append(inst.backup(tmp_path / "set", progress=slow))
        except pyjet.BackupAbortByServerError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(20)
    with pytest.raises(pyjet.BackupInProgressError):
        inst.backup(tmp_path / "other")
    inst.stop_backup()
    thread.join(20)
    assert isinstance(outcome[0], pyjet.BackupAbortByServerError)
    with pytest.raises(pyjet.BackupAbortByServerError, match="resume_backup"):
        inst.backup(tmp_path / "set")
    inst.resume_backup()
    assert str(inst.backup(tmp_path / "set")).startswith("full backup")


def test_ctrl_c_ends_a_backup(tmp_path):
    code = f"""
        import os, pyjet, time, sys
        inst = pyjet.Instance({str(tmp_path / "d")!r})
        ses = inst.session()
        t = ses.create({str(tmp_path / "d" / "a.edb")!r}).create_table("t", {{"v": pyjet.LongBinary()}})
        with ses.transaction(lazy=True):
            t.insert_many({{"v": os.urandom(20000)}} for n in range(2000))
        def tell(step):
            print(step.phase, flush=True)
            time.sleep(0.02)
        try:
            inst.backup({str(tmp_path / "set")!r}, progress=tell)
            print("finished")
        except KeyboardInterrupt:
            print("interrupted", os.path.exists({str(tmp_path / "set")!r}), len(t), flush=True)
        inst.backup({str(tmp_path / "set")!r})
        print("again", flush=True)
        inst.close()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    try:
        for line in child.stdout:
            if line == "progress\n":
                break
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
        assert child.wait(60) == 0
    finally:
        child.kill()
    line = next(x for x in rest.splitlines() if x.startswith("interrupted"))
    _, exists, count = line.split()
    steps = rest.count("progress\n")  # of a hundred; python -m bench.interrupt measures the time
    assert steps < 20 and exists == "False" and count == "2000" and rest.endswith("again\n"), rest


def test_events_reach_the_logger(people, inst, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="pyjet.events")
    inst.backup(tmp_path / "set")
    pyjet.restore(tmp_path / "set", tmp_path / "back")
    records = [r for r in caplog.records if r.name == "pyjet.events"]
    assert records and all(
        isinstance(r.event_id, int) and isinstance(r.params, tuple) for r in records
    )
    assert {210, 213} <= {r.event_id for r in records}, sorted({r.event_id for r in records})


def test_a_handler_that_raises_stays_outside(people, inst, tmp_path, monkeypatch):
    class Bad(logging.Handler):
        def emit(self, record):
            raise RuntimeError("bad handler")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: seen.append(str(what.exc_value)))
    logger, bad = logging.getLogger("pyjet.events"), Bad()
    level = logger.level
    logger.addHandler(bad)
    logger.setLevel(logging.INFO)
    try:
        inst.backup(tmp_path / "set")
    finally:
        logger.removeHandler(bad)
        logger.setLevel(level)
    assert "bad handler" in seen and len(people) == 100


def test_recovery_after_a_kill(tmp_path):
    code = f"""
        import os, pyjet
        inst = pyjet.Instance({str(tmp_path / "d")!r}, log_file_size=512 << 10)
        ses = inst.session()
        t = ses.create({str(tmp_path / "d" / "a.edb")!r}).create_table("t", {{"a": pyjet.Long()}})
        t.insert_many({{"a": n}} for n in range(1000))
        ses.begin()
        t.insert(a=-1)
        print("ready", flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "ready\n"
    with pytest.raises(pyjet.DatabaseDirtyShutdownError):
        pyjet.open(tmp_path / "d" / "a.edb")
    steps = []
    with (
        pyjet.Instance(tmp_path / "d", log_file_size=512 << 10, progress=steps.append) as inst,
        inst.session() as ses,
    ):
        assert (
            inst.recovery.redone and inst.recovery.records > 0 and "recovered" in str(inst.recovery)
        )
        assert [r["a"] for r in ses.open(tmp_path / "d" / "a.edb").tables["t"].rows()] == list(
            range(1000)
        )
        assert inst.stats["recovery"]["redone"]
    assert steps and steps[-1].op == "recovery"


def test_api_names(tmp_path):
    from pyjet import api

    inst = api.JetCreateInstance("api test")
    for param in (api.JET_paramSystemPath, api.JET_paramLogFilePath, api.JET_paramTempPath):
        api.JetSetSystemParameter(inst, None, param, text=f"{tmp_path}/")
    api.JetInit(inst)
    ses = api.JetBeginSession(inst)
    dbid = api.JetCreateDatabase(ses, tmp_path / "a.edb")
    table = api.JetCreateTable(ses, dbid, "t")
    column = api.JetAddColumn(ses, table, ("c", api.JET_coltypLong, 0, 0, 0, None))
    api.JetBeginTransaction(ses)
    api.JetPrepareUpdate(ses, table, api.JET_prepInsert)
    api.JetSetColumn(ses, table, column, b"\x05\0\0\0")
    bookmark = api.JetUpdate(ses, table)
    api.JetCommitTransaction(ses)
    api.JetGotoBookmark(ses, table, bookmark)
    assert api.JetRetrieveColumn(ses, table, column) == b"\x05\0\0\0"
    other = api.JetBeginSession(inst)
    with pytest.raises(pyjet.SesidTableIdMismatchError):
        api.JetMove(other, table, 1)
    calls = []
    (tmp_path / "set").mkdir()
    assert (
        api.JetBackupInstance(inst, tmp_path / "set", 0, lambda *a: calls.append(a) or False)
        is None
    )
    assert (
        calls[0][1:3] == (api.JET_snpBackup, api.JET_sntBegin)
        and calls[-1][2] == api.JET_sntComplete
    )
    assert {a[3].cunitTotal for a in calls} == {100}
    api.JetEndSession(other)
    api.JetEndSession(ses)
    api.JetTerm(inst)
    assert all(getattr(api, name).__doc__ for name in api.__all__ if name.startswith("Jet"))


def test_folders_that_could_not_all_be_made_go(people, inst, tmp_path, monkeypatch):
    real = os.mkdir

    def mkdir(path, *args):
        if os.path.basename(path) == "c":
            raise OSError(28, "No space left on device")
        real(path, *args)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(OSError):
        inst.backup(tmp_path / "a" / "b" / "c" / "d")
    assert not (tmp_path / "a").exists()
