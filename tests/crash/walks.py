"""WALKS.rst: the cumulative log of the fault walks."""

import datetime
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def note(seed, scenarios, kinds, points, verdict="none failed"):
    """Adds this run of this command."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    command = shlex.join([pathlib.Path(sys.argv[0]).name, *(a for a in sys.argv[1:] if a != "--log")])
    day = datetime.date.today().isoformat()
    with open(HERE / "WALKS.rst", "a") as f:
        f.write(f'   "{day}", "{commit}", "{command}", {seed}, {scenarios}, {kinds}, {points}, "{verdict}"\n')
