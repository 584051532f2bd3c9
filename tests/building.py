"""make, one at a time: the workers of pytest-xdist build in one folder. Of debug information only the lines are kept, which a
backtrace needs: it compiles a quarter faster."""

import fcntl
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make(*targets, **env):
    """Runs make in the project's folder; an AssertionError with its output when it fails."""
    (ROOT / "build").mkdir(exist_ok=True)
    with open(ROOT / "build" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "-s", f"-j{os.cpu_count() or 1}", "DEBUG_INFO=-g1", *targets]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
