"""Exceptions: one class for each public JET_err, below the category it has in ESE.

``JetError`` carries ``code`` (the JET_err), ``name`` ("JET_errDiskFull"), ``category``, ``text`` (what it means), ``detail``
(what it was about, this time) and ``hint`` (what to do next). Class names are the error's name without its prefix, with
``Error`` at the end: ``JET_errDiskFull`` is :class:`DiskFullError`. Builtin classes are mixed in where users expect them:
``except OSError``, ``MemoryError``, ``LookupError``, ``PermissionError``, ``FileNotFoundError``, ``ValueError`` work.
Positive codes (JET_wrn...) are return values, never exceptions.
"""

import errno as _errno

from . import _jet


class JetError(Exception):
    """An error of the engine. See the module's text for its attributes."""

    code = 0
    name = ""
    category = "Unknown"
    text = ""

    def __init__(self, detail=""):
        super().__init__(detail)
        self.detail = detail

    @property
    def hint(self):
        """What to do next: a sentence or two."""
        return (_jet.error_texts(self.code)[3] or "") if self.code else ""

    def __str__(self):
        parts = [f"{self.name} ({self.code}): {self.text}" if self.code else self.text]
        parts += [str(self.detail)] if self.detail else []
        parts += [f"Hint: {self.hint}"] if self.hint else []
        return ". ".join(part.rstrip(".") for part in parts if part) + "."

    def __reduce__(self):
        if type(self) is JetError:  # a code that has no class of its own
            return make, (self.code, self.detail)
        return type(self), (self.detail,)


class JetOperationError(JetError):
    """Retry, or tell the operator."""


class JetFatalError(JetOperationError):
    """The instance cannot go on: terminate it and start it again."""


class JetIOError(JetOperationError, OSError):
    """A file or device failed."""


class JetResourceError(JetOperationError):
    """Something has run out."""


class JetMemoryError(JetResourceError, MemoryError):
    """Memory or handles have run out."""


class JetQuotaError(JetResourceError):
    """A limit that was set has been reached."""


class JetDiskError(JetResourceError, OSError):
    """A disk is full."""


class JetDataError(JetError):
    """Stop, and keep the files as they are."""


class JetCorruptionError(JetDataError):
    """Bytes on disk are not what they have to be."""


class JetInconsistentError(JetDataError):
    """Files of different origin or time were brought together."""


class JetFragmentationError(JetDataError):
    """A counter or structure has run full."""


class JetApiError(JetError):
    """The call was not right."""


class JetUsageError(JetApiError, ValueError):
    """An argument was not right."""


class JetStateError(JetApiError):
    """The object is not in the state that the call needs."""


class JetObsoleteError(JetApiError):
    """An error that only old versions raise."""


class PyjetError(JetError):
    """Not from the engine: from this package."""

    def __init__(self, detail="", hint=""):
        super().__init__(detail)
        self._hint = hint

    @property
    def hint(self):
        return self._hint

    def __reduce__(self):
        return type(self), (self.detail, self._hint)


class ForkError(PyjetError):
    """The handle was opened before a fork; the child has to open the files anew."""

    text = "a handle of the parent process cannot be used in a forked child"


class DestinationNotEmptyError(PyjetError, FileExistsError):
    """restore: there are files in the destination, and replace=True was not given."""

    text = "the destination is not empty"


class DeadlineError(PyjetError, TimeoutError):
    """The deadline passed; what had been begun is gone."""

    text = "the deadline has passed"
    errno = _errno.ETIMEDOUT


class RepoNotFoundError(PyjetError, FileNotFoundError):
    """The folder is no backup repository."""

    text = "there is no backup repository"
    errno = _errno.ENOENT


class RepoLockedError(PyjetError, BlockingIOError):
    """Another process works in the repository."""

    text = "the backup repository is in use"
    errno = _errno.EAGAIN


class SetNotFoundError(PyjetError, LookupError):
    """The repository has no such backup set."""

    text = "there is no such backup set"


class ManifestError(PyjetError, ValueError):
    """A manifest, or the index of an archive, is damaged or is not one."""

    text = "a manifest cannot be used"


class ChainBrokenError(PyjetError):
    """The sets do not follow each other: logs between them are missing, or they are of different sequences."""

    text = "the chain of backup sets is broken"


class DamagedSetError(PyjetError):
    """A file of a backup set is missing, or its bytes are not those that were written. ``file`` names it, ``block`` the
    block of a compressed file (None: not known)."""

    text = "a file of a backup set is damaged"

    def __init__(self, detail="", hint="", file=None, block=None):
        super().__init__(detail, hint)
        self.file, self.block = file, block

    def __reduce__(self):
        return type(self), (self.detail, self._hint, self.file, self.block)


_CATEGORIES = {
    "Operation": JetOperationError,
    "Fatal": JetFatalError,
    "IO": JetIOError,
    "Resource": JetResourceError,
    "Memory": JetMemoryError,
    "Quota": JetQuotaError,
    "Disk": JetDiskError,
    "Data": JetDataError,
    "Corruption": JetCorruptionError,
    "Inconsistent": JetInconsistentError,
    "Fragmentation": JetFragmentationError,
    "Api": JetApiError,
    "Usage": JetUsageError,
    "State": JetStateError,
    "Obsolete": JetObsoleteError,
}

# name: (builtin class mixed in beside the category's, errno of those that are OSErrors)
_MIXINS = {
    "JET_errFileAccessDenied": (PermissionError, _errno.EACCES),
    "JET_errAccessDenied": (PermissionError, _errno.EACCES),
    "JET_errPermissionDenied": (PermissionError, _errno.EPERM),
    "JET_errFileNotFound": (FileNotFoundError, _errno.ENOENT),
    "JET_errInvalidPath": (FileNotFoundError, _errno.ENOENT),
    "JET_errNoBackupDirectory": (FileNotFoundError, _errno.ENOENT),
    "JET_errFileAlreadyExists": (FileExistsError, _errno.EEXIST),
    "JET_errBackupDirectoryNotEmpty": (FileExistsError, _errno.EEXIST),
    "JET_errDatabaseDuplicate": (FileExistsError, _errno.EEXIST),
    "JET_errDiskFull": (OSError, _errno.ENOSPC),
    "JET_errLogDiskFull": (OSError, _errno.ENOSPC),
    "JET_errDiskIO": (OSError, _errno.EIO),
    "JET_errLogWriteFail": (OSError, _errno.EIO),
    "JET_errDiskReadVerificationFailure": (OSError, _errno.EIO),
    "JET_errRecordNotFound": (LookupError, None),
    "JET_errNoCurrentRecord": (LookupError, None),
    "JET_errRecordDeleted": (LookupError, None),
    "JET_errDatabaseNotFound": (LookupError, None),
    "JET_errObjectNotFound": (KeyError, None),
    "JET_errColumnNotFound": (KeyError, None),
    "JET_errIndexNotFound": (KeyError, None),
}


def class_name(name):
    """The class of an error's name: "JET_errDiskFull" -> "DiskFullError"."""
    for prefix in ("JET_err", "JET_wrn"):
        name = name.removeprefix(prefix)
    return name + "Error"


def _bases(name, category):
    base = _CATEGORIES.get(category, JetError)
    mixin = _MIXINS.get(name, (None, None))[0]
    if mixin is None or issubclass(base, mixin):
        return (base,)
    return base, mixin


def _build():
    found, second_names = {}, []
    for name, code, category, text in _jet.error_list():
        if code >= 0:
            continue
        leaf = class_name(name)
        if text is None:
            second_names.append((leaf, code))
            continue
        body = {
            "__module__": __name__,
            "__doc__": f"{name} ({code}): {text}.",
            "code": code,
            "name": name,
            "category": category,
            "text": text,
        }
        number = _MIXINS.get(name, (None, None))[1]
        if number is not None:
            body["errno"] = number
        found[code] = globals()[leaf] = type(leaf, _bases(name, category), body)
    for leaf, code in second_names:
        globals()[leaf] = found[code]
    return found


_BY_CODE = _build()


def make(code, detail=""):
    """The exception for a JET_err: an instance of its class, or of JetError for a code that is not public."""
    found = _BY_CODE.get(code)
    if found is not None:
        return found(detail)
    error = JetError(detail)
    name, text, category, _ = _jet.error_texts(code)
    error.code, error.name = code, name or ""
    error.text, error.category = text or "unknown error", category or "Unknown"
    return error


def by_code(code):
    """The exception class of a JET_err, JetError when there is none of its own."""
    return _BY_CODE.get(code, JetError)


_jet.install_errors(make, ForkError)

__all__ = [n for n, v in list(globals().items()) if isinstance(v, type) and issubclass(v, JetError)]
