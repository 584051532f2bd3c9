"""Folders: those that a restore must leave alone, of running instances and those that it reads; and what the system says of a path."""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import struct
import tempfile
import time

from .. import _jet, errors

TEXT_MOST = 246  #: bytes of a folder that ESE's parameters take

_TOLD = {
    errors.InvalidPathError: (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),
    errors.FileAccessDeniedError: (errno.EROFS, errno.EACCES, errno.EPERM),
    errors.DiskFullError: (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    errors.DiskIOError: (errno.EIO, errno.ESTALE),
}
_BY_ERRNO = {number: kind for kind, numbers in _TOLD.items() for number in numbers}


def as_engine_error(error, path):
    """The engine's error for an OSError of the system, with its hint and the path; None for others."""
    kind = _BY_ERRNO.get(error.errno)
    if kind is None or isinstance(error, errors.JetError):
        return None
    return kind(f"{os.fspath(error.filename or path)}: {error.strerror}")


@contextlib.contextmanager
def told(path):
    """What the system refuses in the block is told as the engine tells it."""
    try:
        yield
    except OSError as error:
        better = as_engine_error(error, path)
        if better is None:
            raise
        raise better from error


def as_name(text):
    """A text with paths in it, as the name of an instance: names are Unicode, paths need not be."""
    return text.encode(errors="replace").decode()


def check_named(*paths):
    """InvalidPathError for an empty name (a variable that a script did not set): it would mean the current folder, or for a backup none."""
    if any(path is not None and not os.fspath(path) for path in paths):
        raise errors.InvalidPathError(
            "the name of a folder is empty: name it, or write '.' for the current one"
        )


def whole(destination):
    """The path of a folder that a restore makes or replaces as a whole: where a link leads, so that the link stays. InvalidPathError for a
    mount point, which cannot be replaced."""
    path = os.path.abspath(destination)
    path = os.path.realpath(path) if os.path.islink(path) else path
    if os.path.ismount(path):
        raise errors.InvalidPathError(f"{path} is a mount point, and a restore puts a whole folder in place: name a folder below it")
    return path


def check_there(path):
    """InvalidPathError for a folder that is not there, where none is to be made: the instance's own setting would make it."""
    if not os.path.isdir(path):
        raise errors.InvalidPathError(f"{os.path.abspath(path)} is no folder; create it, or pass create_path=True")


def _hold(path):
    """A descriptor with the lock that says that somebody works there; None when somebody else does, or when it cannot be locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    except OSError:
        os.close(fd)
        return None


@contextlib.contextmanager
def held(file):
    """An open file is this process's for so long: nobody sweeps it."""
    with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps there either
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield


SETTLED = 1.0  #: seconds after which a living process surely holds what it has made


def sweep(folder, prefix, suffix):
    """Removes what a killed process left under such a name; a living one holds its own."""
    form = re.compile(re.escape(prefix) + "[a-z0-9_]{1,10}" + re.escape(suffix))
    for name in filter(form.fullmatch, os.listdir(folder)):
        path = os.path.join(folder, name)
        fd = _hold(path)
        if fd is None:
            continue
        with contextlib.suppress(OSError):
            if time.time() - os.fstat(fd).st_mtime > SETTLED:
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        os.close(fd)


@contextlib.contextmanager
def work_folder(parent, prefix, suffix):
    """A folder for this run, which is removed at its end unless it was renamed; those of killed runs are swept before."""
    sweep(parent, prefix, suffix)
    place = tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent)
    fd = _hold(place)
    try:
        yield place
    finally:
        if fd is not None:
            os.close(fd)
        shutil.rmtree(place, ignore_errors=True)


def check_length(path):
    """InvalidPathError for a folder whose name no parameter of the engine takes."""
    n = len(os.fsencode(path))
    if n > TEXT_MOST:
        raise errors.InvalidPathError(
            f"{path[:60]}...: {n} bytes, and a folder of an instance has {TEXT_MOST} at most: take a shorter path"
        )


_OF_AN_INSTANCE = re.compile(r"[a-z0-9]{3}(\.chk|\.jcp|\.log|\.jtx|tmp\.log|tmp\.jtx|res[0-9a-f]*\.jrs)", re.IGNORECASE)


def survey(path):
    """What restore finds in a folder: the errors of its own checks. Of an instance's own folder it is said what that is."""
    path = os.path.abspath(path)
    try:
        return _jet.survey(path)
    except errors.JetError as error:
        if (better := _own_folder(path)) is not None:
            raise better from error
        raise


def _own_folder(path):
    """The error for a folder in use, or with a checkpoint or a log under way, which no backup has; None for another one."""
    names = os.listdir(path) if os.path.isdir(path) else ()
    text = f"{path} is no backup: it is the folder of an instance"
    try:
        with unused(path):
            pass
    except errors.DatabaseInUseError:
        return errors.DatabaseInUseError(f"{text} that runs: back it up with Instance.backup, or pyjet backup when it has ended")
    except OSError:
        return None
    if not any(_OF_AN_INSTANCE.fullmatch(name) for name in names):
        return None
    for name in names:
        at = os.path.join(path, name)
        if is_database(at) and _is_dirty(at):
            return errors.DatabaseDirtyShutdownError(
                f"{text} that was not shut down ({name} is dirty): pyjet recover makes it clean, pyjet backup then makes a set of it"
            )
    return errors.InvalidParameterError(f"{text} that was shut down: pyjet backup makes a set of it")


def _is_dirty(path):
    try:
        return json.loads(_jet.dump_header(path)).get("state") == "dirty shutdown"
    except errors.JetError:
        return False


_FLOCK = "hhqqi4x"  # l_type, l_whence, l_start, l_len, l_pid of Linux's struct flock on 64 bits
#: over the whole of a database, as the engine locks one that it only reads: in nobody's way but a writer's
READERS_LOCK = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)


def is_database(path):
    """By the signature in its header, whatever its name is."""
    try:
        with open(path, "rb") as f:
            head = f.read(16)
    except OSError:
        return False
    return len(head) == 16 and head[4:8] == b"\xef\xcd\xab\x89" and head[12:16] == b"\0\0\0\0"


def _is_within(path, folder):
    return os.path.commonpath((path, folder)) == folder


def check_apart(destination, *sources):
    """InvalidParameterError when the destination is one of the folders that are read, holds it, or lies in it: sets are only read."""
    to = os.path.realpath(destination)
    for source in sources:
        if source is None:
            continue
        read = os.path.realpath(source)
        if _is_within(to, read) or _is_within(read, to):
            raise errors.InvalidParameterError(
                f"{destination} is, holds or lies in {source}, which is read and never changed: name a destination apart from it"
            )


def check_kept(destination, logs):
    """InvalidParameterError when the destination is, or holds, the folder of the live logs: these are read, and the swap would take them."""
    if _is_within(os.path.realpath(logs), os.path.realpath(destination)):
        raise errors.InvalidParameterError(
            f"{destination} is or holds {logs}, whose logs are only read: restore to another folder, and put it in place when it is whole"
        )


def _writer_has(path):
    """An instance has this database attached, here or in another process."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, READERS_LOCK))[0] != fcntl.F_UNLCK
    finally:
        os.close(fd)


def _in_use(path):
    return errors.DatabaseInUseError(
        f"{path} is used by a running instance: end it, or name another destination"
    )


@contextlib.contextmanager
def unused(folder):
    """Holds the folder and those below it as an instance would, so that none starts there meanwhile. DatabaseInUseError when one runs."""
    with contextlib.ExitStack() as held:
        for place, _, names in os.walk(folder) if os.path.isdir(folder) else ():
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _in_use(place) from None
            for name in names:
                path = os.path.join(place, name)
                if os.path.isfile(path) and is_database(path) and _writer_has(path):
                    raise _in_use(path)
        yield
