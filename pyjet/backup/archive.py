"""Sets as one tar.gz: written and read as a stream, with checksums of every file; an archive of a stranger is not trusted.

Members: ``pyjet-export.json`` (the manifests, first), ``<id>/<name>`` for each file as ESE has it, and ``SHA256SUMS`` for sha256sum.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import tarfile
import time
import zlib

from .. import errors
from . import chains, files, manifest, places, restoring
from .describe import describe
from .results import Result, human
from .steps import Steps

INDEX, SUMS = "pyjet-export.json", "SHA256SUMS"
SETS_MOST = 1000
READ_MOST = 4 << 20  #: bytes that tar's own headers may ask for at once
HINT = "Get the archive again from where it came from."


@dataclasses.dataclass(frozen=True)
class ExportResult(Result):
    """What was written: ``sets`` by id, ``bytes`` before compression, ``size`` of the file, its ``sha256``."""

    path: str
    sets: tuple
    files: int
    bytes: int
    size: int
    sha256: str
    duration: float

    def __str__(self):
        return f"exported {len(self.sets)} sets, {self.files} files, {human(self.bytes)} as {human(self.size)} to {self.path} ({self.duration:.2f} s)"


class _Summed:
    """A file to write to that counts and sums what goes through."""

    def __init__(self, file):
        self.file, self.digest, self.size = file, hashlib.sha256(), 0

    def write(self, data):
        self.digest.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


class _Stream(io.RawIOBase):
    """The blocks of one file of a set as something tarfile can read."""

    def __init__(self, blocks, step):
        self.blocks, self.step, self.rest = iter(blocks), step, b""

    def readable(self):
        return True

    def readinto(self, to):
        if not self.rest:
            self.rest = next(self.blocks, b"")
            self.step(len(self.rest))
        n = min(len(to), len(self.rest))
        to[:n] = self.rest[:n]
        self.rest = self.rest[n:]
        return n


def _member(name, size, at):
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, int(at.timestamp()), 0o644
    return info


def _small(tar, name, text, at):
    data = os.fsencode(text)
    tar.addfile(_member(name, len(data), at), io.BytesIO(data))


def _with_sums(repo, chain, steps):
    """The chain, every file with a checksum."""
    for s in chain:
        if not s.has_checksums:
            with steps.stage("checksums", s.bytes) as step:
                listed = tuple(
                    f
                    if f.sha256
                    else dataclasses.replace(f, sha256=files.sha256(repo.file_path(s, f), step))
                    for f in s.files
                )
            s = dataclasses.replace(s, files=listed)
        yield s


def _write(repo, chain, out, level, steps):
    sums = []
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=level, filename="", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        steps.stage("export", sum(s.bytes for s in chain)) as step,
    ):
        index = {"format": "pyjet-export", "v": 1, "sets": [manifest.to_json(s) for s in chain]}
        _small(tar, INDEX, json.dumps(index, ensure_ascii=True), chain[-1].finished)
        for s in chain:
            for f in s.files:
                name = f"{s.id}/{f.name}"
                stream = io.BufferedReader(_Stream(restoring.blocks(repo, s, f), step), files.CHUNK)
                tar.addfile(_member(name, f.size, s.finished), stream)
                stream.read(1)  # to the end of the blocks, where the checksum is held against them
                sums.append(f"{f.sha256}  {name}\n")
        _small(tar, SUMS, "".join(sums), chain[-1].finished)


def export(repo, which, path, level, progress, deadline):
    """The work of BackupRepo.export."""
    places.check_named(path)
    places.check_apart(path, repo.root)
    path, began = os.path.abspath(path), time.monotonic()
    if type(level) is not int or not 1 <= level <= 9:
        raise errors.InvalidParameterError("level is 1 (fast) to 9 (small)")
    if os.path.lexists(path):
        raise FileExistsError(f"{path} is there already: name another file")
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.tmp")
    with Steps("export", progress, deadline) as steps, repo.reading(steps.deadline):
        sets, failed = repo.whole_and_failed()
        chain = list(_with_sums(repo, chains.chain_of(sets, chains.choose(sets, which, failed)), steps))
        try:
            places.sweep(os.path.dirname(path), f".{os.path.basename(path)}.", ".tmp")
            with places.told(beside), open(beside, "xb") as file, places.held(file):
                out = _Summed(file)
                _write(repo, chain, out, level, steps)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)  # refuses to replace what came meanwhile
        finally:
            if os.path.lexists(beside):
                os.unlink(beside)
        files.sync_folder(os.path.dirname(path))
    return ExportResult(
        path=path,
        sets=tuple(s.id for s in chain),
        files=sum(len(s.files) for s in chain),
        bytes=sum(s.bytes for s in chain),
        size=out.size,
        sha256=out.digest.hexdigest(),
        duration=time.monotonic() - began,
    )


# ---- import ----
class _Bounded:
    """What tarfile reads from: inflated as it goes, forwards only, and never much at once, whatever a header asks for."""

    def __init__(self, file):
        self._file, self._at = file, 0

    def read(self, size):
        if not 0 <= size <= READ_MOST:
            raise errors.ManifestError(f"the archive has a header of {size} bytes", HINT)
        parts, left = [], size
        while left and (data := self._file.read(left)):
            parts.append(data)
            left -= len(data)
        found = b"".join(parts)
        self._at += len(found)
        return found

    def tell(self):
        return self._at

    def seek(self, to):
        if to < self._at:
            raise errors.ManifestError("the archive's headers point backwards", HINT)
        while self._at < to:
            if not self.read(min(to - self._at, files.CHUNK)):
                break

    def drain(self):
        """To the end, where gzip holds its own checksum against what it read; only padding may be left."""
        for _ in range(64):
            if not (rest := self.read(files.CHUNK)):
                return
            if rest.strip(b"\0"):
                break
        raise errors.ManifestError("something follows the archive's last file", HINT)


def _bad(text):
    return errors.ManifestError(f"the archive: {text}", HINT)


def _index(tar):
    member = tar.next()
    if (
        member is None
        or member.name != INDEX
        or not member.isreg()
        or member.size > files.JSON_MOST
    ):
        raise _bad(f"its first file is not {INDEX}")
    source, data = tar.extractfile(member), b""
    while chunk := source.read(files.CHUNK):
        data += chunk
    value = files.parse_json(data, f"the archive's {INDEX}")
    listed = value.get("sets")
    if (
        value.get("format") != "pyjet-export"
        or value.get("v") != 1
        or not isinstance(listed, list)
        or not 0 < len(listed) <= SETS_MOST
    ):
        raise _bad("its index is not of this version")
    sets = [manifest.from_json(x, f"the archive's {INDEX}") for x in listed]
    if len({s.id for s in sets}) != len(sets):
        raise _bad("it names a set twice")
    if sum(len(s.files) for s in sets) > manifest.FILES_MOST:
        raise _bad("it names too many files")
    if not all(s.has_checksums for s in sets):
        raise _bad("a file has no checksum")
    return sorted(sets, key=lambda s: len(chains.chain_of(sets, s)))  # each after its parent


def _extract(tar, member, f, to, step):
    """One file, as a stream, held against its size and checksum while it is written."""
    if not member.isreg() or member.size != f.size:
        raise _bad(f"{member.name} is no plain file of {f.size} bytes")
    digest, size = hashlib.sha256(), 0
    with places.told(to), tar.extractfile(member) as source, open(to, "xb") as dst:
        while chunk := source.read(files.CHUNK):
            digest.update(chunk)
            files.write_sparse(dst, chunk)
            size += len(chunk)
            step(len(chunk))
        files.finish_sparse(dst)
    if size != f.size or digest.hexdigest() != f.sha256:
        raise errors.DamagedSetError(
            f"the archive: {member.name}: its checksum is wrong", HINT, file=f.name
        )


def _take(repo, tar, steps, known):
    """All members, in any order, into work/; gives back the sets that are new, complete."""
    sets = _index(tar)
    for s in sets:
        if s.id in known and [f.sha256 for f in known[s.id].files] != [f.sha256 for f in s.files]:
            raise errors.ManifestError(
                f"a set {s.id} with other files is in the repository",
                "Import into another repository.",
            )
    wanted = {f"{s.id}/{f.name}": (s, f) for s in sets for f in s.files}
    new = [s for s in sets if s.id not in known]
    for s in new:
        os.mkdir(repo.path("work", s.id))
    ended = False
    with steps.stage("import", sum(f.size for _, f in wanted.values())) as step:
        while (member := tar.next()) is not None:
            if member.name == SUMS and not ended:
                ended = True
                continue
            if ended or member.name not in wanted:
                raise _bad(f"{member.name[:200]!r} is not in its index, or comes twice")
            s, f = wanted.pop(member.name)
            if s.id not in known:
                _extract(tar, member, f, repo.path("work", s.id, f.name), step)
    if wanted:
        raise _bad(f"{min(wanted)} is missing")
    return new


def import_(repo, path, progress, deadline):
    """The work of BackupRepo.import_."""
    if not hasattr(path, "read"):
        places.check_named(path)
    opened = None if hasattr(path, "read") else open(path, "rb")  # noqa: SIM115
    new = []
    try:
        with Steps("import", progress, deadline) as steps, repo._writing(steps.deadline):
            known = {s.id: s for s in repo.sets()}
            before = set(os.listdir(repo.path("work")))
            try:
                with gzip.GzipFile(fileobj=opened or path, mode="rb") as zipped:
                    source = _Bounded(zipped)
                    with tarfile.open(fileobj=source, mode="r:") as tar:
                        new = _take(repo, tar, steps, known)
                    source.drain()
                for s in new:
                    repo._add(_as_described(repo, s))
            except (
                tarfile.TarError,
                zlib.error,
                gzip.BadGzipFile,
                EOFError,
                UnicodeError,
            ) as error:
                raise errors.DamagedSetError(
                    f"the archive cannot be read: {type(error).__name__}: {error}", HINT
                ) from None
            finally:
                for name in set(os.listdir(repo.path("work"))) - before:
                    if name + ".json" not in os.listdir(repo.path("work")) and not name.endswith(
                        ".json"
                    ):
                        files.remove_tree(repo.path("work", name))
            for s in new:
                repo._complete(repo._load(s.id), steps)
            return [repo._load(s.id) for s in new]
    finally:
        if opened is not None:
            opened.close()


def _as_described(repo, s):
    """The manifest's claims about its files are replaced by what the files say."""
    parent = None if s.parent is None else repo._load(s.parent)
    seen = describe(repo.path("work", s.id), s.id, s.kind, parent)
    sums = {f.name: f.sha256 for f in s.files}
    listed = tuple(dataclasses.replace(f, sha256=sums[f.name]) for f in seen.files)
    return dataclasses.replace(
        seen,
        files=listed,
        started=s.started,
        finished=s.finished,
        label=s.label,
        metadata=s.metadata,
        origin="import",
        duration=s.duration,
        reason=s.reason,
    )
