"""Rows of the behaviours for recovery at JetInit, log files, the checkpoint, parameters, the header and the table of errors."""

import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import many_logs, SMALL_DEPTH  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import Child, run  # noqa: E402
from cjet import ERR, K, call, lib, text, u32, u64  # noqa: E402
from test_priority1 import World, count, files  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = Rows()


def crash(report, place, rows, depth):
    """A world whose process ends without JetTerm, with an open transaction; reports what recovery needs."""
    w = World(place, rows=rows, params={K.JET_paramCheckpointDepthMax: depth} if depth else {})
    if depth:
        many_logs(w, 3)
    ses = w.inst.session()
    dbid = ses.open(w.data / "a.edb", attach=False)
    ses.begin()
    with ses.table(dbid, "t") as t:
        t.insert(id=999_999, v=b"never committed")
    w.add(60)
    report(["state", w.inst.stats().checkpoint >> 32, w.inst.stats().log_tail >> 32, w.rows])
    os._exit(0)


class Dirty:
    """What a crash left; use(): a copy of it as the live folder, at the same paths."""

    def __init__(self, place, rows=60, depth=64 << 10):
        self.place = pathlib.Path(place)
        self.data = self.place / "data"
        child = Child(crash, str(place), rows, depth)
        while child.take(None):
            pass
        child.finish()
        _, self.checkpoint, self.top, self.rows = next(line for line in child.lines if line[0] == "state")
        shutil.copytree(self.data, self.place / "kept")

    def use(self):
        shutil.rmtree(self.data)
        shutil.copytree(self.place / "kept", self.data)
        return cjet.Instance(self.data, log_kib=64)

    def log(self, gen):
        return self.data / f"edb{gen:05X}.log"

    def fails(self, inst, error, grbit=0):
        with cjet.Events() as events:
            try:
                inst.init(grbit)
            except cjet.JetError as e:
                assert e.name == error, f"{e}, expected {error}"
                assert e.hint
                return events
        raise AssertionError(f"{error} did not come")

    def whole(self, inst):
        inst.init()
        inst.term()
        assert count(self.data / "a.edb") == self.rows


# ---- JetInit ----


@ROWS("BK-331")
def what_was_committed_is_there(place):
    d = Dirty(place)
    d.whole(d.use())


@ROWS("BK-333")
def without_the_current_log(place):
    d = Dirty(place)
    inst = d.use()
    (d.data / "edb.log").unlink()
    d.fails(inst, "JET_errMissingLogFile")
    second = pathlib.Path(place) / "second"
    child = Child(killed_in_a_roll, str(second))
    while child.take(None):
        pass
    assert os.waitstatus_to_exitcode(child.finish()) == 7, "no roll came"
    done = child.lines[-1][1]
    assert not (second / "data" / "edb.log").exists() and (second / "data" / "edbtmp.log").exists()
    inst = cjet.Instance(second / "data", log_kib=64)
    inst.init()
    inst.term()
    assert count(second / "data" / "a.edb") in (done, done + 1)


def killed_in_a_roll(report, place):
    """Between the two renames of a roll: the current log has its archive's name, the next one is still called edbtmp.log."""
    import threading
    import time

    w = World(place, rows=20)
    cjet.set_fault("rename", "edbtmp", count=1, delay_ms=60_000)

    def watch():
        while cjet.lib.PyjetFaultHits() == 0:
            time.sleep(0.0005)
        os._exit(7)

    threading.Thread(target=watch, daemon=True).start()
    for _ in range(200):
        w.add(1)
        report(["rows", w.rows])


@ROWS("BK-334", "BK-335")
def a_log_that_recovery_needs_is_gone(place):
    d = Dirty(place)
    assert d.checkpoint + 1 < d.top
    inst = d.use()
    d.log(d.checkpoint + 1).unlink()
    assert 558 in d.fails(inst, "JET_errMissingLogFile").ids()
    inst = d.use()
    d.log(d.checkpoint).unlink()
    assert 455 in d.fails(inst, "JET_errMissingLogFile").ids()


@ROWS("BK-336", "BK-337")
def without_the_checkpoint(place):
    d = Dirty(place)
    inst = d.use()
    (d.data / "edb.chk").unlink()
    d.whole(inst)
    inst = d.use()
    raw = bytearray((d.data / "edb.chk").read_bytes())
    raw[:4096] = os.urandom(4096)
    (d.data / "edb.chk").write_bytes(raw)
    inst.init()
    assert inst.stats().recovery.gen_first == d.checkpoint, "the second copy was not used"
    inst.term()
    assert count(d.data / "a.edb") == d.rows


@ROWS("BK-338")
def another_size_of_logs(place):
    d = Dirty(place)
    for make in (lambda: d.use(), None):
        if make is not None:
            make()
        inst = cjet.Instance(d.data, log_kib=128)
        d.fails(inst, "JET_errLogFileSizeMismatchDatabasesConsistent")
        inst = cjet.Instance(d.data, log_kib=64)
        recovery = inst.init()
        assert not recovery.redone, "the databases were not recovered"
        inst.term()
        assert count(d.data / "a.edb") == d.rows


@ROWS("BK-339", "BK-340")
def a_copy_out_of_a_set_is_no_database(place):
    w = World(place, rows=40)
    w.backup()
    w.add(20)
    w.inst.term()
    other = cjet.Instance(w.place / "other", log_kib=64)
    other.init()
    with other.session() as ses:
        w.fails("JET_errSoftRecoveryOnBackupDatabase", ses.attach, w.place / "set" / "a.edb")
    other.term()
    run(put_in_place, str(w.place / "second"))


def put_in_place(report, place):
    d = Dirty.__new__(Dirty)
    d.place, d.data = pathlib.Path(place), pathlib.Path(place) / "data"
    child = Child(crash_after_backup, place)
    while child.take(None):
        pass
    child.finish()
    shutil.copy(d.place / "set" / "a.edb", d.data / "a.edb")
    events = d.fails(cjet.Instance(d.data, log_kib=64), "JET_errSoftRecoveryOnBackupDatabase")
    assert any("a.edb" in p for e in events.seen if e[0] == 619 for p in e[2])
    dirty = d.place / "kept" / "a.edb"
    inst = cjet.Instance(d.place / "third", log_kib=64)
    inst.init()
    with inst.session() as ses:
        try:
            ses.attach(dirty)
        except cjet.JetError as e:
            assert e.name == "JET_errDatabaseDirtyShutdown"
        else:
            raise AssertionError("a dirty database was attached")
    inst.term()


def crash_after_backup(report, place):
    w = World(place, rows=40)
    w.backup()
    w.add(40)
    (w.place / "kept").mkdir()
    shutil.copy(w.data / "a.edb", w.place / "kept" / "a.edb")
    os._exit(0)


@ROWS("BK-341")
def a_database_is_gone(place):
    d = Dirty(place)
    inst = d.use()
    for p in (d.data / "a.edb", d.data / "edb.dwr"):
        p.unlink(missing_ok=True)
    d.fails(inst, "JET_errAttachedDatabaseMismatch")
    inst = cjet.Instance(d.data, log_kib=64)
    inst.init(K.JET_bitReplayIgnoreMissingDB)
    inst.term()


@ROWS("BK-341", "init4")
def a_map_says_what_a_missing_database_means(place):
    """JET_RSTMAP2.grbit: each entry for its own; the call's grbit means those that say nothing."""
    ignore, fail = K.JET_bitRestoreMapIgnoreWhenMissing, K.JET_bitRestoreMapFailWhenMissing
    d = Dirty(place)
    inst = d.use()
    path, kept = d.data / "a.edb", d.place / "aside.edb"
    path.rename(kept)
    (d.data / "edb.dwr").unlink(missing_ok=True)

    def refused(bits, grbit=0):
        try:
            inst.init4([(path, path, bits)], 0, grbit)
        except cjet.JetError as told:
            assert told.name == "JET_errAttachedDatabaseMismatch" and told.hint
        else:
            raise AssertionError("it recovered without the file")

    refused(0)
    refused(fail)
    refused(fail, K.JET_bitReplayIgnoreMissingDB)
    assert not path.exists()
    inst.init4([(path, path, ignore)])
    inst.term()
    assert not path.exists() and kept.exists()


# ---- files ----


@ROWS("BK-362", "BK-363", "BK-364", "BK-365", "BK-366")
def files_of_an_instance(place):
    w = World(pathlib.Path(place) / "w", ("a.edb",), rows=10)
    w.inst.term()
    inst = cjet.Instance(w.data, log_kib=64)
    inst.init()
    w.inst, w.ses = inst, inst.session()
    w.dbids = [w.ses.open(w.data / "a.edb")]
    while w.inst.stats().log_tail >> 32 <= 0x21:
        w.add(40)
    assert (w.data / "edb0001F.log").exists() and (w.data / "edb00020.log").exists()
    before = None
    for gen in range(0x18, 0x21):
        raw = (w.data / f"edb{gen:05X}.log").read_bytes()
        assert len(raw) == 64 << 10
        words = struct.unpack_from("<1024I", raw)
        xor = 0x89ABCDEF
        for word in words[1:]:
            xor ^= word
        assert words[0] == xor and words[1] == gen and raw[667] == 3
        created, previous, signature = raw[16:24], raw[24:32], raw[44:72]
        assert before is None or (previous, signature) == before
        before = (created, signature)
    kept = [p for pattern in ("edb*.log", "edbres*.jrs") for p in w.data.glob(pattern) if p.name != "edbtmp.log"]  # being made
    sizes = {p.stat().st_size for p in kept}
    assert sizes == {64 << 10} and len(list(w.data.glob("edbres*.jrs"))) == 2
    w.inst.term()
    chk = (w.data / "edb.chk").read_bytes()
    assert len(chk) == 8192 and chk[:4096] == chk[4096:] and chk[667] == 4
    xor = 0x89ABCDEF
    for word in struct.unpack_from("<1024I", chk)[1:]:
        xor ^= word
    assert struct.unpack_from("<I", chk)[0] == xor
    with cjet.Instance(w.place / "128", log_kib=128):
        sizes = {p.stat().st_size for p in (w.place / "128").glob("edb*") if p.suffix in (".log", ".jrs")}
    assert sizes == {131072}


# ---- parameters ----


@ROWS("BK-367")
def when_parameters_may_be_set(place):
    w = World(place, rows=10)
    w.fails("JET_errAlreadyInitialized", cjet.set_param, w.inst.handle, K.JET_paramCircularLog, 1)
    for value in (0, 1):
        cjet.set_param(w.inst.handle, K.JET_paramCreatePathIfNotExist, value)
        assert cjet.get_param(w.inst.handle, K.JET_paramCreatePathIfNotExist)[0] == value


@ROWS("BK-368")
def logs_that_would_be_lost(place):
    inst = cjet.Instance(pathlib.Path(place) / "d", log_kib=64, params={K.JET_paramCleanupMismatchedLogFiles: 1})
    try:
        inst.init()
    except cjet.JetError as e:
        assert e.name == "JET_errInvalidSettings" and "circular" in e.detail
    else:
        raise AssertionError("it started")
    with cjet.Instance(pathlib.Path(place) / "c", log_kib=64, circular=True, params={K.JET_paramCleanupMismatchedLogFiles: 1}):
        pass


# ---- header and errors ----


def compiles(tmp_path, source, *flags):
    path = tmp_path / "use.c"
    path.write_text('#include "include/esent.h"\n' + source)
    done = subprocess.run(
        ["cc", "-std=c17", "-Werror", "-fsyntax-only", f"-I{ROOT / 'csrc'}", *flags, str(path)], capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode == 0, done.stderr


FORMS = """
#define BOTH(name, ...) {{ void *p[] = {{(void *)name##A, (void *)name##W, (void *)name}}; (void)p; }}
int main(void) {{ {} return 0; }}
"""
WITH_FORMS = (
    "JetBackup JetBackupInstance JetRestore JetRestore2 JetRestoreInstance JetOpenFile JetOpenFileInstance JetGetAttachInfo "
    "JetGetAttachInfoInstance JetGetLogInfo JetGetLogInfoInstance JetAttachDatabase JetSetSystemParameter"
).split()
WITHOUT_FORMS = (
    "JetBeginExternalBackup JetBeginExternalBackupInstance JetReadFile JetReadFileInstance JetCloseFile JetCloseFileInstance "
    "JetTruncateLog JetTruncateLogInstance JetEndExternalBackup JetEndExternalBackupInstance JetEndExternalBackupInstance2 "
    "JetStopBackup JetStopBackupInstance JetStopService JetStopServiceInstance"
).split()


def test_declarations(tmp_path):
    """BK-112, BK-116: each function of the pages is declared, with A and W where it takes text, and the plain name follows JET_UNICODE."""
    body = " ".join(f"BOTH({name})" for name in WITH_FORMS) + " ".join(f"(void)(void *){name};" for name in WITHOUT_FORMS)
    ok, errors = compiles(tmp_path, FORMS.format(body))
    assert ok, errors
    narrow = "JET_ERR f(JET_INSTANCE i) { return JetBackupInstance(i, \"set\", 0, 0); }"
    wide = "JET_ERR f(JET_INSTANCE i) { return JetBackupInstance(i, u\"set\", 0, 0); }"
    assert compiles(tmp_path, narrow)[0] and not compiles(tmp_path, wide)[0]
    assert compiles(tmp_path, wide, "-DJET_UNICODE")[0] and not compiles(tmp_path, narrow, "-DJET_UNICODE")[0]
    header = (ROOT / "csrc/include/esent.h").read_text()
    listed = set(re.findall(r"#define (Jet\w+) ", (ROOT / "csrc/include/esent_unicode.h").read_text()))
    assert listed == {n for n in re.findall(r"JET_ERR (Jet\w+)W\(", header) if f"JET_ERR {n}(" in header}


def test_levels_of_the_api(tmp_path):
    """BK-114, BK-183: at the level of Windows 2000 the forms with an instance are not there, nor is JET_bitBackupSnapshot."""
    for name in ("JetBackupInstance", "JetBeginExternalBackupInstance", "JetStopBackupInstance", "JetRestoreInstance"):
        use = f"void *f(void) {{ return (void *){name}; }}"
        assert not compiles(tmp_path, use, "-DJET_VERSION=0x0500")[0], name
        assert compiles(tmp_path, use, "-DJET_VERSION=0x0501")[0] and compiles(tmp_path, use)[0], name
    use = "void *f(void) { return (void *)JetBackup; }"
    assert compiles(tmp_path, use, "-DJET_VERSION=0x0500")[0]
    bit = "int f(void) { return JET_bitBackupSnapshot == 0x10; }"
    assert not compiles(tmp_path, bit, "-DJET_VERSION=0x0500")[0] and compiles(tmp_path, bit, "-DJET_VERSION=0x0501")[0]


# What the pages and the rulings allow for JetBackupInstance, JetBeginExternalBackupInstance and JetStopBackupInstance.
ALLOWED = {
    "BackupInProgress": -505, "BackupNotAllowedYet": -523, "ClientRequestToStopJetService": -1329, "InstanceUnavailable": -1090,
    "InvalidBackup": -526, "InvalidGrbit": -900, "InvalidParameter": -1003, "InvalidPath": -1023, "LoggingDisabled": -516,
    "LogReadVerifyFailure": -612, "LogWriteFail": -510, "NotInitialized": -1029, "ReadVerifyFailure": -1018,
    "RestoreInProgress": -506, "SessionSharingViolation": -1910, "TermInProgress": -1000, "BackupDirectoryNotEmpty": -504,
    "MakeBackupDirectoryFail": -525, "DeleteBackupFileFail": -524, "MissingFullBackup": -560, "MissingFileToBackup": -569,
    "LogFileNotCopied": -616, "BackupAbortByServer": -801, "FileAlreadyExists": -1814, "DiskFull": -1808,
    "SurrogateBackupInProgress": -617, "RunningInMultiInstanceMode": -1081, "CheckpointFileNotFound": -542, "LogDiskFull": -529,
    "DiskIO": -1022, "OutOfMemory": -1011, "FileAccessDenied": -1032,
}  # fmt: skip


def test_each_error_has_number_text_and_page():
    """BK-369: number, text by JET_paramErrorToString, and the page of errors that the reference pages link to."""
    import pyjet

    for name, number in ALLOWED.items():
        assert ERR[f"JET_err{name}"] == number and getattr(pyjet, f"{name}Error").code == number
        value, room = u64(number & (2**64 - 1)), cjet.C.create_string_buffer(512)
        call("JetGetSystemParameterA", u64(0), u64(cjet.NIL), u32(K.JET_paramErrorToString), cjet.C.byref(value), room, u32(512))
        said = room.value.decode()
        assert f"JET_err{name}" in said or len(said) > 10, (name, said)
    pages = ROOT / "docs" / "backup"
    for page in ("jetbackupinstance", "jetbeginexternalbackupinstance", "jetstopbackupinstance"):
        words = (pages / f"{page}.rst").read_text()
        assert ":doc:`../guide/errors`" in words and "JET_paramErrorToString" in words


def test_the_pages_say_what_a_set_is_for():
    """BK-111: both pages of JetBackupInstance say that a set is for backup and restore by the engine only."""
    for page in ("jetbackupinstance", "api-jetbackupinstance"):
        words = " ".join((ROOT / "docs" / "backup" / f"{page}.rst").read_text().split())
        assert "for backup and restore by the engine only" in words
