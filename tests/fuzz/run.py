"""Runs the fuzz targets: ``python -m tests.fuzz.run [TARGET ...] --seconds 20 --seed 1 [--log]``.

C targets run under libFuzzer with AddressSanitizer and UBSan (``make fuzz``, clang); the manifest, which Python reads, in a loop of our own.
A crash, a hang of more than 5 seconds or more than 1 GiB of memory is a finding: its input is kept below ``findings`` with the command
that replays it, and the exit code is 1. Seeds: the corpus in this folder, and pieces of real files where PYJET_SAMPLES names them.
``--log`` adds the runs to LOG.rst, with the lines of the parser's own files that all inputs reach together (gcov). ``--keep N`` adds up to N small new inputs to the corpus (without samples only: none of their bytes
may get in).
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from . import manifest, seeds

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HANG_SECONDS = 5
STARTING_SECONDS = 3  # a target's own database, before its first input
PATIENCE = 120  # on a machine that does other things too
TIMED_OUT = 70  # libFuzzer's exit code
MEMORY_MIB = 1024
LONGEST = 9000
LONGEST_EDITS = 400  # of targets whose inputs are edits of a database or a log of our own
EDITS = {"backup_set", "catalog", "edb", "redo"}
SMALL_FILE = 2 << 20
COVERAGE = "build/coverage"
PARSERS = {  # where the bytes of a target are read
    "backup_set": r"csrc/backup/(set|trailer|directory|range|restore_plan|restore_time|restore_map)\.c",
    "catalog": r"csrc/(catalog/(load|rows|rowio|describe|names|use|bootstrap)|check/(catalog|space|tree))\.c",
    "checkpoint": r"csrc/log/checkpoint_file\.c",
    "db_header": r"csrc/cache/db_header\.c",
    "double_write": r"csrc/cache/double_write\.c",
    "edb": r"csrc/((engine|api)/reader|btree/(search|scan|cursor|visit)|page/(node|page|search|validate|checksum)|table/(move|seek|retrieve|batch|describe)|longval/read)\.c",
    "key": r"csrc/record/(key|collate)\.c",
    "log_header": r"csrc/log/header\.c",
    "log_record": r"csrc/(log/(walk|reader|segment|recordsize)|btree/format|space/format|check/dump_record)\.c",
    "longvalue": r"csrc/(longval/(read|value)|record/compress)\.c",
    "page": r"csrc/page/\w+\.c",
    "record": r"csrc/record/(read|tagged|build|build_tagged)\.c",
    "redo": r"csrc/(recovery/(replay|macros|undo|attach|databases|scan|end)|btree/(redo|redo_macro|apply|format|image|diff)|(space|txn|version)/redo)\.c",
}
NATIVE = sorted(p.stem.removeprefix("fuzz_") for p in HERE.glob("fuzz_*.c"))
TARGETS = [*NATIVE, "manifest"]


@dataclasses.dataclass
class Run:
    target: str
    seed: int
    seconds: int
    executions: int = 0
    coverage: str = ""
    reached: str = ""
    finding: str = ""

    def __str__(self):
        found = f"FINDING {self.finding}" if self.finding else "no finding"
        reached = ", ".join(filter(None, (self.coverage, self.reached)))
        return f"{self.target}: seed {self.seed}, {self.seconds} s, {self.executions} executions, {reached}: {found}"


def build():
    """The C targets; why it cannot be done, or None."""
    done = subprocess.run(["make", "-s", f"-j{os.cpu_count() or 1}", "fuzz"], cwd=ROOT, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stdout + done.stderr)[-3000:]


def build_coverage():
    """The drivers by the common compiler, counting lines (gcov); why it cannot be done, or None."""
    done = subprocess.run(["make", "-s", f"B={COVERAGE}", "CFLAGS=--coverage -O0", "LDLIBS=--coverage", "fuzz-replay"], cwd=ROOT, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stdout + done.stderr)[-3000:]


def parser_lines(target, env, place, folders):
    """How much of the parser's files all inputs together reach: (lines reached, lines)."""
    inputs = [str(p) for folder in folders for p in sorted(folder.iterdir()) if p.is_file()]
    counts = place / "counts"
    env = {**env, "GCOV_PREFIX": str(counts)}
    for n in range(0, len(inputs), 200):
        done = subprocess.run([ROOT / COVERAGE / f"replay_{target}", *inputs[n : n + 200]], cwd=place, env=env, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, f"an input that the fuzzer let pass fails without it: {done.stdout[-500:]}{done.stderr[-3000:]}"
    reached = lines = 0
    for data in counts.rglob("*.gcda"):
        source = "csrc/" + str(data.relative_to(counts)).partition(f"{COVERAGE}/")[2].replace(".gcda", ".c")
        if not re.fullmatch(PARSERS[target], source):
            continue
        shutil.copy(ROOT / COVERAGE / source.removeprefix("csrc/").replace(".c", ".gcno"), data.with_suffix(".gcno"))
        told = subprocess.run(["gcov", "-n", str(data)], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found = re.search(rf"File '{re.escape(source)}'\nLines executed:([\d.]+)% of (\d+)", told)
        lines += int(found[2])
        reached += round(float(found[1]) * int(found[2]) / 100)
    return f"{reached} of {lines} lines of the parser"


def only_starved(command, artifacts, place, env):
    """The fuzzer's clock is the wall's. What it holds for hangs is run again: one that ends in HANG_SECONDS of processor time is none, and is dropped."""
    late = list(artifacts.glob("timeout-*"))
    for path in late:
        try:
            done = subprocess.run(
                [command, f"-timeout={PATIENCE}", str(path)], cwd=place, env=env, capture_output=True, timeout=2 * PATIENCE,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (STARTING_SECONDS + HANG_SECONDS,) * 2),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
        if done.returncode != 0:
            return False
        path.unlink()
    return bool(late)


def keep_finding(target, artifacts, work):
    kept = []
    for path in sorted(artifacts.iterdir()):
        to = ROOT / "build" / "fuzz" / "findings" / target
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / path.name)
        if (folders := [f for f in work.iterdir() if f.is_dir()]) and not (to / f"{path.name}-files").exists():
            shutil.copytree(folders[0], to / f"{path.name}-files", symlinks=True)  # what the target had made of it
        kept.append(f"{(to / path.name).relative_to(ROOT)} (replay: build/fuzz/fuzz_{target} THAT FILE)")
    return "; ".join(kept)


def fuzz_native(target, seconds, seed, samples, keep, lines):
    run = Run(target, seed, seconds)
    with tempfile.TemporaryDirectory(dir=memory(), prefix="pyjet-fuzzing-") as place:
        place = pathlib.Path(place)
        found, artifacts, work = place / "found", place / "artifacts", place / "work"
        for folder in (found, artifacts, work, place / "seeds", place / "files"):
            folder.mkdir()
        corpus = HERE / "corpus" / target
        corpus.mkdir(parents=True, exist_ok=True)
        if samples:
            seeds.write(target, samples, place / "seeds")
            seeds.write_databases(samples, place / "files", SMALL_FILE)
        longest = LONGEST_EDITS if target in EDITS else LONGEST
        command = [
            str(ROOT / "build" / "fuzz" / f"fuzz_{target}"), f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={HANG_SECONDS}",
            f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={longest}", "-len_control=0", "-print_final_stats=1", f"-artifact_prefix={artifacts}/",
            str(found), str(corpus), str(place / "seeds"),
        ]  # fmt: skip
        env = {**os.environ, "TMPDIR": str(work), "ASAN_OPTIONS": "quarantine_size_mb=16:allocator_may_return_null=1",
               "UBSAN_OPTIONS": "print_stacktrace=1", "PYJET_FUZZ_FILES": str(place / "files")}  # fmt: skip
        end = time.monotonic() + seconds
        while True:
            done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, errors="replace", timeout=seconds + 300)
            told = done.stdout + done.stderr
            numbers = re.findall(r"cov: (\d+) ft: (\d+)", told)
            run.coverage = f"{numbers[-1][0]} edges, {numbers[-1][1]} features" if numbers else "no coverage"
            executed = re.search(r"stat::number_of_executed_units: *(\d+)", told)
            run.executions += int(executed[1]) if executed else 0
            starved = done.returncode == TIMED_OUT and only_starved(command[0], artifacts, place, env)
            left = round(end - time.monotonic())
            if not starved or left < 1:
                break
            command[1] = f"-max_total_time={left}"
        if done.returncode != 0 and not starved:
            run.finding = keep_finding(target, artifacts, work) or f"exit code {done.returncode}"
            print(told[-6000:], file=sys.stderr)
            return run
        if lines:
            run.reached = parser_lines(target, env, place, [found, corpus, place / "seeds"])
        if keep and not samples:
            keep_inputs(target, found, corpus, keep)
    return run


def keep_inputs(target, found, corpus, most):
    """What adds coverage to the corpus, smallest first."""
    with tempfile.TemporaryDirectory() as merged:
        subprocess.run([str(ROOT / "build" / "fuzz" / f"fuzz_{target}"), "-merge=1", merged, str(corpus), str(found)], check=True, capture_output=True)
        wanted = sorted(pathlib.Path(merged).iterdir(), key=lambda p: p.stat().st_size)
        for path in [p for p in wanted if p.stat().st_size <= 600][:most]:
            shutil.copy(path, corpus / path.name)


def fuzz_manifest(seconds, seed):
    run = Run("manifest", seed, seconds)
    run.executions, lines, run.finding = manifest.fuzz(seconds, seed, HERE / "corpus" / "manifest")
    run.coverage = f"{lines} lines"
    return run


def memory():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def fuzz(target, seconds, seed, samples=None, keep=0, lines=False):
    if target == "manifest":
        return fuzz_manifest(seconds, seed)
    return fuzz_native(target, seconds, seed, samples, keep, lines)


def note(run):
    """A line at the end of LOG.rst."""
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    with open(HERE / "LOG.rst", "a") as log:
        log.write(f'   "{day}", {run.target}, {run.seed}, {run.seconds}, {run.executions}, "{run.coverage}", "{run.reached}", "{run.finding and "finding" or "none"}"\n')


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    parser.add_argument("--seed", type=int, help="one number for all; default: by the clock, printed")
    parser.add_argument("--no-samples", action="store_true", help="the corpus alone, no pieces of real files")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="add up to N small inputs a target to the corpus")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="targets at a time (1)")
    parser.add_argument("--log", action="store_true", help="add the runs to tests/fuzz/LOG.rst")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(3), "little")
    samples = None if options.no_samples or options.keep else seeds.folder()
    if why := build():
        sys.exit(f"the fuzz targets cannot be built: {why}")
    if options.log and (why := build_coverage()):
        sys.exit(f"lines cannot be counted: {why}")
    print(f"seed {seed}", flush=True)
    runs, targets = [], options.targets or TARGETS

    def tell(run):
        runs.append(run)
        print(run, flush=True)
        if options.log:
            note(run)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(fuzz, t, options.seconds, seed, samples, options.keep, options.log) for t in targets if t != "manifest"]
        for done in concurrent.futures.as_completed(waiting):
            tell(done.result())
    if "manifest" in targets:  # by signals, so in this thread
        tell(fuzz("manifest", options.seconds, seed))
    total, findings = sum(r.executions for r in runs), sum(bool(r.finding) for r in runs)
    print(f"{len(runs)} targets, {total} executions, seed {seed}, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
