"""pyjet: Microsoft's Extensible Storage Engine (JET Blue) re-created for Linux.

Instance, Session, Transaction, Database, Table, Row; column types and Index; backup and restore. ``pyjet.api`` has the engine's
own functions by their names.
"""

import os as _os

from . import _jet, errors, events, schema
from .backup import BackupResult, RecoveryResult, RestoreResult, restore
from .database import Database
from .errors import *
from .freeze import Snapshot, snapshot
from .instance import Instance
from .position import LgPos
from .progress import Progress
from .schema import (
    Binary,
    Bit,
    Column,
    Currency,
    DateTime,
    Double,
    Guid,
    Index,
    Long,
    LongBinary,
    LongLong,
    LongText,
    Short,
    Single,
    Text,
    UnsignedByte,
    UnsignedLong,
    UnsignedLongLong,
    UnsignedShort,
)
from .session import Session, Transaction
from .table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import info
    from .info import (
        CheckpointHeader,
        DatabaseHeader,
        DatabaseInfo,
        InstanceInfo,
        LogHeader,
        header,
    )
else:

    def __getattr__(name):
        """The headers' classes take as long to make as all the others: they come when they are asked for."""
        if name not in _IN_INFO:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        info = importlib.import_module(".info", __name__)
        return info if name == "info" else getattr(info, name)

    def __dir__():
        return sorted({*globals(), *_IN_INFO})


_IN_INFO = {"CheckpointHeader", "DatabaseHeader", "DatabaseInfo", "InstanceInfo", "LogHeader", "header", "info"}
Row = _jet.Row
__version__ = "0.1.0.dev0"


def open(path, *, readonly=True, allow_dirty=False):
    """Open a database file without an instance, for reading only: a Database, also a context manager.

    The file may come from Windows, of any page size. A file that was not shut down cleanly gives DatabaseDirtyShutdownError; with
    ``allow_dirty`` it is read as it is on disk. FileNotFoundError, ReadVerifyFailureError, DatabaseCorruptedError, ...
    """
    if not readonly:
        raise errors.InvalidParameterError(
            "without an instance files are read-only: use Instance(...).session().open(path)"
        )
    handle = _jet.open_file(path, _jet.PYJET_bitAllowDirty if allow_dirty else 0)
    session = Session(None, handle)
    try:
        return session._database(_os.fspath(path), handle.file_dbid, _jet.JET_bitDbReadOnly)
    except BaseException:
        session.close()
        raise


__all__ = [
    "BackupResult", "Binary", "Bit", "CheckpointHeader", "Column", "Currency", "Database", "DatabaseHeader", "DatabaseInfo", "DateTime",
    "Double", "Guid", "Index", "Instance", "InstanceInfo", "LgPos", "LogHeader", "Long", "LongBinary", "LongLong", "LongText",
    "Progress", "RecoveryResult", "RestoreResult", "Row", "Session", "Short", "Single", "Snapshot", "Table", "Text", "Transaction",
    "UnsignedByte", "UnsignedLong", "UnsignedLongLong", "UnsignedShort", "errors", "events", "header", "open", "restore", "schema",
    "snapshot", *errors.__all__,
]  # fmt: skip
