"""The engine against its twin, for as long as wanted: ``python -m tests.model.run --examples 400 --steps 80 --seed 1``.

Prints how many histories and steps were tried, and the seed that makes the same ones again; a history that fails is printed as calls
of the machine's rules, as short as hypothesis could make it.
"""

import argparse
import collections
import pathlib
import random
import sys

import hypothesis

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import test_model  # noqa: E402
from child import ChildFailed, run  # noqa: E402


def counted(machine):
    """The machine, and a Counter of its histories and steps."""
    counts = collections.Counter()

    class Counted(machine):
        def __init__(self):
            super().__init__()
            counts["histories"] += 1

        @hypothesis.stateful.invariant()
        def counts(self):
            counts["steps"] += 1

    return Counted, counts


def sitting(report, examples, steps, seed, machine=test_model.Engine):
    """In a child: {"histories": n, "steps": n}."""
    Machine, counts = counted(machine)
    test_model.play(report, examples, steps, hypothesis.seed(seed)(Machine))
    return counts


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--examples", type=int, default=400)
    p.add_argument("--steps", type=int, default=80, help="of one history, at most (80)")
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    o = p.parse_args(argv)
    try:
        counts = run(sitting, o.examples, o.steps, o.seed, timeout=60 + o.examples * o.steps)
    except ChildFailed as e:
        print(e)
        print(f"FAILED: seed {o.seed}")
        return 1
    print(f"{counts['histories']} histories, {counts['steps']} steps, seed {o.seed}: the engine and its twin agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
