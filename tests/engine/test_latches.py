"""One slow reader holds up nobody else; versions stay bounded or the error names who holds them; space comes back."""

import pathlib
import random
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import K, JetError  # noqa: E402

COLUMNS = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypBinary, 0, 250)}
PK = [("pk", "+id", K.JET_bitIndexPrimary)]


def sleeper(report, place):
    """Operations of three sessions on B and C in a second: alone, and while a session on A sleeps in a page read."""
    place = pathlib.Path(place)
    cjet.set_cache(400)
    with cjet.Instance(place / "data") as inst, inst.session() as ses:
        # A lies in a file of its own, so that only its reads are slow.
        slow, quick = ses.create(place / "data" / "slow.edb"), ses.create(place / "data" / "quick.edb")
        for dbid, name, rows in ((slow, "A", 12000), (quick, "B", 300), (quick, "C", 300)):
            ses.create_table(dbid, name, COLUMNS, PK)
            with ses.table(dbid, name) as t:
                for first in range(0, rows, 500):
                    with ses.transaction(K.JET_bitCommitLazyFlush):
                        for i in range(first, min(first + 500, rows)):
                            t.insert(id=i, v=b"x" * 200)
        counts, stop, asleep = [0] * 3, threading.Event(), [0]

        def work(n):
            rng = random.Random(n)
            with inst.session() as s, s.table(s.open(place / "data" / "quick.edb", attach=False), "BCB"[n]) as t:
                while not stop.is_set():
                    with s.transaction(K.JET_bitCommitLazyFlush):
                        assert t.seek([("id", rng.randrange(n * 100, n * 100 + 100))])
                        t.replace(v=rng.randbytes(50))
                    counts[n] += 1

        def read_slowly():
            rng = random.Random(9)
            with inst.session() as s, s.table(s.open(place / "data" / "slow.edb", attach=False), "A") as t:
                while not stop.is_set():
                    t.seek([("id", rng.randrange(12000))])
                    asleep[0] += 1

        def span(seconds):
            before = sum(counts)
            time.sleep(seconds)
            return sum(counts) - before

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for t in threads:
            t.start()
        time.sleep(0.2)
        ratios = []
        reader = None
        for _ in range(3):  # side by side, so that other load of the machine hits both
            alone = span(0.6)
            cjet.set_fault("read", "slow.edb", delay_ms=200)
            if reader is None:
                reader = threading.Thread(target=read_slowly)
                reader.start()
            ratios.append(span(0.6) / alone)
            hits = cjet.lib.PyjetFaultHits()
            cjet.set_fault()
        stop.set()
        for t in (*threads, reader):
            t.join()
        assert hits > 0, "nobody slept"
        return ratios


def test_a_sleeping_reader_holds_up_nobody(memory_path):
    ratios = run(sleeper, str(memory_path))
    assert max(ratios) >= 0.9, ratios


def held(report, place):
    """Writers go on under an open snapshot until the version store is full; then the error names the session."""
    place = pathlib.Path(place)
    most = 4 << 20
    with cjet.Instance(place / "data", params={K.PYJET_paramVersionStoreBytes: most}) as inst, inst.session() as ses:
        dbid = ses.create(place / "data" / "a.edb")
        ses.create_table(dbid, "t", COLUMNS, PK)
        with ses.table(dbid, "t") as t, inst.session() as reader:
            with ses.transaction():
                for i in range(500):
                    t.insert(id=i, v=b"first")
            with reader.table(reader.open(place / "data" / "a.edb", attach=False), "t") as seen:
                reader.begin()
                assert seen.seek([("id", 1)])
                told, peak = None, 0
                for n in range(400000):
                    try:
                        with ses.transaction(K.JET_bitCommitLazyFlush):
                            assert t.seek([("id", n % 500)])
                            t.replace(v=b"%d" % n * 20)
                    except JetError as e:
                        told = e
                        break
                    if n % 500 == 0:
                        peak = max(peak, inst.stats().versions_bytes)
                assert told is not None, f"no end after {n} updates; {peak} bytes of versions"
                assert told.name in ("JET_errVersionStoreOutOfMemory", "JET_errVersionStoreOutOfMemoryAndCleanupTimedOut"), told
                assert seen.get("v") == b"first", "the snapshot moved"
                assert peak <= most * 1.1, f"{peak} bytes of versions"
                words = told.hint + told.detail
                reader.commit()
            until = time.monotonic() + 10
            while inst.stats().versions_bytes > most // 4:
                assert time.monotonic() < until, "versions stay after the reader is gone"
                time.sleep(0.05)
            with ses.transaction():
                assert t.seek([("id", 5)])
                t.replace(v=b"goes on")
    return words


def test_versions_are_bounded(memory_path):
    words = run(held, str(memory_path))
    assert "session" in words or "transaction" in words, words


def turnover(report, place, kind, rows, rounds):
    """Pages of the file after `rounds`-fold turnover, and of the same rows freshly loaded."""
    place = pathlib.Path(place)
    rng = random.Random(4)
    sizes = {}
    settings = {K.PYJET_paramVersionStoreBytes: 64 << 20}  # what Python's default of 256 MiB is like
    with cjet.Instance(place / "data", params=settings) as inst, inst.session() as ses:
        for name in ("turned", "fresh"):
            dbid = ses.create(place / "data" / f"{name}.edb")
            ses.create_table(dbid, "t", COLUMNS, [*PK, ("by_v", "+v", 0)])
            with ses.table(dbid, "t") as t:
                if name == "turned":
                    left = turn(inst, ses, t, kind, rows, rounds, rng)
                else:
                    put(ses, t, left)
    for name in ("turned", "fresh"):
        findings, sums = cjet.check_file(place / "data" / f"{name}.edb")
        assert not findings, findings[:3]
        sizes[name] = sums.pages
    return sizes


def swept(inst):
    """Gives the clean-up in the background its time."""
    until = time.monotonic() + 5
    while inst.stats().versions_bytes > 100000 and time.monotonic() < until:
        time.sleep(0.02)


def put(ses, t, ids):
    ids = sorted(ids)
    for first in range(0, len(ids), 200):
        with ses.transaction(K.JET_bitCommitLazyFlush):
            for i in ids[first : first + 200]:
                t.insert(id=i, v=bytes([i * 7919 % 251]) * 150)


def take(ses, t, ids):
    for first in range(0, len(ids), 200):
        with ses.transaction(K.JET_bitCommitLazyFlush):
            for i in ids[first : first + 200]:
                assert t.seek([("id", i)])
                t.delete()


def turn(inst, ses, t, kind, rows, rounds, rng):
    there, following = list(range(rows)), rows
    put(ses, t, there)
    for _ in range(rounds):
        if kind == "fifo":
            gone, there = there[: rows // 2], there[rows // 2 :]
        elif kind == "random":
            rng.shuffle(there)
            gone, there = there[: rows // 2], there[rows // 2 :]
        else:  # one in thirty stays
            gone, there = [i for n, i in enumerate(there) if n % 30], [i for n, i in enumerate(there) if not n % 30]
        take(ses, t, gone)
        swept(inst)
        new = list(range(following, following + rows - len(there)))
        following += len(new)
        put(ses, t, new)
        there += new
    return there


@pytest.mark.parametrize("kind", ("fifo", "random", "one in thirty"))
def test_space_comes_back(kind, memory_path):
    sizes = run(turnover, str(memory_path), kind, 5000, 6)
    assert sizes["turned"] <= 2 * sizes["fresh"], sizes
