"""Hostile bytes. By default each input of the corpus is run once more; by the mark fuzz, 20 seconds of new ones for each parser."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from building import make  # noqa: E402

from . import manifest, run, seeds

SECONDS = int(os.environ.get("PYJET_FUZZ_SECONDS", "20"))


@pytest.fixture(scope="session")
def drivers():
    make("DEBUG=1", "fuzz-replay")
    return run.ROOT / "build" / "debug"


@pytest.mark.parametrize("target", run.NATIVE)
def test_the_corpus(target, drivers, memory_path):
    """What once crashed a parser, and what reaches far into it."""
    inputs = sorted(p for p in (run.HERE / "corpus" / target).iterdir())
    assert inputs, "no inputs"
    done = subprocess.run(
        [drivers / f"replay_{target}", *inputs], env={**os.environ, "TMPDIR": str(memory_path)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and f"ok {len(inputs)} inputs" in done.stdout, done.stdout + done.stderr


def test_the_corpus_of_manifests():
    inputs = sorted((run.HERE / "corpus" / "manifest").iterdir())
    assert [manifest.parse(p.read_bytes()) for p in inputs] == ["accepted" in p.name for p in inputs]


def test_a_manifest_loop_sees_a_finding(monkeypatch):
    """The loop can fail: a parser that lets a wrong type through is caught."""
    from pyjet.backup import manifest as parser

    monkeypatch.setattr(parser, "_is_generations", lambda x: True)
    _, _, finding = manifest.fuzz(10, 1, run.HERE / "corpus" / "manifest")
    assert finding


@pytest.mark.parametrize("compiler", ["", "false"])
def test_a_compiler_without_a_fuzzer(compiler):
    """Clang's package may come without the libraries: the build says what to install, and CI that nothing was run."""
    done = subprocess.run(["make", "-s", f"FUZZ_CC={compiler}", "fuzz-cc"], cwd=run.ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "apt-get install" in done.stderr


@pytest.mark.parametrize("target", run.NATIVE)
def test_a_parser_is_named(target):
    """Lines are counted in files that are there."""
    files = [str(p.relative_to(run.ROOT)) for p in run.ROOT.glob("csrc/*/*.c")]
    assert any(re.fullmatch(run.PARSERS[target], f) for f in files)


@pytest.mark.parametrize("what, starved", [("true", True), ("false", False), ("while :; do :; done", False), ("sleep 30", False)])
def test_a_hang_is_told_from_a_busy_machine(what, starved, tmp_path, monkeypatch):
    """libFuzzer measures by the wall's clock; what it holds for a hang is run again, and judged by the processor time that it takes."""
    monkeypatch.setattr(run, "HANG_SECONDS", 1)
    monkeypatch.setattr(run, "STARTING_SECONDS", 0)
    monkeypatch.setattr(run, "PATIENCE", 5)
    program = tmp_path / "target"
    program.write_text(f"#!/bin/sh\n{what}\n")
    program.chmod(0o755)
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    (artifacts / "timeout-1").write_bytes(b"x")
    assert run.only_starved(str(program), artifacts, tmp_path, os.environ) is starved
    assert (artifacts / "timeout-1").exists() is not starved


@pytest.fixture(scope="session")
def fuzzers():
    why = run.build()
    assert why is None, why


@pytest.mark.fuzz
@pytest.mark.parametrize("target", run.TARGETS)
def test_new_inputs(target, fuzzers, record_property):
    found = run.fuzz(target, SECONDS, int(os.environ.get("PYJET_FUZZ_SEED", "1")), seeds.folder())
    print(found)
    record_property("fuzz", str(found))
    assert not found.finding, found
    assert found.executions > 10
