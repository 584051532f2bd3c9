"""Files of a repository: crash-safe writes, synced folders, locks between processes, checksums, names that may be trusted."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time

from .. import errors
from . import places
from .limits import SLICE

CHUNK = 1 << 20
JSON_MOST = 32 << 20  #: bytes of a manifest that is read into memory
_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,255}")


def sync_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with places.told(path):
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        with places.told(path):
            os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path, data):
    """The file is the old one or the new one, whenever the machine stops: written beside, synced, renamed, the folder synced."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with places.told(beside):
            with open(beside, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    sync_folder(folder)


def write_json(path, value):
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=True).encode() + b"\n")


def read_json(path):
    """An object of a file of bounded size. ManifestError when it is none; FileNotFoundError as Python raises it."""
    with open(path, "rb") as f:
        data = f.read(JSON_MOST + 1)
    return parse_json(data, path)


def parse_json(data, path):
    if len(data) > JSON_MOST:
        raise errors.ManifestError(f"{path} is larger than {JSON_MOST} bytes", KEEP)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise errors.ManifestError(f"{path}: {type(error).__name__}: {error}", KEEP) from None
    if not isinstance(value, dict):
        raise errors.ManifestError(f"{path} holds no object", KEEP)
    return value


KEEP = "The set's own files may be whole: adopt their folder, and remove this manifest."


def is_name(name):
    """True of a plain file name: no way out of its folder."""
    return (
        isinstance(name, str)
        and _NAME.fullmatch(name) is not None
        and name not in (".", "..")
        and len(os.fsencode(name)) <= 255
        if _encodes(name)
        else False
    )


def _encodes(name):
    try:
        return isinstance(name, str) and bool(os.fsencode(name))
    except UnicodeError:
        return False


def remove_tree(path):
    """A folder of ours and all in it; what is gone already is fine. Links are removed, never followed."""
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    elif os.path.lexists(path):
        shutil.rmtree(path)


def sha256(path, step=None):
    """Hex digest of a file, read once; step(size) after each MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(CHUNK):
            digest.update(chunk)
            if step is not None:
                step(len(chunk))
    return digest.hexdigest()


def copy(source, destination, step=None):
    """Copies a file, syncs it, and gives back (size, sha256); runs of zeros become holes."""
    digest, size = hashlib.sha256(), 0
    with open(source, "rb") as src, places.told(destination), open(destination, "xb") as dst:
        while chunk := src.read(CHUNK):
            digest.update(chunk)
            write_sparse(dst, chunk)
            size += len(chunk)
            if step is not None:
                step(len(chunk))
        finish_sparse(dst)
    return size, digest.hexdigest()


def copy_data(source, destination, step=None):
    """Copies a file without reading its holes, and syncs it: a log may have made a database of terabytes, nearly all of them holes."""
    with open(source, "rb", buffering=0) as src, places.told(destination), open(destination, "xb") as dst:
        size, at = os.fstat(src.fileno()).st_size, 0
        while at < size:
            first, end = _next_data(src.fileno(), at, size)
            if step is not None:
                step(first - at)
            src.seek(first)
            dst.seek(first)
            while first < end and (chunk := src.read(min(CHUNK, end - first))):
                write_sparse(dst, chunk)
                first += len(chunk)
                if step is not None:
                    step(len(chunk))
            at = end
        dst.seek(size)
        finish_sparse(dst)


def _next_data(fd, at, size):
    """[first, end) of the next bytes that are no hole."""
    try:
        first = os.lseek(fd, at, os.SEEK_DATA)
        return first, os.lseek(fd, first, os.SEEK_HOLE)
    except OSError as error:
        return (size, size) if error.errno == errno.ENXIO else (at, size)


_ZEROS = bytes(CHUNK)


def write_sparse(file, chunk):
    if chunk == _ZEROS[: len(chunk)]:
        file.seek(len(chunk), os.SEEK_CUR)
    else:
        file.write(chunk)


def finish_sparse(file):
    file.flush()
    os.ftruncate(file.fileno(), file.tell())
    os.fsync(file.fileno())


class Lock:
    """flock on a file: one writer, or many readers; the kernel gives it back when the process ends, however it ends."""

    def __init__(self, path, what):
        self.path, self.what = path, what

    @contextlib.contextmanager
    def held(self, *, shared=False, timeout=0.0, deadline=None):
        fd = self._open(shared)
        try:
            self._take(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, timeout, deadline)
            yield
        finally:
            if fd is not None:
                os.close(fd)

    def _open(self, shared):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path, flags, 0o666)
        except OSError as error:
            if not shared or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
        try:  # a repository on a medium that cannot be written is read all the same
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None

    def _take(self, fd, kind, timeout, deadline):
        until = time.monotonic() + timeout
        while fd is not None:
            try:
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                pass
            if deadline is not None:
                deadline.check()
            if time.monotonic() >= until:
                raise errors.RepoLockedError(
                    f"{os.path.dirname(self.path)}: {self.what}",
                    "Wait for it, or give a lock_timeout.",
                )
            time.sleep(SLICE)
