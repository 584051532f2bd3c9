"""What files and instances are: headers of databases, logs and checkpoints, and a running instance, as dataclasses."""

import dataclasses
import datetime
import html
import json
import os

from . import _jet, errors
from .position import LgPos


def _plain(value):
    """For JSON: times and positions as text."""
    if isinstance(value, Info):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return str(value) if isinstance(value, LgPos) else value


def _cell(value):
    if isinstance(value, Info):
        return value._rows()
    if isinstance(value, tuple):
        return "".join(_cell(v) for v in value)
    return html.escape("" if value is None else str(value))


class Info:
    """Base of what this module gives: ``to_dict()`` for JSON, a table in notebooks."""

    def to_dict(self):
        """Plain values: times as ISO 8601 text, positions as ESE's tools write them."""
        return _plain(self)

    def _rows(self):
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(f.name)}</th><td>{_cell(getattr(self, f.name))}</td></tr>"
            for f in dataclasses.fields(self)
        )
        return f"<table>{rows}</table>"

    def _repr_html_(self):
        return self._rows().replace(
            "<table>", f"<table><caption>{html.escape(type(self).__name__)}</caption>", 1
        )


@dataclasses.dataclass(frozen=True)
class Signature(Info):
    """Of a database or a log sequence: a random number and when it was made. ESE: JET_SIGNATURE."""

    random: int
    created: datetime.datetime | None

    def __str__(self):
        return f"{self.random:08x} of {self.created}"


@dataclasses.dataclass(frozen=True)
class BackupStamp(Info):
    """What a backup left in a database's header; all zero and None: there was none. ESE: JET_BKINFO."""

    mark: LgPos
    time: datetime.datetime | None
    gen_low: int
    gen_high: int

    def __bool__(self):
        return self.mark != LgPos() or self.gen_low != 0


@dataclasses.dataclass(frozen=True)
class Attachment(Info):
    """A database that was attached when a log generation, or a checkpoint, was written."""

    dbid: int
    path: str
    dbtime: int
    objid_last: int
    lgpos_attach: LgPos
    lgpos_consistent: LgPos
    sign_db: Signature


@dataclasses.dataclass(frozen=True)
class DatabaseHeader(Info):
    """The header of a database. gen_min_required to gen_max_required: log generations without which it cannot become consistent;
    gen_max_committed: the last that may hold committed work. The backup stamps are those of the last backup of each kind;
    current_full_backup is set in a copy that lies in a backup set. ESE: JET_DBINFOMISC."""

    path: str
    state: str
    page_size: int
    version: str
    dbtime: int
    objid_last: int
    dbid: int
    shadow_catalog: bool
    sign_db: Signature
    sign_log: Signature
    lgpos_attach: LgPos
    lgpos_consistent: LgPos
    lgpos_detach: LgPos
    time_attach: datetime.datetime | None
    time_consistent: datetime.datetime | None
    time_detach: datetime.datetime | None
    gen_min_required: int
    gen_max_required: int
    gen_min_consistent: int
    gen_max_committed: int
    time_gen_max_created: datetime.datetime | None
    full_backup: BackupStamp
    incremental_backup: BackupStamp
    current_full_backup: BackupStamp
    current_snapshot: BackupStamp
    copy_backup: BackupStamp
    differential_backup: BackupStamp

    @property
    def clean(self):
        """It was shut down cleanly: no log is needed to open it."""
        return self.state == "clean shutdown"

    @property
    def from_backup(self):
        """It is a copy out of a backup set: restore it, do not attach it."""
        return bool(self.current_full_backup)


@dataclasses.dataclass(frozen=True)
class LogHeader(Info):
    """The header of a log file. ESE: JET_LOGINFOMISC."""

    path: str
    generation: int
    file_size: int
    page_size: int
    version: str
    created: datetime.datetime | None
    created_previous: datetime.datetime | None
    signature: Signature
    flags: int
    checkpoint: LgPos
    checksum_previous: str
    attached: tuple[Attachment, ...]


@dataclasses.dataclass(frozen=True)
class CheckpointHeader(Info):
    """A checkpoint file: where recovery begins, and the last backups."""

    path: str
    checkpoint: LgPos
    db_consistency: LgPos
    last_full_checkpoint: LgPos
    full_backup: LgPos
    full_time: datetime.datetime | None
    incremental_backup: LgPos
    incremental_time: datetime.datetime | None
    signature: Signature
    attached: tuple[Attachment, ...] = ()


@dataclasses.dataclass(frozen=True)
class DatabaseInfo(Info):
    """An attached database: its size in pages, and its header as it is in memory."""

    path: str
    pages: int
    read_only: bool
    logged: bool
    header: DatabaseHeader

    @property
    def size(self):
        """Bytes of its file."""
        return (self.pages + 2) * self.header.page_size


@dataclasses.dataclass(frozen=True)
class InstanceInfo(Info):
    """A running instance: its folders, its log and checkpoint, the databases attached to it. ESE: JetGetInstanceInfo."""

    name: str
    base_name: str
    log_path: str
    system_path: str
    running: bool
    logging: bool
    circular_log: bool
    backup_running: bool
    log_file_size: int
    log_signature: str
    generation_lowest: int
    generation: int
    checkpoint: LgPos
    log_tail: LgPos
    databases: tuple[DatabaseInfo, ...]


# ---- out of the engine's JSON, by the kinds of the fields ----


def _time(text):
    if text is None:
        return None
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None  # a file of ours never holds such a time; a damaged one may


_READ = {
    LgPos: LgPos.parse,
    datetime.datetime | None: _time,
    Signature: lambda v: _make(Signature, v),
    BackupStamp: lambda v: _make(BackupStamp, v),
    DatabaseHeader: lambda v: _make(DatabaseHeader, v),
    tuple[Attachment, ...]: lambda v: tuple(_make(Attachment, one) for one in v),
    tuple[DatabaseInfo, ...]: lambda v: tuple(
        _make(DatabaseInfo, {**one, "header": {**one["header"], "path": one["path"]}}) for one in v
    ),
}


def _make(kind, values):
    known = {f.name: _READ.get(f.type) for f in dataclasses.fields(kind)}
    return kind(**{k: known[k](v) if known[k] else v for k, v in values.items() if k in known})


def header(path):
    """The header of a database, log or checkpoint file: a DatabaseHeader, LogHeader or CheckpointHeader, as it is on disk.

    What it is is told by what it holds, the name does not matter. FileNotFoundError, ReadVerifyFailureError (both copies of a
    database's header are damaged), LogFileCorruptError, CheckpointCorruptError, FileInvalidTypeError.
    ESE: JetGetDatabaseFileInfo, JetGetLogFileInfo, esentutl /mh, /ml, /mk.
    """
    path = os.fspath(path)
    values = json.loads(_jet.dump_header(path))
    for kind, field in (
        (DatabaseHeader, "state"),
        (LogHeader, "generation"),
        (CheckpointHeader, "db_consistency"),
    ):
        if field in values:
            return _make(kind, {**values, "path": path})
    raise errors.FileInvalidTypeError(f"{path} is no database, log or checkpoint")


def of_instance(instance):
    """The work of Instance.info."""
    return _make(InstanceInfo, json.loads(_jet.dump_instance(instance.handle)))
