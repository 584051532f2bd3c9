"""What a power cut may leave, over traces made by hand; each set of outcomes is exact where it is small."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from trace import Op, Record  # noqa: E402

import replay  # noqa: E402

A, B, C = b"a" * 512, b"b" * 512, b"c" * 512
ZERO = bytes(512)


class Maker:
    """Writes a trace by hand: numbers and tokens come by themselves."""

    def __init__(self):
        self.records = []
        self.add(Op.START, "/db", length=1)

    def add(self, op, path, offset=0, length=0, data=b"", result=0):
        self.records.append(Record(len(self.records) + 1, op, path, offset, length, data, result))
        return self

    def create(self, path):
        return self.add(Op.CREATE, path)

    def write(self, path, offset, data):
        return self.add(Op.WRITE, path, offset, len(data), data)

    def size(self, path, size):
        return self.add(Op.SIZE, path, size)

    def rename(self, path, target):
        return self.add(Op.RENAME, path, data=target.encode())

    def unlink(self, path):
        return self.add(Op.UNLINK, path)

    def mark(self, text):
        return self.add(Op.MARK, ".", data=text.encode())

    def sync(self, path, result=0):
        token = len(self.records) + 1
        return self.add(Op.SYNC_BEGIN, path).add(Op.SYNC_END, path, token, result=result)

    def dirsync(self, path="."):
        token = len(self.records) + 1
        return self.add(Op.DIRSYNC_BEGIN, path).add(Op.DIRSYNC_END, path, token)

    def at_end(self, n=400, base=None):
        """States whose cut is after the last record."""
        return list(replay.states(self.records, 5, n, base, first=len(self.records)))

    def outcomes(self, path="f", n=400, base=None):
        return {state.files.get(path) for state in self.at_end(n, base)}


def durable_file():
    return Maker().create("f").write("f", 0, A + B).sync("f").dirsync()


def test_what_is_synced_stays():
    assert durable_file().outcomes() == {A + B}


def test_a_write_is_kept_dropped_or_torn_by_sector():
    assert durable_file().write("f", 0, C + C).outcomes() == {A + B, C + B, A + C, C + C}


def test_sectors_are_those_of_the_file_not_of_the_write():
    got = durable_file().write("f", 256, b"x" * 512).outcomes()
    assert got == {
        A + B,
        A[:256] + b"x" * 256 + B,
        A + b"x" * 256 + B[256:],
        A[:256] + b"x" * 512 + B[256:],
    }


def test_sectors_of_a_long_write_are_lost_in_every_style():
    """Of 40: all but one (any one), one alone, the first ones, the last ones, and any half."""
    new = b"".join(bytes([i + 1]) * 512 for i in range(40))
    states = durable_file().size("f", len(new)).sync("f").write("f", 0, new).at_end(3000)
    kept = [[s.files["f"][i * 512 :][:512] == new[i * 512 :][:512] for i in range(40)] for s in states]
    assert {row.index(False) for row in kept if row.count(False) == 1} == set(range(40))
    assert len({row.index(True) for row in kept if row.count(True) == 1}) > 15
    assert len({row.count(True) for row in kept if sorted(row)[::-1] == row}) > 15  # the first ones
    assert len({row.count(True) for row in kept if sorted(row) == row}) > 15
    assert sum(12 < row.count(True) < 28 and len({*zip(row, row[1:])}) == 4 for row in kept) > 50


def test_writes_are_independent_of_their_order():
    got = durable_file().write("f", 0, C).write("f", 512, C).outcomes()
    assert got == {A + B, C + B, A + C, C + C}


def test_a_later_write_over_an_earlier_one():
    got = durable_file().write("f", 0, B).write("f", 0, C).outcomes()
    assert got == {A + B, B + B, C + B}


def test_the_size_may_be_longer_than_the_data():
    got = durable_file().write("f", 1024, C + C).outcomes()
    assert got == {A + B, *(A + B + x + y for x in (ZERO, C) for y in (ZERO, C))}


def test_sizes_go_by_their_history():
    got = durable_file().size("f", 512).size("f", 1024).outcomes()
    assert got == {A + B, A, A + ZERO}


def test_data_past_a_size_that_was_not_reached_is_not_seen():
    sizes = {len(x) for x in durable_file().size("f", 100).write("f", 512, C).outcomes()}
    assert sizes == {1024, 100}  # the write ends where the old size ended


def test_zeros_are_written_like_data():
    maker = durable_file().add(Op.ZERO, "f", 512, 512)
    assert maker.outcomes() == {A + B, A + ZERO}


def test_a_sync_covers_what_stands_before_its_begin_only():
    maker = Maker().create("f").dirsync().write("f", 0, A)
    maker.add(Op.SYNC_BEGIN, "f").write("f", 0, B)
    token = len(maker.records) - 1
    maker.add(Op.SYNC_END, "f", token)
    assert maker.outcomes() == {A, B}


def test_a_sync_that_did_not_end_promises_nothing():
    maker = Maker().create("f").dirsync().write("f", 0, A).add(Op.SYNC_BEGIN, "f")
    assert maker.outcomes() == {b"", ZERO, A}


def test_after_a_failed_sync_a_second_one_does_not_promise_the_same_data():
    maker = (
        Maker()
        .create("f")
        .dirsync()
        .write("f", 0, A)
        .sync("f", result=5)
        .write("f", 512, B)
        .sync("f")
    )
    assert maker.outcomes() == {A + B, ZERO + B}
    # What is written again is promised, and what was doubtful does not come back over it.
    assert maker.write("f", 0, C).sync("f").outcomes() == {C + B}


def test_a_sync_of_one_file_says_nothing_of_another():
    maker = durable_file().create("g").dirsync().write("g", 0, C).sync("f")
    assert maker.outcomes("g") == {b"", ZERO, C}


def test_a_new_name_needs_its_folder_synced():
    maker = Maker().create("f").write("f", 0, A).sync("f")
    assert maker.outcomes() == {None, A}
    assert maker.dirsync().outcomes() == {A}


def test_an_unlink_may_not_have_happened():
    maker = durable_file().unlink("f")
    assert maker.outcomes() == {A + B, None}
    assert maker.dirsync().outcomes() == {None}


def test_a_rename_is_atomic_and_replaces():
    maker = durable_file().create("t").write("t", 0, C).sync("t").dirsync().rename("t", "f")
    got = {(s.files.get("t"), s.files["f"]) for s in maker.at_end()}
    assert got == {(C, A + B), (None, C)}


def test_a_write_after_a_rename_and_its_sync_follow_the_file():
    maker = Maker().create("t").dirsync().write("t", 0, A).rename("t", "f").sync("f")
    got = {(s.files.get("t"), s.files.get("f")) for s in maker.at_end()}
    assert got == {(A, None), (None, A)}


def test_names_keep_their_own_order_only():
    maker = Maker().create("f").create("g").rename("f", "h")
    got = {frozenset(s.files) for s in maker.at_end()}
    assert got == {frozenset(x) for x in ("", "f", "g", "fg", "h", "gh")}


def test_a_dropped_rename_takes_what_came_later_to_its_names():
    maker = durable_file().rename("f", "g").create("f").write("f", 0, C).sync("f")
    got = {(s.files.get("f"), s.files.get("g")) for s in maker.at_end()}
    assert got == {(A + B, None), (None, A + B), (C, A + B)}


def roll():
    """A log roll without a folder sync: (names and bytes of the old file, the next one and the current one) come by what is left of it."""
    maker = Maker().create("f").write("f", 0, A).sync("f").dirsync()
    return maker.create("t").write("t", 0, B).sync("t").rename("f", "o").rename("t", "f")


def named(states):
    return {"".join(f"{name}{s.files[name][:1].decode()} " for name in sorted(s.files)).strip() for s in states}


def test_each_subset_of_names_in_no_order():
    maker = roll()
    left = list(replay.each_naming(maker.records, len(maker.records)))
    assert len(left) == 2 * 2**3
    # nothing; the next file; the first rename, and both; the second one alone, with the old file gone; all
    assert named(left) == {"fa", "fa tb", "oa", "oa tb", "fb", "fb oa"}
    maker.dirsync()
    assert named(replay.each_naming(maker.records, len(maker.records))) == {"fb oa"}


def test_renames_are_undone_at_their_moments():
    """What a folder sync forbids comes when it is left out, also among many other records, and in some states without the order of names."""
    maker = roll()
    for _ in range(100):
        maker.write("f", 0, B).sync("f")
    states = list(replay.states(maker.records, 5, 200))
    asked = [s for s in states if s.files and maker.records[s.cut - 1].op == Op.RENAME or s.cut < len(maker.records) - 190]
    assert len(asked) > 30
    assert named(states) >= {"fa", "oa", "fb", "fb oa"}


def test_all_writes_are_torn_at_once():
    """Two copies that are under way together may both be neither old nor new."""
    maker = Maker()
    for _ in range(100):
        maker.write("f", 2048, C).sync("f")
    maker.write("f", 0, B + B).write("f", 1024, B + B).sync("f")
    halves = {(s.files["f"][:1024], s.files["f"][1024:2048]) for s in replay.states(maker.records, 5, 2000, {"f": A * 4})}
    assert {(A + B, A + B), (B + A, A + B), (A + B, B + A), (B + A, B + A)} <= halves


def test_what_was_synced_alone():
    maker = roll()
    assert named([replay.lost(maker.records, len(maker.records))]) == {"fa"}
    assert named([replay.killed(maker.records, len(maker.records))]) == {"fb oa"}


def test_folders():
    maker = Maker().add(Op.MKDIR, "d").create("d/f").write("d/f", 0, A).sync("d/f").dirsync("d")
    got = {(s.dirs, s.files.get("d/f")) for s in maker.at_end()}
    assert got == {((), None), (("d",), A)}  # its own sync does not make a folder's name last
    assert maker.dirsync(".").outcomes("d/f") == {A}


def test_a_rename_between_folders_lasts_with_the_folder_of_the_new_name():
    maker = Maker().add(Op.MKDIR, "d").dirsync().create("f").dirsync().rename("f", "d/f")
    both = {frozenset(["f"]), frozenset(["d/f"])}
    assert {frozenset(s.files) for s in maker.at_end()} == both
    assert {frozenset(s.files) for s in maker.dirsync("d").at_end()} == {frozenset(["d/f"])}


def test_what_lasts_drags_along_what_was_before_it_on_the_same_name():
    maker = (
        Maker()
        .add(Op.MKDIR, "d")
        .dirsync()
        .create("f")
        .dirsync()
        .rename("f", "d/f")
        .create("f")
        .dirsync(".")
    )
    assert {frozenset(s.files) for s in maker.at_end()} == {frozenset(["f", "d/f"])}


def test_a_base_is_durable_and_its_folders_are_found(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(A)
    (tmp_path / "empty").mkdir()
    maker = Maker().write("d/f", 0, B)
    states = maker.at_end(base=tmp_path)
    assert {s.files["d/f"] for s in states} == {A, B}
    assert {s.dirs for s in states} == {("d", "empty")}
    assert {s.files["d/f"] for s in maker.at_end(base={"d/f": A, "empty": None})} == {A, B}


def test_what_the_base_lacks_is_told():
    with pytest.raises(replay.ReplayError, match="base"):
        Maker().write("f", 0, A).at_end()
    with pytest.raises(replay.ReplayError, match="outside"):
        Maker().rename("/tmp/x", "f").at_end()


def test_cuts_fall_everywhere_and_marks_count_up_to_the_cut():
    maker = Maker().create("f").dirsync()
    for i in range(20):
        maker.write("f", i * 512, A).sync("f").mark(str(i))
    states = list(replay.states(maker.records, 3, 1000))
    assert {s.cut for s in states} == set(range(1, len(maker.records) + 1))
    for s in states:
        assert list(s.marks) == [r.text for r in maker.records[: s.cut] if r.op == Op.MARK]
        assert s.files.get("f", b"").startswith(A * len(s.marks))
        assert str(s).startswith(f"seed 3 state {s.number} cut {s.cut}")


def test_a_state_is_the_same_whatever_else_is_asked():
    maker = durable_file()
    for i in range(30):
        maker.write("f", i % 7 * 512, bytes([i]) * 512)
    many = {s.number: s for s in replay.states(maker.records, "x", 50)}
    few = {s.number: s for s in replay.states(maker.records, "x", 10)}
    assert all(many[i] == few[i] for i in range(10))
    assert [s.files for s in replay.states(maker.records, "y", 10)] != [
        s.files for s in replay.states(maker.records, "x", 10)
    ]


def test_a_second_process_goes_on_in_the_same_trace():
    maker = Maker().create("f").dirsync().write("f", 0, A).add(Op.SYNC_BEGIN, "f")
    again = [
        Record(i + 1, *r)
        for i, r in enumerate(
            [
                (Op.START, "/db", 0, 2, b"", 0),
                (Op.WRITE, "f", 512, 512, B, 0),
                (Op.SYNC_BEGIN, "f", 0, 0, b"", 0),
                (Op.SYNC_END, "f", 3, 0, b"", 0),
            ]
        )
    ]
    maker.records += again
    assert maker.outcomes() == {A + B}  # a kill loses nothing that the kernel has


def test_materialise(tmp_path):
    maker = (
        Maker()
        .add(Op.MKDIR, "d")
        .create("d/f")
        .write("d/f", 0, A)
        .sync("d/f")
        .dirsync("d")
        .dirsync()
    )
    state = maker.at_end(1)[0]
    replay.materialise(state, tmp_path / "x" / "y")
    assert (tmp_path / "x" / "y" / "d" / "f").read_bytes() == A
    with pytest.raises(replay.ReplayError, match="not empty"):
        replay.materialise(state, tmp_path / "x")


def test_materialise_over_what_lies_there(tmp_path):
    """Nothing of it comes through: neither names nor bytes, under a shorter file, a hole, a folder of the same name."""
    maker = durable_file().add(Op.MKDIR, "d").create("d/hole").size("d/hole", 2048).sync("d/hole").dirsync("d").dirsync()
    maker.create("g").dirsync()
    state = maker.at_end(1)[0]
    (tmp_path / "old" / "below").mkdir(parents=True)
    (tmp_path / "old" / "below" / "x").write_bytes(C)
    (tmp_path / "g").mkdir()
    (tmp_path / "d").mkdir()
    for name in ("f", "d/hole", "d/x"):
        (tmp_path / name).write_bytes(C * 9)
    os.link(tmp_path / "f", tmp_path.parent / "second name")
    replay.materialise(state, tmp_path, over=True)
    found = {str(p.relative_to(tmp_path)): p.read_bytes() if p.is_file() else None for p in tmp_path.rglob("*")}
    assert found == {**state.files, "d": None}
    assert found["d/hole"] == bytes(2048)
    assert (tmp_path.parent / "second name").read_bytes() == C * 9


def test_the_same_bytes_are_the_same_state():
    """However they came to be: zeros that were written, skipped or left as a hole."""
    written = durable_file().write("f", 1024, ZERO).sync("f").at_end(1)[0]
    hole = durable_file().size("f", 1536).sync("f").at_end(1)[0]
    zeroed = durable_file().write("f", 1024, C).add(Op.ZERO, "f", 1024, 512).sync("f").at_end(1)[0]
    assert written.files == hole.files == zeroed.files == {"f": A + B + ZERO}
    assert written.digest() == hole.digest() == zeroed.digest()
    assert written.digest() != durable_file().at_end(1)[0].digest()


def test_a_trace_of_the_recorder(tmp_path):
    """From a file, as the crash suite does it."""
    from trace import HEADER, MAGIC

    with open(tmp_path / "t", "wb") as f:
        for r in durable_file().records:
            path = r.path.encode()
            f.write(
                HEADER.pack(
                    MAGIC, r.op, len(path), r.seq, r.offset, r.length, len(r.data), r.result
                )
                + path
                + r.data
            )
    assert any(s.files.get("f") == A + B for s in replay.states(tmp_path / "t", 1, 50))
