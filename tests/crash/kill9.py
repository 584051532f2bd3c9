"""Rounds of kill -9 on a writer with backups running; the oracle is this process, outside the one that dies.

    python -m tests.crash.kill9 --rounds 200 --seed 1

A round: a child opens the bank (recovery), writes with several threads and backs up; it says through a pipe what was
acknowledged; it is killed at a random moment. Another child opens the database again (at times it is killed too,
inside recovery), and what it finds must fit what was said. Each backup that was reported complete is restored, and
must be one commit point between its start and its return.
"""

import argparse
import collections
import pathlib
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import bank  # noqa: E402
import cjet  # noqa: E402
import memory  # noqa: E402
from child import Child, ChildFailed, run  # noqa: E402
from cjet import ERR, JetError, K  # noqa: E402

THREADS = 3
COUNTERS = ("undo_info", "undo_after_steal", "macros_half_redone", "records_filtered", "pages_restored")


class Setting:
    """How one round runs."""

    def __init__(self, rng):
        self.cache = rng.choice((64, 64, 256, 2000))
        self.steal = self.cache == 64 or rng.random() < 0.3
        self.log_kib = 64
        self.depth = rng.choice((64 << 10, 256 << 10, 20 << 20))
        self.seconds = rng.choice((rng.uniform(0.02, 0.2), rng.uniform(0.2, 1.0)))
        self.backup = rng.random() < 0.8
        self.zero = rng.random() < 0.3

    def instance(self, data):
        cjet.set_cache(self.cache)
        return cjet.Instance(data, log_kib=self.log_kib, steal=self.steal, params=self.params())

    def params(self):
        return {K.JET_paramCheckpointDepthMax: self.depth, K.JET_paramZeroDatabaseDuringBackup: int(self.zero)}


def writer(report, place, setting, seed, known, numbers, old_set):
    """The child that gets killed."""
    place = pathlib.Path(place)
    inst = setting.instance(place / "data")
    inst.init()
    main = inst.session()
    dbid = main.open(place / "data" / "bank.edb")
    failed = []

    def write(thread):
        try:
            with inst.session() as ses:
                own = ses.open(place / "data" / "bank.edb", attach=False)
                rng = random.Random(f"{seed}/{thread}")
                worker = bank.Worker(ses, own, thread, numbers[thread], rng, report, known.get(thread, {}))
                while not failed:
                    worker.step()
        except BaseException as e:
            failed.append(e)

    def back_up():
        try:
            back_ups(report, inst, place / "sets", random.Random(f"{seed}/b"), seed, old_set, lambda: failed)
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(THREADS)]
    if setting.backup:
        threads.append(threading.Thread(target=back_up, daemon=True))
    report(["READY"])
    for t in threads:
        t.start()
    until = time.monotonic() + 60
    last = 0
    while not failed and time.monotonic() < until:
        time.sleep(0.02)
        undo = inst.stats().undo_info
        if undo != last:
            report(["U", undo])
            last = undo
    if failed:
        raise failed[0]
    assert dbid


def back_ups(report, inst, sets, rng, seed, old_set, stop):
    """Full, incremental and atomic runs, one after another."""
    kinds = {"full": 0, "incremental": K.JET_bitBackupIncremental, "atomic": K.JET_bitBackupAtomic,
             "atomic incremental": K.JET_bitBackupAtomic | K.JET_bitBackupIncremental}  # fmt: skip
    last, number = old_set, 0  # an increment belongs into the folder of the run before it
    while not stop():
        number += 1
        kind = rng.choice(("full", "incremental", "incremental", "atomic"))
        if kind == "incremental" and last is None:
            kind = "full"
        elif kind == "incremental" and last.endswith("atomic"):
            kind = "atomic incremental"
        if kind == "full":
            last = str(sets / f"{seed}-{number}")
        elif kind == "atomic":
            last = str(sets / f"{seed}-atomic")
        path = last
        run = f"{seed}-{number}"
        inst.pause(lambda percent, run=run: report(["BP", run, percent]))
        report(["BS", run, kind, path])
        try:
            inst.backup(path, kinds[kind])
        except JetError as e:
            # A full one must follow when the logs of an older set are gone.
            if "incremental" not in kind or e.code not in (ERR["JET_errMissingFullBackup"], ERR["JET_errMissingFileToBackup"]):
                raise
            report(["BF", run])
            last = None
            continue
        report(["BE", run])


def first(report, data):
    with cjet.Instance(data, log_kib=64) as inst, inst.session() as ses:
        bank.create(ses, ses.create(pathlib.Path(data) / "bank.edb"), THREADS)


def reopen(report, place, setting):
    """Recovery; the state, and what recovery counted."""
    path = pathlib.Path(place) / "data" / "bank.edb"
    inst = setting.instance(path.parent)
    recovery = inst.init()
    report(["RECOVERED"])
    with inst.session() as ses:
        state = bank.read_state(ses, ses.open(path))
    undo_info = inst.stats().undo_info
    inst.term()
    findings, sums = cjet.check_file(path)
    return {"state": state, "findings": findings[:10], "leaked": sums.pages_leaked, "undo_info": undo_info,
            **{name: getattr(recovery, name) for name, _ in cjet.RECOVERY._fields_}}  # fmt: skip


def restored(report, path, work):
    return bank.read_set(path, work)


def completed_sets(lines):
    """{path: (line number of the last start, of the last end, kind)} of the runs that returned."""
    started, found = {}, {}
    for at, line in enumerate(lines):
        if line[0] == "BS":
            started[line[1]] = (at, line[2], line[3])
        elif line[0] == "BP":
            begin, kind, path = started[line[1]]
            if kind in ("full", "atomic"):
                started[line[1]] = (at, kind, path)  # pages were still to be read here
        elif line[0] == "BE":
            begin, kind, path = started[line[1]]
            found[path] = (begin, at, kind)
    return found


class Round:
    def __init__(self, place, seed, number, model, old_set, totals):
        self.place, self.name, self.model, self.old_set, self.totals = place, f"{seed}-{number}", model, old_set, totals
        self.rng = random.Random(f"{seed}/{number}")
        self.setting = Setting(self.rng)

    def go(self):
        numbers = self.model.base["ledger"]
        child = Child(writer, str(self.place), self.setting, self.name, self.model.known, numbers, self.old_set)
        child.wait_line("READY")
        child.listen(self.setting.seconds)
        self.model.lines = [line for line in child.kill() if line[0] != "READY"]
        if child.result is not None:
            raise ChildFailed("the writer ended by itself")
        self.totals["undo_info"] += max([line[1] for line in self.model.lines if line[0] == "U"], default=0)
        self.totals["commits"] += sum(line[0] == "A" for line in self.model.lines)
        self.totals["lazy commits"] += sum(line[0] == "L" for line in self.model.lines)
        if self.rng.random() < 0.3:
            again = Child(reopen, str(self.place), self.setting)
            again.listen(self.rng.uniform(0.0, 0.05))
            again.kill()
            self.totals["killed in recovery"] += 1
        found = run(reopen, str(self.place), self.setting)
        assert not found["findings"], f"pyjet check: {found['findings']}"
        for name in COUNTERS:
            self.totals[name] += found[name]
        state = bank.from_json(found["state"])
        known = self.model.check(state)
        total = sum(state["tables"][t][i][0] for t in bank.TABLES for i in range(bank.ACCOUNTS))
        assert total == bank.BALANCE * bank.ACCOUNTS * len(bank.TABLES), f"the sum of balances is {total}"
        kept = self.check_sets()
        self.model.go_on(state, known)
        return kept

    def check_sets(self):
        kept = None
        complete = completed_sets(self.model.lines)
        for path, (begin, end, kind) in complete.items():
            work = self.place / "work"
            state = bank.from_json(run(restored, path, str(work)))
            shutil.rmtree(work)
            # An increment that was cut off may have left whole logs in the set: they are its own future.
            cut = any(line[0] == "BS" and line[3] == path for line in self.model.lines[end:])
            self.model.check(state, begin, None if cut else end, f"the set {path} ({kind})")
            self.totals[f"sets checked: {kind}"] += 1
            if not any(line[0] == "BS" for line in self.model.lines[end:]):
                kept = path
        return kept


def play(place, rounds, seed, say=lambda text: None):
    """Returns the totals; raises with the seed and the round in the text."""
    totals = collections.Counter()
    place = pathlib.Path(place)
    (place / "data").mkdir(parents=True)
    (place / "sets").mkdir()
    run(first, str(place / "data"))
    model, old_set = bank.Model(bank.first_state(THREADS)), None
    for number in range(rounds):
        try:
            kept = Round(place, seed, number, model, old_set, totals).go()
        except Exception as e:
            raise AssertionError(f"seed {seed}, round {number}, left in {place}: {e}") from e
        old_set = kept if kept and random.Random(number).random() < 0.5 else None
        for path in (place / "sets").iterdir():
            if str(path) != old_set:
                shutil.rmtree(path)
        totals["rounds"] += 1
        if number % 20 == 19:
            say(f"round {number + 1}: " + ", ".join(f"{k} {v}" for k, v in sorted(totals.items())))
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--dir", help="an empty or missing folder to work in, kept")
    args = parser.parse_args()
    place = args.dir or memory.folder("kill9-")  # what is tested dies with the process, not with the power
    print(f"seed {args.seed}, {args.rounds} rounds", flush=True)
    totals = play(place, args.rounds, args.seed, lambda text: print(text, flush=True))
    for name, value in sorted(totals.items()):
        print(f"{name:32} {value}")
    if not args.dir:
        shutil.rmtree(place)
    print("verdict: nothing durable lost, nothing half there, every completed set restorable")


if __name__ == "__main__":
    main()
