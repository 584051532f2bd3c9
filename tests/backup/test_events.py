"""Event entries: each step of backup, truncation, restore and recovery under ESE's number, severity and texts; what the gates let by."""

import ctypes as C
import logging
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import ABORT, current, damage, External, INC, many_logs, PAGE, settled, SMALL_DEPTH, start  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
import cjet  # noqa: E402
from child import Child  # noqa: E402
from cjet import K, call, u32  # noqa: E402
from test_priority1 import ATOMIC, World, count, files  # noqa: E402

ROWS = Rows()
INFO, WARNING, ERROR = 0, 1, 2


def log(gen):
    return f"edb{gen:05X}.log"


def of_backup(events):
    return [e for e in events.seen if 200 <= e[0] < 260 or e[0] in (459, 474, 493, 520, 706, 707)]


def failing(w, *args):
    code = cjet.lib.JetBackupInstanceA(w.inst.handle, cjet.text(w.place / args[0]), u32(args[1] if len(args) > 1 else 0), None)
    assert code < 0
    return str(code)


@ROWS("BK-085", "BK-086", "each field")
def a_full_backup_in_whole(place):
    w = World(place, ("a.edb", "b.edb"), rows=40, params=SMALL_DEPTH)
    many_logs(w)
    w.settle()
    lowest, top = w.logs()[0], current(w)
    with cjet.Events() as events:
        w.backup()
    after = current(w)
    kib = [(w.place / "set" / n).stat().st_size // 1024 - 12 for n in w.names]
    size = [f"{k // 1024} Mb" if k >= 1024 else f"{k} Kb" for k in kib]
    a, b = str(w.data / "a.edb"), str(w.data / "b.edb")
    found = of_backup(events)
    assert [e[:2] for e in found] == [(i, INFO) for i in (210, 220, 221, 220, 221, 223, 224, 213)]
    assert [e[2] for e in found[:5]] == [[], [a, size[0]], [a], [b, size[1]], [b]]
    in_set = sorted(n for n in files(w.place / "set") if n.endswith(".log"))
    assert found[5][2] == [in_set[0], in_set[-1]]
    assert log(top) <= in_set[-1] < log(after)  # the clean-up may have begun another log before the copy came to its end
    assert found[6][2] == [log(lowest), log(w.logs()[0] - 1)] and found[7][2] == []


@ROWS("BK-087", "BK-089")
def an_increment_with_nothing_to_delete(place):
    w = World(place, rows=20)
    with cjet.Events() as events:
        w.backup()
    assert [e[0] for e in of_backup(events)] == [210, 220, 221, 223, 225, 213]
    w.add(10)
    with cjet.Events() as events:
        w.backup("set", INC)
    assert [e[:2] for e in of_backup(events)] == [(211, INFO), (223, INFO), (225, INFO), (213, INFO)]


@ROWS("BK-088", "each kind")
def how_failures_end(place):
    w = World(place, rows=200)
    with cjet.Events() as events, cjet.fault("write", "set/a.edb", error=28):
        why = failing(w, "set")
    found = of_backup(events)
    assert [e[:2] for e in found] == [(210, INFO), (220, INFO), (217, ERROR), (214, ERROR)]
    assert found[2][2] == [why, str(w.data / "a.edb")] and found[3][2] == [why]

    def stop(*_):
        call("JetStopBackupInstance", w.inst.handle)

    with cjet.Events() as events:
        w.fails("JET_errBackupAbortByServer", w.backup, "set", 0, stop)
    last = of_backup(events)[-1]
    assert last[:2] == (215, ERROR)
    call("PyjetResumeBackupInstance", w.inst.handle)
    w.add(20)
    gen = w.logs()[-1]
    damage(w.data / log(gen), PAGE + 200)
    with cjet.Events() as events:
        why = failing(w, "set")
    told = [e for e in events.seen if e[0] == 218]
    assert told == [(218, ERROR, [why, str(w.data / log(gen))])]
    assert of_backup(events)[-1] == (214, ERROR, [why])


@ROWS("BK-065", "BK-217", "events of a damaged page")
def a_damaged_page_is_told_with_its_number(place):
    w, _ = start(place, rows=300)
    settled(w)
    damage(w.data / "a.edb", 51 * PAGE + 200)
    with cjet.Events() as events:
        why = failing(w, "set")
    path = str(w.data / "a.edb")
    page = next(e for e in events.seen if e[0] == 474)
    assert page[1] == ERROR and page[2][0] == path and "50" in page[2]
    assert (217, ERROR, [why, path]) in events.seen


@ROWS("BK-148")
def logs_that_were_gone_already(place):
    w = World(place, rows=40, params=SMALL_DEPTH)
    many_logs(w, 4)
    (w.data / log(w.logs()[1])).unlink()
    with cjet.Events() as events:
        assert w.backup(None) == 0
    assert [e for e in events.seen if e[0] == 227] == [(227, WARNING, ["1"])]


@ROWS("BK-317", "and recovery's")
def a_restore_in_whole(place):
    w = World(place, rows=100)
    w.backup()
    w.inst.term()
    (w.place / "to").mkdir()
    inst = cjet.Instance(w.place / "logs", log_kib=64)
    with cjet.Events() as events:
        inst.restore(w.place / "set", w.place / "to")
    seen = [e for e in events.seen if e[0] in (204, 205, 216)]
    assert [e[:2] for e in seen] == [(204, INFO), (216, INFO), (205, INFO)]
    assert seen[0][2] == [str(w.place / "set"), str(w.place / "logs")]
    assert seen[1][2] == [str(w.data / "a.edb"), str(w.place / "to" / "a.edb")]
    assert 301 in events.ids(), "no log was told as replayed"


@ROWS("BK-316", "its events")
def a_restore_that_fails(place):
    w = World(place, rows=100)
    w.backup()
    w.inst.term()
    last = sorted((w.place / "set").glob("*.log"))[-1]
    last.unlink()
    (w.place / "to").mkdir()
    inst = cjet.Instance(w.place / "logs", log_kib=64)
    with cjet.Events() as events:
        w.fails("JET_errEndingRestoreLogTooLow", inst.restore, w.place / "set", w.place / "to")
    assert (432, ERROR) in [e[:2] for e in events.seen]


def crashed(report, place):
    World(place, rows=60)
    os._exit(0)


@ROWS("BK-331", "BK-332", "recovery's events")
def recovery_is_told(place):
    assert Child(crashed, place).finish() == 0
    data = pathlib.Path(place) / "data"
    for told, ids in ((True, [300, 301, 302]), (False, [])):
        inst = cjet.Instance(data, log_kib=64)
        with cjet.Events() as events:
            recovery = inst.init()
        assert bool(recovery.redone) == told
        found = [e for e in events.seen if e[0] in (300, 301, 302)]
        assert sorted({e[0] for e in found}) == ids and all(e[1] == INFO for e in found)
        if told:
            assert found[0][0] == 300 and found[-1][0] == 302
            assert all(e[2][0].endswith(".log") for e in found if e[0] == 301)
        inst.term()
    assert count(data / "a.edb") == 60


# ---- gates ----


def gated(place, param, value):
    w = World(place, rows=100, params={param: value})
    with cjet.Events() as events:
        w.backup()
        assert cjet.get_param(w.inst.handle, param)[0] == value
        with cjet.fault("write", "set2/a.edb", error=28):
            failing(w, "set2")
        w.inst.term()
    return events


@ROWS("BK-090")
def no_information(place):
    events = gated(place, K.JET_paramNoInformationEvent, 1)
    assert {e[1] for e in events.seen} == {ERROR} and {214, 217} <= set(events.ids())


@ROWS("BK-091")
def no_entry_at_all(place):
    assert gated(place, K.JET_paramEventLoggingLevel, 0).seen == []
    assert {213, 214, 217} <= set(gated(pathlib.Path(place) / "all", K.JET_paramEventLoggingLevel, 100).ids())


@ROWS("BK-090", "BK-091", "two instances")
def gates_are_an_instances_own(place):
    quiet = World(pathlib.Path(place) / "q", rows=20, params={K.JET_paramEventLoggingLevel: 0})
    loud = World(pathlib.Path(place) / "l", rows=20)
    with cjet.Events() as events:
        quiet.backup()
        assert events.seen == []
        loud.backup()
    assert 213 in events.ids()


# ---- sinks ----


@ROWS("C sink")
def what_a_sink_gets(place):
    """Instance, text and parameters; a sink that is dropped hears no more."""
    w = World(place, rows=40)
    got = []

    def hear(context, e):
        e = e.contents
        got.append((e.id, e.instance.decode(), e.text.decode(), e.cParams))

    fn = cjet.EVENT_FN(hear)
    cjet.lib.PyjetSetEventSink(fn, None)
    w.backup()
    cjet.lib.PyjetSetEventSink(cjet.EVENT_FN(0), None)
    n = len(got)
    assert n >= 6 and {g[1] for g in got} == {w.inst.name} and all(g[2] for g in got)
    w.backup("set2")
    assert len(got) == n


def test_the_logger(tmp_path, caplog):
    """BK-085: the logger pyjet.events has event_id, params and instance of each entry; levels follow the severity."""
    import pyjet

    caplog.set_level(logging.INFO, logger="pyjet.events")
    with pyjet.Instance(tmp_path / "d") as inst, inst.session() as ses:
        ses.create(tmp_path / "d" / "a.edb")
        caplog.clear()
        inst.backup(tmp_path / "set")
        records = [r for r in caplog.records if r.name == "pyjet.events" and 200 <= r.event_id < 260]
        assert [r.event_id for r in records] == [210, 220, 221, 223, 225, 213]
        assert records[1].params[0] == str(tmp_path / "d" / "a.edb") and records[1].levelno == logging.INFO
        assert all(isinstance(r.instance, str) and r.instance and r.getMessage() for r in records)
        caplog.clear()
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "x").write_text("")
        try:
            inst.backup(tmp_path / "full")
        except pyjet.BackupDirectoryNotEmptyError as e:
            why = e.code
        last = [r for r in caplog.records if r.name == "pyjet.events"][-1]
        assert (last.event_id, last.levelno, last.params) == (214, logging.ERROR, (str(why),))
