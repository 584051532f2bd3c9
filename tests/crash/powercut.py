"""Simulated power cuts: what a trace of writes and syncs may leave is recovered and held against what was acknowledged.

    python -m tests.crash.powercut --states 2000 --seed 1
    python -m tests.crash.powercut --distinct 100000 --seed 1 --resume FOLDER --log
                                                         until there were so many different states; the same command goes on
                                                         where it was stopped, and its counts go into LOG.rst
    python -m tests.crash.powercut --hours 1             as many as that time allows
    python -m tests.crash.powercut --replay FOLDER       the failing state that an earlier run kept

A round: a workload (works.py) runs once under the os room's recorder; replay.states makes folders out of its trace: what
no completed sync covers is kept, dropped or torn, each write by itself; judge.py recovers each folder and holds what is
there against the marks before the cut. Rounds run in processes of their own, as many at a time as there are jobs, and differ
in length. States are the same when all names and bytes are; one that came before in its round is not judged again.

The seed fixes what the workloads do and which states are made of a trace. Two runs record different traces (threads,
time, signatures), so a round that fails keeps its trace: with it, --replay makes the same state again, byte for byte.
"""

import argparse
import collections
import copy
import gc
import itertools
import json
import os
import pathlib
import random
import select
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import cjet  # noqa: E402
import judge  # noqa: E402
import memory  # noqa: E402
import reading  # noqa: E402
import replay  # noqa: E402
import tally as tallies  # noqa: E402
import works  # noqa: E402
from child import Child, ChildFailed, run  # noqa: E402
from works import WORKS  # noqa: E402

PATIENCE = 90  # seconds for one state
SCALES = (1, 0.35, 0.25, 0.35, 0.5, 0.25, 0.35, 0.25)  # of the laps: how long its recordings are, and how many states are tried of each
MOST_FAILED = 20  # rounds: then no more are begun


def scaled(work, scale):
    """A workload with so much less to do."""
    work = copy.copy(work)
    work.steps, work.most = max(8, round(work.steps * scale)), max(8, round(work.most * scale))
    return work


class Round:
    """One recording and the states tried of it. number: "lap-kind"; work: scaled already."""

    def __init__(self, place, number, work, small, seed, count, scale=1):
        self.number, self.work, self.small, self.seed, self.count, self.scale = number, work, small, seed, count, scale
        self.top = pathlib.Path(place) / f"{number}-{work.name.replace(' ', '-')}{'-small' if small else ''}"

    def keep(self, **more):
        info = {"work": self.work.name, "small": self.small, "seed": self.seed, "count": self.count, "scale": self.scale, "top": str(self.top), **more}
        (self.top / "failed.json").write_text(json.dumps(info))

    def __str__(self):
        return f"{self.work.name}{', 64 pages with random steal' if self.small else ''}"


def go(report, round):
    """In the child: records, then tries each state. Says which state it is at, so that a death has an address."""
    totals, asked, digests = collections.Counter(), set(), set()
    gc.freeze()  # what was loaded before the fork is no garbage
    gc.set_threshold(50_000, 20, 20)
    round.top.mkdir(parents=True)
    totals.update(works.record(None, round.top, round.work, round.small, round.seed))
    recording = judge.Recording(round.top, round.work)
    for state in replay.states(round.top / "trace", round.seed, round.count, works.base_of(round.top, round.work)):
        report(["AT", state.number])
        digest = state.digest()
        totals["states"] += 1
        if (digest, state.mark_count) in asked:
            continue  # the same question again
        asked.add((digest, state.mark_count))
        digests.add(digest)
        try_state(round, state, totals, recording)
    return {"totals": totals, "digests": tallies.pack(digests)}


def try_state(round, state, totals=None, recording=None):
    replay.materialise(state, round.top / "run", over=True)
    judge.Case(round.top, round.work, round.small, state.marks, totals, recording).check()


# ---- many rounds ----


class Failed(AssertionError):
    """A round's verdict; its folder is kept."""

    def __init__(self, round, child, why):
        state = child.lines[-1][1] if child.lines else None
        round.keep(state=state)
        where = "while it was recorded" if state is None else f"state {state}"
        super().__init__(
            f"{round}, seed {round.seed}, {where}: {why}\nsee it again with\n    python -m tests.crash.powercut --replay {round.top}"
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
    """Yields (round, result or Failed, seconds) as they end; `rounds` may be endless."""
    rounds, running = iter(rounds), {}
    while True:
        while len(running) < jobs and (round := next(rounds, None)) is not None:
            running[round] = [Child(go, round), time.monotonic(), 0, time.monotonic()]
        if not running:
            return
        select.select([child.read_end for child, *_ in running.values()], [], [], 1.0)
        for round, slot in list(running.items()):
            child, since, lines, begun = slot
            result = ended(round, child)
            if result is None and len(child.lines) > lines:
                slot[1:3] = time.monotonic(), len(child.lines)
            elif result is None and time.monotonic() - since > PATIENCE:
                child.kill()
                result = Failed(round, child, f"no step in {PATIENCE} s")
            if result is not None:
                del running[round]
                yield round, result, time.monotonic() - begun


def plan(place, states, seed, chosen=WORKS, sizes=(False, True)):
    """The rounds of a run: each workload and cache size in turn, until `states` are tried (None: for ever)."""
    kinds = [(work, small) for work in chosen for small in sizes]
    share = None if states is None else {kind: states * (i + 1) // len(kinds) - states * i // len(kinds) for i, kind in enumerate(kinds)}
    for lap in itertools.count():
        if share is not None and not any(share.values()):
            return
        scale = SCALES[lap % len(SCALES)]
        for i, (work, small) in enumerate(kinds):
            shorter = scaled(work, scale)
            count = shorter.most if share is None else min(shorter.most, share[work, small])
            if count:
                if share is not None:
                    share[work, small] -= count
                yield Round(place, f"{lap}-{i}", shorter, small, f"{seed}/{i}/{lap}", count, scale)


def play(place, states, seed, chosen=WORKS, sizes=(False, True), jobs=1, say=lambda text: None, until=None, distinct=None, tally=None):
    """Adds to the tally and returns its totals; raises Failed after all other rounds have ended.

    distinct: no more rounds when the tally has so many distinct states.
    """
    tally = tallies.Tally() if tally is None else tally
    failed, begun, before = [], time.monotonic(), len(tally.digests)
    reading.library()  # built before the first fork

    def rounds():
        for round in plan(place, states, seed, chosen, sizes):
            if until is not None and time.monotonic() > until or distinct is not None and len(tally.digests) >= distinct:
                return
            if len(tally.failed) >= MOST_FAILED:
                say(f"{MOST_FAILED} rounds failed, no more are begun")
                return
            if round.number not in tally.done:
                yield round

    for round, result, seconds in run_rounds(rounds(), jobs):
        if isinstance(result, Failed):
            failed.append(result)
            tally.fail(round.number, round.work.name, str(result), seconds)
            say(f"FAILED {result}")
            continue
        tally.add(round.number, round.work.name, result["totals"], result["digests"], seconds)
        shutil.rmtree(round.top)
        rate = (len(tally.digests) - before) / (time.monotonic() - begun)
        say(f"{round!s:55} {result['totals']['states']:5} states; {len(tally.digests)} distinct in all, {rate:.1f}/s")
    if failed:
        raise failed[0]
    return tally.totals


# ---- one again ----


def replay_one(folder, number=None):
    """Makes a kept state again and judges it. Returns the text of the verdict."""
    kept = json.loads((pathlib.Path(folder) / "failed.json").read_text())
    number = kept["state"] if number is None else number
    top = pathlib.Path(kept["top"])
    if top != pathlib.Path(folder).absolute():  # the logs name the database by the path it had
        shutil.copytree(folder, top, dirs_exist_ok=True)
    work = scaled(next(w for w in WORKS if w.name == kept["work"]), kept["scale"])
    round = Round(top.parent, "", work, kept["small"], kept["seed"], kept["count"], kept["scale"])
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
    parser.add_argument("--states", type=int, default=2000, help="to try, the same ones among them (2000)")
    parser.add_argument("--distinct", type=int, help="go on until there were so many different ones, instead of --states")
    parser.add_argument("--hours", type=float, help="go on for so long, instead of --states")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", help="part of a workload's name")
    parser.add_argument("--dir", help="an empty or missing folder to work in, kept")
    parser.add_argument("--resume", metavar="FOLDER", help="keep counts there; the same command goes on where one was stopped")
    parser.add_argument("--log", action="store_true", help="add the run to tests/crash/LOG.rst")
    parser.add_argument("--replay", metavar="FOLDER", help="make the failing state of a kept round again, and judge it")
    parser.add_argument("--state", type=int, help="with --replay: another state of that round")
    args = parser.parse_args()
    if args.replay:
        print(replay_one(args.replay, args.state))
        return
    chosen = [w for w in WORKS if args.only is None or args.only in w.name]
    place = args.dir or memory.folder("powercut-")
    until = None if args.hours is None else time.monotonic() + args.hours * 3600
    states = args.states if until is None and args.distinct is None else None
    tally = tallies.Tally(args.resume, tallies.about(args.seed, cjet.lib._name, chosen))
    print(f"seed {args.seed}, {len(chosen)} workloads, {args.jobs} jobs, in {place}", flush=True)
    if tally.done:
        print(f"going on after {len(tally.done)} rounds with {len(tally.digests)} distinct states", flush=True)
    begun = time.monotonic()
    try:
        play(place, states, args.seed, chosen, jobs=args.jobs, say=lambda text: print(text, flush=True), until=until,
             distinct=args.distinct, tally=tally)  # fmt: skip
    finally:
        show(tally, args, time.monotonic() - begun)
    if tally.failed:
        raise SystemExit(f"verdict: {len(tally.failed)} rounds failed earlier, the first: {tally.failed[0]}")
    if not args.dir:
        shutil.rmtree(place)
    print("verdict: nothing durable lost, nothing half there, every completed set restorable")


def show(tally, args, seconds):
    for name, value in sorted(tally.totals.items()):
        print(f"{name:32} {value}")
    for name, value in tally.of_work.items():
        print(f"distinct states of {name:20} {value}")
    rate = f"this time {seconds:.0f} s" if args.resume else f"{seconds:.0f} s ({len(tally.digests) / seconds:.1f}/s)"
    print(f"{len(tally.digests)} distinct states of {len(tally.of_work)} workloads, {tally.totals['rounds']} rounds, seed {args.seed}, {rate}")
    if args.log:
        tallies.note(tally, args.seed, "2 caches", tally.seconds / args.jobs if args.resume else seconds)


if __name__ == "__main__":
    main()
