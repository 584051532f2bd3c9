"""Snapshots of the operating system: the files stand still while LVM, btrfs, ZFS, a storage array or plain ``cp`` copies them."""

import contextlib
import glob
import os

from . import _jet, errors

_KINDS = {
    "full": 0,
    "incremental": _jet.JET_bitIncrementalSnapshot,
    "copy": _jet.JET_bitCopySnapshot,
    "differential": _jet.JET_bitIncrementalSnapshot | _jet.JET_bitCopySnapshot,
}


def _handle(instance):
    return getattr(instance, "handle", instance)


class Snapshot:
    """Instances whose files stand still: what ``with pyjet.snapshot(...) as snap`` gives.

    In the block the files may be copied; sessions read as ever, who writes waits. ``snap.files`` lists what a copy needs. Leaving the
    block thaws; OSSnapshotTimeOutError then says that the freeze had ended before (JET_paramOSSnapshotTimeout, 70 seconds): the copy is
    worth nothing. After :meth:`thaw`, ``truncate_logs()`` deletes logs that the copy made unnecessary. An exception in the block
    aborts: nothing is noted in the headers.
    """

    def __init__(self, instances, kind, timeout):
        if kind not in _KINDS:
            raise errors.InvalidParameterError(f"kind is one of {', '.join(_KINDS)}, not {kind!r}")
        if not instances:
            raise errors.InvalidParameterError("name at least one instance")
        self.kind = kind
        self.instances = tuple(instances)
        self.databases = ()
        self._timeout = timeout
        self._id = None
        self._frozen = False

    @property
    def id(self):
        """The snapshot's number, for the JetOSSnapshot functions of pyjet.api; None when it has none."""
        return self._id

    @property
    def frozen(self):
        """True from freeze to thaw, as far as this object knows: the time-out does not tell it."""
        return self._frozen

    def freeze(self):
        """Stop all writing, in all of the instances at one moment. Waits for the statements that are being carried out, not longer
        than the time-out (two seconds at least): OSSnapshotTimeOutError then, and nothing is frozen.

        OSSnapshotNotAllowedError: a backup or another snapshot runs, or logging is off. MissingFullBackupError: an increment of a
        database that has had no full snapshot. ESE: JetOSSnapshotPrepare, JetOSSnapshotPrepareInstance, JetOSSnapshotFreeze.
        """
        if self._timeout is not None:
            ms = int(self._timeout * 1000)
            _jet.JetSetSystemParameter(None, _jet.JET_paramOSSnapshotTimeout, ms)
        bits = _jet.JET_bitContinueAfterThaw | _jet.JET_bitExplicitPrepare
        self._id = _jet.JetOSSnapshotPrepare(_KINDS[self.kind] | bits)
        try:
            for instance in self.instances:
                _jet.JetOSSnapshotPrepareInstance(self._id, _handle(instance))
            frozen = _jet.JetOSSnapshotFreeze(self._id)
            self._frozen = True
            self.databases = tuple(path for _, paths in frozen for path in paths)
        except BaseException:
            self.abort()
            raise
        return self

    @property
    def files(self):
        """Paths a copy needs: databases, logs and checkpoints of the instances, as they lie on disk."""
        found = list(self.databases)
        for instance in self.instances:
            found += _log_files(_handle(instance))
        return found

    def thaw(self):
        """Let writing go on. OSSnapshotTimeOutError: it did already, so throw the copy away; the snapshot is over then."""
        self._frozen = False
        try:
            _jet.JetOSSnapshotThaw(self._id)
        except BaseException:
            self.abort()
            raise

    def truncate_logs(self):
        """Delete logs that neither this snapshot nor recovery needs; thaws first. Of a copy or differential one: an error.

        ESE: JetOSSnapshotTruncateLog with JET_bitAllDatabasesSnapshot.
        """
        if self._frozen:
            self.thaw()
        _jet.JetOSSnapshotTruncateLog(self._id, _jet.JET_bitAllDatabasesSnapshot)

    def end(self):
        """Note the snapshot in the headers of its databases. Thaws first."""
        if self._frozen:
            self.thaw()
        if self._id is not None:
            try:
                _jet.JetOSSnapshotEnd(self._id)
            except BaseException:
                with contextlib.suppress(errors.JetError):
                    self.abort()
                raise
            self._id = None

    def abort(self):
        """Give it up, in any state: thaw, note nothing."""
        self._frozen = False
        if self._id is not None:
            try:
                _jet.JetOSSnapshotAbort(self._id)
            except errors.JetError:
                self._id = None
                raise
            self._id = None

    def __enter__(self):
        return self.freeze()

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.end()
            return
        try:
            self.abort()
        except errors.JetError as e:  # the user's own exception is the one he sees
            value.add_note(f"and the snapshot could not be aborted: {e}") if hasattr(
                value, "add_note"
            ) else None

    def __repr__(self):
        state = "frozen" if self._frozen else "open" if self._id is not None else "over"
        return f"<Snapshot {self.kind} of {len(self.instances)} instance(s), {state}>"


def _log_files(handle):
    base = _jet.JetGetSystemParameter(handle, _jet.JET_paramBaseName, True)
    logs = _jet.JetGetSystemParameter(handle, _jet.JET_paramLogFilePath, True)
    system = _jet.JetGetSystemParameter(handle, _jet.JET_paramSystemPath, True)
    found = []
    for name in sorted(glob.glob(os.path.join(glob.escape(logs), glob.escape(base) + "*"))):
        stem, extension = os.path.splitext(os.path.basename(name))
        if extension.lower() in (".log", ".jtx") and stem.lower() != f"{base}tmp".lower():
            found.append(name)
    checkpoints = [os.path.join(system, base + extension) for extension in (".chk", ".jcp")]
    return found + [path for path in checkpoints if os.path.exists(path)]


def snapshot(*instances, kind="full", timeout=None):
    """``with pyjet.snapshot(inst) as snap: subprocess.run(["lvcreate", "-s", ...])``: files stand still in the block.

    instances: one or more, frozen at one moment. kind: "full", "incremental" (only the logs are to be copied), "copy" and
    "differential" (the same two, of which the chain of backups takes no notice). timeout: seconds after which writing goes on by itself
    (JET_paramOSSnapshotTimeout, of the whole process; 70). Gives a :class:`Snapshot`.
    ESE: JetOSSnapshotFreeze, https://learn.microsoft.com/windows/win32/extensible-storage-engine/jetossnapshotfreeze-function
    """
    return Snapshot(instances, kind, timeout)
