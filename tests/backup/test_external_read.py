"""Rows of facts/backup-behaviours.csv for external backup, over the C API; each test carries its rows' ids: lists and files."""

import ctypes as C
import os
import pathlib
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import (  # noqa: E402
    ABORT, AT_PREV, BAD_ARGUMENT, INC, NO_BACKUP, NONE, PAGE, SMALL_DEPTH, bkinfo, Buffer, current, damage, External,
    generation, many_logs, restored, settled, start,
)
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K, call, text, u32, u64  # noqa: E402

ROWS = Rows()


# ---- lists ----


@ROWS("BK-202", "BK-204", "BK-205")
def list_buffers(place):
    w, x = start(place, ("a.edb", "b.edb"))
    x.begin()
    whole = b"".join(text(w.data / name) + b"\0" for name in w.names) + b"\0"
    actual = u32()
    assert call("JetGetAttachInfoInstanceA", w.inst.handle, None, u32(0), None) == 0
    for room in (0, 1, 2, 3, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 9):
        got = C.create_string_buffer(b"\xff" * (len(whole) + 16), len(whole) + 16)
        call("JetGetAttachInfoInstanceA", w.inst.handle, got, u32(room), C.byref(actual))
        assert actual.value == len(whole)
        n = min(room, len(whole))
        expected = whole[:n] if room >= len(whole) else whole[: max(n - 2, 0)] + b"\0" * min(n, 2)
        assert got.raw == expected + b"\xff" * (len(whole) + 16 - n), room
    x.end(ABORT)


@ROWS("BK-115", "BK-203")
def lists_in_utf_16(place):
    w, x = start(place, ("ä€𐍈.edb", "b.edb"))
    x.begin()
    actual = u32()
    whole = b"".join((str(w.data / name) + "\0").encode("utf-16-le") for name in w.names) + b"\0\0"
    call("JetGetAttachInfoInstanceW", w.inst.handle, None, u32(0), C.byref(actual))
    assert actual.value == len(whole)
    for room in range(0, len(whole) + 4):
        got = C.create_string_buffer(b"\xff" * (len(whole) + 16), len(whole) + 16)
        call("JetGetAttachInfoInstanceW", w.inst.handle, got, u32(room), C.byref(actual))
        n = min(room, len(whole)) // 2 * 2
        expected = whole[:n] if room >= len(whole) else whole[: max(n - 4, 0)] + b"\0" * min(n, 4)
        assert got.raw == expected + b"\xff" * (len(whole) + 16 - n), room
    low, high = u32(), u32()
    name = C.create_string_buffer((str(w.data / w.names[0]) + "\0").encode("utf-16-le"))
    call("JetOpenFileInstanceW", w.inst.handle, name, C.byref(x.handle), C.byref(low), C.byref(high))
    assert low.value == (w.data / w.names[0]).stat().st_size + PAGE
    x.close()
    call("JetGetLogInfoInstanceW", w.inst.handle, None, u32(0), C.byref(actual))
    call("JetGetTruncateLogInfoInstanceW", w.inst.handle, None, u32(0), C.byref(actual))
    assert actual.value == 4
    x.end(ABORT)


@ROWS("BK-239", "BK-240", "BK-241", "BK-244", "BK-245")
def log_list(place):
    w, x = start(place)
    x.begin()
    low = w.inst.stats().checkpoint >> 32
    g = current(w)
    logs = x.logs()
    assert current(w) == g + 1
    w.add(100)
    assert x.logs() == logs and current(w) > g + 1
    assert logs == [str(w.data / f"edb{n:05X}.log") for n in range(low, g + 1)]
    info = (C.c_char * 20)()
    for size in (0, 15, 17, 20):
        struct.pack_into("<I", info, 0, size)
        w.fails(BAD_ARGUMENT, call, "JetGetLogInfoInstance2A", w.inst.handle, None, u32(0), None, info)
    struct.pack_into("<I", info, 0, 16)
    call("JetGetLogInfoInstance2A", w.inst.handle, None, u32(0), None, info)
    assert struct.unpack("<III4s", info.raw[:16]) == (16, low, g, b"edb\0")
    struct.pack_into("<I", info, 0, 20)
    call("JetGetLogInfoInstance2W", w.inst.handle, None, u32(0), None, info)
    assert struct.unpack("<III8s", info.raw) == (20, low, g, "edb\0".encode("utf-16-le"))
    x.end(ABORT)


@ROWS("BK-243")
def chain_broken_by_hand(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    high = bkinfo(w)["full_prev"][1]
    many_logs(w)
    for g in range(w.logs()[0], high + 2):
        (w.data / f"edb{g:05X}.log").unlink(missing_ok=True)
    x.begin(INC)
    with cjet.Events() as events:
        w.fails("JET_errMissingFileToBackup", x.logs)
    assert [i for i in events.ids() if i in (459, 214)] == [459, 214]
    assert x.idle()
    x.run(w.place / "again")

# ---- files ----


@ROWS("BK-117", "BK-118", "BK-119", "BK-120", "BK-217", "BK-229", "BK-230", "BK-232")
def database_stream(place):
    w, x = start(place)
    live = (w.data / "a.edb").stat().st_size
    low = w.inst.stats().checkpoint >> 32
    x.begin()
    with cjet.Events() as events:
        data = x.bytes(w.data / "a.edb")
    kib = (live - 2 * PAGE) // 1024
    assert [(e[0], e[2]) for e in events.seen] == [
        (220, [str(w.data / "a.edb"), f"{kib} Kb" if kib < 1024 else f"{kib // 1024} Mb"]),
        (221, [str(w.data / "a.edb")]),
    ]
    assert len(data) == live + PAGE
    assert data[:PAGE] == data[PAGE : 2 * PAGE]
    assert struct.unpack_from("<I", data, 52)[0] == 2  # dirty
    assert struct.unpack_from("<II", data, AT_PREV["full_cur"] + 16) == (low, 0)
    trailer = data[-PAGE:]
    assert trailer[64:92] == data[24:52] and trailer[92:120] == data[108:136]  # signatures
    assert struct.unpack_from("<II", trailer, 56) == (low, current(w))
    checksum = 0x89ABCDEF
    for (word,) in struct.iter_unpack("<I", trailer[4:]):
        checksum ^= word
    assert struct.unpack_from("<I", trailer)[0] == checksum
    x.end(ABORT)
    assert struct.unpack_from("<II", (w.data / "a.edb").read_bytes(), AT_PREV["full_cur"] + 16) == (0, 0)


@ROWS("BK-211", "BK-212", "BK-213")
def open_refuses_names(place):
    w, x = start(place)
    low, high, handle = u32(), u32(), u64()
    x.begin()
    for name in (None, b""):
        w.fails(BAD_ARGUMENT, call, "JetOpenFileInstanceA", w.inst.handle, name, C.byref(handle), C.byref(low), C.byref(high))
    path = text(w.data / "a.edb")
    for places in ((None, C.byref(low), C.byref(high)), (C.byref(handle), None, C.byref(high)), (C.byref(handle), C.byref(low), None)):
        w.fails(BAD_ARGUMENT, call, "JetOpenFileInstanceA", w.inst.handle, path, *places)
    with cjet.Events() as events:
        for name in ("/etc/passwd", w.data / "A.EDB", w.data / "nothing", "x" * 5000):
            w.fails("JET_errDatabaseNotFound", x.open, name)
    assert events.ids() == [217] * 4 and not x.idle()
    os.chdir(w.data)
    x.open("./a.edb")  # the same file by another spelling
    x.close()
    x.logs()
    (w.data / "edb00077.log").write_bytes(bytes(65536))
    for name in ("/etc/passwd", w.data / "edb.log", w.data / "edb00077.log", w.data / "edb.chk"):
        w.fails(BAD_ARGUMENT, x.open, name)
    assert not x.idle()
    x.end(ABORT)


@ROWS("BK-219", "BK-220", "BK-221", "BK-222", "BK-223", "BK-224")
def rules_of_reading(place):
    w, x = start(place)
    x.begin()

    def refused(*args, **kwargs):
        before = x.buffer.map[:]
        w.fails(BAD_ARGUMENT, lambda: x.read(*args, **kwargs))
        assert x.buffer.map[:] == before

    size = x.open(w.data / "a.edb")
    for n in (0, 1, 4095, 4097, 3 * PAGE + 512, PAGE, 2 * PAGE):
        refused(n)
    for off in (1, 8, 512, 2048):
        refused(4 * PAGE, at=x.buffer.at + off)
    refused(4 * PAGE, at=0)
    refused(4 * PAGE, handle=x.handle.value + 1)
    assert len(x.read(3 * PAGE)) == 3 * PAGE
    assert len(x.read(PAGE)) == PAGE
    got = 4 * PAGE
    refused(PAGE + 1)
    while got < size:
        x.buffer.map[:] = b"\xee" * x.chunk
        part = x.read(40 * PAGE)
        assert len(part) == min(40 * PAGE, size - got)
        assert x.buffer.map[len(part) :] == b"\xee" * (x.chunk - len(part))
        got += len(part)
    assert x.read() == b"" == x.read(PAGE)
    x.close()
    log = x.logs()[0]
    size = x.open(log)
    assert size == 65536
    for n in (0, 512, PAGE):
        refused(n)
    assert len(x.read(2 * PAGE)) == 2 * PAGE
    assert sum(len(x.read(3 * PAGE)) for _ in range(20)) == size - 2 * PAGE
    x.close()
    x.end(ABORT)


@ROWS("BK-225")
def chunks_of_any_size(place):
    w, x = start(place, rows=200)
    for _ in range(50):  # until nothing is written any more
        if w.inst.stats().cache_dirty == 0:
            break
        time.sleep(0.02)
    x.begin()
    x.chunk, x.buffer = 256 * PAGE, Buffer(256 * PAGE)
    images = [x.bytes(w.data / "a.edb", pages * PAGE) for pages in (3, 5, 16, 256)]
    assert len({image[2 * PAGE : -PAGE] for image in images}) == 1
    x.end(ABORT)


@ROWS("BK-228", "BK-234", "BK-236")
def handles(place):
    w, x = start(place)
    x.begin()
    for handle in (0, 1, 2, -1, 2**63, 2**64 - 1, x.buffer.at):
        w.fails(BAD_ARGUMENT, lambda h=handle: x.read(handle=h & (2**64 - 1)))
        w.fails(BAD_ARGUMENT, lambda h=handle: x.close(handle=h & (2**64 - 1)))
    x.open(w.data / "a.edb")
    first = x.handle.value
    x.close()
    w.fails(BAD_ARGUMENT, x.close)
    w.fails(BAD_ARGUMENT, x.read)
    x.open(w.data / "a.edb")
    assert x.handle.value != first
    w.fails(BAD_ARGUMENT, lambda: x.read(handle=first))
    w.fails(BAD_ARGUMENT, lambda: x.close(handle=first))
    x.read()
    last = x.handle.value
    x.end(ABORT)
    x.begin()
    w.fails(BAD_ARGUMENT, lambda: x.read(handle=last))
    x.end(ABORT)


@ROWS("BK-233", "BK-144", "BK-145", "BK-146")
def a_database_left_out_keeps_its_logs(place):
    w, x = start(place, ("a.edb", "b.edb"), params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save([w.data / "a.edb"], w.place / "set")
    size = x.open(w.data / "b.edb")
    x.read(8 * PAGE)
    with cjet.Events() as events:
        x.close()
    assert [(e[0], e[2]) for e in events.seen] == [(222, [str(w.data / "b.edb"), str(8 * PAGE), str(size)])]
    x.save(x.logs(), w.place / "set")
    assert x.truncatable() == []  # b.edb has never been backed up
    there = w.logs()
    with cjet.Events() as events:
        x.truncate()
    assert events.ids() == [225] and set(there) <= set(w.logs())
    x.end()
    assert bkinfo(w, "a.edb")["full_prev"] != (0, 0) and bkinfo(w, "b.edb") == NONE
    x.run(w.place / "both")
    high = bkinfo(w, "b.edb")["full_prev"][1]
    many_logs(w)
    x.run(w.place / "both", grbit=INC, truncate=False)  # only the full one limits
    x.begin()
    x.save([w.data / "a.edb"], w.place / "third")
    x.save(x.logs(), w.place / "third")
    gone = [generation(p) for p in x.truncatable()]
    assert gone and max(gone) == high - 1 < (w.inst.stats().checkpoint >> 32) - 1
    x.truncate()
    x.end()


@ROWS("BK-147")
def increments_know_no_such_limit(place):
    w, x = start(place, ("a.edb", "b.edb"), params=SMALL_DEPTH)
    x.run(w.place / "set")
    many_logs(w)
    x.begin(INC)
    checkpoint = w.inst.stats().checkpoint >> 32
    x.save(x.logs(), w.place / "set")
    gone = [generation(p) for p in x.truncatable()]
    assert max(gone) >= checkpoint - 1
    x.truncate()
    x.end()


@ROWS("BK-226", "BK-105")
def a_bad_page_drops_its_database(place):
    w, _ = start(place, ("a.edb", "b.edb"))
    x = settled(w)
    damage(w.data / "b.edb", (w.data / "b.edb").stat().st_size // PAGE // 2 * PAGE + 300)
    x.begin()
    x.save([w.data / "a.edb"], w.place / "set")
    x.open(w.data / "b.edb")
    with cjet.Events() as events:
        w.fails("JET_errReadVerifyFailure", lambda: [x.read() for _ in range(1000)])
    assert [i for i in events.ids()] == [474, 217]
    w.fails(BAD_ARGUMENT, x.read)  # its handle is closed
    w.fails(BAD_ARGUMENT, x.close)
    x.save(x.logs(), w.place / "set")
    assert x.truncatable() == []
    with cjet.Events() as events:
        x.truncate()
        x.end()
    assert 213 in events.ids()
    assert bkinfo(w, "a.edb")["full_prev"] != (0, 0) and bkinfo(w, "b.edb") == NONE
    assert not (w.place / "set" / "b.edb").exists()


@ROWS("BK-226")
def a_disk_that_fails_drops_the_database(place):
    w, _ = start(place, ("a.edb", "b.edb"))
    x = settled(w)
    x.begin()
    x.open(w.data / "b.edb")
    with cjet.Events() as events, cjet.fault("read", "b.edb", error=5):
        w.fails("JET_errDiskIO", x.read)
    assert events.ids() == [217] and events.seen[0][2][1] == str(w.data / "b.edb")
    w.fails(BAD_ARGUMENT, x.close)
    x.save(x.attached(), w.place / "set")  # the disk is well again: the database may be opened once more
    x.save(x.logs(), w.place / "set")
    x.truncate()
    x.end()
    assert bkinfo(w, "b.edb")["full_prev"] != (0, 0)
    assert restored(w, w.place / "set", "b.edb") == 60


@ROWS("BK-227")
def a_bad_log_cancels(place):
    w, x = start(place)
    x.begin()
    x.save(x.attached(), w.place / "set")
    log = x.logs()[0]
    damage(log, PAGE + 100)
    x.open(log)
    with cjet.Events() as events:
        w.fails("JET_errLogReadVerifyFailure", x.read)
    assert events.ids() == [218, 214] and events.seen[0][2][1] == log
    for step in (x.read, x.close, x.logs, x.truncate, x.end):
        w.fails(NO_BACKUP, step)
    assert bkinfo(w) == NONE and os.path.exists(log)


@ROWS("BK-216")
def a_log_removed_cancels(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    many_logs(w)
    x.begin(INC)
    logs = x.logs()
    os.rename(logs[1], w.place / "kept")
    with cjet.Events() as events:
        w.fails("JET_errMissingFileToBackup", x.open, logs[1])
    assert events.ids() == [459, 214]
    assert x.idle()
    os.rename(w.place / "kept", logs[1])
    x.run(w.place / "set", grbit=INC)


@ROWS("BK-231")
def chunk_parameters_have_no_effect(place):
    w, x = start(place, params={K.JET_paramBackupChunkSize: 1, K.JET_paramBackupOutstandingReads: 900})
    x.run(w.place / "set")
    assert restored(w, w.place / "set") == 60

# ---- several threads ----


@ROWS("BK-270")
def calls_wait_for_each_other(place):
    """Any thread makes the next call; two at once are made one after the other."""
    w, x = start(place, rows=400)
    x.begin()
    size = x.open(w.data / "a.edb")
    parts, lock = [], threading.Lock()

    def reader():
        mine = External(w.inst)
        mine.handle = x.handle
        while part := mine.read(4 * PAGE):
            with lock:
                parts.append(len(part))

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(parts) == size
    x.close()
    x.logs()
    x.end()
