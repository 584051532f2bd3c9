"""Simulated power cuts: what a trace of writes and syncs may leave is recovered and held against what was acknowledged.

    python tests/crash/powercut.py --states 2000 --seed 1
    python tests/crash/powercut.py --hours 1             as many as that time allows
    python tests/crash/powercut.py --replay FOLDER       the failing state that an earlier run kept

A round: a workload (works.py) runs once under the os room's recorder; replay.states makes folders out of its trace: what
no completed sync covers is kept, dropped or torn, each write by itself; judge.py recovers each folder and holds what is
there against the marks before the cut. Rounds run in processes of their own, as many at a time as there are jobs.

The seed fixes what the workloads do and which states are made of a trace. Two runs record different traces (threads,
time, signatures), so a round that fails keeps its trace: with it, --replay makes the same state again, byte for byte.
"""

import argparse
import collections
import itertools
import json
import os
import pathlib
import random
import select
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import judge  # noqa: E402
import replay  # noqa: E402
import works  # noqa: E402
from child import Child, ChildFailed, run  # noqa: E402
from works import WORKS  # noqa: E402

PATIENCE = 90  # seconds for one state


class Round:
    """One recording and the states tried of it."""

    def __init__(self, place, number, work, small, seed, count):
        self.work, self.small, self.seed, self.count = work, small, seed, count
        self.top = pathlib.Path(place) / f"{number}-{work.name.replace(' ', '-')}{'-small' if small else ''}"

    def keep(self, **more):
        info = {"work": self.work.name, "small": self.small, "seed": self.seed, "count": self.count, "top": str(self.top), **more}
        (self.top / "failed.json").write_text(json.dumps(info))

    def __str__(self):
        return f"{self.work.name}{', 64 pages with random steal' if self.small else ''}"


def go(report, round):
    """In the child: records, then tries each state. Says which state it is at, so that a death has an address."""
    totals, asked, digests = collections.Counter(), set(), set()
    round.top.mkdir(parents=True)
    totals.update(works.record(None, round.top, round.work, round.small, round.seed))
    for state in replay.states(round.top / "trace", round.seed, round.count, works.base_of(round.top, round.work)):
        report(["AT", state.number])
        digest = state.digest()
        totals["states"] += 1
        if (digest, state.mark_count) in asked:
            continue  # the same question again
        asked.add((digest, state.mark_count))
        digests.add(digest)
        try_state(round, state, totals)
    return {**totals, "distinct states": len(digests)}


def try_state(round, state, totals=None):
    shutil.rmtree(round.top / "run", ignore_errors=True)
    replay.materialise(state, round.top / "run")
    judge.Case(round.top, round.work, round.small, state.marks, totals).check()


# ---- many rounds ----


class Failed(AssertionError):
    """A round's verdict; its folder is kept."""

    def __init__(self, round, child, why):
        state = child.lines[-1][1] if child.lines else None
        round.keep(state=state)
        where = "while it was recorded" if state is None else f"state {state}"
        super().__init__(
            f"{round}, seed {round.seed}, {where}: {why}\nsee it again with\n    python tests/crash/powercut.py --replay {round.top}"
        )


def ended(round, child):
    """None while it runs; its totals, or Failed."""
    try:
        if child.take(0):
            return None
    except ChildFailed as e:
        child.finish()
        return Failed(round, child, e)
    status = child.finish()
    return child.result if status == 0 and child.result is not None else Failed(round, child, f"it died, wait status {status}")


def run_rounds(rounds, jobs):
    """Yields (round, totals or Failed) as they end; `rounds` may be endless."""
    rounds, running = iter(rounds), {}
    while True:
        while len(running) < jobs and (round := next(rounds, None)) is not None:
            running[round] = [Child(go, round), time.monotonic(), 0]
        if not running:
            return
        select.select([child.read_end for child, *_ in running.values()], [], [], 1.0)
        for round, slot in list(running.items()):
            child, since, lines = slot
            result = ended(round, child)
            if result is None and len(child.lines) > lines:
                slot[1:] = time.monotonic(), len(child.lines)
            elif result is None and time.monotonic() - since > PATIENCE:
                child.kill()
                result = Failed(round, child, f"no step in {PATIENCE} s")
            if result is not None:
                del running[round]
                yield round, result


def plan(place, states, seed, chosen=WORKS, sizes=(False, True)):
    """The rounds of a run: each workload and cache size in turn, until there are `states` (None: for ever)."""
    kinds = [(work, small) for work in chosen for small in sizes]
    share = None if states is None else {kind: states * (i + 1) // len(kinds) - states * i // len(kinds) for i, kind in enumerate(kinds)}
    for lap in itertools.count():
        if share is not None and not any(share.values()):
            return
        for i, (work, small) in enumerate(kinds):
            count = work.most if share is None else min(work.most, share[work, small])
            if count:
                if share is not None:
                    share[work, small] -= count
                yield Round(place, f"{lap}-{i}", work, small, f"{seed}/{i}/{lap}", count)


def play(place, states, seed, chosen=WORKS, sizes=(False, True), jobs=1, say=lambda text: None, until=None):
    """The totals; raises the first Failed after all other rounds have ended."""
    totals, failed, begun = collections.Counter(), [], time.monotonic()

    def rounds():
        for round in plan(place, states, seed, chosen, sizes):
            if until is not None and time.monotonic() > until:
                return
            yield round

    for round, result in run_rounds(rounds(), jobs):
        if isinstance(result, Failed):
            failed.append(result)
            say(f"FAILED {result}")
            continue
        totals.update(result)
        totals["rounds"] += 1
        shutil.rmtree(round.top)
        rate = totals["distinct states"] / (time.monotonic() - begun)
        say(f"{round!s:55} {result['states']:5} states; {totals['distinct states']} distinct in all, {rate:.1f}/s")
    if failed:
        raise failed[0]
    return totals


# ---- one again ----


def replay_one(folder, number=None):
    """Makes a kept state again and judges it. Returns the text of the verdict."""
    kept = json.loads((pathlib.Path(folder) / "failed.json").read_text())
    number = kept["state"] if number is None else number
    top = pathlib.Path(kept["top"])
    if top != pathlib.Path(folder).absolute():  # the logs name the database by the path it had
        shutil.copytree(folder, top, dirs_exist_ok=True)
    work = next(w for w in WORKS if w.name == kept["work"])
    round = Round(top.parent, "", work, kept["small"], kept["seed"], kept["count"])
    round.top = top
    if number is None:
        return "the recording itself had failed"
    for state in replay.states(top / "trace", kept["seed"], kept["count"], works.base_of(top, work)):
        if state.number == number:
            print(state, flush=True)
            try:
                run(lambda report: try_state(round, state))
            except ChildFailed as e:
                shutil.rmtree(top / "run", ignore_errors=True)
                replay.materialise(state, top / "run")
                return f"it fails again; the folder as the power cut left it is {top / 'run'}\n{e}"
            return "it passes now"
    raise SystemExit(f"the trace has no state {number}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=2000)
    parser.add_argument("--hours", type=float, help="go on for so long, instead of --states")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", help="part of a workload's name")
    parser.add_argument("--dir", help="an empty or missing folder to work in, kept")
    parser.add_argument("--replay", metavar="FOLDER", help="make the failing state of a kept round again, and judge it")
    parser.add_argument("--state", type=int, help="with --replay: another state of that round")
    args = parser.parse_args()
    if args.replay:
        print(replay_one(args.replay, args.state))
        return
    chosen = [w for w in WORKS if args.only is None or args.only in w.name]
    memory = pathlib.Path("/dev/shm")
    place = args.dir or tempfile.mkdtemp(prefix="powercut-", dir=memory if memory.is_dir() else None)
    states, until = (args.states, None) if args.hours is None else (None, time.monotonic() + args.hours * 3600)
    print(f"seed {args.seed}, {len(chosen)} workloads, {args.jobs} jobs, in {place}", flush=True)
    begun = time.monotonic()
    totals = play(place, states, args.seed, chosen, jobs=args.jobs, say=lambda text: print(text, flush=True), until=until)
    for name, value in sorted(totals.items()):
        print(f"{name:32} {value}")
    spent = time.monotonic() - begun
    print(f"{totals['distinct states']} distinct states of {len(chosen)} workloads, seed {args.seed}, {spent:.0f} s ({totals['distinct states'] / spent:.1f}/s)")
    if not args.dir:
        shutil.rmtree(place)
    print("verdict: nothing durable lost, nothing half there, every completed set restorable")


if __name__ == "__main__":
    main()
