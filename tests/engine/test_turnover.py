"""Twenty-fold turnover at full speed: the file stays within twice what the same rows take freshly loaded.

Nobody waits for the clean-up here: it has to keep pace by itself, or hold the committing sessions back.
"""

import pathlib
import random
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import Child, run  # noqa: E402
from cjet import K  # noqa: E402

TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "k": (K.JET_coltypLong,), "v": (K.JET_coltypLongBinary,)}
INDEXES = [("pk", "+id", K.JET_bitIndexPrimary), ("by_k", "+k", 0)]
ROWS, TURNS = 2000, 20


def row(i):
    return {"id": i, "k": i * 7919 % 1000, "v": bytes([i % 251]) * 900}


class Shop:
    """One table in a new file; sessions change it at full speed."""

    def __init__(self, place, fresh=True):
        self.path = pathlib.Path(place) / "a.edb"
        self.inst = cjet.Instance(place, log_kib=512, circular=True, params={K.JET_paramDbExtensionSize: 16})
        self.inst.init()
        self.ses = self.inst.session()
        self.dbid = self.ses.create(self.path) if fresh else self.ses.open(self.path)
        if fresh:
            self.ses.create_table(self.dbid, "t", TABLE, INDEXES)
        self.table = self.ses.table(self.dbid, "t")

    def insert(self, idents):
        with self.ses.transaction(K.JET_bitCommitLazyFlush):
            for i in idents:
                self.table.insert(**row(i))

    def delete(self, idents):
        with self.ses.transaction(K.JET_bitCommitLazyFlush):
            for i in idents:
                assert self.table.seek([("id", i)])
                self.table.delete()

    def bytes_when_closed(self):
        self.inst.term()
        findings, _ = cjet.check_file(self.path)
        assert not findings, findings[:3]
        return self.path.stat().st_size


def fresh(report, place, idents):
    shop = Shop(place)
    for at in range(0, len(idents), 50):
        shop.insert(idents[at : at + 50])
    return shop.bytes_when_closed()


def fifo(shop):
    shop.insert(range(ROWS))
    for i in range(0, ROWS * TURNS, 10):
        shop.delete(range(i, i + 10))
        shop.insert(range(ROWS + i, ROWS + i + 10))
    return list(range(ROWS * TURNS, ROWS * TURNS + ROWS))


def at_random(shop):
    chance = random.Random(7)
    there = list(range(ROWS))
    shop.insert(there)
    for i in range(0, ROWS * TURNS, 10):
        gone = [there.pop(chance.randrange(len(there))) for _ in range(10)]
        shop.delete(gone)
        new = [1_000_000 + (i + n) * 7919 % 900_001 for n in range(10)]
        shop.insert(new)
        there += new
    return sorted(there)


def keep_one_in_thirty(shop):
    kept = []
    for turn in range(TURNS):
        batch = range(turn * ROWS, turn * ROWS + ROWS)
        for at in range(0, ROWS, 50):
            shop.insert(batch[at : at + 50])
        gone = [i for i in batch if i % 30]
        kept += [i for i in batch if i % 30 == 0]
        for at in range(0, len(gone), 50):
            shop.delete(gone[at : at + 50])
    return kept


def turned(report, place, how):
    shop = Shop(place)
    left = globals()[how](shop)
    return [left, shop.bytes_when_closed()]


@pytest.mark.parametrize("how", ["fifo", "at_random", "keep_one_in_thirty"])
def test_the_file_stays_small(how, memory_path):
    left, size = run(turned, str(memory_path / "turned"), how, timeout=300)
    alone = run(fresh, str(memory_path / "fresh"), left, timeout=120)
    print(f"{how}: {size / alone:.2f} times the fresh file ({size} and {alone} bytes)")
    # keep-one-in-thirty holds one whole batch for a moment: that is its peak, and a file does not shrink
    peak = run(fresh, str(memory_path / "peak"), [*left, *range(10**6, 10**6 + ROWS)], timeout=120) if how == "keep_one_in_thirty" else alone
    assert size <= 2 * peak, f"{how}: {size} bytes, fresh {alone}, at the peak {peak}"


# ---- a crash takes the versions that clean-up goes by ----


def die_before_clean_up(report, place):
    """All rows are deleted, durably, while a reader's snapshot keeps the clean-up from them."""
    shop = Shop(place)
    for at in range(0, ROWS, 50):
        shop.insert(range(at, at + 50))
    with shop.inst.session() as reader:
        reader.begin()
        with reader.table(reader.open(shop.path, attach=False), "t") as t:
            assert t.seek([("id", 0)])
            with shop.ses.transaction():
                for i in range(ROWS):
                    assert shop.table.seek([("id", i)])
                    shop.table.delete()
            report(["size", shop.path.stat().st_size])
            signal.pause()


def load_again(report, place):
    """Recovers, and puts as many rows behind where the old ones were: no insert comes to a page of theirs."""
    shop = Shop(place, fresh=False)
    for at in range(0, ROWS, 50):
        shop.insert(range(10**6 + at, 10**6 + at + 50))
    return shop.bytes_when_closed()


def test_what_a_killed_instance_had_deleted_gives_its_space_back(memory_path):
    child = Child(die_before_clean_up, memory_path)
    child.wait_line("size")
    (size,) = [n for word, n in child.kill() if word == "size"]
    assert run(load_again, memory_path) <= 1.25 * size
