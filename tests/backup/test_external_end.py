"""Rows of facts/backup-behaviours.csv for external backup, over the C API; each test carries its rows' ids: truncation and ends."""

import os
import pathlib
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import (  # noqa: E402
    ABORT, BAD_ARGUMENT, INC, NONE, NORMAL, PAGE, SMALL_DEPTH, bkinfo, damage, External, generation, many_logs, 
    settled, start,
)
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K, JetError, call  # noqa: E402
from test_priority1 import count  # noqa: E402

ROWS = Rows()


# ---- truncation ----


@ROWS("BK-142", "BK-247", "BK-250", "BK-252", "BK-086")
def truncation(place):
    w, x = start(place, params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save(x.attached(), w.place / "set")
    x.save(x.logs(), w.place / "set")
    there = w.logs()
    gone = [generation(p) for p in x.truncatable()]
    assert gone and gone == there[: len(gone)]
    with cjet.Events() as events:
        x.truncate()
        assert w.logs() == there[len(gone) :]
        assert x.truncatable() == []
        x.truncate()
        assert w.logs() == there[len(gone) :]
    first, last = f"edb{gone[0]:05X}.log", f"edb{gone[-1]:05X}.log"
    assert [(e[0], e[2]) for e in events.seen] == [(224, [first, last]), (225, [])]
    x.end()


@ROWS("BK-152", "BK-153")
def every_log_must_be_read(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    many_logs(w, 4)
    there = w.logs()
    x.begin(INC)
    logs = x.logs()

    def refused():
        with cjet.Events() as events:
            w.fails("JET_errLogFileNotCopied", x.truncate)
        assert events.ids() == [520] and set(there) <= set(w.logs())

    refused()
    for path in logs[:1] + logs[3:]:  # 1 and 3 twice have the sum of 1, 2, 2, 3 ...
        x.bytes(path)
    x.bytes(logs[1]), x.bytes(logs[1])
    refused()
    x.open(logs[2])
    x.read(2 * PAGE)
    x.close()
    refused()
    x.bytes(logs[2])
    x.truncate()
    x.end()


@ROWS("BK-148")
def a_log_gone_already(place):
    w, x = start(place, params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save(x.attached(), w.place / "set")
    x.save(x.logs(), w.place / "set")
    gone = x.truncatable()
    assert len(gone) >= 3
    os.unlink(gone[1])
    with cjet.Events() as events:
        x.truncate()
    assert (227, 1, ["1"]) in events.seen and not any(os.path.exists(p) for p in gone)
    x.end()
    assert bkinfo(w)["full_prev"] != (0, 0)


@ROWS("BK-149")
def deletion_that_fails(place):
    w, x = start(place, params=SMALL_DEPTH)
    many_logs(w)
    x.begin()
    x.save(x.attached(), w.place / "set")
    x.save(x.logs(), w.place / "set")
    gone = x.truncatable()
    with cjet.fault("unlink", pathlib.Path(gone[1]).name, error=1):
        with pytest.raises(JetError):
            x.truncate()
    assert all(os.path.exists(p) for p in gone[1:])
    x.end()
    assert bkinfo(w)["full_prev"] == (0, 0)

# ---- end ----


@ROWS("BK-255")
def end_is_one_of_two(place):
    w, x = start(place)
    x.begin()
    for grbit in (0, NORMAL | ABORT, ABORT | K.JET_bitBackupTruncateDone, NORMAL | 0x1000, K.JET_bitBackupTruncateDone):
        w.fails(BAD_ARGUMENT, x.end, grbit)
    assert not x.idle()
    x.end(ABORT)


@ROWS("BK-256", "BK-257", "BK-083")
def ends_that_stamp_nothing(place):
    w, x = start(place)
    header = w.header()
    for logs, grbit in ((True, ABORT), (False, NORMAL), (False, ABORT)):
        x.begin()
        x.save(x.attached(), w.place / "set")
        if logs:
            x.save(x.logs(), w.place / "set")
        with cjet.Events() as events:
            x.end(grbit)
        assert events.ids() == [215] and x.idle() and bkinfo(w) == NONE
    assert {k: v for k, v in w.header().items() if "prev" in k.lower()} == {k: v for k, v in header.items() if "prev" in k.lower()}
    x.run(w.place / "full")
    before = bkinfo(w)
    x.begin(INC)
    with cjet.Events() as events:
        x.end(NORMAL)  # its logs were never listed
    assert events.ids() == [215] and bkinfo(w) == before


@ROWS("BK-258", "BK-259", "BK-260")
def ends_with_options(place):
    w, x = start(place)
    x.run(w.place / "one", truncate=False, end=NORMAL | K.JET_bitBackupNoDbHeaderUpdate)
    assert bkinfo(w) == NONE
    x.run(w.place / "two", truncate=False, end=NORMAL | K.JET_bitBackupTruncateDone)
    stamped = bkinfo(w)
    assert stamped["full_prev"] != (0, 0) == stamped["copy_prev"]
    x.begin()
    x.save(x.attached(), w.place / "three")
    x.open(x.logs()[0])
    x.read()
    with cjet.Events() as events:
        x.end()
    assert events.ids()[-1] == 213 and x.idle()


@ROWS("BK-287", "BK-288", "BK-289", "BK-069")
def term_during_a_backup(place):
    w, x = start(place)
    x.begin()
    x.open(w.data / "a.edb")
    x.read()
    w.fails("JET_errBackupInProgress", w.inst.term, K.JET_bitTermComplete)
    assert len(x.read()) > 0
    x.close()
    x.open(w.data / "a.edb")
    with cjet.Events() as events:
        w.inst.term(K.JET_bitTermComplete | K.JET_bitTermStopBackup)
    assert [i for i in events.ids() if i in (213, 214, 215, 226)] == [226]
    for end in (K.JET_bitTermAbrupt, None):
        w.inst = cjet.Instance(w.data, log_kib=64)
        w.inst.init()
        x = External(w.inst)
        x.begin()
        x.logs()
        with cjet.Events() as events:
            w.inst.term(end) if end is not None else call("JetTerm", w.inst.handle)
        assert [i for i in events.ids() if i in (213, 214, 215, 226)] == [226]


@ROWS("BK-069", "BK-011")
def term_while_a_read_is_inside(place):
    w, _ = start(place)
    x = settled(w)
    cjet.set_param(w.inst.handle, K.PYJET_paramBackupReadRetries, 16)
    damage(w.data / "a.edb", 9 * PAGE + 300)
    x.begin()
    x.open(w.data / "a.edb")
    seen = []

    def read():
        try:
            x.read()
        except JetError as e:
            seen.append(e.name)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.2)
    assert not seen  # it tries again
    began = time.monotonic()
    w.inst.term(K.JET_bitTermAbrupt)
    reader.join()
    assert seen == ["JET_errTermInProgress"] and time.monotonic() - began < 5


@ROWS("BK-130", "BK-290")
def crash_at_each_step(place):
    """The instance dies between two steps: it recovers, nothing is lost, nothing is stamped."""
    for step in ("begin", "open", "read", "logs", "truncate"):
        w, x = start(place, ("a.edb",), data=f"data-{step}")
        x.begin()
        if step == "open":
            x.open(w.data / "a.edb")
        elif step != "begin":
            x.save(x.attached(), w.place / f"set-{step}")
        if step in ("logs", "truncate"):
            x.save(x.logs(), w.place / f"set-{step}")
        if step == "truncate":
            x.truncate()
        w.add(3)
        w.fails("JET_errDirtyShutdown", w.inst.term, K.JET_bitTermDirty)
        with cjet.Instance(w.data, log_kib=64):
            assert bkinfo(w) == NONE
        assert count(w.data / "a.edb") == 63


@ROWS("BK-150")
def crash_between_truncation_and_stamping(place):
    w, x = start(place, params=SMALL_DEPTH)
    x.run(w.place / "set")
    next_increment = w.inst.stats().log_tail >> 32
    many_logs(w)
    while w.inst.stats().checkpoint >> 32 <= next_increment:  # logs of the full set may still be there, and be what was counted
        many_logs(w)
    x.begin(INC)
    x.save(x.logs(), w.place / "set")
    x.truncate()
    w.fails("JET_errDirtyShutdown", w.inst.term, K.JET_bitTermDirty)
    w.inst = cjet.Instance(w.data, log_kib=64)
    w.inst.init()
    w.ses = w.inst.session()
    w.dbids = [w.ses.open(w.data / "a.edb")]
    x = External(w.inst)
    x.begin(INC)
    w.fails("JET_errMissingFileToBackup", x.logs)
    x.run(w.place / "full")
    x.run(w.place / "full", grbit=INC)
