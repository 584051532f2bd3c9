"""Damaged pages: what is read of a file that a disk has changed is an error or the truth, never anything else.

    python tests/crash/flips.py --cases 1000 --seed 1

A case takes a sound database and damages one page in one of the ways of tests/media. Then everything is read: tables, indexes,
long values. It goes through the C API (PYJET_LIBRARY may name a broken engine), for thousands of pages in a minute; which class of
page and of log is told by whom is what tests/media says.
"""

import argparse
import collections
import pathlib
import random
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "media")]
import bank  # noqa: E402
import cjet  # noqa: E402
import memory  # noqa: E402
from child import Child, ChildFailed, run  # noqa: E402
from cjet import JetError  # noqa: E402
from damage import WAYS  # noqa: E402

PAGE, STEPS, CHUNK = 4096, 60, 100


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
    """Damages one page that is not all zero; returns (way, page number as the file counts)."""
    pages = [p * PAGE for p in range(2, len(image) // PAGE) if any(image[p * PAGE : p * PAGE + PAGE])]
    at, way = rng.choice(pages), rng.choice(list(WAYS))
    image[at : at + PAGE] = WAYS[way](rng, bytes(image), at, PAGE, [p for p in pages if p != at])
    return way, at // PAGE - 1


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
    with tempfile.TemporaryDirectory(prefix="flips-", dir=memory.PLACE) as place:
        totals = play(pathlib.Path(place) / "w", args.cases, args.seed)
    for name, value in sorted(totals.items()):
        print(f"{name:60} {value}")
    print(f"{args.cases} damaged pages, seed {args.seed}: an error or the truth")


if __name__ == "__main__":
    main()
