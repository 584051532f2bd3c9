"""What a backup would copy, without copying: the answer to dry_run=True."""

import dataclasses
import os
import re

from .. import _jet
from .results import Result, human

_LOG = re.compile(r"[0-9A-Fa-f]{5}(?:[0-9A-Fa-f]{3})?")
_SEGMENT, _STEP = 4096, 1 << 18


@dataclasses.dataclass(frozen=True)
class Forecast(Result):
    """What a backup would do now. Sizes are of this moment: the log grows, and the databases with it, while a backup runs.

    ``bytes``: what would be written: a log's unused end is a hole, and a log that the set has already is left. ``databases``: (path, bytes)
    of the attached files, empty for an incremental backup; ``logs``: how many would be copied, of ``generations``: first and last log that
    the set needs (without a path: the logs that would be deleted, as [first, end)). ``free``: bytes free at the destination, None when
    it is not known; ``reason``: why this kind.
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
        if not self.path:
            first, end = self.generations
            return f"dry run: {end - first} logs would be deleted" + (f" (generations {first:#x} to {end - 1:#x})" if end > first else "")
        return (
            f"dry run: a {self.kind} backup to {self.path} would copy {len(self.databases)} databases and"
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


def written_bytes(path):
    """Bytes of a log up to its end of zeros, which a backup leaves as a hole."""
    with open(path, "rb") as f:
        end = f.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _STEP)
            f.seek(start)
            found = f.read(end - start).rstrip(b"\0")
            if found:
                return -(-(start + len(found)) // _SEGMENT) * _SEGMENT
            end = start
    return 0


def _present(folder):
    """Names of the logs that an increment finds in its set: the engine has seen that they are the same."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def forecast(instance, path, *, incremental, atomic=False, present=None, reason="", at=None):
    """Forecast of Instance.backup, with the error that the run would meet now. present: names of logs that need no copying, where it is
    not the folder that has them; at: the folder to tell of, where it is not path."""
    grbit = (_jet.JET_bitBackupIncremental if incremental else 0) | (_jet.JET_bitBackupAtomic if atomic else 0)
    planned = _jet.look_at_backup(instance.handle, path, grbit, 1)
    folder, base_name, _checkpoint, current, closed = log_state(instance)
    shown = path if at is None else at
    kind = "incremental" if incremental else "full"
    if path is None:
        return Forecast(kind=kind, path="", bytes=0, databases=(), logs=0, generations=(planned["deleted_low"], planned["deleted_high"]), reason=reason)
    present = _present(planned["path"]) if present is None else present
    first, last = planned["gen_low"], planned["gen_high"]
    wanted = {g: p for g, p in closed.items() if first <= g <= last and os.path.basename(p) not in present}
    if current == last:
        names = (os.path.join(folder, base_name + extension) for extension in (".log", ".jtx"))
        wanted.update((current, p) for p in names if os.path.exists(p))
    return Forecast(
        kind=kind,
        path=os.fspath(shown),
        bytes=planned["bytes"] + sum(map(written_bytes, wanted.values())),
        databases=() if incremental else tuple(instance.attached()),
        logs=len(wanted),
        generations=(first if at is None else min(wanted, default=last), last),
        free=free_at(shown),
        reason=reason,
    )
