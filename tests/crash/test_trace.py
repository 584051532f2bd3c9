"""Pins the trace format: the C recorder writes a trace, trace.py reads it."""
import errno
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]
from building import make  # noqa: E402
import trace as crash_trace  # noqa: E402  (the folder's trace.py, not the standard module)

Op = crash_trace.Op


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    make("DEBUG=1", "test-os", "ARGS=sample_trace", PYJET_TEST_TRACE=str(folder))
    return folder / "trace"


def test_every_record(trace_file):
    got = [(r.op, r.path, r.offset, r.length, r.data, r.result) for r in crash_trace.records(trace_file)]
    sync = 5  # the number of SYNC_BEGIN
    dirsync = 9
    assert got[0][:3] == (Op.START, str(trace_file.parent.resolve() / "db"), 0)
    assert got[0][3] > 1
    assert got[1:] == [
        (Op.CREATE, "aä", 0, 0, b"", 0),
        (Op.WRITE, "aä", 3, 4, b"\x00\x01\x02\xff", 0),
        (Op.ZERO, "aä", 8, 8, b"", 0),
        (Op.SYNC_BEGIN, "aä", 0, 0, b"", 0),
        (Op.SYNC_END, "aä", sync, 0, b"", 0),
        (Op.SIZE, "aä", 12, 0, b"", 0),
        (Op.RENAME, "aä", 0, 0, b"b", 0),
        (Op.DIRSYNC_BEGIN, ".", 0, 0, b"", 0),
        (Op.DIRSYNC_END, ".", dirsync, 0, b"", 0),
        (Op.MARK, ".", 0, 0, b"acknowledged 1", 0),
        (Op.MKDIR, "d", 0, 0, b"", 0),
        (Op.RMDIR, "d", 0, 0, b"", 0),
        (Op.WRITE, "b", 0, 2, b"ab", errno.EIO),
        (Op.UNLINK, "b", 0, 0, b"", 0),
        (Op.STOP, ".", 0, 0, b"", 0),
    ]


def test_numbers_tokens_and_texts(trace_file):
    records = list(crash_trace.records(trace_file))
    assert [r.seq for r in records] == list(range(1, len(records) + 1))
    by_op = {r.op: r for r in records}
    assert by_op[Op.SYNC_BEGIN].token == by_op[Op.SYNC_END].token == by_op[Op.SYNC_BEGIN].seq
    assert by_op[Op.DIRSYNC_BEGIN].token == by_op[Op.DIRSYNC_END].token
    assert by_op[Op.RENAME].target == "b"
    assert by_op[Op.MARK].text == "acknowledged 1"
    assert "-> b" in str(by_op[Op.RENAME]) and "errno 5" in "\n".join(map(str, records))


def test_cut_tail_is_the_end(trace_file, tmp_path):
    whole = trace_file.read_bytes()
    n = len(list(crash_trace.records(trace_file)))
    for cut in (1, 39, 41, 60):
        short = tmp_path / f"cut{cut}"
        short.write_bytes(whole[:-cut])
        assert 0 < len(list(crash_trace.records(short))) < n


@pytest.mark.parametrize("at, value", [(0, 0x51), (4, 77), (8, 9), (40 + 400, 0xEE)])
def test_damage_is_told(trace_file, tmp_path, at, value):
    raw = bytearray(trace_file.read_bytes())
    first = len(next(crash_trace.records(trace_file)).path.encode())
    at = at if at < 40 else 40 + first  # the last case: the second record's magic
    raw[at] = value
    bad = tmp_path / "bad"
    bad.write_bytes(raw)
    with pytest.raises(crash_trace.TraceError):
        list(crash_trace.records(bad))


def test_a_second_process_appends(trace_file, tmp_path):
    twice = tmp_path / "twice"
    twice.write_bytes(trace_file.read_bytes() * 2)
    starts = [r.seq for r in crash_trace.records(twice) if r.op is Op.START]
    assert starts == [1, 1]
