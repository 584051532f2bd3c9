"""Power cuts inside an increment: the set that was complete before it stays one."""

import functools
import operator
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import bank  # noqa: E402
import judge  # noqa: E402
import replay  # noqa: E402
import works  # noqa: E402
from child import run  # noqa: E402
from trace import Op  # noqa: E402

WORK = works.Work("increments", works.UPDATE, threads=1, steps=60, notes=9000, sets=("full", "incremental"))


def record(report, top):
    """A full backup, work that fills some logs, an increment."""
    (top / "run" / "sets").mkdir(parents=True)
    works.begin(top)
    with works.instance(top / "run" / "data", WORK, False) as inst:
        path = top / "run" / "data" / "bank.edb"
        with inst.session() as ses:
            bank.create(ses, ses.create(path), 1)
        works.back_up(inst, WORK, top / "run" / "sets", 0, "full")
        works.together(inst, path, works.Work("", WORK.weights, 1, WORK.steps, WORK.notes), 3, None)
        works.back_up(inst, WORK, top / "run" / "sets", 1, "incremental")
    works.end()


def test_increment_leaves_no_gap(memory_path):
    """No log of an increment gets its name before the name of the one before it is durable."""
    top = memory_path / "w"
    run(record, top)
    kind, loose, named = None, 0, 0
    for step in replay.records(top / "trace"):
        if step.op == Op.MARK and step.text.startswith('["BS"'):
            kind = step.text
        elif kind is None or "incremental" not in kind:
            continue
        elif step.op == Op.RENAME and step.target.startswith("sets/plain0/edb"):
            assert loose == 0, f"{step.target} follows a log whose name is not synced"
            loose, named = loose + 1, named + 1
        elif step.op == Op.DIRSYNC_END and step.path == "sets/plain0" and step.result == 0:
            loose = 0
    assert named > 2


def record_quiet(report, top):
    """A full backup of a bank whose pages are all on disk: it was detached and attached."""
    (top / "run" / "sets").mkdir(parents=True)
    works.begin(top)
    with works.instance(top / "run" / "data", WORK, False) as inst:
        path = top / "run" / "data" / "bank.edb"
        with inst.session() as ses:
            dbid = ses.create(path)
            bank.create(ses, dbid, 1)
            ses.close(dbid)
            ses.detach(path)
            ses.attach(path)
            works.back_up(inst, WORK, top / "run" / "sets", 0, "full")
            works.end()


def header_sum(block):
    return functools.reduce(operator.xor, struct.unpack("<1023I", block[4:]), 0x89ABCDEF)


def require(path, generation):
    """As a checkpoint writes it that has come to this generation."""
    data = bytearray(path.read_bytes())
    for at in (0, 4096):
        assert struct.unpack_from("<I", data, at) == (header_sum(data[at : at + 4096]),)
        struct.pack_into("<II", data, at + 296, generation, generation)
        struct.pack_into("<I", data, at, header_sum(data[at : at + 4096]))
    path.write_bytes(data)


def recover(report, top, cut):
    replay.materialise(replay.killed(top / "trace", cut, works.BASE), top / "run")
    data = top / "run" / "data"
    log = (data / "edb.log").read_bytes()
    assert not any(log[4096:])
    require(data / "bank.edb", struct.unpack_from("<I", log, 4)[0])
    case = judge.Case(top, WORK, False, ())
    assert judge.recover(case, {"bank.edb": judge.read_bank})["bank.edb"] == bank.first_state(1)


def test_a_database_that_requires_a_log_without_records(memory_path):
    """A backup rolls the log; before anything is logged, a checkpoint comes to the new file and the power goes."""
    top = memory_path / "w"
    run(record_quiet, top)
    trace = list(replay.records(top / "trace"))
    rolled = max(i for i, step in enumerate(trace) if step.op == Op.RENAME and step.target == "data/edb.log")
    (top / "run").rename(top / "before")
    run(recover, top, rolled + 1)
