"""The engine's C API through ctypes: for tests that prove the engine below the Python layer.

The library is the one inside `pyjet._jet`, so both can be used in one process; PYJET_LIBRARY names another (a
sanitized build), and without either the rooms are linked out of `make lib`.

    with Instance(tmp_path) as inst, inst.session() as ses:
        dbid = ses.create("x.edb")
        ...
"""

import contextlib
import ctypes as C
import importlib.util
import os
import pathlib
import re
import struct
import subprocess
import threading
import uuid

from building import make

ROOT = pathlib.Path(__file__).resolve().parent.parent
u8, u32, i32, u64 = C.c_uint8, C.c_uint32, C.c_int32, C.c_uint64
P = C.POINTER
NIL = 2**64 - 1

# ---- constants, out of the headers ----


def _read(name):
    return (ROOT / "csrc" / "include" / name).read_text()


def _constants():
    found = {}
    for name, value in re.findall(r"^#define (\w+) (\(?[-0-9x~A-Fa-f(][^/\n]*)$", _read("jet_types.h") + _read("pyjet.h"), re.M):
        with contextlib.suppress(ValueError):
            found[name] = int(value.rstrip("u )").lstrip("("), 0)
    for name, value in re.findall(r"JET_PARAM\((\w+), (\d+)", _read("jet_params.def")):
        found[name] = int(value)
    return found


def _errors():
    names = {}
    for name, value in re.findall(r"JET_ERROR\((\w+), (-?\d+),", _read("jet_errors.def")):
        names[name] = int(value)
    return names


K = type("K", (), _constants())
ERR = _errors()
ERR_NAME = {value: name for name, value in ERR.items()}
JET_MoveFirst, JET_MoveLast = -(2**31), 2**31 - 1

# ---- the library ----


def _library():
    named = os.environ.get("PYJET_LIBRARY")
    if named:
        return C.CDLL(named)
    with contextlib.suppress(ImportError, ModuleNotFoundError):
        if importlib.util.find_spec("pyjet") and importlib.util.find_spec("pyjet._jet"):
            import pyjet._jet

            return C.CDLL(pyjet._jet.__file__)
    target = ROOT / "build" / "release" / "libpyjet.so"
    make("lib")
    archive = target.with_suffix(".a")
    if not target.exists() or target.stat().st_mtime < archive.stat().st_mtime:
        fresh = target.with_name(f"libpyjet.{os.getpid()}.so")
        whole = ["-Wl,--whole-archive", str(archive), "-Wl,--no-whole-archive"]
        subprocess.run(["cc", "-shared", "-o", fresh, *whole, "-lz", "-lpthread", "-lm"], check=True)
        fresh.replace(target)
    return C.CDLL(str(target))


lib = _library()
for _name in ("PyjetErrorHint", "PyjetErrorDetail", "PyjetErrorText", "PyjetErrorCategory"):
    getattr(lib, _name).restype = C.c_char_p
lib.PyjetFaultHits.restype = u64


class JetError(Exception):
    def __init__(self, code, call):
        self.code, self.name = code, ERR_NAME.get(code, str(code))
        self.hint = (lib.PyjetErrorHint(code) or b"").decode()
        self.detail = (lib.PyjetErrorDetail(code) or b"").decode()
        super().__init__(f"{call}: {self.name} ({code}) {self.detail}")


def call(name, *args):
    """Calls a function; a negative code raises. Ints go as 64 bits where a handle or a 64-bit parameter is meant."""
    err = getattr(lib, name)(*args)
    if err < 0:
        raise JetError(err, name)
    return err


def text(value):
    return None if value is None else os.fsencode(value)


# ---- structs ----


def _struct(name, *fields):
    return type(name, (C.Structure,), {"_fields_": list(fields)})


COLUMNDEF = _struct("COLUMNDEF", ("cbStruct", u32), ("columnid", u32), ("coltyp", u32), ("wCountry", C.c_uint16),
                    ("langid", C.c_uint16), ("cp", C.c_uint16), ("wCollate", C.c_uint16), ("cbMax", u32), ("grbit", u32))
SETINFO = _struct("SETINFO", ("cbStruct", u32), ("ibLongValue", u32), ("itagSequence", u32))
RETINFO = _struct("RETINFO", ("cbStruct", u32), ("ibLongValue", u32), ("itagSequence", u32), ("columnidNextTagged", u32))
SNPROG = _struct("SNPROG", ("cbStruct", u32), ("cunitDone", u32), ("cunitTotal", u32))
RECOVERY = _struct(
    "RECOVERY", ("redone", i32), ("clean_end", i32), ("gen_first", u32), ("gen_last", u32),
    *((n, u64) for n in ("records", "applied", "skipped", "bytes", "undone", "sessions_undone", "pages_restored",
                         "pages_reconciled", "undo_after_steal", "macros_half_redone", "records_filtered")))
BACKUP = _struct("BACKUP", *((n, u32) for n in ("files", "databases", "logs", "gen_low", "gen_high", "deleted_low", "deleted_high")),
                 ("bytes", u64), ("ns", u64), ("path", C.c_char * 4096))
RESTORE = _struct("RESTORE", ("files", u32), ("databases", u32), ("bytes", u64), ("ns", u64), ("recovery", RECOVERY),
                  ("database", (C.c_char * 4096) * 6))
RSTMAP = _struct("RSTMAP", ("old", C.c_char_p), ("new", C.c_char_p))
RESTORE_OPTIONS = _struct("RESTORE_OPTIONS", ("set", C.c_char_p), ("destination", C.c_char_p), ("roll_forward_dir", C.c_char_p),
                          ("rename", P(RSTMAP)), ("renames", u32), ("stop", u64), ("stop_time", u8 * 8))
RSTINFO = _struct("RSTINFO", ("cbStruct", u32), ("rgrstmap", P(RSTMAP)), ("crstmap", i32), ("ib", C.c_uint16), ("isec", C.c_uint16),
                  ("lGeneration", i32), ("logtimeStop", u8 * 8), ("pfnStatus", C.c_void_p))
RSTMAP2 = _struct("RSTMAP2", ("cbStruct", u32), ("old", C.c_char_p), ("new", C.c_char_p), ("params", C.c_void_p), ("csetdbparam", u32),
                  ("grbit", u32))
RSTINFO2 = _struct("RSTINFO2", ("cbStruct", u32), ("rgrstmap", P(RSTMAP2)), ("crstmap", i32), ("ib", C.c_uint16), ("isec", C.c_uint16),
                   ("lGeneration", i32), ("logtimeStop", u8 * 8), ("pfnCallback", C.c_void_p), ("context", C.c_void_p))
LOGINFO = _struct("LOGINFO", ("cbSize", u32), ("ulGenLow", u32), ("ulGenHigh", u32), ("szBaseName", C.c_char * 4))
SET = _struct("SET", ("dir", C.c_char * 4096), ("base_name", C.c_char * 4),
              *((n, u32) for n in ("gen_low", "gen_high", "page_size", "log_file_size", "databases")),
              ("database", (C.c_char * 4096) * 6), ("original", (C.c_char * 4096) * 6))
STATS = _struct("STATS", *((n, u64) for n in (
    "log_bytes log_flushes commits_durable undo_info versions_bytes sweeps checkpoints checkpoint log_tail "
    "cache_frames cache_used cache_dirty cache_reads cache_writes cache_hits cache_misses cache_evictions cache_double_writes cache_stolen "
    "splits merges empty_pages retries undo_after_steal macro_redone_half os_opens os_reads os_writes os_syncs").split()),
    ("recovery", RECOVERY))
TABLE = _struct("TABLE", ("name", C.c_char_p), *((n, u32) for n in ("objid", "root", "flags", "pages", "density")))
COLUMN = _struct("COLUMN", ("name", C.c_char_p), ("columnid", u32), ("coltyp", u32), ("cbMax", u32), ("cp", u32), ("grbit", u32),
                 ("pvDefault", C.c_void_p), ("cbDefault", u32))
INDEX = _struct("INDEX", ("name", C.c_char_p), *((n, u32) for n in ("grbit", "cbKeyMost", "density", "flags", "objid", "root")),
                ("locale", C.c_char_p), ("cSegments", u32), ("segment", u32 * 16), ("descending", u8 * 16))
CELL = _struct("CELL", ("pv", C.c_void_p), ("cb", u32), ("values", u32), ("null", i32))
FINDING = _struct("FINDING", ("kind", i32), ("pgno", u32), ("objid", u32), ("table", C.c_char_p), ("text", C.c_char_p))
CHECK = _struct("CHECK", *((n, u64) for n in (
    "pages pages_used pages_available pages_leaked trees tables records index_entries long_values findings notes").split()))
FAULT = _struct("FAULT", ("ops", u32), ("path_part", C.c_char_p), ("after", u64), ("count", u64), ("error", i32), ("delay_ms", u32))
EVENT = _struct("EVENT", ("id", i32), ("severity", i32), ("instance", C.c_char_p), ("cParams", i32),
                ("rgszParams", P(C.c_char_p)), ("text", C.c_char_p))
INIT_FN = C.CFUNCTYPE(i32, u32, u32, P(SNPROG), C.c_void_p)
STATUS_FN = C.CFUNCTYPE(i32, u64, u32, u32, P(SNPROG))
PROGRESS_FN = C.CFUNCTYPE(i32, C.c_void_p, u32, u32, u32, u32)
PAUSE_FN = C.CFUNCTYPE(None, C.c_void_p, u32)
EVENT_FN = C.CFUNCTYPE(None, C.c_void_p, P(EVENT))
FOREVER = 2**64 - 1
OPS = {name: 1 << i for i, name in enumerate("open read write sync size rename unlink dir dirsync".split())}

# ---- values ----

SCALARS = {
    K.JET_coltypUnsignedByte: "<B", K.JET_coltypShort: "<h", K.JET_coltypLong: "<i", K.JET_coltypCurrency: "<q",
    K.JET_coltypIEEESingle: "<f", K.JET_coltypIEEEDouble: "<d", K.JET_coltypDateTime: "<q", K.JET_coltypUnsignedLong: "<I",
    K.JET_coltypLongLong: "<q", K.JET_coltypUnsignedShort: "<H", K.JET_coltypUnsignedLongLong: "<Q",
}  # fmt: skip
TEXTS = (K.JET_coltypText, K.JET_coltypLongText)
LONG_TYPES = (K.JET_coltypLongText, K.JET_coltypLongBinary)


class Column:
    def __init__(self, columnid, coltyp, cp, grbit, size=0, name=""):
        self.columnid, self.coltyp, self.cp, self.grbit, self.size, self.name = columnid, coltyp, cp, grbit, size, name

    def pack(self, value):
        if self.coltyp == K.JET_coltypBit:
            return b"\xff" if value else b"\0"
        if self.coltyp in SCALARS:
            return struct.pack(SCALARS[self.coltyp], value)
        if self.coltyp == K.JET_coltypGUID:
            return value.bytes_le
        if self.coltyp in TEXTS:
            return value.encode("utf-16-le" if self.cp == 1200 else "cp1252")
        return bytes(value)

    def unpack(self, raw):
        if self.coltyp == K.JET_coltypBit:
            return raw != b"\0"
        if self.coltyp in SCALARS:
            return struct.unpack(SCALARS[self.coltyp], raw)[0]
        if self.coltyp == K.JET_coltypGUID:
            return uuid.UUID(bytes_le=raw)
        if self.coltyp in TEXTS:
            try:
                return raw.decode("utf-16-le" if self.cp == 1200 else "cp1252")
            except UnicodeDecodeError:
                return raw
        return raw


# ---- objects ----


def set_param(inst, param, value, sesid=NIL):
    """inst None: a global parameter."""
    pointer = None if inst is None else C.byref(inst)
    number, string = (0, text(value)) if isinstance(value, (str, os.PathLike)) else (value, None)
    call("JetSetSystemParameterA", pointer, u64(sesid), u32(param), u64(number), string)


def get_param(inst, param):
    number = u64()
    room = C.create_string_buffer(4096)
    handle = u64(0) if inst is None else inst
    call("JetGetSystemParameterA", handle, u64(NIL), u32(param), C.byref(number), room, u32(4096))
    return number.value, room.value.decode()


def set_cache(pages):
    """Takes effect when the next first instance of the process makes the cache."""
    set_param(None, K.JET_paramCacheSizeMin, 1)
    set_param(None, K.JET_paramCacheSizeMax, pages)
    set_param(None, K.JET_paramCacheSizeMin, min(pages, 64))


class Instance:
    """Created and configured; init() starts it. As a context: init ... term."""

    count = 0

    def __init__(self, path, *, log_kib=None, system_path=None, base="edb", circular=False, create_path=True, sessions=64,
                 steal=False, params=(), name=None):  # fmt: skip
        Instance.count += 1
        self.path = pathlib.Path(path)
        self.handle = u64()
        self.name = name or f"t{os.getpid()}-{Instance.count}"
        call("JetCreateInstanceA", C.byref(self.handle), text(self.name))
        settings = {
            K.JET_paramSystemPath: str(system_path or path) + "/",
            K.JET_paramLogFilePath: str(path) + "/",
            K.JET_paramTempPath: str(path) + "/",
            K.JET_paramBaseName: base,
            K.JET_paramCreatePathIfNotExist: int(create_path),
            K.JET_paramMaxSessions: sessions,
            K.JET_paramCircularLog: int(circular),
            K.PYJET_paramBackupReadRetries: 0,
        }
        if log_kib:
            settings[K.JET_paramLogFileSize] = log_kib
        if steal:
            settings[K.PYJET_paramRandomSteal] = 1
        settings.update(dict(params))
        self.running = False
        self.kept = []
        try:
            for param, value in settings.items():
                set_param(self.handle, param, value)
        except JetError:
            self.destroy()
            raise

    def init3(self, renames=(), stop=0, grbit=0, status=None):
        """JetInit3 with a JET_RSTINFO."""
        array, n = restore_map(list(renames))
        fn = STATUS_FN(lambda s, snp, snt, p: status(snp, snt, p.contents.cunitDone if p else None) or 0) if status else None
        info = RSTINFO(C.sizeof(RSTINFO), array, n, stop & 0xFFFF, stop >> 16 & 0xFFFF, stop >> 32, (u8 * 8)(), C.cast(fn, C.c_void_p) if fn else None)
        err = call("JetInit3A", C.byref(self.handle), C.byref(info), u32(grbit))
        self.running = True
        return err

    def init4(self, entries=(), stop=0, grbit=0, heard=None):
        """JetInit4 with a JET_RSTINFO2; entries: (old or None, new, grbit). heard: a list that gets (snp, snt, context)."""
        array = (RSTMAP2 * len(entries))(
            *(RSTMAP2(C.sizeof(RSTMAP2), text(old), text(new), None, 0, bits) for old, new, bits in entries)
        )
        fn = INIT_FN(lambda snp, snt, p, context: heard.append((snp, snt, context)) or 0) if heard is not None else None
        info = RSTINFO2(C.sizeof(RSTINFO2), array if entries else None, len(entries), stop & 0xFFFF, stop >> 16 & 0xFFFF, stop >> 32,
                        (u8 * 8)(), C.cast(fn, C.c_void_p) if fn else None, 4711)
        err = call("JetInit4A", C.byref(self.handle), C.byref(info), u32(grbit))
        self.running = True
        return err

    def init(self, grbit=0):
        recovery = RECOVERY()
        call("PyjetInit", C.byref(self.handle), u32(grbit), None, None, C.byref(recovery))
        self.running = True
        return recovery

    def term(self, grbit=1):
        self.running = False
        call("JetTerm2", self.handle, u32(grbit))

    def destroy(self):
        """Of an instance that never ran: JetTerm frees it."""
        with contextlib.suppress(JetError):
            call("JetTerm2", self.handle, u32(1))
        self.running = False

    def __enter__(self):
        try:
            self.init()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, kind, *_):
        if self.running:
            try:
                self.term()
            except JetError:
                if kind is None:
                    raise

    def session(self):
        return Session(self)

    def backup(self, path, grbit=0, progress=None):
        result = BACKUP()
        fn = PROGRESS_FN(progress) if progress else None
        call("PyjetBackup", self.handle, text(path), u32(grbit), fn, None, C.byref(result))
        return result

    def jet_backup(self, path, grbit=0, status=None):
        """JetBackupInstance itself; status(sesid, snp, snt, done, total)."""

        def heard(sesid, snp, snt, prog):
            status(sesid, snp, snt, prog.contents.cunitDone if prog else None, prog.contents.cunitTotal if prog else None)
            return 0

        fn = STATUS_FN(heard) if status else None
        return call("JetBackupInstanceA", self.handle, text(path), u32(grbit), fn)

    def restore(self, source, destination=None, status=None):
        fn = STATUS_FN(lambda s, snp, snt, p: status(snp, snt, p.contents.cunitDone if p else None) or 0) if status else None
        return call("JetRestoreInstanceA", self.handle, text(source), text(destination), fn)

    def stats(self):
        stats = STATS()
        call("PyjetStats", self.handle, C.byref(stats))
        return stats

    def pause(self, fn):
        """fn(percent) is called by a running backup at 25, 50, 75; None drops it."""
        self.kept.append(PAUSE_FN((lambda _, percent: fn(percent)) if fn else 0))
        call("PyjetSetBackupPause", self.handle, self.kept[-1], None)


class Session:
    def __init__(self, inst):
        self.inst = inst
        self.id = u64()
        call("JetBeginSessionA", inst.handle, C.byref(self.id), None, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.inst.running:
            with contextlib.suppress(JetError):
                self.end()

    def end(self):
        call("JetEndSession", self.id, u32(0))

    def create(self, path, grbit=0):
        dbid = u32()
        call("JetCreateDatabaseA", self.id, text(path), None, C.byref(dbid), u32(grbit))
        return dbid

    def attach(self, path, grbit=0):
        return call("JetAttachDatabaseA", self.id, text(path), u32(grbit))

    def detach(self, path):
        call("JetDetachDatabaseA", self.id, text(path))

    def open(self, path, grbit=0, attach=True):
        if attach:
            self.attach(path, grbit)
        dbid = u32()
        call("JetOpenDatabaseA", self.id, text(path), None, C.byref(dbid), u32(grbit))
        return dbid

    def close(self, dbid):
        call("JetCloseDatabase", self.id, dbid, u32(0))

    def begin(self):
        call("JetBeginTransaction", self.id)

    def commit(self, grbit=0):
        call("JetCommitTransaction", self.id, u32(grbit))

    def rollback(self, grbit=0):
        call("JetRollback", self.id, u32(grbit))

    @contextlib.contextmanager
    def transaction(self, grbit=0):
        self.begin()
        try:
            yield self
        except BaseException:
            self.rollback()
            raise
        self.commit(grbit)

    def table(self, dbid, name, grbit=0):
        return Table(self, dbid, name, grbit)

    def create_table(self, dbid, name, columns, indexes=()):
        """columns: {name: (coltyp, grbit[, cbMax[, default bytes]])}; indexes: (name, "+a-b" or [("+", "a")...], grbit)."""
        tableid = u64()
        call("JetCreateTableA", self.id, dbid, text(name), u32(1), u32(100), C.byref(tableid))
        try:
            for column, spec in columns.items():
                add_column(self, tableid, column, *spec)
            for index, key, grbit in indexes:
                create_index(self, tableid, index, key, grbit)
        finally:
            call("JetCloseTable", self.id, tableid)

    def delete_table(self, dbid, name):
        call("JetDeleteTableA", self.id, dbid, text(name))

    def tables(self, dbid):
        names = []
        fn = C.CFUNCTYPE(i32, C.c_void_p, P(TABLE))(lambda _, t: names.append(t.contents.name.decode()) or 0)
        call("PyjetVisitTables", self.id, dbid, fn, None)
        return names


def add_column(ses, tableid, name, coltyp, grbit=0, size=0, default=None, cp=1200):
    cp = cp if coltyp in TEXTS else 0
    definition = COLUMNDEF(cbStruct=C.sizeof(COLUMNDEF), coltyp=coltyp, cp=cp, cbMax=size, grbit=grbit)
    columnid = u32()
    call("JetAddColumnA", ses.id, tableid, text(name), C.byref(definition), default, u32(len(default or b"")), C.byref(columnid))
    return columnid.value


def key_text(key):
    """"+a-b" -> b"+a\\0-b\\0\\0"."""
    return b"".join(part.encode() + b"\0" for part in re.findall(r"[+-][^+-]+", key)) + b"\0"


def create_index(ses, tableid, name, key, grbit=0):
    szz = key_text(key)
    call("JetCreateIndexA", ses.id, tableid, text(name), u32(grbit), szz, u32(len(szz)), u32(100))


class Table:
    """A cursor and what it knows of its columns."""

    def __init__(self, ses, dbid, name, grbit=0):
        self.ses, self.dbid, self.name = ses, dbid, name
        self.id = u64()
        call("JetOpenTableA", ses.id, dbid, text(name), None, u32(0), u32(grbit), C.byref(self.id))
        self.load()

    def load(self):
        self.columns = {}

        def see(_, c):
            c = c.contents
            self.columns[c.name.decode()] = Column(c.columnid, c.coltyp, c.cp, c.grbit, c.cbMax, c.name.decode())
            return 0

        fn = C.CFUNCTYPE(i32, C.c_void_p, P(COLUMN))(see)
        call("PyjetVisitColumns", self.ses.id, self.id, fn, None)

    def indexes(self):
        found = {}

        def see(_, x):
            x = x.contents
            found[x.name.decode()] = (x.grbit, tuple(x.segment[: x.cSegments]), tuple(x.descending[: x.cSegments]))
            return 0

        fn = C.CFUNCTYPE(i32, C.c_void_p, P(INDEX))(see)
        call("PyjetVisitIndexes", self.ses.id, self.id, fn, None)
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.ses.inst is None or self.ses.inst.running:
            with contextlib.suppress(JetError):
                self.close()

    def close(self):
        call("JetCloseTable", self.ses.id, self.id)

    # ---- where the cursor stands ----

    def index(self, name):
        call("JetSetCurrentIndexA", self.ses.id, self.id, text(name))

    def move(self, rows):
        """False where there is nothing."""
        err = lib.JetMove(self.ses.id, self.id, i32(rows), u32(0))
        if err in (ERR["JET_errNoCurrentRecord"], ERR["JET_errRecordNotFound"]):
            return False
        if err < 0:
            raise JetError(err, "JetMove")
        return True

    def make_key(self, values, limit=0):
        """values: (column name, value) pairs."""
        for i, (name, value) in enumerate(values):
            raw = None if value is None else self.columns[name].pack(value)
            grbit = (K.JET_bitNewKey if i == 0 else 0) | (limit if i == len(values) - 1 else 0)
            if raw == b"":
                grbit |= K.JET_bitKeyDataZeroLength
            call("JetMakeKey", self.ses.id, self.id, raw, u32(len(raw or b"")), u32(grbit))

    def seek(self, values, grbit=None, limit=0):
        """True when found."""
        self.make_key(values, limit)
        err = lib.JetSeek(self.ses.id, self.id, u32(K.JET_bitSeekEQ if grbit is None else grbit))
        if err == ERR["JET_errRecordNotFound"]:
            return False
        if err < 0:
            raise JetError(err, "JetSeek")
        return True

    def upper(self, values, inclusive=False, limit=0):
        """Sets the end of a range; False when it is empty."""
        self.make_key(values, limit)
        grbit = K.JET_bitRangeUpperLimit | (K.JET_bitRangeInclusive if inclusive else 0)
        err = lib.JetSetIndexRange(self.ses.id, self.id, u32(grbit))
        if err == ERR["JET_errNoCurrentRecord"]:
            return False
        if err < 0:
            raise JetError(err, "JetSetIndexRange")
        return True

    def bookmark(self):
        room, got = C.create_string_buffer(2048), u32()
        call("JetGetBookmark", self.ses.id, self.id, room, u32(2048), C.byref(got))
        return room.raw[: got.value]

    def goto(self, bookmark):
        call("JetGotoBookmark", self.ses.id, self.id, bookmark, u32(len(bookmark)))

    # ---- reading ----

    def get(self, name, tag=1, grbit=0):
        """One value, by pieces when it is long; None for NULL."""
        column = self.columns[name]
        info = RETINFO(C.sizeof(RETINFO), 0, tag, 0)
        got = u32()
        room = C.create_string_buffer(1024)
        err = call("JetRetrieveColumn", self.ses.id, self.id, u32(column.columnid), room, u32(1024), C.byref(got), u32(grbit), C.byref(info))
        if err == ERR["JET_wrnColumnNull"]:
            return None
        if got.value > 1024:
            room = C.create_string_buffer(got.value)
            info = RETINFO(C.sizeof(RETINFO), 0, tag, 0)
            call("JetRetrieveColumn", self.ses.id, self.id, u32(column.columnid), room, u32(got.value), C.byref(got), u32(grbit), C.byref(info))
        return column.unpack(room.raw[: got.value])

    def row(self, names=None):
        return {name: self.get(name) for name in (names or self.columns)}

    def rows(self, names=None, batch=64, bookmarks=False):
        """From the current row to the end of the range: dicts; multi-values are lists. In the caller's transaction."""
        names = list(names or self.columns)
        columns = [self.columns[n] for n in names]
        ids = (u32 * len(names))(*(c.columnid for c in columns))
        cells = (CELL * (len(names) * batch))()
        marks = (CELL * batch)()
        while True:
            count = u32(batch)
            call("PyjetFetchRows", self.ses.id, self.id, ids, u32(len(names)), i32(0), cells, marks, C.byref(count))
            if count.value == 0:
                return
            chunk = []
            for r in range(count.value):
                row = {name: _cell(column, cells[r * len(names) + i]) for i, (name, column) in enumerate(zip(names, columns))}
                chunk.append((row, C.string_at(marks[r].pv, marks[r].cb)) if bookmarks else row)
            yield from chunk

    def all(self, names=None, index=None):
        """Every row in one read transaction."""
        self.ses.begin()
        try:
            if index is not None:
                self.index(index)
            return list(self.rows(names)) if self.move(JET_MoveFirst) else []
        finally:
            self.ses.commit()
            if index is not None:
                self.index(None)

    # ---- writing ----

    def prepare(self, prep):
        call("JetPrepareUpdate", self.ses.id, self.id, u32(prep))

    def set(self, name, value, tag=None, grbit=0, offset=0):
        column = self.columns[name]
        if isinstance(value, list):
            for i, one in enumerate(value):
                self.set(name, one, tag=i + 1, grbit=grbit)
            return
        raw = None if value is None else column.pack(value)
        if raw == b"":
            grbit |= K.JET_bitSetZeroLength
        info = None if tag is None and not offset else C.byref(SETINFO(C.sizeof(SETINFO), offset, 1 if tag is None else tag))
        call("JetSetColumn", self.ses.id, self.id, u32(column.columnid), raw, u32(len(raw or b"")), u32(grbit), info)

    def update(self):
        call("JetUpdate", self.ses.id, self.id, None, u32(0), None)

    def cancel(self):
        call("JetPrepareUpdate", self.ses.id, self.id, u32(K.JET_prepCancel))

    def _write(self, prep, values):
        self.prepare(prep)
        try:
            for name, value in values.items():
                self.set(name, value)
            self.update()
        except JetError:
            with contextlib.suppress(JetError):
                self.cancel()
            raise

    def insert(self, **values):
        self._write(K.JET_prepInsert, values)

    def replace(self, **values):
        self._write(K.JET_prepReplace, values)

    def copy(self, **values):
        """A new row of the current one's values, but for these. The two share their long values."""
        self._write(K.JET_prepInsertCopy, values)

    def delete(self):
        call("JetDelete", self.ses.id, self.id)


def as_dump(value):
    """A value as edbcheck.py dump shows it."""
    if isinstance(value, list):
        return [as_dump(v) for v in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, uuid.UUID) else value


def row_as_dump(row):
    return {name: as_dump(value) for name, value in row.items() if value is not None}


def _cell(column, cell):
    if cell.null:
        return None
    if cell.values > 1:
        several = C.cast(cell.pv, P(CELL))
        return [_cell(column, several[i]) for i in range(cell.values)]
    return column.unpack(C.string_at(cell.pv, cell.cb))


class Reader:
    """A file without an instance; as a session it serves Table."""

    def __init__(self, path, grbit=0):
        self.inst = None
        self.id, self.dbid = u64(), u32()
        call("PyjetOpenFile", text(path), u32(grbit), C.byref(self.id), C.byref(self.dbid))

    begin = Session.begin
    commit = Session.commit
    tables = Session.tables

    def __enter__(self):
        return self

    def __exit__(self, *_):
        call("PyjetCloseFile", self.id)

    def table(self, dbid, name):
        return Table(self, dbid, name)

    def contents(self, system=False):
        """{table: [rows]}."""
        found = {}
        for name in self.tables(self.dbid):
            if system or not name.startswith("MSys"):
                with self.table(self.dbid, name) as table:
                    found[name] = table.all()
        return found


def check_file(path, grbit=0):
    """What `pyjet check` finds: (list of texts, sums)."""
    found = []

    def see(_, f):
        f = f.contents
        found.append(f"page {f.pgno} {(f.table or b'').decode()}: {(f.text or b'').decode()} (kind {f.kind})")
        return 0

    sums = CHECK()
    fn = C.CFUNCTYPE(i32, C.c_void_p, P(FINDING))(see)
    call("PyjetCheckFile", text(path), u32(grbit), fn, None, C.byref(sums))
    return found if sums.findings else [], sums


def survey(path):
    found = SET()
    call("PyjetSurveySet", text(path), C.byref(found))
    return found


def restore_map(pairs):
    """An array of JET_RSTMAP, NULL when there are no pairs, and its length."""
    array = (RSTMAP * len(pairs))(*(RSTMAP(text(old), text(new)) for old, new in pairs)) if pairs else None
    return array, len(pairs)


def restore(source, destination, work=None, log_kib=None, roll_forward=None, rename=(), stop=0, stop_time=None, **settings):
    """Restores a set through an instance of its own whose logs lie in `work`; returns (result, database paths).

    rename: pairs; stop: a position as one number; stop_time: the 8 bytes of a JET_LOGTIME.
    """
    found = survey(source)
    work = pathlib.Path(work or str(destination) + "-logs")
    work.mkdir(parents=True, exist_ok=True)
    pathlib.Path(destination).mkdir(parents=True, exist_ok=True)
    inst = Instance(work, log_kib=found.log_file_size // 1024, base=found.base_name.decode(), **settings)
    result = RESTORE()
    try:
        options = RESTORE_OPTIONS(text(source), text(destination), text(roll_forward), *restore_map(list(rename)), stop)
        options.stop_time = (u8 * 8)(*(stop_time or bytes(8)))
        call("PyjetRestoreTo", inst.handle, C.byref(options), None, None, C.byref(result))
    finally:
        inst.destroy()
    return result, [pathlib.Path(result.database[i].value.decode()) for i in range(result.databases)]


_fault_text = []


def set_fault(ops=None, path_part=None, after=0, count=FOREVER, error=0, delay_ms=0):
    """set_fault() drops the plan; ops: names as "read write"."""
    if ops is None:
        lib.PyjetSetFault(None)
        return
    bits = sum(OPS[name] for name in ops.split())
    _fault_text.append(text(path_part))
    fault = FAULT(bits, _fault_text[-1], after, count, error, delay_ms)
    _fault_text.append(fault)
    lib.PyjetSetFault(C.byref(fault))


@contextlib.contextmanager
def fault(*args, **kwargs):
    set_fault(*args, **kwargs)
    try:
        yield
    finally:
        set_fault()


def mark(words):
    lib.PyjetRecordMark(words.encode())


class Events:
    """Collects events while it is entered: (id, severity, params)."""

    def __enter__(self):
        self.seen = []
        self.lock = threading.Lock()

        def hear(_, e):
            e = e.contents
            with self.lock:
                self.seen.append((e.id, e.severity, [e.rgszParams[i].decode() for i in range(e.cParams)]))

        self.fn = EVENT_FN(hear)
        lib.PyjetSetEventSink(self.fn, None)
        return self

    def __exit__(self, *_):
        lib.PyjetSetEventSink(EVENT_FN(0), None)

    def ids(self):
        return [e[0] for e in self.seen]
