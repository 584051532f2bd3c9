"""How long Ctrl-C in a backup takes: from the signal to KeyboardInterrupt, at random moments of backups of one database.

    python -m bench.interrupt [--mib 400] [--rounds 60]

Prints the median, the 95th percentile and the longest; after each round the set is gone and the instance is used again.
The aim is 250 ms for the 95th percentile; the exit code is 1 when it is missed or files stay.
"""

import argparse
import os
import pathlib
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

import pyjet


def load(inst, place, mib):
    db = inst.session().open(place / "data" / "a.edb", create=True)
    table = db.create_table("t", columns={"id": pyjet.Long(autoincrement=True), "v": pyjet.LongBinary()})
    for _ in range(mib):
        table.insert_many({"v": os.urandom(1000)} for _ in range(1000))
    return table


def interrupted(inst, target, after):
    """Seconds from the signal to the exception; None when the backup was done before."""
    sent = []

    def send():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        inst.backup(target)
        timer.cancel()
        timer.join()
        time.sleep(0)  # a signal sent meanwhile comes here
        return None
    except KeyboardInterrupt:
        return time.perf_counter() - sent[0]


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--mib", type=int, default=400, help="size of the database")
    options.add_argument("--rounds", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    wanted = options.parse_args()
    chance = random.Random(wanted.seed)
    seconds, left = [], 0
    with tempfile.TemporaryDirectory(prefix="pyjet-interrupt-", dir=".") as folder:
        place = pathlib.Path(folder).resolve()
        with pyjet.Instance(place / "data") as inst:
            table = load(inst, place, wanted.mib)
            started = time.perf_counter()
            inst.backup(place / "whole")
            whole = time.perf_counter() - started
            while len(seconds) < wanted.rounds:
                target = place / "set"
                try:
                    took = interrupted(inst, target, chance.uniform(0.01, whole * 0.9))
                except KeyboardInterrupt:
                    took = None
                if took is None:
                    shutil.rmtree(target, ignore_errors=True)
                    continue
                seconds.append(took)
                left += target.exists() and any(target.iterdir())
                table.insert(v=b"still in use")
    seconds.sort()
    p95 = seconds[max(0, int(len(seconds) * 0.95) - 1)]
    print(f"{wanted.mib} MiB, a whole backup {whole:.2f} s, {len(seconds)} interrupted, seed {wanted.seed}: median "
          f"{statistics.median(seconds) * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, longest {seconds[-1] * 1e3:.0f} ms; files left {left} times")  # fmt: skip
    return 0 if p95 <= 0.25 and left == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
