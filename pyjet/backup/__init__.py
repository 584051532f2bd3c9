"""Backup and restore: results and options of single runs, and repositories of backup sets.

:class:`BackupRepo` keeps the sets of an instance with their manifests: full and incremental ones in chains, plain or compressed.
"""

from .archive import ExportResult
from .engine import BackupResult, RecoveryResult, RestoreResult, backup, restore
from .external import BackupFile, ExternalBackup, LogInfo
from .forecast import Forecast
from .limits import Deadline, RateLimit
from .manifest import BackupSet, SetFile
from .prune import PruneReport
from .recovery import recover
from .repo import BackupRepo
from .results import human
from .run import BackupIterator
from .status import RepoStatus
from .store import FailedSet

__all__ = [
    "BackupFile", "BackupIterator", "BackupRepo", "BackupResult", "BackupSet", "Deadline", "ExportResult", "ExternalBackup", "FailedSet",
    "Finding", "Forecast", "LogInfo", "PruneReport", "RateLimit", "RecoveryResult", "RepoStatus", "RestoreResult", "SetFile",
    "VerifyLevel", "VerifyReport", "backup", "human", "recover", "restore",
]  # fmt: skip


def __getattr__(name):
    """verify opens databases, so it needs the whole package: it comes when it is asked for."""
    if name in ("Finding", "VerifyLevel", "VerifyReport"):
        from . import verify

        return getattr(verify, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
