"""The manifest of one backup set, and what makes it trustworthy: every field is checked before it is used.

A manifest may come out of an archive that a stranger made, so: names are plain file names, ids have one form, sizes and counts are
bounded, texts are limited. A manifest that breaks a rule raises ManifestError and names the field.
"""

import dataclasses
import datetime
import os
import re
import secrets

from .. import errors
from ..position import in_utc
from . import files, note
from .results import Result, human

FILES_MOST = 200_000
BYTES_MOST = 1 << 50
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_SHA = re.compile(r"[0-9a-f]{64}")
_BASE_NAME = re.compile(r"[A-Za-z0-9]{3}")
LONG_AGO = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
KINDS = ("full", "incremental")
STORES = ("plain", "packed")
ROLES = ("database", "log", "marker")


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def new_id(at=None):
    """Sorts by time; the end keeps two of one second apart."""
    return (at or now()).strftime("%Y%m%dT%H%M%SZ-") + secrets.token_hex(4)


def is_id(text):
    return isinstance(text, str) and _ID.fullmatch(text) is not None


@dataclasses.dataclass(frozen=True)
class SetFile:
    """One file of a set: ``sha256`` of its bytes as ESE wrote them (None until they are taken), ``packed`` its compressed size."""

    name: str
    role: str
    size: int
    sha256: str | None = None
    packed: int | None = None


@dataclasses.dataclass(frozen=True)
class BackupSet(Result):
    """One set of a repository: a full backup, or the logs of an incremental one. Times are in UTC.

    ``parent`` is the set it continues (None: a full one), ``generations`` its first and last log, ``store`` "plain" (ESE's own files)
    or "packed" (zlib), ``origin`` "backup", "adopt" or "import", ``verified`` the marks of past verifications. ``order`` counts the
    backups made into this repository, whatever the clock said (0: not made here).
    """

    id: str
    kind: str
    parent: str | None
    started: datetime.datetime
    finished: datetime.datetime
    base_name: str
    page_size: int
    log_file_size: int
    signature: str
    generations: tuple
    databases: tuple
    files: tuple = dataclasses.field(repr=False)
    label: str | None = None
    metadata: dict = dataclasses.field(default_factory=dict)
    store: str = "plain"
    origin: str = "backup"
    duration: float = 0.0
    reason: str = ""
    order: int = 0
    verified: tuple = ()

    @property
    def bytes(self):
        """Of its files, as ESE has them."""
        return sum(f.size for f in self.files)

    @property
    def stored_bytes(self):
        """What it takes in the repository."""
        return sum(f.size if f.packed is None else f.packed for f in self.files)

    @property
    def has_checksums(self):
        return all(f.sha256 is not None for f in self.files)

    def to_dict(self):
        return {
            **to_json(self),
            "bytes": self.bytes,
            "stored_bytes": self.stored_bytes,
            "verified": list(self.verified),
        }

    def summary(self):
        """Without the list of files: for event lines and tables."""
        found = self.to_dict()
        found["files"] = len(self.files)
        return found

    def __str__(self):
        label = f' "{self.label}"' if self.label else ""
        return (
            f"{self.id} {self.kind}{label}: {len(self.files)} files, {human(self.stored_bytes)}, generations"
            f" {self.generations[0]:#x} to {self.generations[1]:#x}, finished {self.finished:%Y-%m-%d %H:%M:%S} UTC"
            + (f", verified ({self.verified[-1]['level']})" if self.verified else "")
        )


def to_json(s):
    return {
        "format": "pyjet-set",
        "v": 1,
        "id": s.id,
        "kind": s.kind,
        "parent": s.parent,
        "label": s.label,
        "metadata": s.metadata,
        "started": s.started.isoformat(),
        "finished": s.finished.isoformat(),
        "store": s.store,
        "origin": s.origin,
        "base_name": s.base_name,
        "page_size": s.page_size,
        "log_file_size": s.log_file_size,
        "signature": s.signature,
        "generations": list(s.generations),
        "databases": [{"name": name, "original": original} for name, original in s.databases],
        "duration": s.duration,
        "reason": s.reason,
        "order": s.order,
        "files": [
            {k: v for k, v in dataclasses.asdict(f).items() if v is not None} for f in s.files
        ],
    }


class _Fields:
    """Takes fields out of an untrusted object, each by its rule."""

    def __init__(self, value, where):
        self.value, self.where = value, where
        if not isinstance(value, dict):
            self.fail("it is no object")

    def fail(self, text):
        raise errors.ManifestError(f"{self.where}: {text}", files.KEEP)

    def take(self, name, rule, default=None, needed=True):
        if name not in self.value:
            if needed:
                self.fail(f"{name} is missing")
            return default
        found = self.value[name]
        if not rule(found):
            self.fail(f"{name} is not what it has to be: {str(found)[:80]!r}")
        return found

    def text(self, name, most=4096, **kw):
        return self.take(name, lambda x: isinstance(x, str) and len(x) <= most, **kw)

    def number(self, name, low, high, **kw):
        return self.take(name, lambda x: type(x) is int and low <= x <= high, **kw)

    def time(self, name):
        text = self.text(name, 64)
        try:
            found = datetime.datetime.fromisoformat(text)
            if found.tzinfo is None:
                self.fail(f"{name} has no time zone")
            return in_utc(found)
        except (ValueError, errors.InvalidParameterError):
            self.fail(f"{name} is no time")

    def list(self, name, most):
        return self.take(name, lambda x: isinstance(x, list) and len(x) <= most)


def _file(value, where):
    f = _Fields(value, f"{where}: a file")
    return SetFile(
        name=f.take("name", files.is_name),
        role=f.take("role", lambda x: x in ROLES),
        size=f.number("size", 0, BYTES_MOST),
        sha256=f.take(
            "sha256", lambda x: isinstance(x, str) and _SHA.fullmatch(x) is not None, needed=False
        ),
        packed=f.number("packed", 0, BYTES_MOST, needed=False),
    )


def _database(value, where, names):
    f = _Fields(value, f"{where}: a database")
    name = f.take("name", files.is_name)
    if name not in names:
        f.fail(f"{name!r} is none of its files")
    return name, f.text("original")


def _is_generations(x):
    return (
        isinstance(x, list)
        and len(x) == 2
        and all(type(n) is int and 0 < n < 1 << 32 for n in x)
        and x[0] <= x[1]
    )


def from_json(value, where, expect_id=None):
    """A BackupSet of a parsed manifest. ManifestError names the field that is wrong."""
    f = _Fields(value, where)
    if value.get("format") != "pyjet-set" or value.get("v") != 1:
        f.fail("it is no manifest of a set, or of a newer version")
    found_id = f.take("id", is_id)
    if expect_id is not None and found_id != expect_id:
        f.fail(f"it is of another set, {found_id}")
    listed = tuple(_file(x, where) for x in f.list("files", FILES_MOST))
    names = {x.name for x in listed}
    if len(names) != len(listed) or not listed:
        f.fail("files are named twice, or there are none")
    kind = f.take("kind", lambda x: x in KINDS)
    parent = f.take("parent", lambda x: x is None or is_id(x), needed=False)
    if (kind == "full") != (parent is None) or parent == found_id:
        f.fail("only an incremental set has a parent")
    databases = tuple(_database(x, where, names) for x in f.list("databases", 64))
    if (kind == "full") != bool(databases):
        f.fail("a full set has databases, an incremental one has none")
    try:
        label, metadata = note.checked(
            f.take("label", lambda x: True, needed=False),
            f.take("metadata", lambda x: isinstance(x, dict), needed=False),
        )
    except errors.InvalidParameterError as error:
        f.fail(error.detail)
    store = f.take("store", lambda x: x in STORES)
    if store == "packed" and any(x.packed is None for x in listed):
        f.fail("a packed file has no packed size")
    return BackupSet(
        id=found_id,
        kind=kind,
        parent=parent,
        started=f.time("started"),
        finished=f.time("finished"),
        base_name=f.take(
            "base_name", lambda x: isinstance(x, str) and _BASE_NAME.fullmatch(x) is not None
        ),
        page_size=f.take("page_size", lambda x: x in (2048, 4096, 8192, 16384, 32768)),
        log_file_size=f.number("log_file_size", 1, 1 << 31),
        signature=f.text("signature", 200),
        generations=tuple(f.take("generations", _is_generations)),
        databases=databases,
        files=listed,
        label=label,
        metadata=metadata,
        store=store,
        origin=f.text("origin", 20),
        duration=float(f.take("duration", lambda x: type(x) in (int, float) and 0 <= x < 1e12)),
        reason=f.text("reason", 1000, needed=False, default=""),
        order=f.number("order", 0, 1 << 50, needed=False, default=0),
    )


def load(path):
    """The manifest in a file named <id>.json."""
    name = os.path.basename(path)
    return from_json(files.read_json(path), path, name.removesuffix(".json"))
