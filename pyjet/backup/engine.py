"""Results of backup, restore and recovery; restore itself."""

import collections.abc
import contextlib
import dataclasses
import os
import shutil
import stat
import tempfile

from .. import _jet, errors
from ..position import stop_options
from ..progress import watch
from . import places
from .results import Result, human


@dataclasses.dataclass(frozen=True)
class RecoveryResult(Result):
    """What recovery did when an instance started, or at the end of a restore. Counts are of log records and pages."""

    redone: bool = False  #: logs were replayed
    clean_end: bool = False
    gen_first: int = 0
    gen_last: int = 0
    records: int = 0
    applied: int = 0
    skipped: int = 0
    bytes: int = 0
    undone: int = 0
    sessions_undone: int = 0
    pages_restored: int = 0
    pages_reconciled: int = 0
    undo_after_steal: int = 0
    macros_half_redone: int = 0
    records_filtered: int = 0

    def __str__(self):
        if not self.redone:
            return "nothing to recover"
        return (
            f"recovered generations {self.gen_first:#x} to {self.gen_last:#x}: {self.records} records, {self.applied} applied,"
            f" {self.sessions_undone} transactions undone"
        )


@dataclasses.dataclass(frozen=True)
class BackupResult(Result):
    """What a backup did. ``generations``: first and last log in the set; ``truncated``: logs deleted afterwards, as [first, end)."""

    path: str
    kind: str
    files: int
    databases: int
    logs: int
    bytes: int
    generations: tuple
    truncated: tuple
    duration: float

    @property
    def rate(self):
        """Bytes a second."""
        return self.bytes / self.duration if self.duration else 0.0

    def __str__(self):
        deleted = self.truncated[1] - self.truncated[0]
        if not self.path:
            return f"log truncation: {deleted} logs deleted in {self.duration:.2f} s"
        return (
            f"{self.kind} backup to {self.path}: {self.files} files, {human(self.bytes)}, generations"
            f" {self.generations[0]:#x} to {self.generations[1]:#x}, {self.duration:.2f} s ({human(self.rate)}/s),"
            f" {deleted} logs truncated"
        )


@dataclasses.dataclass(frozen=True)
class RestoreResult(Result):
    """What a restore did: ``databases`` are the restored files."""

    path: str
    files: int
    databases: tuple
    bytes: int
    duration: float
    recovery: RecoveryResult
    generations: tuple = (0, 0)
    note: str = ""  #: of a repository: that its logs end before the time asked for, and where

    @property
    def rate(self):
        """Bytes a second."""
        return self.bytes / self.duration if self.duration else 0.0

    def __str__(self):
        return (
            f"restored {self.files} files, {human(self.bytes)}, to {self.path} in {self.duration:.2f} s ({human(self.rate)}/s);"
            f" {self.recovery}" + (f"; {self.note}" if self.note else "")
        )


def backup(instance, path, *, incremental, atomic, progress, create_path):
    """The work of Instance.backup: one run of the engine. ``progress`` may be a limits.Pace, or a user's callable, True or None."""
    grbit = (_jet.JET_bitBackupIncremental if incremental else 0) | (
        _jet.JET_bitBackupAtomic if atomic else 0
    )
    made = []
    try:
        if path is not None and create_path:
            with places.told(path):
                _make_folders(path, made)
        with watch("backup", progress) as watching:
            r = _jet.backup(instance.handle, path, grbit, watching.callback)
    except BaseException:
        for folder in reversed(made):
            _remove_if_empty(folder)
        raise
    kind = "incremental" if incremental else "full"
    return BackupResult(
        path=os.fspath(path) if path is not None else "",
        kind=f"atomic {kind}" if atomic else kind,
        files=r["files"],
        databases=r["databases"],
        logs=r["logs"],
        bytes=r["bytes"],
        generations=(r["gen_low"], r["gen_high"]),
        truncated=(r["deleted_low"], r["deleted_high"]),
        duration=r["ns"] / 1e9,
    )


def check_continues(path, atomic):
    """Refuses an increment where no full backup lies: the engine would write it, and only a restore would miss the databases."""
    if path is None or atomic:
        return
    try:
        _jet.survey(path)
    except (errors.FileNotFoundError, errors.PatchFileMissingError, errors.InvalidPathError):
        raise errors.MissingFullBackupError(
            f"{os.path.abspath(path)} holds no full backup that this increment could continue: make a full one there first, or"
            " let a pyjet.backup.BackupRepo keep the sets"
        ) from None
    except errors.JetError:
        pass  # a set is there; what is wrong with it is told when it is verified or restored


def _make_folders(path, made):
    """Creates the folder and those above it that are missing; adds those made to a list, top first, whatever fails."""
    missing = []
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    missing.reverse()
    made += missing
    for at, folder in enumerate(missing):
        try:
            os.mkdir(folder)
        except BaseException:
            del made[at:]
            raise


def _remove_if_empty(folder):
    try:
        os.rmdir(folder)
    except OSError:
        pass  # not empty: somebody else uses it


def check_destination(destination, source):
    """What can be told before anything is copied: a name too long, a place that is in use, or that is read."""
    places.check_length(os.path.join(f"{destination}.12345678.restoring.", LOGS, ""))
    places.check_apart(destination, source)
    with places.unused(destination):
        pass


LOGS = "restore-logs"  #: folder of the instance that restores, in the destination while it is made


def restore(
    source,
    destination,
    *,
    replace=False,
    roll_forward=None,
    stop_at=None,
    rename=None,
    progress=None,
):
    """Restore a backup set to a folder, roll it forward and undo what was not committed; gives back a RestoreResult.

    source: the folder of a backup, non-atomic or atomic. destination: a folder that is not there, or is empty; with ``replace``
    one that is not empty is swapped for the restored one when all is done. It appears complete or not at all: the work is done in
    a folder beside it. roll_forward: a folder with the logs that followed the set, to go on with; it is only read. stop_at: a point
    in time to restore to, in the logs of the set or of ``roll_forward``: a datetime (without a zone: local time; what was durable by
    then, to the millisecond) or a LgPos, or its text (what is logged up to there; ``LgPos(g)``: to the end of generation g). Not
    before the end of the backup. rename: new file names by the old ones, ``{"a.edb": "b.edb"}``; a database may also be named by the
    path where it lay. progress: a callable that takes
    a pyjet.Progress, or True for a bar; its exception ends the run, whose files are removed.

    The restored databases are clean: open them from any instance. Page size, base name and log size are read from the set.
    EndingRestoreLogTooLowError (stop_at is before the end of the backup), MissingLogFileError (the logs end before stop_at),
    DatabaseNotFoundError (rename names none of the set), DatabaseInUseError (a running instance has files below the destination),
    InvalidParameterError (the destination is, holds or lies in the set), CommittedLogFilesMissingError, RequiredLogFilesMissingError, MissingRestoreLogFilesError, ReadVerifyFailureError, ...
    ESE: JetRestoreInstance, https://learn.microsoft.com/windows/win32/extensible-storage-engine/jetrestoreinstance-function
    """
    places.check_named(source, destination, roll_forward)
    source, destination = os.path.abspath(source), places.whole(destination)
    options = {**stop_options(stop_at), "rename": _renames(rename)}
    if roll_forward is not None:
        options["roll_forward"] = os.path.abspath(roll_forward)
        if not os.path.isdir(roll_forward):
            raise errors.FileNotFoundError(f"{roll_forward} is no folder: roll_forward names the one that holds the live logs")
        places.check_kept(destination, roll_forward)
    if os.path.lexists(destination) and not os.path.isdir(destination):
        raise DestinationNotEmpty(destination)
    if not replace and os.path.isdir(destination) and os.listdir(destination):
        raise DestinationNotEmpty(destination)
    check_destination(destination, source)
    found = places.survey(source)
    parent = os.path.dirname(destination)
    with places.told(destination):
        os.makedirs(parent, exist_ok=True)
    with contextlib.ExitStack() as made:
        with places.told(destination):
            work = made.enter_context(places.work_folder(parent, f".{os.path.basename(destination)}-", ".restoring"))
            _take_after(work, destination)
        with watch("restore", progress) as watching:
            r = _restore_into(source, work, found, options, watching.callback)
        with places.told(destination):
            _put_in_place(work, destination, replace)
    databases = tuple(
        os.path.join(destination, os.path.relpath(p, work)) if p.startswith(work + os.sep) else p
        for p in r["database"]
    )
    return RestoreResult(
        path=destination,
        files=r["files"],
        databases=databases,
        bytes=r["bytes"],
        duration=r["ns"] / 1e9,
        recovery=RecoveryResult(**r["recovery"]),
        generations=(found["gen_low"], found["gen_high"]),
    )


def DestinationNotEmpty(destination):
    return errors.DestinationNotEmptyError(
        destination, "Name another folder, or pass replace=True to swap it for the restored one."
    )


def _take_after(work, destination):
    """Mode, owner and group of the folder that will be replaced; those of a new one where there is none."""
    if not os.path.isdir(destination):
        os.chmod(work, 0o777 & ~_umask())
        return
    like = os.stat(destination)
    with contextlib.suppress(PermissionError):  # somebody else's folder: ours takes its place
        os.chown(work, like.st_uid, like.st_gid)
    os.chmod(work, stat.S_IMODE(like.st_mode) | stat.S_IRWXU)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _renames(rename):
    """Pairs for the engine; a new name is a plain one, since the folder of all databases appears as a whole."""
    if not isinstance(rename, collections.abc.Mapping | None):
        raise TypeError(f"rename maps old names to new ones, it is no {type(rename).__name__}")
    pairs = list((rename or {}).items())
    if not all(isinstance(name, (str, os.PathLike)) for pair in pairs for name in pair):
        raise TypeError(f"rename maps old names to new ones, these are none: {rename!r}")
    pairs = [(os.fspath(old), os.fspath(new)) for old, new in pairs]
    for old, new in pairs:
        if not new or new in (".", "..", LOGS) or os.path.basename(new) != new:
            raise errors.InvalidParameterError(
                f"rename: {old!r} cannot become {new!r}; a new name is a file name in the destination, without folders"
            )
    return pairs


def _restore_into(source, work, found, options, callback):
    logs = os.path.join(work, LOGS)
    os.mkdir(logs)
    if _jet.JetGetSystemParameter(None, _jet.JET_paramDatabasePageSize) != found["page_size"]:
        _jet.JetSetSystemParameter(None, _jet.JET_paramDatabasePageSize, found["page_size"])
    handle = _jet.JetCreateInstance2(places.as_name(f"restore {work}"))
    try:
        for param, value in (
            (_jet.JET_paramSystemPath, logs + os.sep),
            (_jet.JET_paramLogFilePath, logs + os.sep),
            (_jet.JET_paramTempPath, logs + os.sep),
            (_jet.JET_paramBaseName, found["base_name"]),
            (_jet.JET_paramLogFileSize, found["log_file_size"] // 1024),
        ):
            _jet.JetSetSystemParameter(handle, param, value)
        r = _jet.restore(handle, source, work, progress=callback, **options)
    finally:
        try:
            _jet.JetTerm2(handle, _jet.JET_bitTermComplete)
        except errors.JetError:
            pass  # a restore ends its instance itself; this one was private
    shutil.rmtree(logs)
    _sync_folder(work)
    return r


def _sync_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _put_in_place(work, destination, replace):
    """work becomes destination by rename; what was there leaves when the new one stands. DestinationNotEmptyError for what came meanwhile."""
    with places.unused(destination):
        if not replace and os.path.isdir(destination) and os.listdir(destination):
            raise DestinationNotEmpty(destination)
        old = _swap(work, destination)
    _sync_folder(os.path.dirname(destination))
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    if replace:  # what a killed run had put aside for a destination that stands now
        places.sweep(os.path.dirname(destination), f".{os.path.basename(destination)}-", ".replaced")


def _swap(work, destination):
    old = None
    if os.path.isdir(destination) and os.listdir(destination):
        old = tempfile.mkdtemp(
            prefix=f".{os.path.basename(destination)}-",
            suffix=".replaced",
            dir=os.path.dirname(destination),
        )
        os.rename(destination, old)
    try:
        os.rename(work, destination)
    except BaseException:
        if old is not None:
            os.rename(old, destination)
        raise
    return old
