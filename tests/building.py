"""make, one at a time: the workers of pytest-xdist build in one folder. Of debug information only the lines are kept, which a
backtrace needs: it compiles a quarter faster. The test programs themselves, not the engine in them, are compiled without
optimization, which halves their time."""

import fcntl
import importlib.util
import os
import pathlib
import subprocess
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make(*targets, **env):
    """Runs make in the project's folder; an AssertionError with its output when it fails."""
    (ROOT / "build").mkdir(exist_ok=True)
    with open(ROOT / "build" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "-s", f"-j{os.cpu_count() or 1}", "DEBUG_INFO=-g1", "TEST_OPT=-O0", *targets]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def python_module(name):
    """Builds tests/c/<name>.c, a Python module of the tests, for this interpreter; the module."""
    source = ROOT / "tests" / "c" / f"{name}.c"
    target = ROOT / "build" / "python" / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(ROOT / "build" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            include = "-I" + sysconfig.get_path("include")
            command = [os.environ.get("CC", "cc"), "-std=c17", "-Wall", "-Wextra", "-O1", "-g", "-fPIC", "-shared", include, source, "-o", target]
            subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location(name, target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
