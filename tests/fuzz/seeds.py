"""Pieces of real files as inputs for the targets, made when a fuzzer runs; none of them is kept."""

import gzip
import os
import pathlib
import struct
import tarfile


def folder():
    """Where the real files are: PYJET_SAMPLES, or None."""
    named = os.environ.get("PYJET_SAMPLES")
    return pathlib.Path(named) if named and os.path.isdir(named) else None


def files(samples):
    """(name, bytes) of every file, those in archives too."""
    for path in sorted(samples.iterdir()):
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile():
                        yield os.path.basename(member.name), tar.extractfile(member).read()
        elif path.suffix == ".gz":
            yield path.stem, gzip.decompress(path.read_bytes())


def page_size(data):
    found = struct.unpack_from("<I", data, 236)[0] if len(data) > 8192 else 0
    return found if found in (2048, 4096, 8192, 16384, 32768) else 4096


def is_database(data):
    return data[4:8] == b"\xef\xcd\xab\x89" and struct.unpack_from("<I", data, 667)[0] in (0, 1)


def pages(data, most=25):
    """Used pages, spread over the file."""
    size = page_size(data)
    used = [data[at : at + size] for at in range(2 * size, len(data) - size, size) if data[at + 36 : at + 38] != b"\0\0"]
    return used[:: max(1, len(used) // most)][:most]


def records(page):
    """Data of the nodes of a data leaf with small pages."""
    flags = struct.unpack_from("<I", page, 36)[0]
    if len(page) > 8192 or not flags & 2 or flags & (0x20 | 0x40 | 0x80):
        return
    count = struct.unpack_from("<H", page, 34)[0] & 0xFFF
    for itag in range(1, min(count, 40)):
        cb, ib = struct.unpack_from("<HH", page, len(page) - 4 * itag - 4)
        node = page[40 + (ib & 0x1FFF) :][: cb & 0x1FFF]
        at = 2 if (ib >> 13) & 4 or (cb >> 13) & 4 else 0
        if len(node) < at + 2:
            continue
        suffix = struct.unpack_from("<H", node, at)[0] & 0x1FFF
        yield node[at + 2 + suffix :]


def of_page(page, dumped):
    """The first byte names the page's size (mod 5), says that the bytes lie as they do on disk (0x20) and whether they become text (0x18)."""
    size = {2048: 0, 4096: 1, 8192: 2, 16384: 3, 32768: 4}[len(page)]
    first = 56 if dumped else 32
    return bytes([first + (size - first) % 5, 0]) + page


def inputs(target, samples):
    n = 4  # edb: the files of its own come first
    for name, data in files(samples):
        database, log = is_database(data), name.lower().endswith((".log", ".jtx"))
        if target == "db_header" and database:
            size = page_size(data)
            yield data[:size][:1024] + bytes([{2048: 0, 4096: 1, 8192: 2, 16384: 3, 32768: 4}[size]])
        elif target == "page" and database:
            yield from (of_page(p, i % 8 == 0) for i, p in enumerate(pages(data)) if len(p) <= 8192)
        elif target == "record" and database:
            for page in pages(data):
                yield from (bytes([9, 0xFF, 0]) + r for r in records(page))
        elif target == "key" and database:
            for page in pages(data):
                yield from (bytes([8, 0, 0, 0]) + r[:200] for r in records(page))
        elif target == "longvalue" and database:
            for page in pages(data):
                yield from (bytes([7]) + r for r in records(page))
        elif target == "log_header" and log:
            yield data[:4096] + b"\0"
        elif target == "log_record" and log:
            yield from (b"\3" + data[at + 40 : at + 4096] for at in range(4096, min(len(data), 160 * 4096), 16 * 4096))
        elif target == "edb" and database and len(data) <= 2 << 20:
            yield bytes([n])
            n += 1
        elif target == "checkpoint" and name.lower().endswith((".chk", ".jcp")):
            yield data[:4096] + b"\0"


def write(target, samples, to):
    for n, data in enumerate(inputs(target, samples)):
        if n >= 400:
            return
        (to / f"sample-{n}").write_bytes(data[:9000])


def write_databases(samples, to, largest):
    """Whole files, for the target that opens them."""
    for name, data in files(samples):
        if is_database(data) and len(data) <= largest:
            (to / name).write_bytes(data)
