"""The same bad places through the package and the command line: an error with a hint, the exit code, and nothing else touched."""

import contextlib
import datetime
import errno
import hashlib
import os
import shutil
import subprocess
import sys

import pytest

import pyjet
from pyjet import errors
from pyjet.backup import BackupRepo
from pyjet.backup import files as repo_files
from pyjet.tool import exit_code

LONGEST = 246 - len(".12345678.restoring./restore-logs/")  # of a destination of restore, in bytes


def digest(folder):
    """Every file below a folder with its bytes, links and empty folders too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


class World:
    """A running instance with rows, a set in a folder, a repository with a set; check(): all of it is as it was, and goes on."""

    def __init__(self, place):
        self.place, self.n = place, 0
        self.inst = pyjet.Instance(place / "live", log_file_size=1 << 16)
        self.ses = self.inst.session()
        self.table = self.ses.create(place / "live" / "a.edb").create_table("t", {"id": pyjet.Long(), "raw": pyjet.LongBinary()})
        self.add(100)
        self.set = place / "set"
        self.inst.backup(self.set)
        self.repo = BackupRepo(place / "repo", create=True)
        self.repo.backup(self.inst)
        self.kept = {name: digest(place / name) for name in ("set", "repo/sets", "repo/catalog")}

    def add(self, n):
        self.table.insert_many({"id": i, "raw": os.urandom(900)} for i in range(self.n, self.n + n))
        self.n += n

    def check(self, *, repo=True):
        for name, before in self.kept.items():
            assert name.startswith("repo") and not repo or digest(self.place / name) == before, name
        left = [p.name for p in self.place.iterdir() if p.name.startswith(".")]
        assert not left, left
        self.add(1)
        with self.inst.session() as ses:
            assert len(ses.attach(self.place / "live" / "a.edb").table("t")) == self.n

    def refused(self, kind, rc, call, *args, **options):
        with pytest.raises(kind) as told:
            call(*args, **options)
        assert isinstance(told.value, errors.JetError) and told.value.hint and exit_code(told.value) == rc, told.value
        self.check()
        return told.value


@pytest.fixture
def world(memory_path):
    w = World(memory_path)
    yield w
    w.ses.close()
    w.inst.close()


def test_a_restore_onto_a_running_instance(world):
    """Neither its folder, nor one above it or below it: replace=True used to take the files from under it."""
    place = world.place / "holds"
    place.mkdir()
    with pyjet.Instance(place / "deep" / "live") as other, other.session() as ses:
        ses.create(place / "deep" / "live" / "b.edb").create_table("t", {"id": pyjet.Long()})
        for target in (world.place / "live", place, place / "deep", place / "deep" / "live"):
            for restore in (lambda to: pyjet.restore(world.set, to, replace=True), lambda to: world.repo.restore("latest", to, replace=True)):
                world.refused(errors.DatabaseInUseError, 11, restore, target)
        assert (place / "deep" / "live" / "b.edb").exists()
    pyjet.restore(world.set, place, replace=True)  # nobody is there any more
    assert (place / "a.edb").exists() and not (place / "deep").exists()


def test_a_restore_onto_the_database_of_another_process(world):
    """Its logs lie elsewhere; the file's own lock tells."""
    code = (
        "import pyjet, sys\nwith pyjet.Instance(sys.argv[1]) as i, i.session() as s:\n"
        " s.create(sys.argv[2]); print('up', flush=True); sys.stdin.read()"
    )
    there = world.place / "databases"
    there.mkdir()
    root = os.path.dirname(os.path.dirname(pyjet.__file__))
    command = [sys.executable, "-c", code, str(world.place / "elsewhere"), str(there / "b.edb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}) as other:
        assert other.stdout.readline() == b"up\n"
        world.refused(errors.DatabaseInUseError, 11, pyjet.restore, world.set, there, replace=True)
        assert (there / "b.edb").exists()
        other.stdin.close()
    pyjet.restore(world.set, there, replace=True)


def test_a_restore_into_what_it_reads(world):
    """The set, a folder in it, one above it, by way of a link; the same of a repository."""
    (world.place / "link").symlink_to(world.set)
    (world.place / "link2").symlink_to(world.repo.root)
    for to in (world.set, world.set / "sub", world.place, world.place / "link", world.place / "link" / "x"):
        world.refused(errors.InvalidParameterError, 2, pyjet.restore, world.set, to, replace=True)
    root = world.place / "repo"
    for to in (root, root / "sub", root / "sets", world.place, world.place / "link2"):
        world.refused(errors.InvalidParameterError, 2, world.repo.restore, "latest", to, replace=True)
    shutil.copytree(world.set, world.place / "set2")  # a name that begins alike is another place
    pyjet.restore(world.set, world.place / "set2", replace=True)
    world.check()


def test_a_repository_that_disappears(world):
    shutil.move(world.place / "repo", world.place / "away")
    for call in (
        lambda: world.repo.backup(world.inst),
        lambda: world.repo.restore("latest", world.place / "to"),
        world.repo.list,
        world.repo.status,
        world.repo.verify,
        lambda: world.repo.prune(keep_last=1),
        lambda: BackupRepo(world.place / "repo"),
    ):
        with pytest.raises(errors.RepoNotFoundError) as told:
            call()
        assert told.value.hint and exit_code(told.value) == 10
        world.check(repo=False)
    assert not (world.place / "repo").exists() and not (world.place / "to").exists()
    shutil.move(world.place / "away", world.place / "repo")
    world.repo.backup(world.inst)
    world.repo.restore("latest", world.place / "to")


def test_a_repository_that_disappears_in_the_midst(world):
    """During the engine's run: no half of a set when it is back. During the checksums: the set that was copied is there and sound."""
    for stage, sets in (("engine", 1), ("checksums", 2)):

        def vanish(step, stage=stage):
            if step.stage == stage and step.phase == "progress" and (world.place / "repo").exists():
                shutil.move(world.place / "repo", world.place / "away")

        with pytest.raises((errors.JetError, OSError)) as told:
            world.repo.backup(world.inst, progress=vanish)
        assert isinstance(told.value, errors.JetError) and told.value.hint, told.value
        shutil.rmtree(world.place / "repo", ignore_errors=True)
        shutil.move(world.place / "away", world.place / "repo")
        world.check(repo=sets == 1)
        assert len(world.repo.list()) == sets
    world.repo.backup(world.inst)
    assert world.repo.verify("all").ok


NO_ROOM = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO]


@pytest.mark.parametrize("number", NO_ROOM, ids=[errno.errorcode[n] for n in NO_ROOM])
@pytest.mark.parametrize("compress", (False, True), ids=("plain", "compressed"))
def test_a_repository_that_cannot_be_written(memory_path, monkeypatch, number, compress):
    """Full, read-only, forbidden, broken: at the manifest, at the move into place, and in a compressed one at its blocks."""
    kinds = {errno.ENOSPC: (errors.DiskFullError, 30), errno.EIO: (errors.DiskIOError, 31)}
    kind, rc = kinds.get(number, (errors.FileAccessDeniedError, 11))
    world = World(memory_path)
    try:
        repo = BackupRepo(memory_path / "second", create=True, compress=compress)
        for name in ("rename", "fsync", "makedirs"):

            def refuse(path, *args, real=getattr(os, name), **options):
                where = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fspath(path)
                if "/second/work" in where:
                    raise OSError(number, os.strerror(number), *([] if isinstance(path, int) else [where]))
                return real(path, *args, **options)

            with monkeypatch.context() as patch:
                patch.setattr(os, name, refuse)
                world.refused(kind, rc, repo.backup, world.inst)
            assert repo.list() == []
            assert not [n for n in os.listdir(memory_path / "second" / "catalog")]
        taken = repo.backup(world.inst)
        assert [s.id for s in repo.list()] == [taken.id] and repo.verify("all", level="restore").ok
        assert sorted(os.listdir(memory_path / "second" / "work")) == []
    finally:
        world.ses.close()
        world.inst.close()


def test_names_as_long_as_they_may_be_and_one_longer(world):
    """Destinations of restore, in bytes; a name longer than the file system's; spaces, other letters and signs come through."""
    base = world.place / "ä b 'c\" $d"
    for restore in (lambda to: pyjet.restore(world.set, to), lambda to: world.repo.restore("latest", to)):
        fill = LONGEST - len(os.fsencode(base)) - 1
        fits = base / ("é" * (fill // 2) + "x" * (fill % 2))
        assert len(os.fsencode(fits)) == LONGEST
        restore(fits)
        with pyjet.open(fits / "a.edb") as db:
            assert len(db.table("t")) == 100
        shutil.rmtree(base)
        told = world.refused(errors.InvalidPathError, 10, restore, base / (fits.name + "x"))
        assert "246" in told.detail and not base.exists()
    for call in (world.inst.backup, lambda to: pyjet.restore(world.set, to)):
        world.refused(errors.InvalidPathError, 10, call, world.place / ("n" * 256))
        world.refused(errors.InvalidPathError, 10, call, world.place / "live" / "a.edb" / "below a file")


def test_a_file_in_the_way(world):
    (world.place / "file").write_text("mine")
    world.refused(errors.InvalidPathError, 10, world.inst.backup, world.place / "file")
    world.refused(errors.DestinationNotEmptyError, 12, pyjet.restore, world.set, world.place / "file", replace=True)
    world.refused(errors.JetError, 12, BackupRepo, world.place / "live", create=True)
    assert (world.place / "file").read_text() == "mine"


def test_a_user_s_own_error_stays_his(world):
    """What a progress callback raises is not told in our words, also when it is an OSError."""

    def fail(step):
        raise OSError(errno.ENOSPC, "my own disk", "/my/own/log")

    for call in (lambda: world.repo.backup(world.inst, progress=fail), lambda: world.inst.backup(world.place / "b", progress=fail)):
        with pytest.raises(OSError) as told:
            call()
        assert not isinstance(told.value, errors.JetError) and told.value.filename == "/my/own/log"
        world.check()
    assert repo_files.CHUNK  # the module is the package's


def test_an_empty_name_is_no_folder(world, monkeypatch):
    """A script's unset variable: neither the current folder nor, for a backup, the deletion of logs."""
    (world.place / "here").mkdir()
    (world.place / "here" / "kept").write_text("kept")
    monkeypatch.chdir(world.place / "here")
    kind = errors.InvalidPathError
    code = exit_code(kind("x"))
    logs = sorted(p.name for p in (world.place / "live").glob("*.log"))
    world.refused(kind, code, world.inst.backup, "")
    world.refused(kind, code, world.inst.backup, "", dry_run=True)
    world.refused(kind, code, pyjet.restore, world.set, "", replace=True)
    world.refused(kind, code, pyjet.restore, "", world.place / "there")
    world.refused(kind, code, world.repo.restore, "latest", "", replace=True)
    world.refused(kind, code, BackupRepo, "")
    assert sorted(p.name for p in (world.place / "live").glob("*.log")) == logs
    assert [p.name for p in (world.place / "here").iterdir()] == ["kept"]
    world.check()


def own_folder(place):
    """Another instance's folder: running while it is yielded, then dirty, then clean."""
    code = (
        "import pyjet, sys, os\ni = pyjet.Instance(sys.argv[1]); s = i.session()\n"
        "s.create(sys.argv[1] + '/b.edb').create_table('t', {'id': pyjet.Long()})\nprint('up', flush=True); sys.stdin.read(); os._exit(0)"
    )
    root = os.path.dirname(os.path.dirname(pyjet.__file__))
    command = [sys.executable, "-c", code, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}) as other:
        assert other.stdout.readline() == b"up\n"
        yield errors.DatabaseInUseError, 11, "runs"
        other.stdin.close()
    yield errors.DatabaseDirtyShutdownError, 22, "b.edb is dirty"
    pyjet.Instance(place).close()
    yield errors.InvalidParameterError, 2, "was shut down"


def test_an_instance_s_own_folder_is_no_backup(world):
    """adopt and restore say what it is: it used to be a "damaged header" of one of its reserve logs."""
    for kind, rc, text in own_folder(world.place / "own"):
        for call in (world.repo.adopt, lambda path: pyjet.restore(path, world.place / "there")):
            told = world.refused(kind, rc, call, world.place / "own")
            assert text in told.detail and "pyjet backup" in told.detail and "is no backup" in told.detail
    (world.place / "lone").mkdir()
    shutil.copy(world.place / "own" / "b.edb", world.place / "lone")  # of a folder without these signs the survey tells
    assert "of an instance" not in str(world.refused(errors.FileNotFoundError, 10, world.repo.adopt, world.place / "lone"))


def test_an_export_into_the_repository(world):
    root = world.place / "repo"
    (world.place / "link").symlink_to(root / "sets")
    for path in (root / "x.tar.gz", root / "sets" / "x.tar.gz", world.place / "link" / "x.tar.gz", root, root / "catalog" / "x.json"):
        world.refused(errors.InvalidParameterError, 2, world.repo.export, "latest", path)
    assert world.repo.verify("all").ok and world.repo.status().ok


def test_a_time_behind_the_last_set(world):
    """The last set is restored, and the result says so; with the logs that followed the time holds again."""
    last, to = world.repo.latest(), world.place / "there"
    for moment in (datetime.datetime(2999, 1, 1), "2999-01-01", datetime.datetime.max, last.finished + datetime.timedelta(seconds=2)):
        for which in ("latest", last):
            done = world.repo.restore(which, to, to=moment, replace=True)
            assert f"restored to the end of {last.id}" in done.note and f"{last.finished:%Y-%m-%d %H:%M:%S}" in done.note
            assert done.note in str(done) and done.to_dict()["note"] == done.note
    for moment in ("end", last.finished, str(world.inst.info().log_tail)[:8] + ":0:0"):
        with contextlib.suppress(errors.MissingLogFileError):
            assert world.repo.restore("latest", to, to=moment, replace=True).note == ""
    shutil.rmtree(to)
    world.refused(errors.InvalidParameterError, 2, world.repo.restore, "latest", to, to="2999-01-01", roll_forward=world.place / "live")
    with pytest.raises(errors.InvalidParameterError, match="1900 to 2155"):
        pyjet.restore(world.set, to, stop_at="2999-01-01")
    assert not to.exists()


def test_roll_forward_from_a_folder_that_is_not_there(world):
    kind = errors.FileNotFoundError
    world.refused(kind, exit_code(kind("x")), pyjet.restore, world.set, world.place / "there", roll_forward=world.place / "typo")
    assert not (world.place / "there").exists()
    world.check()


def test_roll_forward_without_a_log(world):
    """An empty folder, or one with other files, is no folder of live logs; the restore used to end with the set, and with success."""
    (world.place / "empty").mkdir()
    kind = errors.FileNotFoundError
    code = exit_code(kind("x"))
    for name in ("empty", "repo"):
        world.refused(kind, code, pyjet.restore, world.set, world.place / "there", roll_forward=world.place / name)
        world.refused(kind, code, world.repo.restore, "latest", world.place / "there", roll_forward=world.place / name)
    assert not (world.place / "there").exists()
    world.check()


def test_roll_forward_from_the_destination_itself(world):
    """Its logs would go with what the restored folder replaces."""
    kind, old = errors.InvalidParameterError, world.place / "old"
    code = exit_code(kind("x"))
    (old / "logs").mkdir(parents=True)
    for path in (world.place / "live").glob("edb*.log"):
        shutil.copy(path, old)
        shutil.copy(path, old / "logs")
    before = digest(old)
    for logs in (old, old / "logs", world.place / "old" / ".." / "old"):
        for restore, source in ((pyjet.restore, world.set), (world.repo.restore, "latest")):
            world.refused(kind, code, restore, source, old, roll_forward=logs, replace=True)
    assert digest(old) == before
    world.check()
    pyjet.restore(world.set, world.place / "beside", roll_forward=old)  # read, and nothing more
    assert digest(old) == before


def test_an_atomic_backup_onto_the_set_of_another_instance(world):
    """Base names and names of databases are alike; neither logs nor databases are. It used to replace the other one's only set."""
    place = world.place / "atomic"
    place.mkdir()
    world.inst.backup(place, atomic=True)
    kept = digest(place)
    with pyjet.Instance(world.place / "live2", log_file_size=1 << 16) as other, other.session() as ses:
        ses.create(world.place / "live2" / "a.edb").create_table("t", {"id": pyjet.Long()})
        other.backup(world.place / "own")
        told = world.refused(errors.BackupDirectoryNotEmptyError, 12, other.backup, place, atomic=True)
        assert str(place / "new") in told.detail and digest(place) == kept


def test_an_atomic_backup_after_a_restore_goes_on_in_its_folder(world):
    """A restore begins another sequence of logs, but the database is the same: the old sets are still this instance's to replace."""
    place = world.place / "atomic"
    place.mkdir()
    world.inst.backup(place, atomic=True)
    pyjet.restore(place, world.place / "back")
    with pyjet.Instance(world.place / "back", log_file_size=1 << 16) as again, again.session() as ses:
        ses.attach(world.place / "back" / "a.edb")
        for _ in range(2):
            again.backup(place, atomic=True)
    pyjet.restore(place, world.place / "to")


def test_roll_forward_from_a_copy_with_an_older_current_log(world):
    """cp -r of a running instance's folder copies edb.log before the archived ones, which go further by then; the last was passed over."""
    for _ in range(12):
        world.add(20)
    copied = world.place / "copied"
    copied.mkdir()
    archived = sorted((world.place / "live").glob("edb0*.log"))
    for log in archived:
        shutil.copy(log, copied)
    pyjet.restore(world.set, world.place / "without", roll_forward=copied)
    want = check_rows(world.place / "without")
    assert want > 200
    for n, older in enumerate((archived[-4], archived[-1])):
        shutil.copy(older, copied / "edb.log")
        pyjet.restore(world.set, world.place / f"with{n}", roll_forward=copied)
        assert check_rows(world.place / f"with{n}") == want


def check_rows(folder):
    with pyjet.Instance(folder, log_file_size=1 << 16) as inst, inst.session() as ses:
        return len(ses.attach(folder / "a.edb").table("t"))


def reopened(folder):
    """An instance whose first logs are gone: what was logged since its begin, and a full backup that truncated them."""
    with pyjet.Instance(folder, log_file_size=1 << 16) as inst, inst.session() as ses:
        table = ses.create(folder / "a.edb").create_table("t", {"id": pyjet.Long(), "raw": pyjet.LongBinary()})
        table.insert_many({"id": i, "raw": os.urandom(900)} for i in range(700))
    inst = pyjet.Instance(folder, log_file_size=1 << 16)
    ses = inst.session()
    ses.attach(folder / "a.edb")
    return inst, ses


def test_an_increment_that_does_not_follow_the_set_of_its_folder(world):
    """Of another instance, and of the same one whose logs in between are gone: it used to succeed, and no set restored any more."""
    inst, ses = reopened(world.place / "live2")
    with inst, ses:
        inst.backup(world.place / "first")
        shutil.copytree(world.place / "first", world.place / "behind")
        (world.place / "atomic").mkdir()
        world.inst.backup(world.place / "atomic", atomic=True)
        sets = {name: digest(world.place / name) for name in ("first", "set")}
        for name, options in (("set", {}), ("atomic", {"atomic": True})):
            for dry_run in (True, False):
                world.refused(errors.FileAlreadyExistsError, 12, inst.backup, world.place / name, incremental=True, dry_run=dry_run, **options)
        ses.open(world.place / "live2" / "a.edb").table("t").insert_many({"id": i, "raw": os.urandom(900)} for i in range(700))
    inst, ses = pyjet.Instance(world.place / "live2", log_file_size=1 << 16), None
    with inst, inst.session() as ses:
        ses.attach(world.place / "live2" / "a.edb")
        inst.backup(world.place / "second")
        world.refused(errors.MissingFileToBackupError, 21, inst.backup, world.place / "first", incremental=True)
        inst.backup(world.place / "second", incremental=True)
    assert sets == {name: digest(world.place / name) for name in sets}
    for name in ("first", "second", "atomic"):
        pyjet.restore(world.place / name, world.place / "to" / name)


def test_a_destination_that_is_a_link_or_has_rights_of_its_own(world):
    """What a link leads to is filled, or replaced, and the link stays; it used to fail when all had been copied. A private folder stays private."""
    there = world.place / "there"
    there.mkdir(mode=0o700)
    (world.place / "link").symlink_to(there)
    world.check()
    for restore in (lambda **how: pyjet.restore(world.set, world.place / "link", **how), lambda **how: world.repo.restore("latest", world.place / "link", **how)):
        assert restore(replace=True).databases == (str(there / "a.edb"),)
        assert (world.place / "link").is_symlink() and there.stat().st_mode & 0o777 == 0o700
    world.check()


def test_a_destination_that_is_a_mount_point(world, monkeypatch):
    """It cannot be replaced, which is told before anything is copied."""
    mounted = world.place / "mounted"
    mounted.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) == str(mounted))
    for call in (lambda: pyjet.restore(world.set, mounted), lambda: world.repo.restore("latest", mounted)):
        assert "a folder below it" in world.refused(errors.InvalidPathError, 10, call).detail
    pyjet.restore(world.set, mounted / "below")
