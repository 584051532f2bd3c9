"""Backup, restore and what they give back."""

from .engine import BackupResult, RecoveryResult, RestoreResult, backup, restore
from .forecast import Forecast
from .limits import Deadline, RateLimit
from .results import human
from .run import BackupIterator

__all__ = [
    "BackupIterator", "BackupResult", "Deadline", "Forecast", "RateLimit", "RecoveryResult", "RestoreResult", "backup", "human",
    "restore",
]  # fmt: skip
