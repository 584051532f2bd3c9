"""Everything in a database in one call (tests/c/read_all.c), for judges that read thousands of databases.

    for section in reading.sections(ses, dbid):       # a Session or a Reader of cjet
        table = reading.Table(section)                # name, columns, indexes, rows

A section is the bytes of one table: whoever reads many databases keeps by it what he made of it.
"""

import ctypes as C
import functools
import struct

import cjet
from building import ROOT, make

CALLS = ("JetBeginTransaction", "JetCommitTransaction", "JetOpenTableA", "JetCloseTable", "JetSetCurrentIndexA", "JetMove",
         "PyjetFetchRows", "PyjetVisitTables", "PyjetVisitColumns", "PyjetVisitIndexes")  # fmt: skip
NO_VALUE = 2**32 - 1
NUMBER = struct.Struct("<I")


class Found(C.Structure):
    _fields_ = (("at", C.c_void_p), ("n", C.c_size_t), ("room", C.c_size_t), ("wrong", C.c_char * 512))


@functools.cache
def library():
    """The reader, and the engine's functions that it calls."""
    make("reader")
    calls = (C.c_void_p * len(CALLS))(*(C.cast(getattr(cjet.lib, name), C.c_void_p) for name in CALLS))
    return C.CDLL(str(ROOT / "build" / "read_all.so")), calls


def sections(ses, dbid):
    """The bytes of each table but the system's, in one snapshot; raises AssertionError when an index disagrees with its table."""
    lib, calls = library()
    found = Found()
    try:
        err = lib.reader_read(calls, ses.id, dbid, C.byref(found))
        if err < 0:
            raise cjet.JetError(err, "reader_read")
        assert not found.wrong, found.wrong.decode(errors="replace")
        data = C.string_at(found.at, found.n) if found.n else b""
    finally:
        lib.reader_free(C.byref(found))
    at = 0
    while at < len(data):
        (size,) = NUMBER.unpack_from(data, at)
        yield data[at : at + size]
        at += size


class Table:
    """What a section says. rows: dicts of every column, None for NULL; types: {column: JET_coltyp}; indexes: all but the primary."""

    def __init__(self, section):
        self.data, self.at = section, 4
        count, self.name = self.number(), self.string()
        columns = []
        for _ in range(self.number()):
            coltyp, cp = self.number(), self.number()
            columns.append(cjet.Column(0, coltyp, cp, 0, 0, self.string()))
        self.types = {c.name: c.coltyp for c in columns}
        self.indexes = [self.string() for _ in range(self.number())]
        self.rows = [self.row(columns) for _ in range(count)]

    def number(self):
        (value,) = NUMBER.unpack_from(self.data, self.at)
        self.at += 4
        return value

    def string(self):
        size = self.number()
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def row(self, columns):
        data, at, row, unpack_from = self.data, self.at, {}, NUMBER.unpack_from
        for column in columns:
            (size,) = unpack_from(data, at)
            at += 4
            if size == NO_VALUE:
                row[column.name] = None
            else:
                row[column.name] = column.unpack(data[at : at + size])
                at += size
        self.at = at
        return row
