"""Fault walk over the interpreter's allocations: allocation n of a scenario fails, for n = 0, 1, 2 ... until it runs untouched.

    python tests/crash/pywalk.py --seed 1
    python tests/crash/pywalk.py --only insert --first 212 --count 1       one point again
    python tests/crash/pywalk.py --every 20                                a slice

The allocator of all three domains is replaced (tests/c/pyalloc.c), so that every call of the C API that needs memory fails once,
those of the extension, of pyjet's Python and of the interpreter beneath them. Judged at each point: no crash; MemoryError (the
engine's out-of-memory is one) or a right result, no other exception and no SystemError; nothing left behind when the point is
repeated: no allocation where the extension asked for the memory, no object of pyjet's anywhere (CPython leaks some blocks of its own
when it cannot make a frame or a type, and the arguments of a call when it cannot make a cell: seen beforehand on a function of plain Python,
counted, not judged); the same instance works on; what was committed is there, also after a restart. Where CPython itself would die, seen
beforehand likewise, the point is spared, and counted.
"""

import collections
import contextlib
import faulthandler
import gc
import logging
import pathlib
import os
import random
import re
import resource
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import memory  # noqa: E402
import pyjet  # noqa: E402
import walks  # noqa: E402
from building import python_module  # noqa: E402
from child import Child, ChildFailed  # noqa: E402
from pyscenes import FSPATH, SCENARIOS  # noqa: E402

LOST = re.compile("error return without exception set|<function .* returned NULL without setting an exception")  # by a frame of Python's
REPEATS = 4  # of a point that seems to leak: caches fill once, leaks every time
AGAIN = 20  # where it still seems to, beside as many untouched runs: some caches fill slowly, without faults too
pyalloc = None
unraisable = []


def one_point(scenario, after):
    """(allocations failed, asked for by the extension?, for a cell?, was one spared?, exception's name or None)."""
    scenario.ready()
    result = exception = None
    pyalloc.fail(after, 1)
    try:
        result = scenario.act()
    except BaseException as e:  # not only Exception: a SystemError or an exit is what is looked for
        exception = e
    _, failed, inside, for_cell, for_type, spared = pyalloc.stop()
    inside &= not for_type  # asked for, but what stays behind is CPython's
    name = None if exception is None else type(exception).__name__
    lost = isinstance(exception, SystemError) and LOST.fullmatch(str(exception)) is not None
    masked = lost or not inside and not isinstance(exception, (pyjet.errors.JetError, SystemError))
    masked |= isinstance(exception, TypeError) and FSPATH in str(exception)
    assert exception is None or isinstance(exception, MemoryError) or masked, f"{name}: {exception!r} ({exception.__context__!r})"
    assert exception is None or failed, f"no fault, and yet {exception!r}"
    cause = exception
    while cause is not None:  # frames hold what was under way
        cause.__traceback__, cause = None, cause.__context__
    scenario.judge(result, exception)
    scenario.tidy()
    bad = [u for u in unraisable if u != "MemoryError"]
    unraisable.clear()
    assert not bad, f"raised where nobody can hear it: {bad}"
    return failed, inside, for_cell, spared, name


def blocks():
    gc.collect()
    return pyalloc.blocks()


def objects():
    """Living objects of pyjet's, but for classes and what is made once."""
    return sum(type(o).__module__.partition(".")[0] == "pyjet" for o in gc.get_objects())


class Kept:
    """An argument."""


def takes(argument):
    return lambda: argument  # a cell


def interpreter_leaks_without_a_cell():
    """CPython 3.11 keeps the arguments of a call for good when it has no memory for the call's cells: does this one?"""
    left, found = 0, False
    for after in range(8):  # one of these is the cell's
        before = sum(type(o) is Kept for o in gc.get_objects())
        with contextlib.suppress(MemoryError):
            pyalloc.fail(after, 1)
            takes(Kept())
        for_cell = pyalloc.stop()[3]
        gc.collect()
        found |= for_cell
        left += for_cell and sum(type(o) is Kept for o in gc.get_objects()) > before
    assert found, "no cell was made"
    return left > 0


def interpreter_dies_without_a_tuple():
    """CPython 3.11 dies when a dict's iterator gets no memory for the tuple that it keeps: does this one?"""
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        items, held = {1: 1}.items(), [(n, n) for n in range(5000)]  # none of CPython's spare tuples is left
        for after in range(8):
            try:
                pyalloc.fail(after, 1)
                held.append((after, items))  # with the tuple that fail() has left
                iter(items)
            except MemoryError:
                pass
            pyalloc.stop()
        os._exit(len(held) == 0)
    return os.waitpid(pid, 0)[1] != 0


def more_than_untouched(scenario, after):
    """Allocations that so many runs of a point leave behind, less those of untouched runs before or after them."""

    def left(at):
        before = blocks()
        for _ in range(AGAIN):
            one_point(scenario, at)
        return blocks() - before

    untouched, faulty = left(1 << 60), left(after)
    return faulty - max(untouched, left(1 << 60))


def walk(report, place, name, first, every, most):
    """In a child: the points of a scenario. {"points", "totals"}"""
    global pyalloc
    faulthandler.enable()
    pyalloc = python_module("pyalloc")
    logging.raiseExceptions = False
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda u: unraisable.append(u.exc_type.__name__)
    pyalloc.install()
    place = pathlib.Path(place)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    pyalloc.spare(interpreter_dies_without_a_tuple())
    cells_leak = interpreter_leaks_without_a_cell()
    scenario = SCENARIOS[name](place)
    for _ in range(3):
        one_point(scenario, 1 << 60)  # fills the caches
    totals, points, after = collections.Counter(), 0, first
    while most is None or points < most:
        report(["AT", after])
        before, ours = blocks(), objects()
        failed, inside, for_cell, spared, error = one_point(scenario, after)
        if spared:
            totals["spared: CPython itself would die"] += 1
            after += every
            continue
        if failed == 0:
            break
        points += 1
        totals[f"error {error or 'unnoticed'}"] += 1
        totals["asked for by the extension"] += inside
        grown, kept = [], []
        for _ in range(REPEATS):
            now, still = blocks(), objects()
            grown.append(now - before)
            kept.append(still - ours)
            if grown[-1] <= 0:
                break
            before, ours = now, still
            totals["points tried again for leaks"] += 1
            one_point(scenario, after)
        if grown[-1] > 0 and inside:
            more = more_than_untouched(scenario, after)
            assert more < AGAIN // 2, f"{AGAIN} times this point leave {more} allocations behind, beyond those of {AGAIN} untouched runs ({grown})"
        assert min(kept) <= 0 or for_cell and cells_leak, f"the same point again and again leaves objects behind each time: {kept}"
        totals["objects that a frame without its cell has kept"] += min(kept) > 0
        totals["leaks of the interpreter's own"] += grown[-1] > 0
        after += every
    scenario.end()
    return {"points": points, "totals": totals}


def play(place, seed, names=SCENARIOS, first=0, every=1, most=None, jobs=1, say=lambda text: None):
    """{"points": n, ...}; AssertionError with all that failed."""
    rng, totals, failed, running, waiting = random.Random(seed), collections.Counter(), [], [], list(names)
    python_module("pyalloc")  # built once, before the children
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            start = first + (rng.randrange(every) if every > 1 else 0)
            running.append((name, Child(walk, str(place / name), name, start, every, most)))
        name, child = running.pop(0)
        try:
            found = child.join(7200)
        except ChildFailed as e:
            at = child.lines[-1][1] if child.lines else None
            failed.append(f"{name}, allocation {at}, seed {seed}:\n{e}")
            say(f"FAILED {failed[-1]}")
            continue
        totals["points"] += found["points"]
        totals[f"scenario {name}"] += found["points"]
        totals.update(found["totals"])
        say(f"{name:10} {found['points']:6} points")
    assert not failed, f"{len(failed)} walks failed; the first: {failed[0]}"
    return totals


def main():
    args = walks.parser(__doc__, "allocation").parse_args()
    place = memory.folder("pywalk-")
    names = [n for n in SCENARIOS if args.only is None or args.only in n]
    print(f"seed {args.seed}, {len(names)} scenarios, in {place}", flush=True)
    try:
        totals = play(place, args.seed, names, args.first, args.every, args.count, args.jobs, say=lambda text: print(text, flush=True))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    walks.show(totals)
    if args.log:
        walks.note(args.seed, len(names), 1, totals["points"])
    print(f"{totals['points']} allocations failed, seed {args.seed}: no crash, nothing lost, nothing left behind")


if __name__ == "__main__":
    main()
