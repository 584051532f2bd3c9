"""Rude things while Python threads are at work, each in a process of its own (stress.py); a new process checks what is left. Mark threads: longer."""

import os
import pathlib
import struct
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = int(os.environ.get("PYJET_STRESS_SECONDS", "30"))

sys.path.insert(0, str(HERE))
import stress  # noqa: E402


def play(name, place, seconds, seed):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(HERE / "stress.py"), name, str(place), str(seconds), str(seed)],
        capture_output=True,
        text=True,
        timeout=seconds * 4 + 90,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
    )
    assert done.returncode == 0 and "\nok " in "\n" + done.stdout, f"{name}, seed {seed}: {done.returncode}\n{done.stdout}\n{done.stderr[-5000:]}"
    assert "Traceback" not in done.stderr and "Fatal" not in done.stderr, done.stderr[-5000:]
    print(name, seed, done.stdout.strip())


def play_and_check(name, place, seconds, seed):
    play(name, place, seconds, seed)
    if name != "interpreters":
        play("check", place, 0, 0)


@pytest.mark.parametrize("name", stress.SCENARIOS)
def test_a_little(name, memory_path):
    play_and_check(name, memory_path, 2, 1)


def test_a_lost_transfer_is_seen(memory_path):
    play("garbage", memory_path, 0.3, 2)
    told = stress.acknowledged(memory_path)
    assert sum(told) > 0
    (memory_path / "acknowledged").write_bytes(struct.pack(f"<{len(told)}q", sum(told) + 10**6, *told[1:]))
    with pytest.raises(AssertionError, match="were acknowledged"):
        play("check", memory_path, 0, 0)


@pytest.mark.threads
@pytest.mark.parametrize("seed", [11, 12, 13])
@pytest.mark.parametrize("name", stress.SCENARIOS)
def test_longer(name, seed, memory_path):
    play_and_check(name, memory_path, SECONDS, seed)
