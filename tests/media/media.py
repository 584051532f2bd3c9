"""Bad media: every class of page and of log segment is damaged in every way, and nobody may be told anything wrong.

    python -m tests.media.media --cases 1200 --seed 1 --table docs/media.rst

Each case is a copy of a prepared file in memory with one block changed. Of a page: ``pyjet check`` must tell it with the page's
number; a reader, and an instance that attaches it for writing, must see the right rows or an error that names a damaged page; a
backup must refuse with the page's number, or the set must restore to the right rows. Of a log segment: recovery must give all
that was committed, or an error; or, in the newest generation only, all up to a moment (where a torn write looks the same).
Anything else is printed with what makes it again, kept out of the table, and makes the exit code 1.
"""

import argparse
import collections
import concurrent.futures
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import damage  # noqa: E402
import report  # noqa: E402
import world  # noqa: E402
import pyjet  # noqa: E402

SEGMENT = 4096
Case = collections.namedtuple("Case", "kind cls way pgno name offset block outcome faults")


class Run:
    """What one sitting needs: the prepared files, one instance, the truth."""

    def __init__(self, place, page_size, seed):
        self.place, self.page_size, self.rng = place, page_size, random.Random(seed)
        world.make(place, page_size)
        self.clean = (place / "clean" / "a.edb").read_bytes()
        self.classes = damage.classes(self.clean, page_size)
        with pyjet.open(place / "clean" / "a.edb") as database:
            self.truth = world.contents(database)
        shutil.copytree(place / "dirty", place / "whole")
        self.committed = world.committed(place / "whole")
        self.logs = sorted(p for p in (place / "dirty").iterdir() if p.suffix == ".log" and "tmp" not in p.name)
        self.inst = pyjet.Instance(place / "run", log_file_size=1 << 20, circular_log=True, params={"BackupReadRetries": 0})

    # ---- pages ----
    def offset(self, pgno):
        return (pgno + 1) * self.page_size

    def page_case(self, cls, way, change):
        pgno = self.rng.choice(self.classes[cls])
        others = [self.offset(p) for p in range(-1, len(self.clean) // self.page_size - 2) if p != pgno and any(self.clean[self.offset(p) : self.offset(p) + 64])]
        at = self.offset(pgno)
        block = change(self.rng, self.clean, at, self.page_size, others)
        if block == self.clean[at : at + self.page_size]:
            return None
        path = self.place / "case.edb"
        path.write_bytes(self.clean[:at] + block + self.clean[at + self.page_size :])
        told = world.check(path)
        reader = world.read(path, self.truth)
        attached, backup, events = world.attach_and_back_up(self.inst, path, self.place / "set", self.truth)
        outcome, faults = self.judge_page(pgno, told, reader, attached, backup, events, path, not any(block))
        return Case("page", cls, way, pgno, "a.edb", at, block, outcome, faults)

    def judge_page(self, pgno, told, reader, attached, backup, events, path, blank):
        """What was seen of the case, as a set of words; and what must not be."""
        seen, faults = set(), []
        if told:
            seen.add("checked")
            if pgno > 0 and not any(p == pgno or f"page {pgno}" in text for p, text in told):
                faults.append(f"check tells other pages only: {told[:3]}")
        elif blank and reader == attached == "right" and pgno in self.classes["empty"]:
            seen.add("harmless")
        else:
            faults.append("check tells nothing")
        if any("can be corrected" in text for _, text in told):
            seen.add("corrected")
        for who, saw in (("a reader", reader), ("an instance", attached)):
            if saw == "wrong":
                faults.append(f"{who} was given wrong rows")
            elif saw != "right":
                seen.add("refused")
                if not world.names_page(saw, pgno):
                    faults.append(f"{who}: {saw}")
        if any(p == pgno for _, p in events):
            seen.add("reported")
        if backup == "right":
            restored = world.read_set(self.place / "set", self.truth)
            if restored == "right":
                seen.add("backed up")
            else:
                faults.append(f"the set: {restored}")
        elif backup is not None:
            seen.add("backup refused")
            if not world.names_page(backup, pgno):
                faults.append(f"backup: {backup}")
        if isinstance(attached, str) and backup == "right" and not world.check(path):
            seen.add("healed")
        return seen, faults

    # ---- logs ----
    def log_case(self, cls, way, change):
        path, segment = self.pick_segment(cls)
        data = path.read_bytes()
        at = segment * SEGMENT
        others = [o for o in range(0, len(data), SEGMENT) if o != at and any(data[o : o + SEGMENT])]
        block = change(self.rng, data, at, SEGMENT, others)
        if block == data[at : at + SEGMENT]:
            return None
        folder = self.place / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place / "dirty", folder)
        (folder / path.name).write_bytes(data[:at] + block + data[at + SEGMENT :])
        got = world.recover(folder, self.committed)
        newest = path.name == "edb.log"
        faults = []
        if got == "right":
            outcome = {"recovered"}
        elif got == "wrong":
            outcome, faults = set(), ["recovery gave something wrong"]
        elif isinstance(got, tuple):
            outcome = {"shorter"}
            if not newest:
                faults.append(f"recovery ended early in a closed log: {got[1]} of {len(self.committed)} rows")
        else:
            outcome = {"refused"}
        return Case("log", cls, way, segment, path.name, at, block, outcome, faults)

    def pick_segment(self, cls):
        closed = [p for p in self.logs if p.name != "edb.log"]
        path = self.rng.choice(closed) if cls.startswith("closed") else self.place / "dirty" / "edb.log"
        data = path.read_bytes()
        used = [n for n in range(1, len(data) // SEGMENT) if any(data[n * SEGMENT : (n + 1) * SEGMENT])]
        where = cls.split(": ")[1]
        if where == "header":
            return path, 0
        if where == "last data":
            return path, used[-1]
        if where == "behind the end":
            return path, self.rng.choice(range(used[-1] + 1, len(data) // SEGMENT))
        return path, self.rng.choice(used[:-1])


LOG_CLASSES = ("closed: header", "closed: data", "closed: last data", "newest: header", "newest: data", "newest: last data", "newest: behind the end")


def plan(run, cases, kinds):
    """Every class with every way in turn, until there are enough."""
    while True:
        for cls in (*run.classes, *LOG_CLASSES):
            for way, change in kinds.items():
                if cases <= 0:
                    return
                one = (run.log_case if cls in LOG_CLASSES else run.page_case)(cls, way, change)
                if one is not None:
                    cases -= 1
                    yield one


def sitting(cases, seed, page_size, keep=None, blind=None, show=print):
    """([Case] of the promise, [Case] of the blind spots, [those that broke it])."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="pyjet-media-", dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None))
    try:
        run = Run(place, page_size, seed)
        done, bad = [], []
        for one in plan(run, cases, damage.WAYS):
            done.append(one)
            if one.faults:
                bad.append(one)
                show(f"{one.name} {one.cls}, {one.way}, page or segment {one.pgno}: {'; '.join(one.faults)}")
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{seed}-{len(done)}-{one.name}-{one.offset}").write_bytes(one.block)
        spots = list(plan(run, cases // 12 if blind is None else blind, damage.BLIND))
        run.inst.close()
        return done, spots, bad
    finally:
        shutil.rmtree(place, ignore_errors=True)


def sittings(cases, seed, page_size, keep, jobs):
    """The same in several processes. Seeds are seed, seed + 1, ..."""
    share = [(cases + i) // jobs for i in range(jobs)]
    done, spots, bad = [], [], []
    with concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(sitting, n, seed + i, page_size, keep) for i, n in enumerate(share)]
        for one in runs:
            for all_of, some in zip((done, spots, bad), one.result()):
                all_of += some
    return done, spots, bad


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", type=int, default=1200)
    p.add_argument("--seed", type=int, default=None, help="default: by chance; it is printed")
    p.add_argument("--page-size", type=int, default=4096, choices=(4096, 8192, 16384, 32768))
    p.add_argument("--table", type=pathlib.Path, help="write the table here")
    p.add_argument("--keep", type=pathlib.Path, help="keep the blocks of failing cases here")
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    o = p.parse_args(argv)
    seed = random.SystemRandom().randrange(1 << 32) if o.seed is None else o.seed
    began = time.monotonic()
    done, spots, bad = sittings(o.cases, seed, o.page_size, o.keep, o.jobs)
    print(f"{len(done)} media cases, seed {seed}, pages of {o.page_size}, {time.monotonic() - began:.0f} s: {len(bad)} failed; {len(spots)} in known blind spots")
    if o.table and not bad:
        o.table.write_text(report.table(done, spots, seed, o.page_size, damage.WAYS, o.jobs))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
