"""The parser of repository manifests, fuzzed by mutations of JSON that are kept when they reach a new line of it."""

import copy
import gc
import json
import pathlib
import random
import resource
import signal
import sys
import time

HANG_SECONDS = 5
MEMORY_BYTES = 1 << 30

GOOD = {
    "format": "pyjet-set", "v": 1, "id": "20240102T030405Z-0123abcd", "kind": "full", "parent": None, "label": "nightly",
    "metadata": {"host": "a"}, "started": "2024-01-02T03:04:05+00:00", "finished": "2024-01-02T03:05:05+00:00", "store": "plain",
    "origin": "backup", "base_name": "edb", "page_size": 4096, "log_file_size": 65536, "signature": "00", "generations": [1, 2],
    "databases": [{"name": "a.edb", "original": "/a.edb"}], "duration": 1.5, "reason": "",
    "files": [{"name": "a.edb", "role": "database", "size": 8192, "sha256": "0" * 64},
              {"name": "edb00000001.log", "role": "log", "size": 65536, "packed": 9}],
}  # fmt: skip

ODD = [None, True, False, 0, -1, 1, 1 << 31, 1 << 63, 1 << 5000, 1.5, -0.0, float("nan"), float("inf"), 1e308, "", "a", "..", "/", "a/b", "\x00",
       "\ud800", "é" * 200, "x" * 5000, [], {}, [[]], {"": None}, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2024-01-02",
       "20240102T030405Z-0123abcd", "full", "incremental", "packed", "plain", 2048, [2, 1], [1, 1 << 32], [1, 2, 3], "\n", "edb\n"]  # fmt: skip


class Hang(BaseException):
    pass


def places(value, found):
    """Every container with the keys that may be changed in it."""
    if isinstance(value, dict):
        for key in value:
            found.append((value, key))
            places(value[key], found)
    elif isinstance(value, list):
        for at in range(len(value)):
            found.append((value, at))
            places(value[at], found)
    return found


def mutate(rng, pool):
    value = copy.deepcopy(rng.choice(pool))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        found = places(value, [])
        if not found:
            break
        inside, key = rng.choice(found)
        what = rng.randrange(6)
        if what == 0:
            del inside[key]
        elif what == 1 and isinstance(inside, list):
            inside.extend(copy.deepcopy(inside[key : key + 1]) * rng.choice((1, 2, 70)))
        elif what == 2:
            other, at = rng.choice(found)
            try:
                inside[key] = copy.deepcopy(other[at])
            except (KeyError, IndexError):
                continue
        elif what == 3 and isinstance(inside[key], str):
            text = list(inside[key])
            text.insert(rng.randint(0, len(text)), rng.choice("\x00/\n.é\ud800 Z-0af"))
            inside[key] = "".join(text)
        elif what == 4 and type(inside[key]) is int:
            inside[key] += rng.choice((-1, 1, 1 << 16, 1 << 32, -(1 << 40)))
        else:
            inside[key] = copy.deepcopy(rng.choice(ODD))
    return value


def damage(rng, data):
    """Bytes that are no longer what json.dumps writes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(3)] = rng.choice((b"\xff", b"{", b"[" * rng.choice((1, 100000)), b"}", b'"', b"\\ud800", b"1e999", b"9" * 5000, b"", b"NaN", b"\0"))
    return bytes(data)


def parse(data):
    """As the repository does with a manifest out of an archive; what is accepted can be shown and written again."""
    from pyjet import errors
    from pyjet.backup import files, manifest

    try:
        found = manifest.from_json(files.parse_json(data, "fuzzed"), "fuzzed")
    except errors.ManifestError as error:
        str(error)
        return False
    again = manifest.from_json(json.loads(json.dumps(manifest.to_json(found))), "again")
    assert again == found, "a manifest that was accepted is another one when written and read again"
    str(found), repr(found), found.to_dict(), found.summary()
    assert all(files.is_name(f.name) for f in found.files) and found.bytes >= 0 and found.stored_bytes >= 0
    return True


def fuzz(seconds, seed, corpus):
    """(executions, lines reached, finding or "")."""
    from pyjet.backup import manifest as module
    from pyjet.backup import note

    traced = {module.__file__, note.__file__}
    reached, rng, count = set(), random.Random(seed), 0
    pool = [GOOD, *(json.loads(p.read_text()) for p in sorted(pathlib.Path(corpus).glob("*.json")))]

    def line(frame, event, arg):
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame, event, arg):
        return line if frame.f_code.co_filename in traced else None

    def hang(*_):
        raise Hang

    end, previous = time.monotonic() + seconds, signal.signal(signal.SIGALRM, hang)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        while time.monotonic() < end:
            value = mutate(rng, pool)
            data = json.dumps(value).encode()
            if rng.randrange(8) == 0:
                data = damage(rng, data)
            before = len(reached)
            signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
            sys.settrace(call)
            try:
                parse(data)
            except (Exception, Hang) as error:
                sys.settrace(None)
                return count, len(reached), keep(data, seed, count, error)
            finally:
                sys.settrace(None)
                signal.setitimer(signal.ITIMER_REAL, 0)
            count += 1
            if len(reached) > before and len(data) < 20000:
                pool.append(value)
            if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) * 1024 > MEMORY_BYTES:
                return count, len(reached), keep(data, seed, count, "more than 1 GiB")
    finally:
        signal.signal(signal.SIGALRM, previous)
        gc.collect()
    return count, len(reached), ""


def keep(data, seed, count, why):
    to = pathlib.Path(__file__).resolve().parent.parent.parent / "build" / "fuzz" / "findings" / "manifest"
    to.mkdir(parents=True, exist_ok=True)
    path = to / f"{seed}-{count}.json"
    path.write_bytes(data)
    return f"{type(why).__name__}: {why} ({path.name}, replay: python -m tests.fuzz.manifest THAT FILE)"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, "accepted" if parse(pathlib.Path(name).read_bytes()) else "refused")
