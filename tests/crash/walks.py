"""What the fault walks share: their arguments, the end of a run, and WALKS.rst, their cumulative log."""

import argparse
import datetime
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def parser(doc, call):
    """The arguments of a walk, by the first line of its module's text. call: what fails."""
    p = argparse.ArgumentParser(description=doc.split("\n")[0])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", help="part of a scenario's name")
    p.add_argument("--first", type=int, default=0, help=f"number of the first {call} that fails")
    p.add_argument("--every", type=int, default=1, help=f"only each so many-th {call}")
    p.add_argument("--count", type=int, help="at most so many points of each walk")
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("--log", action="store_true", help="add the run to tests/crash/WALKS.rst")
    return p


def show(totals):
    for name, value in sorted(totals.items()):
        print(f"{name:44} {value}")


def note(seed, scenarios, kinds, points, verdict="none failed"):
    """Adds this run of this command."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    command = shlex.join([pathlib.Path(sys.argv[0]).name, *(a for a in sys.argv[1:] if a != "--log")])
    day = datetime.date.today().isoformat()
    with open(HERE / "WALKS.rst", "a") as f:
        f.write(f'   "{day}", "{commit}", "{command}", {seed}, {scenarios}, {kinds}, {points}, "{verdict}"\n')
