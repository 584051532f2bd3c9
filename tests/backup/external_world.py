"""What the tests of external backup share: its calls, the rows by BK id, worlds with logs to delete."""

import ctypes as C
import mmap
import os
import pathlib
import struct
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import cjet  # noqa: E402
from cjet import K, JetError, call, text, u32, u64  # noqa: E402
from test_priority1 import INC, World, count  # noqa: E402

PAGE = 4096
NORMAL, ABORT = K.JET_bitBackupEndNormal, K.JET_bitBackupEndAbort
NO_BACKUP, BAD_ORDER, BAD_ARGUMENT = "JET_errNoBackup", "JET_errInvalidBackupSequence", "JET_errInvalidParameter"
BYTE_MAX = 2**32 - 1

class Buffer:
    """Memory aligned to 4096 bytes."""

    def __init__(self, size):
        self.map = mmap.mmap(-1, size)
        self.first = (C.c_char * size).from_buffer(self.map)
        self.at = C.addressof(self.first)


class External:
    """The calls, for an instance; `handle` is that of the file opened last."""

    def __init__(self, inst, chunk=64 * PAGE):
        self.inst, self.chunk = inst, chunk
        self.buffer = Buffer(chunk)
        self.handle = u64()

    def begin(self, grbit=0):
        return call("JetBeginExternalBackupInstance", self.inst.handle, u32(grbit))

    def _list(self, name, *more):
        actual = u32()
        call(name, self.inst.handle, None, u32(0), C.byref(actual), *more)
        room = C.create_string_buffer(b"\xff" * actual.value, actual.value)
        call(name, self.inst.handle, room, actual, C.byref(actual), *more)
        assert room.raw.endswith(b"\0\0")
        return [os.fsdecode(part) for part in room.raw.split(b"\0") if part]

    def attached(self):
        return self._list("JetGetAttachInfoInstanceA")

    def logs(self):
        return self._list("JetGetLogInfoInstanceA")

    def truncatable(self):
        return self._list("JetGetTruncateLogInfoInstanceA")

    def open(self, path):
        low, high = u32(), u32()
        call("JetOpenFileInstanceA", self.inst.handle, text(path), C.byref(self.handle), C.byref(low), C.byref(high))
        return high.value << 32 | low.value

    def read(self, n=None, at=None, handle=None):
        n, actual = self.chunk if n is None else n, u32(0xDEAD)
        where = C.c_void_p(self.buffer.at if at is None else at)
        call("JetReadFileInstance", self.inst.handle, self.handle if handle is None else u64(handle), where, u32(n), C.byref(actual))
        return self.buffer.map[: actual.value]

    def close(self, handle=None):
        call("JetCloseFileInstance", self.inst.handle, self.handle if handle is None else u64(handle))

    def truncate(self):
        call("JetTruncateLogInstance", self.inst.handle)

    def end(self, grbit=NORMAL):
        call("JetEndExternalBackupInstance2", self.inst.handle, u32(grbit))

    def bytes(self, path, chunk=None):
        """A whole file of the backup, opened, read to its end, closed."""
        size, parts = self.open(path), []
        while True:
            part = self.read(chunk)
            if not part:
                break
            parts.append(part)
        self.close()
        data = b"".join(parts)
        assert len(data) == size
        return data

    def save(self, paths, folder):
        folder.mkdir(exist_ok=True)
        for path in paths:
            (folder / os.path.basename(path)).write_bytes(self.bytes(path))

    def run(self, folder=None, grbit=0, truncate=True, end=NORMAL):
        """A whole backup into a folder, as an operator's program does it."""
        folder = folder or self.inst.path.parent / "unused"
        self.begin(grbit)
        if not grbit & INC:
            self.save(self.attached(), folder)
        self.save(self.logs(), folder)
        if truncate:
            self.truncate()
        self.end(end)
        return folder

    def idle(self):
        """NotStarted: a begin would be the first."""
        try:
            self.close(handle=BYTE_MAX)
        except JetError as e:
            assert e.name in (NO_BACKUP, BAD_ARGUMENT)
            return e.name == NO_BACKUP
        raise AssertionError("a handle that was never given out")


def start(place, names=("a.edb",), rows=60, **settings):
    w = World(place, names, rows, **settings)
    return w, External(w.inst)


def restored(w, folder, name="a.edb"):
    _, found = cjet.restore(folder, w.place / f"{pathlib.Path(folder).name}-restored")
    return count(next(p for p in found if p.name == name))


def generation(path):
    return int(pathlib.Path(path).name[3:8], 16)


def current(w):
    return w.inst.stats().log_tail >> 32


PREV = ("full_prev", "inc_prev", "copy_prev", "diff_prev")
AT_PREV = {"full_prev": 136, "inc_prev": 160, "copy_prev": 420, "diff_prev": 444, "full_cur": 184}


def bkinfo(w, name="a.edb"):
    """(generation low, high) of each previous backup, out of the header on disk."""
    page = (w.data / name).read_bytes()[:PAGE]
    return {field: struct.unpack_from("<II", page, AT_PREV[field] + 16) for field in PREV}


NONE = dict.fromkeys(PREV, (0, 0))


def many_logs(w, n=3):
    """At least n archived logs below the checkpoint."""
    until = time.monotonic() + 20
    while True:
        w.add(40)
        checkpoint = w.inst.stats().checkpoint >> 32
        if sum(g < checkpoint for g in w.logs()) >= n:
            return
        assert time.monotonic() < until, "the checkpoint does not move"


SMALL_DEPTH = {K.JET_paramCheckpointDepthMax: 64 << 10}


def damage(path, at, n=2):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(n)
        f.seek(at)
        f.write(bytes(b ^ 0xFF for b in old))


def settled(w):
    """Clean on disk and attached again."""
    w.inst.term()
    w.inst = cjet.Instance(w.data, log_kib=64)
    w.inst.init()
    w.ses = w.inst.session()
    w.dbids = [w.ses.open(w.data / name) for name in w.names]
    return External(w.inst)
