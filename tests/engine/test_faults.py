"""What stops an instance and what does not; its end says so; a page that the disk has lost is no page never written."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from child import run  # noqa: E402
from cjet import ERR, JetError, K  # noqa: E402

TABLE = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "v": (K.JET_coltypLongBinary,)}
INDEXES = [("pk", "+id", K.JET_bitIndexPrimary)]
ROWS, PAGE, EIO = 900, 4096, 5


class Shop:
    def __init__(self, place, create=True, cache=64):
        cjet.set_cache(cache)
        self.path = pathlib.Path(place) / "a.edb"
        self.inst = cjet.Instance(place, log_kib=512, params={K.PYJET_paramPageWriterOff: 1})
        self.inst.init()
        self.ses = self.inst.session()
        self.dbid = self.ses.create(self.path) if create else self.ses.open(self.path)
        if create:
            self.ses.create_table(self.dbid, "t", TABLE, INDEXES)
            with self.ses.transaction(), self.ses.table(self.dbid, "t") as t:
                for i in range(ROWS):
                    t.insert(id=i, v=bytes([i % 251]) * 900)

    def replace(self, i, value):
        with self.ses.transaction(), self.ses.table(self.dbid, "t") as t:
            assert t.seek([("id", i)])
            t.replace(v=value)

    def values(self):
        with self.ses.table(self.dbid, "t") as t:
            return {r["id"]: r["v"] for r in t.all()}

    def close(self):
        self.inst.term()


def refused(name, fn, *args):
    with pytest.raises(JetError) as caught:
        fn(*args)
    assert caught.value.name == name, caught.value
    assert caught.value.hint
    return caught.value


def the_end_says_so(report, place):
    shop = Shop(place)
    shop.replace(5, b"before")
    with cjet.fault("write sync", "edb.log", error=EIO):
        with pytest.raises(JetError):
            shop.replace(6, b"never")
    refused("JET_errInstanceUnavailable", shop.ses.begin)
    e = refused("JET_errInstanceUnavailable", shop.inst.term)
    assert "JET_errLogWriteFail" in e.detail
    refused("JET_errInvalidInstance", cjet.call, "JetTerm2", shop.inst.handle, cjet.u32(0))
    again = Shop(place, create=False)  # folder, files and cache are free again
    values = again.values()
    assert (values[5], values[6]) == (b"before", bytes([6]) * 900)
    again.close()


def reads_fail(report, place, count):
    """64 pages of cache over 300: every update reads. The one that cannot fails alone."""
    shop = Shop(place)
    wanted = shop.values()
    failed = 0
    for i in range(0, ROWS, 9):
        with cjet.fault("read", "a.edb", after=i // 9 % 3, count=count, error=EIO):
            try:
                shop.replace(i, b"new")
                wanted[i] = b"new"
            except JetError as e:
                failed += 1
                assert e.name == "JET_errDiskIO", e
    assert failed > 20
    assert shop.values() == wanted
    shop.close()
    findings, sums = cjet.check_file(shop.path)
    assert not findings and sums.pages_leaked == 0, (findings, sums.pages_leaked)


def a_lost_page(report, place, cached):
    """Zeros where a page in use was: in memory still, or not."""
    shop = Shop(place, cache=2000)
    shop.inst.backup(place / "first")
    shop.close()
    shop = Shop(place, create=False, cache=2000)
    if cached:
        shop.values()
    data = shop.path.read_bytes()
    leaf = next(n for n in range(2, len(data) // PAGE) if bytes([77]) * 300 in data[n * PAGE : (n + 1) * PAGE])
    with open(shop.path, "r+b") as f:
        f.seek(leaf * PAGE)
        f.write(bytes(PAGE))
    e = refused("JET_errPageNotInitialized", shop.inst.backup, place / "second")
    assert f"page {leaf - 1} " in e.detail and "a.edb" in e.detail
    assert not (place / "second" / "a.edb").exists()
    cjet.survey(place / "first")


def a_header_that_cannot_be_read(report, place):
    shop = Shop(place)
    shop.inst.backup(place / "set")
    shop.close()
    for what in ("read", "open"):
        with cjet.fault(what, "set/a.edb", error=EIO):
            refused("JET_errDiskIO", cjet.survey, place / "set")
    with open(place / "set" / "a.edb", "r+b") as f:
        f.write(b"\xff" * 2 * PAGE)
    refused("JET_errDatabaseCorrupted", cjet.survey, place / "set")


CASES = [(the_end_says_so,), (reads_fail, 1), (reads_fail, 2), (a_lost_page, True), (a_lost_page, False), (a_header_that_cannot_be_read,)]


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(getattr(x, "__name__", str(x)) for x in c))
def test_faults(tmp_path, case):
    assert ERR["JET_errDiskIO"] == -1022
    run(case[0], tmp_path, *case[1:])
