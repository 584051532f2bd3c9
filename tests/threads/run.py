"""All of the stress in one command: ``python -m tests.threads.run --seconds 30 --seed 11``.

Each scenario of stress.py in a process of its own, a new process that checks what it left, then the stress of all threads in C under
ThreadSanitizer (--no-sanitizer leaves it out). Prints what each did, and at the end the counts and the seed.
"""

import argparse
import os
import pathlib
import random
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import memory  # noqa: E402
import stress  # noqa: E402
import test_python_stress  # noqa: E402
import test_sanitizers  # noqa: E402


def in_c(place, seconds):
    program = test_sanitizers.build("thread", "test_api_threads")
    print(test_sanitizers.play(program, place, PYJET_STRESS_SECONDS=str(seconds)).strip(), flush=True)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--seconds", type=int, default=30, help="of each scenario (30)")
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    p.add_argument("--only", help="part of a scenario's name")
    p.add_argument("--no-sanitizer", action="store_true")
    o = p.parse_args(argv)
    names = [name for name in stress.SCENARIOS if o.only is None or o.only in name]
    jobs = [(name, lambda place, name=name: test_python_stress.play_and_check(name, place, o.seconds, o.seed)) for name in names]
    if not o.no_sanitizer and o.only is None:
        jobs.append(("ThreadSanitizer", lambda place: in_c(place, o.seconds)))
    began, failed = time.monotonic(), []
    for name, job in jobs:
        with tempfile.TemporaryDirectory(prefix="pyjet-threads-", dir=memory.PLACE, ignore_cleanup_errors=True) as place:
            try:
                job(pathlib.Path(place))
            except AssertionError as error:
                failed.append(name)
                print(f"FAILED {name}: {error}", flush=True)
    print(f"{len(jobs)} scenarios of {o.seconds} s, seed {o.seed}, {time.monotonic() - began:.0f} s: {', '.join(failed) or 'none'} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
