"""Exit codes: stable, each with one meaning; an error that nobody thought of is 1."""

from .. import errors

MEANINGS = {
    0: "done, and what was made is valid",
    1: "an error that has no code of its own",
    2: "the command line or an argument is wrong",
    3: "done, with warnings (status only; a backup never)",
    10: "not found: a folder, file, set or repository",
    11: "locked, in use, or in progress elsewhere",
    12: "the state forbids it: needs a full backup, circular logging, a folder that is not empty",
    20: "corruption was found",
    21: "logs or sets of the chain are missing: not recoverable to the point asked for",
    22: "dirty: recovery is needed first",
    23: "the format or version is not supported",
    30: "out of space",
    31: "an I/O error",
    40: "the deadline passed",
    130: "ended by Ctrl-C (SIGINT)",
    143: "ended by SIGTERM",
}

_CODES = {
    10: "FileNotFound NoBackupDirectory DatabaseNotFound InvalidPath ObjectNotFound TableNotFound PathNotFound RepoNotFound"
    " SetNotFound",
    11: "BackupInProgress SurrogateBackupInProgress RestoreInProgress FileAccessDenied PermissionDenied DatabaseInUse DatabaseLocked LogFilePathInUse SystemPathInUse"
    " TempPathInUse AlreadyInitialized DatabaseSharingViolation SessionSharingViolation RepoLocked",
    12: "MissingFullBackup InvalidBackup LoggingDisabled BackupNotAllowedYet BackupDirectoryNotEmpty NoBackup"
    " InvalidBackupSequence FileAlreadyExists DatabaseDuplicate DestinationNotEmpty",
    20: "Manifest DamagedSet BadBackupDatabaseSize",
    21: "RequiredLogFilesMissing CommittedLogFilesMissing GivenLogFileIsNotContiguous MissingRestoreLogFiles MissingLogFile"
    " StartingRestoreLogTooHigh EndingRestoreLogTooLow BadRestoreTargetInstance LogGenerationMismatch"
    " GivenLogFileHasBadSignature MissingPatchPage MissingFileToBackup ChainBroken MissingPreviousLogFile PatchFileMissing"
    " DatabasePatchFileMismatch BadDbSignature",
    22: "DatabaseDirtyShutdown DirtyShutdown",
    23: "BadLogVersion InvalidDatabaseVersion InvalidLogSequence LogFileSizeMismatch PageSizeMismatch"
    " DatabaseIncompatible ConsistentTimeMismatch Database200Format Database400Format Database500Format UnicodeTranslationFail"
    " EngineFormatVersionNotYetImplementedTooHigh FeatureNotAvailable InvalidDatabase FileInvalidType InvalidCreateDbVersion"
    " EngineFormatVersionNoLongerSupportedTooLow EngineFormatVersionParamTooLowForRequestedFeature"
    " EngineFormatVersionSpecifiedTooLowForLogVersion EngineFormatVersionSpecifiedTooLowForDatabaseVersion LogSectorSizeMismatch"
    " LogFileSizeMismatchDatabasesConsistent LogSectorSizeMismatchDatabasesConsistent",
    30: "DiskFull LogDiskFull OutOfDatabaseSpace InstanceUnavailableDueToFatalLogDiskFull",
    31: "DiskIO LogWriteFail DiskReadVerificationFailure FileSystemCorruption",
    40: "Deadline",
    2: "InvalidGrbit InvalidParameter InvalidSettings",
}
_BY_CLASS = {
    getattr(errors, name + "Error"): rc
    for rc, names in _CODES.items()
    for name in names.split()
    if hasattr(errors, name + "Error")
}
_BY_CATEGORY = (
    (errors.JetCorruptionError, 20),
    (errors.JetInconsistentError, 21),
    (errors.JetDiskError, 30),
    (errors.JetIOError, 31),
    (errors.JetQuotaError, 30),
    (errors.JetUsageError, 2),
    (FileNotFoundError, 10),
    (NotADirectoryError, 10),
    (PermissionError, 11),
    (FileExistsError, 12),
    (OSError, 31),
)
NAGIOS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}  #: of status --nagios, whatever else goes wrong
_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


class Terminated(BaseException):
    """SIGTERM came."""


def exit_code(error):
    """The exit code of an exception."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, Terminated):
        return 143
    if type(error) in _BY_CLASS:
        return _BY_CLASS[type(error)]
    if (
        isinstance(error, OSError)
        and not isinstance(error, errors.JetError)
        and error.errno in _NO_SPACE
    ):
        return 30
    return next((rc for cls, rc in _BY_CATEGORY if isinstance(error, cls)), 1)
