"""What a run of power cuts has come to: counts and the digests of all its states; kept in a folder, so that it can go on later.

The folder's file `rounds.jsonl` has one line for what is run (seed, engine, harness), then one a round. A line cut off at the end is a
run that was killed: its round is done again.
"""

import base64
import collections
import datetime
import hashlib
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
DIGEST = 16  # bytes kept of each
HARNESS = ("bank.py", "cjet.py", "reading.py", "c/read_all.c", "crash/judge.py", "crash/replay.py", "crash/works.py", "crash/trace.py")


def about(seed, library, chosen):
    """What must be the same for counts to be added up."""
    sums = hashlib.sha256()
    for name in HARNESS:
        sums.update((HERE.parent / name).read_bytes())
    engine = hashlib.sha256(pathlib.Path(library).read_bytes()).hexdigest()[:16]
    return {"seed": seed, "engine": engine, "harness": sums.hexdigest()[:16], "workloads": [work.name for work in chosen]}


class Tally:
    """totals: sums over rounds; digests: of each distinct state; of_work: {workload: distinct states}; failed: texts."""

    def __init__(self, folder=None, what=None):
        self.totals, self.of_work, self.digests = collections.Counter(), collections.Counter(), set()
        self.failed, self.done, self.seconds, self.file = [], set(), 0.0, None
        if folder is not None:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            path = pathlib.Path(folder) / "rounds.jsonl"
            self._load(path, what)
            self.file = open(path, "a")  # noqa: SIM115, it stays open
            if not path.stat().st_size:
                self._write(what)

    def _load(self, path, what):
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            with open(path, "r+b") as f:
                f.truncate(sum(map(len, lines[:-1])))
            del lines[-1]
        if not lines:
            return
        before = json.loads(lines[0])
        for name, value in what.items():
            if before.get(name) != value:
                raise SystemExit(f"{path} is of another run: {name} was {before.get(name)}, it is {value} now; begin in a new folder")
        for line in map(json.loads, lines[1:]):
            self._count(line)

    def _write(self, line):
        if self.file is not None:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()

    def _count(self, line):
        self.done.add(line["round"])
        self.seconds += line["seconds"]
        if "failed" in line:
            self.failed.append(line["failed"])
            return
        packed = base64.b64decode(line["digests"])
        fresh = {packed[i : i + DIGEST] for i in range(0, len(packed), DIGEST)} - self.digests
        self.digests |= fresh
        self.of_work[line["work"]] += len(fresh)
        self.totals.update(line["totals"])
        self.totals["rounds"] += 1
        self.totals["distinct states"] = len(self.digests)

    def add(self, number, work, totals, digests, seconds):
        """A round that found nothing wrong; digests in base64."""
        line = {"round": number, "work": work, "seconds": round(seconds, 3), "totals": totals, "digests": digests}
        self._count(line)
        self._write(line)

    def fail(self, number, work, text, seconds):
        line = {"round": number, "work": work, "seconds": round(seconds, 3), "failed": text}
        self._count(line)
        self._write(line)


def pack(digests):
    return base64.b64encode(b"".join(d[:DIGEST] for d in digests)).decode()


def commit():
    """The project's, with a + when files differ from it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=HERE, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def note(tally, seed, settings, seconds, log=HERE / "LOG.rst"):
    """A line for this run at the end of LOG.rst."""
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    verdict = f"{len(tally.failed)} rounds failed" if tally.failed else "nothing lost"
    with open(log, "a") as f:
        f.write(
            f'   "{day}", {commit()}, {seed}, {len(tally.of_work)}, {settings}, {tally.totals["rounds"]}, {tally.totals["states"]}, '
            f'{len(tally.digests)}, {seconds:.0f}, "{verdict}"\n'
        )
