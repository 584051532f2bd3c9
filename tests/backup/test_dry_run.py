"""A dry run tells what the run would: its error, its bytes, its logs; and does nothing. What a run without a folder deletes."""

import contextlib
import logging
import os
import pathlib
import shutil

import pytest

import pyjet
from pyjet import errors
from pyjet.backup import BackupRepo
from test_bad_places_python import digest


@pytest.fixture
def live(memory_path):
    with pyjet.Instance(memory_path / "live") as inst, inst.session() as ses:
        ses.create(memory_path / "live" / "a.edb").create_table("t", {"id": pyjet.Long(), "raw": pyjet.LongBinary()})
        yield inst


def add(inst, n=50):
    with inst.session() as ses:
        ses.attach(pathlib.Path(inst.path) / "a.edb").table("t").insert_many({"id": i, "raw": os.urandom(900)} for i in range(n))


SLACK = 64 << 10  # the log goes on between the forecast and the run


def both(back_up, **options):
    """The forecast and what came of it: the same logs, the same bytes but for what is logged meanwhile."""
    said, result = back_up(dry_run=True, **options), back_up(**options)
    assert said.generations == tuple(result.generations) and -SLACK <= result.bytes - said.bytes <= SLACK, (said, result)
    return said, result


def test_the_bytes_are_those_that_are_copied(live, memory_path):
    """An unused end of a log is a hole in the set, and a log that the set has is left: the forecast counted 5 MiB for each."""
    for atomic in (False, True):
        for step in range(3):
            add(live)
            said, result = both(lambda atomic=atomic, **o: live.backup(memory_path / f"set{atomic}", atomic=atomic, **o), incremental=step > 0)
            assert said.bytes < 4 << 20 and said.logs == result.logs
    repo = BackupRepo(memory_path / "repo", create=True)
    for step in range(3):
        add(live)
        said, new = repo.backup(live, dry_run=True), repo.backup(live)
        written = sum(os.stat(repo.file_path(new, f)).st_blocks * 512 for f in new.files)
        assert said.generations == new.generations and abs(written - said.bytes) <= SLACK, (said, written)
        assert said.kind == new.kind == ("incremental" if step else "full")


def refused_both(inst, kind, path, **options):
    """A dry run and the run: one error, with a hint, and nothing is made, changed or logged by the first."""
    place = pathlib.Path(path).parent
    before, tail = digest(place), inst.stats["log_tail"]
    told = []
    for dry in (True, False):
        with pytest.raises(kind) as e:
            inst.backup(path, dry_run=dry, **options)
        assert type(e.value) is kind and e.value.hint
        told.append(e.value)
        if dry:
            assert digest(place) == before and inst.stats["log_tail"] >= tail
    assert told[0].detail.removeprefix("folder ") == told[1].detail.removeprefix("folder ")
    return told[0]


def test_it_is_refused_as_the_run_is(live, memory_path):
    to = memory_path / "sets"
    for name in ("empty", "plain", "atomic", "foreign/temp", "nested/temp/folder", "link"):
        (to / name).mkdir(parents=True)
    refused_both(live, errors.MissingFullBackupError, to / "empty", incremental=True)
    live.backup(to / "plain")
    live.backup(to / "atomic", atomic=True)
    refused_both(live, errors.MissingFullBackupError, to / "empty", incremental=True)
    refused_both(live, errors.MissingFullBackupError, to / "missing", incremental=True)
    refused_both(live, errors.InvalidPathError, to / "missing", incremental=True, atomic=True, create_path=False)
    refused_both(live, errors.InvalidPathError, to / "empty", incremental=True, atomic=True)
    refused_both(live, errors.InvalidPathError, to / "missing", create_path=False)
    for atomic, name in ((False, "plain"), (False, "atomic"), (True, "plain")):
        refused_both(live, errors.BackupDirectoryNotEmptyError, to / name, atomic=atomic)
    refused_both(live, errors.BackupDirectoryNotEmptyError, to / "atomic", incremental=True)
    (to / "foreign" / "temp" / "photo.jpg").write_bytes(b"the only copy")
    refused_both(live, errors.BackupDirectoryNotEmptyError, to / "foreign", atomic=True)
    refused_both(live, errors.DeleteBackupFileFailError, to / "nested", atomic=True)
    (to / "link" / "new").symlink_to(to / "plain")
    refused_both(live, errors.BackupDirectoryNotEmptyError, to / "link", atomic=True)
    (to / "file").write_bytes(b"")
    refused_both(live, errors.InvalidPathError, to / "file")
    refused_both(live, errors.InvalidPathError, to / "file" / "below")
    live.stop_backup()
    refused_both(live, errors.BackupAbortByServerError, to / "other")
    live.resume_backup()
    with contextlib.suppress(LookupError), live.external_backup():
        refused_both(live, errors.BackupInProgressError, to / "other")
        raise LookupError  # aborts it


def test_logs_that_the_run_would_miss(live, memory_path):
    """Of another sequence in the set, or gone from the log folder."""
    to = memory_path / "sets"
    live.backup(to / "set")
    add(live)
    shutil.copytree(to / "set", to / "strange")
    with pyjet.Instance(memory_path / "stranger") as other, other.session() as ses:
        ses.create(memory_path / "stranger" / "b.edb")
        for n in range(3):
            other.backup(memory_path / f"b{n}")
        for path in memory_path.glob("b?/edb*.log"):
            if not (to / "set" / path.name).exists():
                shutil.copy(path, to / "strange")
    refused_both(live, errors.FileAlreadyExistsError, to / "strange", incremental=True)
    for _ in range(2):
        live.backup(to / "set", incremental=True)
    live.backup(to / "whole")
    oldest = min(pathlib.Path(live.path).glob("edb0*.log"))
    oldest.rename(to / "kept")
    refused_both(live, errors.MissingFileToBackupError, to / "other")
    (to / "kept").rename(oldest)


def test_a_database_without_a_full_backup(live, memory_path):
    live.backup(memory_path / "sets" / "set")
    with live.session() as ses:
        ses.create(memory_path / "live" / "b.edb")
    refused_both(live, errors.MissingFullBackupError, memory_path / "sets" / "set", incremental=True)
    with live.session() as ses:
        (memory_path / "live" / "sub").mkdir()
        ses.create(memory_path / "live" / "sub" / "b.edb")
    kinds = []
    for dry in (True, False):
        with pytest.raises(errors.FileAlreadyExistsError) as e:
            live.backup(memory_path / "sets" / "other", dry_run=dry)
        kinds.append(type(e.value))
    assert kinds[0] is kinds[1]


def test_without_a_folder_logs_go_that_no_backup_holds(memory_path, caplog):
    """BK-005, BK-019: all below the checkpoint. What that costs is told: by the event, by the next increment, by a roll forward."""
    caplog.set_level(logging.INFO, "pyjet")

    def last_deletion():
        return [r for r in caplog.records if r.event_id == 224][-1]

    with pyjet.Instance(memory_path / "live", log_file_size=1 << 16, params={"CheckpointDepthMax": 1 << 16}) as inst, inst.session() as ses:
        t = ses.create(memory_path / "live" / "a.edb").create_table("t", {"id": pyjet.Long(), "raw": pyjet.LongBinary()})
        last = inst.backup(memory_path / "set").generations[1]

        def grow(upto):
            while inst.stats["checkpoint"] >> 32 <= upto:
                t.insert_many({"id": i, "raw": os.urandom(900)} for i in range(50))

        grow(last + 1)
        said = inst.backup(None, dry_run=True)
        gone = inst.backup(None)
        assert said.generations[0] == gone.truncated[0] <= last + 1 < said.generations[1] <= gone.truncated[1]
        assert "would be deleted" in str(said)
        assert last_deletion().levelno == logging.WARNING and "full backup" in last_deletion().getMessage()
        with pytest.raises(errors.MissingFileToBackupError) as e:
            inst.backup(memory_path / "set", incremental=True)
        assert "full backup" in e.value.detail
        with pytest.raises(errors.ExistingLogFileIsNotContiguousError):
            pyjet.restore(memory_path / "set", memory_path / "to", roll_forward=memory_path / "live")
        inst.backup(memory_path / "next")
        grow(inst.stats["log_tail"] >> 32)
        inst.backup(memory_path / "next", incremental=True)
        inst.backup(None)
        assert last_deletion().levelno == logging.INFO
