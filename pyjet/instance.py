"""Instance: the engine on a folder, and its parameters."""

import atexit
import contextlib
import functools
import itertools
import os
import re
import weakref

from . import _jet, errors
from . import freeze as _freeze
from .backup import engine as _backup
from .backup import external as _external
from .backup import places as _places
from .backup import run as _run
from .progress import watch
from .session import Session

_numbers = itertools.count(1)
_live: weakref.WeakSet = weakref.WeakSet()
_BY_NAME = {}
for _name, _id, _kind, _scope, _default, _text in _jet.PARAMETERS:
    _BY_NAME[_name] = _BY_NAME[_name.removeprefix("JET_param")] = (_id, _kind)
for _name in (
    "DoubleWrite",
    "VersionStoreBytes",
    "BackupReadRetries",
    "RandomSteal",
    "PageWriterOff",
):
    _BY_NAME[_name] = _BY_NAME["PYJET_param" + _name] = (
        getattr(_jet, "PYJET_param" + _name),
        "integer",
    )


def _parameter(key):
    if isinstance(key, str):
        if key not in _BY_NAME:
            raise errors.InvalidParameterError(f"there is no parameter {key!r}")
        return _BY_NAME[key]
    kinds = {number: kind for number, kind in _BY_NAME.values()}
    return int(key), kinds.get(int(key), "integer")


def _size_of_logs(folder, base_name):
    """The size of the logs in a folder, so that they can be gone on with; None when there are none."""
    for name in (base_name + end for end in (".log", ".jtx", "tmp.log", "tmp.jtx")):
        with contextlib.suppress(OSError):
            size = os.path.getsize(os.path.join(folder, name))
            if size:
                return size
    return None


class Parameters:
    """``inst.params["CircularLog"]``: names with or without "JET_param", or numbers."""

    def __init__(self, handle):
        self._handle = handle

    def __getitem__(self, key):
        number, kind = _parameter(key)
        return _jet.JetGetSystemParameter(self._handle, number, kind == "string")

    def __setitem__(self, key, value):
        _jet.JetSetSystemParameter(
            self._handle, _parameter(key)[0], int(value) if isinstance(value, bool) else value
        )

    def describe(self):
        """(name, value, text) of every parameter that can be read."""
        for name, _number, _kind, _scope, _default, text in _jet.PARAMETERS:
            with contextlib.suppress(errors.JetError):
                yield name, self[name], text


class Instance:
    """The engine on a folder: ``with pyjet.Instance("data") as inst, inst.session() as ses:``

    path: folder of checkpoint and logs, relative to the current directory; made when it is not there (``create_path``).
    log_path, system_path, temp_path: other folders for these. base_name: three characters, "edb". page_size: 4096, 8192, 16384
    or 32768, one for all instances of a process; None leaves it as it is (4096). circular_log: keep only the logs recovery needs,
    so no incremental backup. log_file_size: bytes; None: that of the logs
    that are there, else ESE's 5 MiB. recovery: False turns logging off.
    params: further system parameters, by name or number, as ESE has them. init: False makes it without starting it.

    Beyond ESE's defaults, it sets: the version store to 256 MiB, the checkpoint depth to 64 MiB or a quarter of the cache, sessions
    to 1000; each can be given in ``params``. Leaving the ``with`` block ends sessions (their transactions roll back), stops a
    running backup and terminates; errors of that do not hide an exception on its way. SystemPathInUseError, LogFilePathInUseError
    when another process has the folder; RequiredLogFilesMissingError, LogFileCorruptError, ... from recovery.
    ESE: JetInit, https://learn.microsoft.com/windows/win32/extensible-storage-engine/jetinit-function
    """

    def __init__(
        self,
        path=".",
        *,
        name="",
        log_path=None,
        system_path=None,
        temp_path=None,
        base_name="edb",
        page_size=None,
        circular_log=False,
        log_file_size=None,
        recovery=True,
        create_path=True,
        params=None,
        init=True,
        progress=None,
    ):
        self.path = os.path.abspath(path)
        self.name = name or _places.as_name(f"pyjet-{next(_numbers)} {self.path}"[:200])
        self.recovery = None
        self._paces = set()  # of the backup that runs, for stop_backup
        self._attached = set()  # absolute paths, as sessions of this package attached them
        if not re.fullmatch(r"[A-Za-z0-9]{3}", base_name):
            raise errors.InvalidParameterError("base_name is three letters or digits")
        folders = {
            _jet.JET_paramSystemPath: os.path.abspath(system_path or path),
            _jet.JET_paramLogFilePath: os.path.abspath(log_path or path),
            _jet.JET_paramTempPath: os.path.abspath(temp_path or path),
        }
        if create_path:
            for folder in folders.values():
                with _places.told(folder):
                    os.makedirs(folder, exist_ok=True)
        if page_size is not None and page_size != _jet.JetGetSystemParameter(
            None, _jet.JET_paramDatabasePageSize
        ):
            _jet.JetSetSystemParameter(None, _jet.JET_paramDatabasePageSize, page_size)
        self.handle = _jet.JetCreateInstance2(self.name)
        self.params = Parameters(self.handle)
        try:
            for number, folder in folders.items():
                self.params[number] = folder + os.sep
            if log_file_size is None:
                log_file_size = _size_of_logs(folders[_jet.JET_paramLogFilePath], base_name)
            self._set_defaults(base_name, circular_log, log_file_size, recovery, create_path)
            for key, value in (params or {}).items():
                self.params[key] = value
            if init:
                self.init(progress=progress)
        except BaseException:
            with contextlib.suppress(errors.JetError):
                _jet.JetTerm2(self.handle, _jet.JET_bitTermAbrupt)
            raise
        _live.add(self)

    def _set_defaults(self, base_name, circular_log, log_file_size, recovery, create_path):
        p = self.params
        p["BaseName"] = base_name
        p["CircularLog"] = circular_log
        p["CreatePathIfNotExist"] = create_path
        p["MaxSessions"] = 1000
        p["VersionStoreBytes"] = 256 << 20
        p["CheckpointDepthMax"] = max(64 << 20, p["CacheSizeMax"] * self._page_size() // 4)
        if log_file_size is not None:
            p["LogFileSize"] = log_file_size // 1024
        if not recovery:
            p["Recovery"] = "Off"

    @staticmethod
    def _page_size():
        return _jet.JetGetSystemParameter(None, _jet.JET_paramDatabasePageSize)

    def init(self, *, progress=None):
        """Start (the constructor does, unless init=False); replays the logs after a crash. Gives back a RecoveryResult."""
        with watch("recovery", progress) as watching:
            self.recovery = _backup.RecoveryResult(**_jet.init(self.handle, 0, watching.callback))
        return self.recovery

    @property
    def closed(self):
        return self.handle.ended

    def session(self):
        """A new Session: one for each thread."""
        return Session(self, _jet.JetBeginSession(self.handle))

    def backup(
        self,
        path,
        *,
        incremental=False,
        atomic=False,
        progress=None,
        create_path=True,
        rate_limit=None,
        deadline=None,
        label=None,
        metadata=None,
        dry_run=False,
    ):
        """Back all attached databases up to a folder, while they are in use; gives back a BackupResult.

        A full backup needs an empty folder, or one that is not there; an incremental one adds to the folder of the full one. atomic:
        in sub-folders, so that the last complete set stays until the new one is complete. progress: a callable that takes a
        pyjet.Progress, or True for a bar. Its exception, or Ctrl-C, ends the run: its files are removed, and it is raised here; returning
        False ends it with BackupAbortByServerError.

        path None: copy nothing, delete all logs below the checkpoint. Beware: those too that no backup holds. The last set cannot be
        rolled forward over them any more, and the next increment raises MissingFileToBackupError until a full backup is made.

        rate_limit: bytes a second, at most, or a backup.RateLimit that may be changed on the way. deadline: seconds or a timedelta
        after which the run ends with DeadlineError, its files gone. label, metadata (texts by names): kept in
        ``<path>.pyjet.json`` beside the folder. dry_run: do nothing; gives back a backup.Forecast of bytes and generations, or raises
        what the run would now.
        BackupInProgressError, BackupDirectoryNotEmptyError, MissingFullBackupError, InvalidBackupError (circular logging), ...
        ESE: JetBackupInstance, https://learn.microsoft.com/windows/win32/extensible-storage-engine/jetbackupinstance-function
        """
        if incremental:
            _backup.check_continues(path, atomic)
        return _run.run(
            self,
            path,
            incremental=incremental,
            atomic=atomic,
            progress=progress,
            create_path=create_path,
            rate_limit=rate_limit,
            deadline=deadline,
            label=label,
            metadata=metadata,
            dry_run=dry_run,
        )

    def backup_iter(self, path, **options):
        """The same backup as an iterator of pyjet.Progress that is pulled; ``.result`` at its end, ``close()`` cancels.

        options: those of :meth:`backup`, without ``progress``. Errors come out of the iteration.
        """
        if options.get("incremental"):
            _backup.check_continues(path, options.get("atomic", False))
        return _run.BackupIterator(functools.partial(_run.run, self, path, **options))

    def external_backup(self, kind="full"):
        """A backup whose files you read and store yourself: ``with inst.external_backup() as backup: for f in backup.files(): ...``

        kind: "full", "incremental" (logs only; both then delete logs and count for the next incremental one), "copy" and
        "differential" (the same bytes, without these effects). The files are io.RawIOBase objects with ``name`` and ``size``. An
        exception out of the block aborts the backup. See pyjet.backup.ExternalBackup.
        ESE: JetBeginExternalBackupInstance,
        https://learn.microsoft.com/windows/win32/extensible-storage-engine/jetbeginexternalbackupinstance-function
        """
        return _external.ExternalBackup(self, kind)

    def attached(self):
        """(path, bytes) of each database that sessions of this package have attached and that is there, read-only ones left out."""
        found = []
        for path in sorted(self._attached):
            with contextlib.suppress(OSError):
                found.append((path, os.path.getsize(path)))
        return found

    def stop_backup(self):
        """End the running backup, whoever runs it, and refuse new ones, until :meth:`resume_backup`: BackupAbortByServerError.

        From any thread, also from a progress callable. Nothing is deleted or noted for the backup that was stopped. Ending this
        instance takes the refusal away. InvalidParameterError: the instance is not running.
        ESE: JetStopBackupInstance, https://learn.microsoft.com/windows/win32/extensible-storage-engine/jetstopbackupinstance-function
        """
        for pace in list(self._paces):
            pace.stop()
        _jet.JetStopBackupInstance(self.handle)

    def resume_backup(self):
        """Allow backups again after :meth:`stop_backup`; no more than that when they were not stopped.

        BackupInProgressError: the stopped backup has not come to its end yet. (An extension of ours: ESE has only the restart.)
        """
        _jet.resume_backup(self.handle)

    def stop_service(self, *, quiesce=False):
        """Refuse all work on this instance with ClientRequestToStopJetServiceError, for good; what ends something stays allowed.

        Allowed: roll back, close tables and databases, detach, end sessions, close the instance, :meth:`stop_backup`. A backup that runs
        comes to its end: stop it first. quiesce: only write all changed pages to disk now and soon after each change, so that closing
        takes less; :meth:`resume_service` undoes that. ESE: JetStopServiceInstance2.
        """
        bits = _jet.JET_bitStopServiceQuiesceCaches if quiesce else _jet.JET_bitStopServiceAll
        _jet.JetStopServiceInstance2(self.handle, bits)

    def resume_service(self):
        """Undo ``stop_service(quiesce=True)``. ClientRequestToStopJetServiceError after a full stop: that is for good."""
        _jet.JetStopServiceInstance2(self.handle, _jet.JET_bitStopServiceResume)

    def snapshot(self, *, kind="full", timeout=None):
        """``with inst.snapshot() as snap: copy(snap.files)``: the files stand still in the block. See :func:`pyjet.snapshot`."""
        return _freeze.snapshot(self, kind=kind, timeout=timeout)

    def info(self):
        """An InstanceInfo: folders, log generations, checkpoint, and each attached database with its header and backup stamps.

        NotInitializedError is not raised for one that is not started: it has no databases. ESE: JetGetInstanceInfo,
        JetGetInstanceMiscInfo, JetGetDatabaseInfo with JET_DbInfoMisc.
        """
        from . import info

        return info.of_instance(self)

    @property
    def stats(self):
        """Counters as a dict: log, cache, versions, trees, system calls, and the last recovery."""
        return _jet.stats(self.handle)

    def close(self, *, abrupt=False):
        """Terminate: waits for calls of other threads, ends sessions. abrupt: without writing pages back; the next start recovers.

        InstanceUnavailableError, DiskIOError and their kin: the instance is gone all the same, but not everything could be written; what was
        committed is in the logs, and the next start recovers it. TooManyActiveUsersError, BackupInProgressError: it goes on.
        """
        if not self.handle.ended:
            for pace in list(self._paces):
                pace.stop()
            _jet.term(
                self.handle,
                _jet.JET_bitTermAbrupt
                if abrupt
                else _jet.JET_bitTermComplete | _jet.JET_bitTermStopBackup,
            )

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
            return
        with contextlib.suppress(errors.JetError):
            self.close()

    def __repr__(self):
        return f"<Instance {self.path}{' closed' if self.closed else ''}>"


@atexit.register
def _close_all():
    for instance in list(_live):
        with contextlib.suppress(errors.JetError):
            instance.close()


os.register_at_fork(after_in_child=_jet.forked)
