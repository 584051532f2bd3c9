"""pyjet check --repair-from, and the one flipped bit that heals by itself."""

import logging
import os
import random
import shutil
import time

import pytest

import pyjet
from pyjet import _jet
from pyjet.backup import files
from pyjet.tool import main, repair

SIZE = 4096


@pytest.fixture
def world(memory_path):
    """place: data/ (clean; rows before and after the set), set/."""
    data = memory_path / "data"
    with pyjet.Instance(data, log_file_size=64 << 10) as inst, inst.session() as ses:
        db = ses.create(data / "a.edb")
        table = db.create_table(
            "t",
            {"id": pyjet.Long(), "raw": pyjet.LongBinary()},
            {"pk": pyjet.Index("+id", primary=True)},
        )
        with ses.transaction():
            table.insert_many({"id": n, "raw": bytes([n % 256]) * 700} for n in range(300))
        inst.backup(memory_path / "set")
        for n in range(300, 600):
            with ses.transaction():
                table.insert(id=n, raw=bytes([n % 256]) * 700)
        with ses.transaction():
            for n in range(50, 90):
                table.get(n).update(raw=b"changed")
    return memory_path


def spoil(path, pgno, rng):
    with open(path, "r+b") as f:
        f.seek((pgno + 1) * SIZE + 100)
        f.write(rng.randbytes(300))


def used_pages(path):
    data = path.read_bytes()
    return [n for n in range(1, len(data) // SIZE - 1) if any(data[(n + 1) * SIZE : (n + 2) * SIZE])]


@pytest.mark.parametrize("seed", range(4))
def test_bad_pages_are_rebuilt_to_the_byte(world, seed):
    rng, path = random.Random(seed), world / "data" / "a.edb"
    before = path.read_bytes()
    bad = sorted(rng.sample(used_pages(path), 3) + ([4] if seed == 3 else []))
    for pgno in bad:
        spoil(path, pgno, rng)
    logs = {p.name: p.read_bytes() for p in (world / "data").glob("edb*.log")}
    told = repair.repair(path, world / "set")
    assert sorted(told) == sorted(set(bad))
    after = path.read_bytes()
    for pgno in bad:
        at = (pgno + 1) * SIZE
        assert after[at + 8 : at + 16] == before[at + 8 : at + 16]
    assert _jet.check_file(str(path))["findings"] == 0
    with pyjet.open(path) as db:
        assert [r["id"] for r in db.tables["t"].rows()] == list(range(600))
        assert db.tables["t"].get(60)["raw"] == b"changed"
    assert logs == {p.name: p.read_bytes() for p in (world / "data").glob("edb*.log")}
    assert (world / "data" / "a.edb.bad-pages").stat().st_size == len(set(bad)) * (SIZE + 4)
    assert not [p for p in (world / "data").iterdir() if p.name.endswith(".repair")]


def test_the_command(world, capsys):
    path = world / "data" / "a.edb"
    pgno = used_pages(path)[-3]
    spoil(path, pgno, random.Random(9))
    assert main(["check", str(path)]) == 20 and f"page {pgno}" in capsys.readouterr().out
    assert main(["check", str(path), "--repair-from", str(world / "set")]) == 0
    assert f"page {pgno} was rebuilt" in capsys.readouterr().out
    assert main(["check", str(path), "--repair-from", str(world / "set")]) == 0  # nothing to do


def test_no_proof_no_change(world):
    """Without the logs after the set, or with a set of another database, the file stays as it is, to the byte."""
    path, rng = world / "data" / "a.edb", random.Random(5)
    spoil(path, used_pages(path)[-3], rng)
    before = path.read_bytes()
    (world / "empty").mkdir()
    with pytest.raises(pyjet.JetError) as caught:
        repair.repair(path, world / "set", logs=world / "empty")
    assert "left as it is" in str(caught.value) or caught.value.hint
    with pyjet.Instance(world / "other", log_file_size=64 << 10) as inst, inst.session() as ses:
        ses.create(world / "other" / "a.edb")
        inst.backup(world / "set2")
    with pytest.raises(pyjet.JetError):
        repair.repair(path, world / "set2", logs=world / "other")
    assert path.read_bytes() == before
    assert not [p for p in (world / "data").iterdir() if p.name.endswith((".repair", ".bad-pages"))]


def test_a_clone_that_went_its_own_way_is_refused(world):
    """Two copies of one database count the same dbtimes, and are of one signature: what their pages hold tells them apart."""
    data, other = world / "data", world / "other"
    shutil.copytree(data, other)
    for place, value in ((data, b"here"), (other, b"else")):
        with pyjet.Instance(place, log_file_size=64 << 10) as inst, inst.session() as ses:
            table = ses.attach(place / "a.edb").tables["t"]
            for n in range(100, 140):
                with ses.transaction():
                    table.get(n).update(raw=value)
            inst.backup(place.parent / f"set of {place.name}")
    path = data / "a.edb"
    whole = path.read_bytes()
    pgno = next(n for n in used_pages(path) if b"here" in whole[(n + 1) * SIZE : (n + 2) * SIZE])
    spoil(path, pgno, random.Random(3))
    before = path.read_bytes()
    with pytest.raises(pyjet.ReadVerifyFailureError, match="went its own way"):
        repair.repair(path, world / "set of other", logs=other)
    assert path.read_bytes() == before
    assert list(repair.repair(path, world / "set of data")) == [pgno]


def test_a_page_that_was_never_written(world):
    """Noise where nothing was is a bad page like others, and beside one with a flipped bit."""
    path = world / "data" / "a.edb"
    before = path.read_bytes()
    blank = next(n for n in range(1, len(before) // SIZE - 1) if not any(before[(n + 1) * SIZE : (n + 2) * SIZE]))
    spoil(path, blank, random.Random(1))
    with open(path, "r+b") as f:
        f.seek((used_pages(path)[-3] + 1) * SIZE + 2000)
        bit = f.read(1)[0] ^ 16
        f.seek(-1, 1)
        f.write(bytes([bit]))
    assert list(repair.repair(path, world / "set")) == [blank]
    assert path.read_bytes()[(blank + 1) * SIZE : (blank + 2) * SIZE] == bytes(SIZE)


def test_a_file_of_holes(world):
    """What was never written, however much, is not read: by the check, and by the copy that recovery works on."""
    path, rng = world / "data" / "a.edb", random.Random(4)
    pages, size, began = path.stat().st_size // SIZE, 1 << 37, time.process_time()
    os.truncate(path, size)
    assert _jet.check_file(str(path))["findings"] == 0
    with open(path, "r+b") as f:
        f.seek(size // 2 // SIZE * SIZE)
        f.write(rng.randbytes(SIZE))  # owned by nobody: a note, with its number
    told = []
    _jet.check_file(str(path), 0, lambda kind, pgno, objid, table, text: told.append((pgno, text)))
    assert [pgno for pgno, _ in told] == [size // 2 // SIZE - 1], told
    files.copy_data(path, world / "copy.edb")
    assert time.process_time() - began < 10
    assert (world / "copy.edb").stat().st_size == size and (world / "copy.edb").stat().st_blocks * 512 < 4 * pages * SIZE
    with open(path, "rb") as one, open(world / "copy.edb", "rb") as other:
        for at in (0, size // 2 - SIZE):
            one.seek(at), other.seek(at)
            assert one.read(pages * SIZE) == other.read(pages * SIZE)


def test_what_a_killed_run_left_is_swept(world):
    path = world / "data" / "a.edb"
    left = world / "data" / ".a.edb-k1lled00.repair"
    left.mkdir()
    (left / "trial.edb").write_bytes(b"half")
    os.utime(left, (1, 1))
    spoil(path, used_pages(path)[-3], random.Random(2))
    repair.repair(path, world / "set")
    assert not left.exists()


def test_in_use_and_dirty_are_refused(world):
    path = world / "data" / "a.edb"
    inst = pyjet.Instance(world / "data", log_file_size=64 << 10)
    ses = inst.session()
    ses.attach(path)
    with pytest.raises((pyjet.FileAccessDeniedError, pyjet.DatabaseDirtyShutdownError)):
        repair.repair(path, world / "set")
    ses.create(world / "data" / "b.edb")
    (world / "c.edb").write_bytes((world / "data" / "b.edb").read_bytes())  # as a crash leaves it
    inst.close()
    with pytest.raises(pyjet.DatabaseDirtyShutdownError):
        repair.repair(world / "c.edb", world / "set")


def test_one_flipped_bit_heals(world, caplog):
    """Corrected when it is read, told by event 474 with the page's number, and written back."""
    path = world / "data" / "a.edb"
    before = path.read_bytes()
    pgno = next(n for n in reversed(used_pages(path)) if before[(n + 1) * SIZE + 36] & 2 and not before[(n + 1) * SIZE + 36] & 0x20)
    with open(path, "r+b") as f:
        f.seek((pgno + 1) * SIZE + 2000)
        byte = f.read(1)[0]
        f.seek((pgno + 1) * SIZE + 2000)
        f.write(bytes([byte ^ 16]))
    assert _jet.check_file(str(path))["findings"] == 1
    with (
        caplog.at_level(logging.WARNING, "pyjet.events"),
        pyjet.Instance(world / "data", log_file_size=64 << 10) as inst,
        inst.session() as ses,
    ):
        assert len(list(ses.attach(path).tables["t"].rows())) == 600
    told = [r for r in caplog.records if getattr(r, "event_id", 0) == 474]
    assert told and str(pgno) in told[0].params and told[0].levelno == logging.WARNING
    assert _jet.check_file(str(path))["findings"] == 0
    at = (pgno + 1) * SIZE
    assert path.read_bytes()[at : at + SIZE] == before[at : at + SIZE]
