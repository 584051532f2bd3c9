"""inst.external_backup(): files that are io.RawIOBase, kinds, what an exception does; and the calls of pyjet.api."""

import contextlib
import gc
import hashlib
import io
import mmap
import os
import shutil
import tarfile
import threading
import time
import warnings

import pytest

import pyjet
from pyjet import api, errors


@pytest.fixture
def inst(memory_path):
    with pyjet.Instance(memory_path / "live", log_file_size=1 << 16, params={"CheckpointDepthMax": 1 << 16}) as instance:
        yield instance


@pytest.fixture
def ses(inst, memory_path):
    """Two databases of 200 rows."""
    with inst.session() as session:
        for name in ("a.edb", "b.edb"):
            t = session.create(memory_path / "live" / name).create_table("t", {"id": pyjet.Long(), "raw": pyjet.LongBinary()})
            with session.transaction():
                t.insert_many({"id": n, "raw": os.urandom(1500)} for n in range(200))
        yield session


def add(inst, memory_path, n=50):
    with inst.session() as session:
        session.attach(memory_path / "live" / "a.edb").table("t").insert_many({"id": i, "raw": os.urandom(1500)} for i in range(1000, 1000 + n))


def copy(backup, folder):
    folder.mkdir(exist_ok=True)
    for source in backup.files():
        with open(folder / source.name, "wb") as to:
            shutil.copyfileobj(source, to)


def rows(folder, name="a.edb"):
    with pyjet.open(folder / name) as db:
        return len(list(db.table("t")))


def restored(folder, to):
    pyjet.restore(folder, to)
    return rows(to)




def test_a_full_backup_is_a_set(inst, ses, memory_path):
    with inst.external_backup() as backup:
        copy(backup, memory_path / "set")
    assert restored(memory_path / "set", memory_path / "restored") == 200
    with inst.external_backup("incremental") as backup:
        assert list(backup.databases()) == []
        copy(backup, memory_path / "set")


def test_a_tar(inst, ses, memory_path):
    with inst.external_backup("copy") as backup, tarfile.open(memory_path / "set.tar.gz", "w:gz", compresslevel=1) as tar:
        for source in backup.files():
            tar.addfile(source.tarinfo(), source)
    with tarfile.open(memory_path / "set.tar.gz") as tar:
        assert {"a.edb", "b.edb"} < set(tar.getnames())
        tar.extractall(memory_path / "set", filter="data")
    assert restored(memory_path / "set", memory_path / "restored") == 200


def quiet(inst):
    """No page waits to be written, so a file reads the same twice."""
    until = time.monotonic() + 10
    while inst.stats["cache_dirty"]:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_files_are_raw_streams(inst, ses, memory_path):
    quiet(inst)
    with inst.external_backup("copy") as backup:
        with backup.open(backup.attach_info()[0]) as f:
            assert isinstance(f, io.RawIOBase) and f.readable() and not f.seekable() and not f.writable()
            assert f.name == "a.edb" and f.kind == "database" and f.path == str(memory_path / "live" / "a.edb")
            assert f.size == os.path.getsize(f.path) + 4096
            whole = f.read()
            assert len(whole) == f.size == f.tell() and f.complete and f.read() == b"" == f.read(9)
        with pytest.raises(ValueError):
            f.read()
        with pytest.raises(io.UnsupportedOperation):
            f.seek(0)
        for chunk in (1, 7, 4095, 65536 + 1, 3 << 20):
            parts, limit = [], 5000 if chunk < 100 else f.size  # a byte at a time is slow: the first of them
            with backup.open(f.path) as g:
                while sum(map(len, parts)) < limit and (part := g.read(chunk)):
                    assert len(part) == min(chunk, g.size - g.tell() + len(part))
                    parts.append(part)
            again = b"".join(parts)
            assert again == whole[: len(again)] and len(again) >= limit
        assert io.BufferedReader(backup.open(f.path)).read(100)[:8] == whole[:8]
        with backup.open(f.path) as g:
            room = bytearray(g.size + 10)
            assert g.readinto(room) == g.size and room[g.size :] == bytes(10)
        copy(backup, memory_path / "set")


def test_one_file_at_a_time(inst, ses):
    with pytest.raises(errors.LogFileNotCopiedError, match="a.edb"), inst.external_backup() as backup:
        files = backup.files()
        first = next(files)
        first.read(10)
        second = next(files)
        assert first.closed and not second.closed
        hashlib.sha256(second.read())
        for log in files:
            log.read()
    assert first.closed and second.closed


def test_an_exception_aborts(inst, ses, memory_path, caplog):
    logs = sorted((memory_path / "live").glob("edb?????.log"))
    caplog.set_level("INFO", logger="pyjet.events")
    with pytest.raises(ZeroDivisionError), inst.external_backup() as backup:
        copy(backup, memory_path / "set")
        backup.log_info()
        raise ZeroDivisionError
    ids = [getattr(r, "event_id", None) for r in caplog.records]
    assert 215 in ids and 213 not in ids
    assert set(logs) <= set((memory_path / "live").glob("edb?????.log"))
    with pytest.raises(errors.MissingFullBackupError), inst.external_backup("incremental"):
        pass
    with pytest.raises(errors.NoBackupError):
        backup.log_info()
    assert "aborted" in repr(backup)


def test_a_backup_whose_logs_were_not_read_is_none(inst, ses, memory_path):
    for kind in ("full", "copy"):
        with pytest.raises(errors.LogFileNotCopiedError), inst.external_backup(kind) as backup:
            for f in backup.databases():
                f.read()
        with inst.external_backup() as backup:
            copy(backup, memory_path / f"after-{kind}")


def test_truncation(inst, ses, memory_path):
    with inst.external_backup() as backup:
        copy(backup, memory_path / "set")
        wanted = backup.truncatable()
        assert backup.truncate_logs() == wanted and not any(map(os.path.exists, wanted))
    for kind in ("copy", "differential"):
        with inst.external_backup(kind) as backup:
            copy(backup, memory_path / kind)
            with pytest.raises(errors.InvalidBackupSequenceError):
                backup.truncate_logs()


def test_kinds_and_wrong_orders(inst, ses, memory_path):
    with pytest.raises(errors.InvalidParameterError):
        inst.external_backup("weekly")
    with inst.external_backup("copy") as backup:
        with pytest.raises(errors.BackupInProgressError), inst.external_backup():
            pass
        with pytest.raises(errors.BackupInProgressError):
            inst.backup(memory_path / "other")
        with pytest.raises(errors.InvalidBackupSequenceError):
            backup.__enter__()
        copy(backup, memory_path / "set")
    with pytest.raises(errors.NoBackupError):
        backup.attach_info()


def test_the_last_differential_and_the_full_give_the_state(inst, ses, memory_path):
    for kind, n in (("full", 0), ("differential", 50), ("incremental", 50)):
        if n:
            add(inst, memory_path, n)
        with inst.external_backup(kind) as backup:
            copy(backup, memory_path / "set")
    assert restored(memory_path / "set", memory_path / "restored") == 300


def test_a_damaged_database_is_left_out(memory_path):
    live = memory_path / "live"
    for step in range(2):
        with (
            pyjet.Instance(live, params={"BackupReadRetries": 0}) as inst,
            inst.session() as ses,
        ):
            if step == 0:
                for name in ("a.edb", "b.edb"):
                    t = ses.create(live / name).create_table("t", {"id": pyjet.Long()})
                    t.insert_many({"id": n} for n in range(200))
            else:
                ses.attach(live / "a.edb"), ses.attach(live / "b.edb")
                with inst.external_backup() as backup:
                    with pytest.raises(errors.ReadVerifyFailureError):
                        for f in backup.databases():
                            f.read()
                    assert [f.name for f in backup.logs() if f.read()]
        if step == 0:
            with open(live / "b.edb", "r+b") as f:
                f.seek(4096 * 20 + 300)
                f.write(b"damaged")


def test_stopped_by_another_thread(inst, ses):
    with pytest.raises(errors.BackupAbortByServerError), inst.external_backup() as backup:
        for n, f in enumerate(backup.files()):
            if n == 1:
                thread = threading.Thread(target=inst.stop_backup)
                thread.start()
                thread.join()
            f.read()


def backs_up(inst, to):
    """No backup is in the way."""
    with inst.external_backup("copy") as backup:
        copy(backup, to)


def entered(inst):
    return inst.external_backup("copy").__enter__()


def open_in_it(inst):
    backup = entered(inst)
    f = next(backup.files())
    f.read(10)
    return f  # holds its backup


def in_a_cycle(inst):
    backup = entered(inst)
    backup.me = [backup, backup.open(backup.attach_info()[0])]


def in_a_generator(inst):
    def files():
        backup = entered(inst)
        yield from backup.files()

    source = files()
    next(source).read(5000)
    return source


def in_a_dead_thread(inst):
    kept = threading.local()

    def work():
        kept.backup = entered(inst)
        kept.file = next(kept.backup.files())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("how", (entered, open_in_it, in_a_cycle, in_a_generator, in_a_dead_thread))
def test_one_that_is_abandoned_is_aborted(inst, ses, memory_path, how, caplog):
    """Dropped, in a cycle, in a generator, in a thread that died: with its open file, so that the next backup begins at once."""
    handles = len(os.listdir("/proc/self/fd"))
    caplog.set_level("INFO", logger="pyjet.events")
    with pytest.warns(ResourceWarning, match="ExternalBackup copy .* dropped"):
        how(inst)
        gc.collect()
    assert 215 in [getattr(r, "event_id", None) for r in caplog.records]
    assert len(os.listdir("/proc/self/fd")) == handles
    backs_up(inst, memory_path / "set")
    inst.backup(memory_path / "whole")


def test_one_that_was_ended_is_not_told_as_abandoned(inst, ses, memory_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backs_up(inst, memory_path / "set")
        with contextlib.suppress(ZeroDivisionError), inst.external_backup():
            raise ZeroDivisionError
        with pyjet.Instance(memory_path / "other") as other, other.session() as mine:
            mine.create(memory_path / "other" / "c.edb")
            backup = entered(other)
        del backup  # its instance has ended it
        gc.collect()


def test_the_end_of_one_leaves_another_alone(inst, ses, memory_path):
    """The first was ended behind its back; neither dropping, leaving nor using it reaches the one that began since."""
    first = entered(inst)
    api.JetEndExternalBackupInstance2(inst, api.JET_bitBackupEndAbort)
    third = inst.external_backup("copy")
    with third:
        for call in (first.attach_info, first.log_info, first.truncatable, lambda: first.open("a"), lambda: next(first.files())):
            with pytest.raises(errors.NoBackupError):
                call()
        with pytest.raises(errors.NoBackupError):
            first.__exit__(None, None, None)
        del first
        gc.collect()
        copy(third, memory_path / "set")
    assert restored(memory_path / "set", memory_path / "restored") == 200


def test_ends_and_calls_out_of_order(inst, ses, memory_path):
    backup = inst.external_backup("copy")
    for call in (backup.attach_info, backup.log_info, backup.truncatable, lambda: backup.open("a.edb"), lambda: next(backup.files())):
        with pytest.raises(errors.NoBackupError) as told:
            call()
        assert told.value.hint
    with pytest.raises(errors.InvalidBackupSequenceError) as told:
        backup.__exit__(None, None, None)
    assert told.value.hint
    with backup:
        copy(backup, memory_path / "set")
    for _ in range(2):
        with pytest.raises(errors.InvalidBackupSequenceError):
            backup.__exit__(None, None, None)
    with pytest.raises(errors.InvalidBackupSequenceError):
        backup.__enter__()
    for kind in (5, None, [], {}, b"full", "Full"):
        with pytest.raises(errors.InvalidParameterError):
            inst.external_backup(kind)
    backs_up(inst, memory_path / "again")


def test_closing_the_instance_ends_it(memory_path):
    with pyjet.Instance(memory_path / "live") as inst, inst.session() as ses:
        ses.create(memory_path / "live" / "a.edb")
        backup = inst.external_backup().__enter__()
        f = next(backup.databases())
    with pytest.raises(errors.JetError):
        f.read()
    with pytest.raises(errors.JetError):
        backup.__exit__(None, None, None)
    f.close()


def test_the_names_of_esent(inst, ses, memory_path):
    with pytest.raises(errors.InvalidGrbitError):
        api.JetBeginExternalBackupInstance(inst, api.JET_bitBackupAtomic)
    api.JetBeginExternalBackupInstance(inst, 0)
    paths = api.JetGetAttachInfoInstance(inst)
    assert paths == [str(memory_path / "live" / n) for n in ("a.edb", "b.edb")]
    handle, size = api.JetOpenFileInstance(inst, paths[0])
    page = mmap.mmap(-1, 16 * 4096)
    read = 0
    while n := api.JetReadFileInstance(inst, handle, page):
        read += n
    assert read == size
    with pytest.raises(errors.InvalidParameterError):
        api.JetReadFileInstance(inst, handle, memoryview(page)[1:4097])
    with pytest.raises((BufferError, TypeError)):
        api.JetReadFileInstance(inst, handle, bytes(4096))
    api.JetCloseFileInstance(inst, handle)
    logs, low, high, base = api.JetGetLogInfoInstance2(inst)
    assert logs == api.JetGetLogInfoInstance(inst) and len(logs) == high - low + 1 and base == "edb"
    assert set(api.JetGetTruncateLogInfoInstance(inst)) <= set(logs) | set(map(str, (memory_path / "live").iterdir()))
    with pytest.raises(errors.LogFileNotCopiedError):
        api.JetTruncateLogInstance(inst)
    api.JetEndExternalBackupInstance2(inst, api.JET_bitBackupEndAbort)
    with pytest.raises(errors.NoBackupError):
        api.JetEndExternalBackupInstance(inst)
