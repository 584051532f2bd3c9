"""Backup, restore and what they give back."""

from .engine import BackupResult, RecoveryResult, RestoreResult, backup, human, restore

__all__ = ["BackupResult", "RecoveryResult", "RestoreResult", "backup", "human", "restore"]
