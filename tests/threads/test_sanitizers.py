"""The C tests under sanitizers (mark threads): every room under AddressSanitizer and UBSan, the stress of all threads under ThreadSanitizer."""

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from building import make  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ROOMS = sorted(p.stem for p in (ROOT / "tests" / "c").glob("test_*.c"))
SECONDS = int(os.environ.get("PYJET_STRESS_SECONDS", "30"))


def build(sanitize, program):
    target = f"build/san-{sanitize.replace(',', '-')}/{program}"
    make(f"SANITIZE={sanitize}", target)
    return ROOT / target


def play(program, place, **options):
    """Ends well, all cases, and no sanitizer has said a word."""
    done = subprocess.run([program], env={**os.environ, "TMPDIR": str(place), **options}, capture_output=True, text=True, timeout=1200)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-6000:]
    assert "runtime error" not in told and "Sanitizer" not in told, told[-6000:]
    assert "\nok " in f"\n{told}"
    return told


@pytest.mark.threads
@pytest.mark.parametrize("program", ROOMS)
def test_address_and_undefined(program, memory_path):
    play(build("address,undefined", program), memory_path)


@pytest.mark.threads
def test_threads(memory_path):
    told = play(build("thread", "test_api_threads"), memory_path, PYJET_STRESS_SECONDS=str(SECONDS))
    print(told)


@pytest.mark.threads
@pytest.mark.parametrize("program", ["test_os", "test_version", "test_engine", "test_engine_backup"])
def test_rooms_with_threads(program, memory_path):
    play(build("thread", program), memory_path)
