"""Refuses an upward include, another room's private header, and a kernel header outside os/.

Reads csrc/FLOORS and every #include below csrc. Exit 1 with one line a breach.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "csrc"
KERNEL = {"fcntl.h", "unistd.h", "pthread.h", "time.h", "dirent.h", "poll.h", "sched.h", "threads.h"}
KERNEL_DIRS = ("sys/", "linux/", "asm/")
ANY_FLOOR = {"include/jet_types.h", "include/jet_errors.def", "include/jet_params.def"}


def read_floors():
    floors = {}
    for line in (ROOT / "FLOORS").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            number, *rooms = line.split()
            floors.update({room: int(number) for room in rooms})
    return floors


def breaches():
    floors = read_floors()
    for path in sorted(ROOT.rglob("*.[ch]")):
        room = path.relative_to(ROOT).parts[0]
        if room == "include":
            continue
        where = path.relative_to(ROOT)
        if room not in floors:
            yield f"{where}: room {room} is not in FLOORS"
            continue
        for n, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not m:
                continue
            kind, name = m.groups()
            if kind == "<":
                if (name in KERNEL or name.startswith(KERNEL_DIRS)) and room != "os":
                    yield f"{where}:{n}: kernel header <{name}> outside os/"
                if name == "zlib.h" and room != "base":
                    yield f"{where}:{n}: <zlib.h> outside base/"
                if name == "Python.h" and room != "python":
                    yield f"{where}:{n}: <Python.h> outside python/"
                continue
            if name in ANY_FLOOR:
                continue
            if name in ("include/esent.h", "include/pyjet.h"):
                if room not in ("api", "python"):
                    yield f"{where}:{n}: {name} below api/"
                continue
            other, _, file = name.partition("/")
            if other == room:
                continue
            if room == "python":
                yield f"{where}:{n}: python/ sees include/esent.h and pyjet.h only, not {name}"
            elif other not in floors:
                yield f"{where}:{n}: {name} names no room"
            elif floors[other] >= floors[room]:
                yield f"{where}:{n}: upward include of {name}"
            elif file.endswith("_private.h") or (file.endswith("_format.h") and room != "check" and other != room and not _format_ok(room)):
                yield f"{where}:{n}: {name} is private to {other}/"


def _format_ok(room):
    # recovery reads the record structs of the rooms below it (csrc/README.rst, redo without a circle)
    return room in ("recovery", "check")


if __name__ == "__main__":
    found = list(breaches())
    print("\n".join(found) or "floors: no breach")
    sys.exit(bool(found))
