"""Fault walk over the interpreter's allocations: allocation n of a scenario fails, for n = 0, 1, 2 ... until it runs untouched.

    python tests/crash/pywalk.py --seed 1
    python tests/crash/pywalk.py --only insert --first 212 --count 1       one point again
    python tests/crash/pywalk.py --every 20                                a slice

The allocator of all three domains is replaced (tests/c/pyalloc.c), so that every call of the C API that needs memory fails once,
those of the extension, of pyjet's Python and of the interpreter beneath them. Judged at each point: no crash; MemoryError (the
engine's out-of-memory is one) or a right result, no other exception; nothing left behind when the point is repeated: no allocation where
the extension asked for the memory, no object of pyjet's anywhere; the same instance works on; what was committed is there, also after a
restart. What is CPython's own is counted, not judged:

- probed on plain Python before the walk: the arguments of a call that it keeps for good when it cannot make a cell, the items when it
  cannot make a tuple shorter (KEEPERS; which of them a point met is told by their symbols on the stack); and that it dies without a
  tuple for a dict's iterator: such a point is spared;
- by its text: three exceptions that it makes of a MemoryError (MASKS);
- by the stack alone: what it leaves behind where Python code, not the extension, asked for the memory. Objects of pyjet's are none of it.
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

MASKS = {  # what CPython makes of its own MemoryError, by its text; of an exception of any other kind or text it is not believed
    "SystemError": re.compile("error return without exception set|<function .* returned NULL without setting an exception"),  # lost by a frame
    "TypeError": re.compile(f".*{FSPATH}.*|.*should be string, bytes, os.PathLike.* not PosixPath"),  # by a look for __fspath__
    "RuntimeError": re.compile("can't allocate (read )?lock"),
}
REPEATS = 4  # of a point that seems to leak: caches fill once, leaks every time
AGAIN = 20  # where it still seems to, beside as many untouched runs: some caches fill slowly, without faults too
pyalloc = None
unraisable = []


def one_point(scenario, after):
    """(allocations failed, asked for by the extension?, within which of KEEPERS, was one spared?, exception's name or None)."""
    scenario.ready()
    result = exception = None
    pyalloc.fail(after, 1)
    try:
        result = scenario.act()
    except BaseException as e:  # not only Exception: a SystemError or an exit is what is looked for
        exception = e
    _, failed, inside, within, spared = pyalloc.stop()
    name = None if exception is None else type(exception).__name__
    masked = name in MASKS and MASKS[name].fullmatch(str(exception)) is not None
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
    return failed, inside, within, spared, name


def blocks():
    gc.collect()
    sys._clear_type_cache()  # its 4096 places fill with names that a call of C has made for one look
    return pyalloc.blocks()


def objects():
    """Living objects of pyjet's, but for classes and what is made once."""
    return sum(type(o).__module__.partition(".")[0] == "pyjet" for o in gc.get_objects())


class Kept:
    """An argument, an item."""


def takes(argument):
    return lambda: argument  # a cell


KEEPERS = {  # functions of CPython (tests/c/pyalloc.c finds them on the stack) that may keep what they had in hand, and plain Python that runs each
    "PyCell_New": lambda: takes(Kept()),  # keeps the arguments of the call
    "_PyTuple_Resize": lambda: tuple(Kept() for _ in range(3)),  # the items
}


def kept_objects():
    gc.collect()
    return sum(type(o) is Kept for o in gc.get_objects())


def interpreter_keeps(function):
    """Whether this CPython leaves objects behind when this function gets no memory."""
    met = keeps = False
    for after in range(16):  # one of these is the function's
        before = kept_objects()
        with contextlib.suppress(MemoryError):
            pyalloc.fail(after, 1)
            KEEPERS[function]()
        met_now = pyalloc.stop()[3] == function
        met |= met_now
        keeps |= met_now and kept_objects() > before
    assert met, f"{function} asked for no memory"
    return keeps


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
    gc.freeze()  # what is here already is not looked at again and again
    pyalloc = python_module("pyalloc")
    logging.raiseExceptions = False
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda u: unraisable.append(u.exc_type.__name__)
    pyalloc.install()
    place = pathlib.Path(place)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    pyalloc.spare(interpreter_dies_without_a_tuple())
    keepers = {function for function in KEEPERS if interpreter_keeps(function)}
    scenario = SCENARIOS[name](place)
    for _ in range(3):
        one_point(scenario, 1 << 60)  # fills the caches
    totals, points, after = collections.Counter(), 0, first
    while most is None or points < most:
        report(["AT", after])
        before, ours = blocks(), objects()
        failed, inside, within, spared, error = one_point(scenario, after)
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
        if grown[-1] > 0 and inside and within not in keepers:
            more = more_than_untouched(scenario, after)
            assert more < AGAIN // 2, f"{AGAIN} times this point leave {more} allocations behind, beyond those of {AGAIN} untouched runs ({grown})"
        assert min(kept) <= 0 or within in keepers, f"the same point again and again leaves objects behind each time: {kept}"
        totals["objects kept by a cell or tuple that was not made"] += min(kept) > 0
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
