"""The C tests under sanitizers (mark threads): every room under AddressSanitizer and UBSan, the stress of all threads under ThreadSanitizer;
the extension under AddressSanitizer and LeakSanitizer."""

import os
import pathlib
import shutil
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


@pytest.fixture(scope="module")
def package_with_asan():
    """A folder with the package, whose extension is built with AddressSanitizer and our own assertions."""
    place = ROOT / "build" / "asan-extension"
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", place / "lib", "--build-temp", place / "temp"]
    env = {**os.environ, "PYJET_SANITIZE": "address", "PYJET_DEBUG": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"needs setuptools and a compiler with AddressSanitizer: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    shutil.copytree(ROOT / "pyjet", place / "lib" / "pyjet", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return place / "lib"


def play_leaks(package, *arguments):
    asan = subprocess.run([os.environ.get("CC", "cc"), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    env = {**os.environ, "LD_PRELOAD": asan, "PYTHONPATH": str(package), "PYTHONMALLOC": "malloc",
           "ASAN_OPTIONS": "detect_leaks=1:fast_unwind_on_malloc=0:malloc_context_size=12"}  # fmt: skip
    command = [sys.executable, ROOT / "tests" / "threads" / "leaks.py", *arguments]
    return subprocess.run(command, env=env, cwd=package, capture_output=True, text=True, timeout=1200)


@pytest.mark.threads
def test_the_extension_forgets_no_memory(package_with_asan, memory_path):
    done = play_leaks(package_with_asan, memory_path)
    told = done.stdout + done.stderr
    assert done.returncode == 0 and "Sanitizer" not in told and "\nok" in f"\n{done.stdout}", told[-6000:]


@pytest.mark.threads
def test_a_forgotten_object_is_seen(package_with_asan, memory_path):
    done = play_leaks(package_with_asan, memory_path, "lose")
    assert done.returncode != 0 and "LeakSanitizer" in done.stderr and "py_session_of_engine" in done.stderr, done.stderr[-3000:]
