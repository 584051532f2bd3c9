"""What a backup would copy, without copying: the answer to dry_run=True."""

import dataclasses
import os
import re

from .. import errors
from .results import Result, human

_LOG = re.compile(r"[0-9A-Fa-f]{5}(?:[0-9A-Fa-f]{3})?")


@dataclasses.dataclass(frozen=True)
class Forecast(Result):
    """What a backup would do now. Sizes are of this moment: the log grows, and the databases with it, while a backup runs.

    ``databases``: (path, bytes) of the attached files, empty for an incremental backup; ``generations``: first and last log;
    ``free``: bytes free at the destination, None when it is not known; ``reason``: why this kind.
    """

    kind: str
    path: str
    bytes: int
    databases: tuple
    logs: int
    generations: tuple
    free: int | None = None
    reason: str = ""

    @property
    def fits(self):
        return self.free is None or self.free >= self.bytes

    def __str__(self):
        return (
            f"dry run: a {self.kind} backup{f' to {self.path}' if self.path else ''} would copy {len(self.databases)} databases and"
            f" {self.logs} logs (generations {self.generations[0]:#x} to {self.generations[1]:#x}), {human(self.bytes)}"
            + (f"; {human(self.free)} are free there" if self.free is not None else "")
            + (f"; {self.reason}" if self.reason else "")
        )


def is_log(name, base_name):
    """True of the name of a closed log."""
    stem, extension = os.path.splitext(name)
    return (
        extension.lower() in (".log", ".jtx")
        and stem[:3].lower() == base_name.lower()
        and _LOG.fullmatch(stem[3:]) is not None
    )


def archived_logs(folder, base_name):
    """{generation: path} of the closed logs in a folder."""
    with os.scandir(folder) as entries:
        return {
            int(os.path.splitext(e.name)[0][3:], 16): e.path for e in entries if is_log(e.name, base_name)
        }


def log_state(instance):
    """(folder, base name, checkpoint's generation, current generation, {generation: path} of closed logs)."""
    stats = instance.stats
    folder, base_name = instance.params["LogFilePath"], instance.params["BaseName"]
    return (
        folder,
        base_name,
        stats["checkpoint"] >> 32,
        stats["log_tail"] >> 32,
        archived_logs(folder, base_name),
    )


def free_at(path):
    """Bytes free where path lies or would lie."""
    if path is None:
        return None
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def forecast(instance, path, *, incremental, reason=""):
    """Forecast of Instance.backup. InvalidBackupError for an incremental one with circular logging."""
    if incremental and instance.params["CircularLog"]:
        raise errors.InvalidBackupError(
            "circular logging keeps no logs for an incremental backup; make a full one"
        )
    _folder, _base, checkpoint, current, closed = log_state(instance)
    first = (
        min(closed, default=current) if incremental or path is None else min(checkpoint, current)
    )
    databases = () if incremental or path is None else tuple(instance.attached())
    size_of_log = instance.params["LogFileSize"] * 1024
    logs = current - first + 1
    return Forecast(
        kind="incremental" if incremental else "full",
        path="" if path is None else os.fspath(path),
        bytes=0 if path is None else sum(size for _, size in databases) + logs * size_of_log,
        databases=databases,
        logs=0 if path is None else logs,
        generations=(first, current),
        free=free_at(path),
        reason=reason,
    )
