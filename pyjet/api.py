"""ESE's functions by their own names, in their own order of arguments; sizes and reserved fields are left out.

Handles are objects (Instance, Session, Cursor of ``pyjet._jet``; objects of pyjet are taken as well). A call returns its result, or
None, or a positive JET_wrn code; a negative JET_err is raised as its class of :mod:`pyjet.errors`. Every JET_... constant is here, too.
The reference of each function is https://learn.microsoft.com/windows/win32/extensible-storage-engine/ under its name.
"""

import typing

from . import _jet, errors

globals().update(
    {name: value for name, value in vars(_jet).items() if name.startswith(("JET_", "PYJET_"))}
)


class JET_SNPROG(typing.NamedTuple):
    """Progress: so many units done of so many."""

    cunitDone: int
    cunitTotal: int


def _session(sesid):
    return getattr(sesid, "handle", sesid)


def _same_session(sesid, tableid):
    if getattr(tableid, "session", None) is not _session(sesid):
        raise errors.SesidTableIdMismatchError("the cursor belongs to another session")


def _by_cursor(name):
    """ESE's calls on a cursor take the session first; ours know it from the cursor, and see that it is the same."""
    inner = getattr(_jet, name)

    def call(sesid, tableid, *args, **kwargs):
        _same_session(sesid, tableid)
        return inner(tableid, *args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__module__ = __name__
    call.__doc__ = inner.__doc__.replace("(cursor", "(sesid, tableid", 1)
    return call


_CURSOR_CALLS = (
    "JetAddColumn", "JetCloseTable", "JetCreateIndex2", "JetDelete", "JetDeleteColumn", "JetDeleteIndex", "JetDupCursor",
    "JetEscrowUpdate", "JetGetBookmark", "JetGetCurrentIndex", "JetGetLock", "JetGetRecordPosition", "JetGotoBookmark",
    "JetIndexRecordCount", "JetMakeKey", "JetMove", "JetPrepareUpdate", "JetRenameColumn", "JetRetrieveColumn", "JetRetrieveKey",
    "JetSeek", "JetSetColumn", "JetSetCurrentIndex2", "JetSetIndexRange", "JetUpdate",
)  # fmt: skip
_OTHER_CALLS = (
    "JetAttachDatabase2", "JetBeginExternalBackupInstance", "JetBeginSession", "JetBeginSurrogateBackup", "JetEndSurrogateBackup", "JetBeginTransaction2", "JetCloseDatabase",
    "JetCloseFileInstance", "JetCommitTransaction", "JetCreateDatabase2", "JetCreateInstance2", "JetCreateTableColumnIndex",
    "JetDeleteTable", "JetDetachDatabase2", "JetEndExternalBackupInstance2", "JetEndSession", "JetGetAttachInfoInstance",
    "JetGetDatabaseInfo", "JetGetLogInfoInstance2", "JetGetTruncateLogInfoInstance", "JetGetVersion", "JetIdle", "JetInit2",
    "JetOSSnapshotAbort", "JetOSSnapshotEnd", "JetOSSnapshotFreeze", "JetOSSnapshotGetFreezeInfo", "JetOSSnapshotPrepare",
    "JetOSSnapshotPrepareInstance", "JetOSSnapshotThaw", "JetOSSnapshotTruncateLog", "JetOSSnapshotTruncateLogInstance",
    "JetOpenDatabase", "JetOpenFileInstance", "JetOpenTable", "JetReadFileInstance", "JetRenameTable", "JetResetSessionContext",
    "JetRollback", "JetSetSessionContext", "JetStopBackupInstance", "JetStopServiceInstance2", "JetTerm2", "JetTruncateLogInstance",
)  # fmt: skip
globals().update({name: _by_cursor(name) for name in _CURSOR_CALLS})
globals().update({name: getattr(_jet, name) for name in _OTHER_CALLS})


def JetCreateInstance(name):
    """JetCreateInstance(name) -> Instance, not started."""
    return _jet.JetCreateInstance2(name)


def JetInit(instance):
    """JetInit(instance): start; recovers when the last run ended in a crash."""
    return _jet.JetInit2(instance, 0)


def JetStopServiceInstance(instance):
    """JetStopServiceInstance(instance): refuse all work but what ends something, for good."""
    return _jet.JetStopServiceInstance2(instance, 0)


def JetTerm(instance):
    """JetTerm(instance): end, as JetTerm2 with no options."""
    return _jet.JetTerm2(instance, 0)


def JetSetSystemParameter(instance, sesid, paramid, lparam=0, text=None):
    """JetSetSystemParameter(instance or None, sesid or None, paramid, lparam, text): text for parameters that are texts."""
    return _jet.JetSetSystemParameter(instance, paramid, lparam if text is None else text)


def JetGetSystemParameter(instance, sesid, paramid, as_text=False):
    """JetGetSystemParameter(instance or None, sesid or None, paramid, as_text=False) -> int, or str with as_text."""
    return _jet.JetGetSystemParameter(instance, paramid, as_text)


def JetAttachDatabase(sesid, path, grbit=0):
    """JetAttachDatabase(sesid, path, grbit=0); JET_wrnDatabaseAttached when it was."""
    return _jet.JetAttachDatabase2(sesid, path, 0, grbit)


def JetCreateDatabase(sesid, path, grbit=0):
    """JetCreateDatabase(sesid, path, grbit=0) -> dbid, attached and open."""
    return _jet.JetCreateDatabase2(sesid, path, 0, grbit)


def JetDetachDatabase(sesid, path):
    """JetDetachDatabase(sesid, path or None): None detaches all."""
    return _jet.JetDetachDatabase2(sesid, path, 0)


def JetBeginTransaction(sesid):
    """JetBeginTransaction(sesid): one level deeper, 7 at most."""
    return _jet.JetBeginTransaction2(sesid, 0)


def JetSetCurrentIndex(sesid, tableid, name):
    """JetSetCurrentIndex(sesid, tableid, name or None): to its first entry."""
    _same_session(sesid, tableid)
    return _jet.JetSetCurrentIndex2(tableid, name)


def JetCreateTable(sesid, dbid, name, pages=0, density=0):
    """JetCreateTable(sesid, dbid, name, pages=0, density=0) -> Cursor, exclusive."""
    return _jet.JetCreateTableColumnIndex(sesid, dbid, name, (), (), pages, density)


def _status(callback):
    if callback is None:
        return None

    def status(snp, snt, done, total):
        """The value is ignored, as ESE does; an exception ends the run."""
        if snp == _jet.JET_snpBackup:  # told in KiB; ESE has 100 units, and the last one belongs to Complete
            last = 100 if snt == _jet.JET_sntComplete else 99
            done, total = min(done * 100 // total, last) if total else 0, 100
        callback(JET_sesidNil, snp, snt, JET_SNPROG(done, total))  # noqa: F821

    return status


def JetBackupInstance(instance, destination, grbit=0, status_callback=None):
    """JetBackupInstance(instance, destination or None, grbit=0, status_callback=None): all attached databases, while in use.

    destination: a folder, empty for a full backup that is not atomic; None only deletes logs that are no longer needed. grbit:
    JET_bitBackupIncremental, JET_bitBackupAtomic. status_callback(sesid, snp, snt, data): data is a JET_SNPROG of 100 units; its
    value is ignored; its exception ends the run and is raised here.
    """
    _jet.backup(instance, destination, grbit, _status(status_callback))


def JetGetLogInfoInstance(instance):
    """JetGetLogInfoInstance(instance) -> [path]: the logs of the backup; finishes the current log when called first."""
    return _jet.JetGetLogInfoInstance2(instance)[0]


def JetEndExternalBackupInstance(instance):
    """JetEndExternalBackupInstance(instance): as JetEndExternalBackupInstance2 with JET_bitBackupEndNormal."""
    return _jet.JetEndExternalBackupInstance2(instance, JET_bitBackupEndNormal)  # noqa: F821


def JetRestoreInstance(instance, source, destination=None, status_callback=None):
    """JetRestoreInstance(instance, source, destination or None, status_callback=None): the instance is created, not started.

    destination None puts the databases back where they were. Status callback as in JetBackupInstance.
    """
    _jet.restore(instance, source, destination, None, _status(status_callback))


__all__ = [name for name in globals() if name.startswith(("Jet", "JET_", "PYJET_"))]
