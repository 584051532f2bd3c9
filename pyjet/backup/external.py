"""External backup: the engine gives the bytes, you store them: a folder, a tar, an upload.

    with inst.external_backup("full") as backup:
        for source in backup.files():
            with open(folder / source.name, "wb") as to:
                shutil.copyfileobj(source, to)

The folder that this makes is a set like those of ``inst.backup()``: ``pyjet.restore()`` takes it.
"""

import contextlib
import io
import mmap
import os
import tarfile
import typing
import warnings
import weakref

from .. import _jet, errors

_CHUNK = 1 << 20
_KINDS = {  # grbit of the begin, whether logs are deleted at its end
    "full": (0, True),
    "copy": (0, False),
    "incremental": (_jet.JET_bitBackupIncremental, True),
    "differential": (_jet.JET_bitBackupIncremental, False),
}


class LogInfo(typing.NamedTuple):
    """The logs of a backup: their paths, lowest and highest generation (both included), base name."""

    paths: list
    generation_low: int
    generation_high: int
    base_name: str


class BackupFile(io.RawIOBase):
    """One file of an external backup, verified while it is read; sequential, from begin to end.

    name: the file's name in a set. path: where the engine has it. size: bytes that will be read; of a database more than the file
    has, since a trailer follows. kind: "database" or "log". ReadVerifyFailureError: the database is dropped from the backup, the
    others can still be read. LogReadVerifyFailureError: the backup is over. BackupAbortByServerError: it was stopped.
    """

    def __init__(self, backup, path, kind):
        super().__init__()
        self.path, self.kind, self.name = path, kind, os.path.basename(path)
        self._backup = backup
        self._at = self._left_at = self._left = 0
        self._failed = False
        self._handle = None
        self._handle, self.size = _jet.JetOpenFileInstance(backup._instance, path)

    def readable(self):
        return True

    def tell(self):
        return self._at

    @property
    def complete(self):
        """Read to its last byte."""
        return self._at == self.size

    def _refill(self):
        """The engine gives whole pages into an aligned buffer; what a reader does not take at once waits there."""
        try:
            self._left = _jet.JetReadFileInstance(self._backup._instance, self._handle, self._backup._buffer)
        except errors.JetError:
            self._failed = True
            raise
        self._left_at = 0
        return self._left

    def readinto(self, buffer):
        """As many bytes as the buffer takes, fewer only at the end. Raises ValueError once closed."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        to = memoryview(buffer).cast("B")
        done = 0
        while done < len(to) and self._at < self.size:
            if self._left == 0 and self._refill() == 0:
                break
            n = min(self._left, len(to) - done)
            to[done : done + n] = self._backup._view[self._left_at : self._left_at + n]
            self._left_at, self._left = self._left_at + n, self._left - n
            self._at, done = self._at + n, done + n
        return done

    def readall(self):
        rest = bytearray(self.size - self._at)
        return bytes(memoryview(rest)[: self.readinto(rest)])

    def tarinfo(self, name=None):
        """The header for ``tarfile.addfile(f.tarinfo(), f)``."""
        info = tarfile.TarInfo(name or self.name)
        info.size, info.mode = self.size, 0o600
        with contextlib.suppress(OSError):
            info.mtime = int(os.stat(self.path).st_mtime)
        return info

    def close(self):
        """Idempotent. A file that was not read to its end is no part of the backup."""
        if self.closed:
            return
        super().close()
        if self._handle is not None:
            self._backup._closed(self)

    def __repr__(self):
        return f"<BackupFile {self.name} {self._at} of {self.size}{' closed' if self.closed else ''}>"


_begun_last = weakref.WeakKeyDictionary()  # handle of an instance: the mark of the ExternalBackup that began last there


def _abandoned(instance, mark, what):
    """One was dropped before its end, so that no other could begin: ends it, unless it has ended and another one is under way."""
    if _begun_last.get(instance) is not mark:
        return
    with contextlib.suppress(errors.JetError):  # an instance that has ended, also in a forked child: nothing is blocked
        _jet.JetEndExternalBackupInstance2(instance, _jet.JET_bitBackupEndAbort)
        warnings.warn(f"{what} was dropped before its end and is aborted: leave its with block", ResourceWarning, stacklevel=2)


class ExternalBackup:
    """An external backup under way, as a context manager; ``inst.external_backup(kind)`` makes it, entering begins it.

    Databases first (of "full" and "copy"), then logs: ``files()`` gives all of them in that order, each open, one at a time; going on
    to the next closes it. Leaving the block normally completes the backup: "full" and "incremental" delete the logs that are no
    longer needed (unless ``truncate_logs()`` did so) and mark it in the headers as the base of the next incremental one. It aborts
    the backup and raises LogFileNotCopiedError when a log, or a database that was opened, was not read to its end. Leaving it by an
    exception aborts: nothing is deleted, nothing marked. One that is dropped, or collected as garbage, before its end is aborted, with a
    ResourceWarning. Any thread may use it; one call at a time. A call before the block or behind it: InvalidBackupSequenceError.
    """

    def __init__(self, instance, kind="full"):
        if not isinstance(kind, str) or kind not in _KINDS:
            raise errors.InvalidParameterError(f"kind is one of {', '.join(_KINDS)}, not {kind!r}")
        self.kind = kind
        self._grbit, self._truncates = _KINDS[kind]
        self._instance = instance.handle
        self._state = "new"
        self._open = None  # a weak reference: a file that is dropped is closed, and holds its backup, not the other way round
        self._mark = object()
        self._read, self._torn = set(), set()
        self._truncated = False

    def __enter__(self):
        """Raises BackupInProgressError, MissingFullBackupError, InvalidBackupError (circular logging), LoggingDisabledError, ..."""
        if self._state != "new":
            raise errors.InvalidBackupSequenceError("an ExternalBackup is entered once; make another")
        self._buffer = mmap.mmap(-1, _CHUNK)
        self._view = memoryview(self._buffer)
        _jet.JetBeginExternalBackupInstance(self._instance, self._grbit)
        try:
            self._state = "begun"
            _begun_last[self._instance] = self._mark
            weakref.finalize(self, _abandoned, self._instance, self._mark, repr(self)).atexit = False
        except BaseException:  # nobody leaves a block that was not entered
            self._state = "aborted"
            _jet.JetEndExternalBackupInstance2(self._instance, _jet.JET_bitBackupEndAbort)
            raise
        return self

    def _check_begun(self):
        """NoBackupError unless it is this one that is under way: no call may reach another that began since."""
        if self._state != "begun" or _begun_last.get(self._instance) is not self._mark:
            raise errors.NoBackupError(f"{self!r} is not under way: use it inside its with block")

    # ---- what there is ----

    def attach_info(self):
        """Paths of the databases; InvalidBackupSequenceError in a backup of logs only."""
        self._check_begun()
        return _jet.JetGetAttachInfoInstance(self._instance)

    def log_info(self):
        """LogInfo. The first call finishes the current log: databases cannot be opened any more."""
        self._check_begun()
        self._close_open()
        return LogInfo(*_jet.JetGetLogInfoInstance2(self._instance))

    def truncatable(self):
        """Paths of the logs that ``truncate_logs()`` would delete. Finishes the current log as ``log_info()`` does."""
        self._check_begun()
        self._close_open()
        return _jet.JetGetTruncateLogInfoInstance(self._instance)

    # ---- reading ----

    def open(self, path, kind="database"):
        """One file by its path, as ``attach_info()`` or ``log_info()`` tells it; closes the one before."""
        self._check_begun()
        self._close_open()
        file = BackupFile(self, path, kind)
        self._open = weakref.ref(file)
        return file

    def databases(self):
        """Each database, open. Nothing in a backup of logs only."""
        if self._grbit & _jet.JET_bitBackupIncremental:
            return
        for path in self.attach_info():
            yield self.open(path)
        self._close_open()

    def logs(self):
        """Each log, open. No database can be opened any more."""
        for path in self.log_info().paths:
            yield self.open(path, "log")
        self._close_open()

    def files(self):
        """Databases, then logs."""
        yield from self.databases()
        yield from self.logs()

    def _close_open(self):
        file = None if self._open is None else self._open()
        if file is not None:
            file.close()

    def _closed(self, file):
        self._open = None
        if file.complete:
            self._read.add(file.path)
            self._torn.discard(file.path)
        elif not file._failed:
            self._torn.add(file.path)
        with contextlib.suppress(errors.NoBackupError, errors.InvalidParameterError):
            _jet.JetCloseFileInstance(self._instance, file._handle)

    # ---- the end ----

    def truncate_logs(self):
        """Delete the logs that this backup makes unnecessary; gives back their paths.

        InvalidBackupSequenceError in a "copy" or "differential", which delete none; LogFileNotCopiedError unless all logs were read.
        """
        if not self._truncates:
            raise errors.InvalidBackupSequenceError(f"a {self.kind} backup deletes no logs")
        paths = self.truncatable()
        _jet.JetTruncateLogInstance(self._instance)
        self._truncated = True
        return paths

    def _complete(self):
        missing = sorted(self._torn | (set(self.log_info().paths) - self._read))
        if missing:
            raise errors.LogFileNotCopiedError(f"not read to the end: {', '.join(map(os.path.basename, missing))}")
        if self._truncates and not self._truncated:
            self.truncate_logs()
        outcome = _jet.end_external_backup(self._instance, _jet.JET_bitBackupEndNormal)
        self._state = "done"
        if outcome < 0:
            raise errors.BackupAbortByServerError("the backup was stopped before its end")

    def _abort(self):
        if self._state == "begun":
            with contextlib.suppress(errors.JetError):
                self._check_begun()
                _jet.JetEndExternalBackupInstance2(self._instance, _jet.JET_bitBackupEndAbort)
            self._state = "aborted"

    def __exit__(self, kind, value, traceback):
        if self._state != "begun":
            raise errors.InvalidBackupSequenceError(f"{self!r} is not under way: its with block begins and ends it, once")
        try:
            self._close_open()
            if kind is None:
                self._complete()
        finally:
            self._abort()
            self._view.release()
            self._buffer.close()

    def __repr__(self):
        return f"<ExternalBackup {self.kind} {self._state}>"
