"""Damaged pages: what is read of a file that a disk has changed is an error or the truth, never anything else.

    python tests/crash/flips.py --cases 1000 --seed 1

A case takes a sound database and damages one page: bytes changed, one bit flipped, a sector or the whole page zeroed, a
sector of another page, or another page, in its place. Then everything is read: tables, indexes, long values.
"""

import argparse
import collections
import pathlib
import random
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import bank  # noqa: E402
import cjet  # noqa: E402
from child import Child, ChildFailed, run  # noqa: E402
from cjet import JetError  # noqa: E402

PAGE, STEPS, CHUNK = 4096, 60, 100
KINDS = ("bytes", "bit", "zero sector", "zero page", "other sector", "other page")


def make(report, data, seed):
    """A bank after some work, shut down clean; what it holds."""
    path = pathlib.Path(data) / "bank.edb"
    with cjet.Instance(data, log_kib=64) as inst, inst.session() as ses:
        dbid = ses.create(path)
        bank.create(ses, dbid, 1)
        worker = bank.Worker(ses, dbid, 0, 0, random.Random(seed), lambda line: None, {})
        for _ in range(STEPS):
            worker.step()
        return bank.read_state(ses, dbid)


def damage(image, rng):
    """Damages one page that is not all zero; returns (kind, page number as the file counts)."""
    pages = [p for p in range(2, len(image) // PAGE) if any(image[p * PAGE : p * PAGE + PAGE])]
    at, kind = rng.choice(pages) * PAGE, rng.choice(KINDS)
    sector = at + rng.randrange(PAGE // 512) * 512
    if kind == "bytes":
        for _ in range(rng.randint(2, 20)):
            image[at + rng.randrange(PAGE)] ^= rng.randint(1, 255)
    elif kind == "bit":
        image[at + rng.randrange(PAGE)] ^= 1 << rng.randrange(8)
    elif kind == "zero sector":
        image[sector : sector + 512] = bytes(512)
    elif kind == "zero page":
        image[at : at + PAGE] = bytes(PAGE)
    elif kind == "other sector":
        other = rng.choice(pages) * PAGE + sector - at
        image[sector : sector + 512] = image[other : other + 512]
    else:
        other = rng.choice(pages) * PAGE
        image[at : at + PAGE] = image[other : other + PAGE]
    return kind, at // PAGE - 1


def look(path):
    with cjet.Reader(path) as reader:
        return bank.read_state(reader, reader.dbid)


def some(report, place, state, seed, first, count):
    """In the child: `count` cases. {kind: {outcome: times}}"""
    place, state = pathlib.Path(place), bank.from_json(state)
    sound, totals = (place / "data" / "bank.edb").read_bytes(), collections.Counter()
    for number in range(first, first + count):
        report(["AT", number])
        image = bytearray(sound)
        kind, page = damage(image, random.Random(f"{seed}/{number}"))
        path = place / "damaged.edb"
        path.write_bytes(image)
        try:
            got = look(path)
        except JetError as e:
            totals[f"{kind}: {e.name}"] += 1
            continue
        assert got == state, f"case {number}: {kind} of page {page} gave other rows and no error"
        totals[f"{kind}: {'corrected or out of use' if image != sound else 'no change'}"] += 1
    return totals


def play(place, cases, seed):
    """{kind: outcome: count}; raises AssertionError with the number of the case."""
    place = pathlib.Path(place)
    (place / "data").mkdir(parents=True)
    state, totals = run(make, str(place / "data"), seed), collections.Counter()
    for first in range(0, cases, CHUNK):
        child = Child(some, str(place), state, seed, first, min(CHUNK, cases - first))
        try:
            totals.update(child.join(60))
        except ChildFailed as e:
            raise AssertionError(f"seed {seed}, case {child.lines[-1][1]}: {e}") from e
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    args = parser.parse_args()
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="flips-", dir=memory if memory.is_dir() else None) as place:
        totals = play(pathlib.Path(place) / "w", args.cases, args.seed)
    for name, value in sorted(totals.items()):
        print(f"{name:60} {value}")
    print(f"{args.cases} damaged pages, seed {args.seed}: an error or the truth")


if __name__ == "__main__":
    main()
