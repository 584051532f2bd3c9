"""Reads the traces that the engine's write recorder makes (format: csrc/os/README.rst).

    for record in trace.records("run.trace"):
        print(record)

A trace is what reached the kernel, in one order. A replayer starts with a copy of the folder as it was at START,
applies records, and knows of each write whether a sync covers it: it does when the write's record stands before
the SYNC_BEGIN of its path and the SYNC_END of that token is there with result 0.

    python tests/crash/trace.py run.trace       prints one line a record
"""
import dataclasses
import enum
import pathlib
import struct
import sys

MAGIC = 0x31544A50
HEADER = struct.Struct("<IHHQQQIi")


class Op(enum.IntEnum):
    START = 1  # path: the folder, absolute; length: process id. Numbers begin again at 1
    CREATE = 2  # a file was made, empty
    WRITE = 3  # data at offset; with result != 0 data is the part that was written before the failure
    ZERO = 4  # length zero bytes at offset
    SIZE = 5  # the file ends at offset: cut, or grown by a hole
    SYNC_BEGIN = 6  # its number is the token
    SYNC_END = 7  # offset: the token
    RENAME = 8  # path to data; an absolute path comes from outside the folder, its bytes are unknown
    UNLINK = 9
    MKDIR = 10
    RMDIR = 11
    DIRSYNC_BEGIN = 12  # covers the names in the folder: creates, renames, unlinks, mkdirs before it
    DIRSYNC_END = 13  # offset: the token
    MARK = 14  # data: text of the test
    STOP = 15


class TraceError(Exception):
    """The bytes are no trace."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One record. Paths are relative to START's folder, which itself is "."; path bytes go through os.fsdecode rules."""

    seq: int
    op: Op
    path: str
    offset: int
    length: int
    data: bytes
    result: int  # 0, or the errno of the call

    @property
    def target(self):
        """RENAME: the new path."""
        return self.data.decode(errors="surrogateescape")

    @property
    def text(self):
        """MARK: what the test said."""
        return self.data.decode(errors="surrogateescape")

    @property
    def token(self):
        """Of a sync's begin and end: what ties them together."""
        return self.seq if self.op in (Op.SYNC_BEGIN, Op.DIRSYNC_BEGIN) else self.offset

    def __str__(self):
        tail = {Op.RENAME: f" -> {self.target}", Op.MARK: f" {self.text!r}"}.get(self.op, "")
        failed = f" errno {self.result}" if self.result else ""
        return f"{self.seq:8} {self.op.name:13} {self.path} {self.offset}+{self.length}{tail}{failed}"


def records(path):
    """Yields the Records of a trace file, in order.

    A record cut short by the end of the file ends the iteration: the process was killed while it wrote the record,
    so its call had not returned. Anything else that is wrong raises TraceError.
    """
    with open(path, "rb") as f:
        last = None
        while True:
            at = f.tell()
            head = f.read(HEADER.size)
            if len(head) < HEADER.size:
                return
            magic, op, path_len, seq, offset, length, data_len, result = HEADER.unpack(head)
            if magic != MAGIC:
                raise TraceError(f"{path}: no record at byte {at}")
            if op not in Op._value2member_map_:
                raise TraceError(f"{path}: unknown operation {op} at byte {at}")
            if seq != (1 if op == Op.START else (last or 0) + 1) or (last is None and op != Op.START):
                raise TraceError(f"{path}: record {seq} after {last} at byte {at}")
            body = f.read(path_len + data_len)
            if len(body) < path_len + data_len:
                return
            last = seq
            name = body[:path_len].decode(errors="surrogateescape")
            yield Record(seq, Op(op), name, offset, length, body[path_len:], result)


if __name__ == "__main__":
    for record in records(pathlib.Path(sys.argv[1])):
        print(record)
