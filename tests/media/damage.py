"""Ways in which a medium lies, as changes of one file; and which pages of a database are of which class.

A way takes (rng, data, at, size, others) and returns the new bytes of the block at ``at``. ``others`` are offsets of other
blocks of the same size. What it returns may equal what was there: then it is no case.
"""

import struct

ZERO, NOISE = "zeros", "noise"


def flip(bits):
    def change(rng, data, at, size, others):
        block = bytearray(data[at : at + size])
        for bit in rng.sample(range(size * 8), bits):
            block[bit // 8] ^= 1 << bit % 8
        return bytes(block)

    return change


def part(what, unit):
    """One aligned part of the block becomes zeros or noise: a sector that was not written, or written with junk."""

    def change(rng, data, at, size, others):
        block = bytearray(data[at : at + size])
        n = min(unit, size)
        first = rng.randrange(size // n) * n
        block[first : first + n] = bytes(n) if what == ZERO else rng.randbytes(n)
        return bytes(block)

    return change


def burst(rng, data, at, size, others):
    """A few bytes of noise anywhere: what a bad cable or memory does."""
    block = bytearray(data[at : at + size])
    n = rng.randrange(2, 40)
    first = rng.randrange(size - n)
    block[first : first + n] = rng.randbytes(n)
    return bytes(block)


def duplicate(rng, data, at, size, others):
    """The block of another place, whole and sound in itself: a write or a read that went astray."""
    there = rng.choice(others)
    return data[there : there + size]


def neighbour(rng, data, at, size, others):
    """The same from the next block: an address that is off by one."""
    there = min(others, key=lambda o: (abs(o - at), o))
    return data[there : there + size]


def half(rng, data, at, size, others):
    """The second half of the block comes from another one: a torn write at the wrong place."""
    there = rng.choice(others)
    return data[at : at + size // 2] + data[there + size // 2 : there + size]


WAYS = {
    "one bit": flip(1),
    "two bits": flip(2),
    "burst of noise": burst,
    "sector of zeros": part(ZERO, 512),
    "sector of noise": part(NOISE, 512),
    "block of zeros": part(ZERO, 1 << 20),
    "block of noise": part(NOISE, 1 << 20),
    "another block": duplicate,
    "the next block": neighbour,
    "half of another": half,
}


def alike(rng, data, at, size, others):
    """Blind spot 1: one repeated byte over zeros, an even number of words long."""
    block = bytearray(data[at : at + size])
    runs = [i for i in range(64, size - 64, 4) if not any(block[i : i + 32])]
    if runs:
        first = rng.choice(runs)
        block[first : first + 32] = bytes([rng.randrange(1, 256)]) * 32
    return bytes(block)


def pair(rng, data, at, size, others):
    """Blind spot 2: the same even number of bits changed in two words."""
    block = bytearray(data[at : at + size])
    first, second = rng.sample(range(64, size - 4, 4), 2)
    for bit in rng.sample(range(32), 2):
        block[first + bit // 8] ^= 1 << bit % 8
        block[second + bit // 8] ^= 1 << bit % 8
    return bytes(block)


BLIND = {"three bits": flip(3), "run of one byte": alike, "two equal even changes": pair}

CATALOG, SHADOW = 2, 3  # object ids of MSysObjects and MSysObjectsShadow
ROOT, LEAF, EMPTY, SPACE, INDEX, LONG_VALUE = 0x1, 0x2, 0x8, 0x20, 0x40, 0x80


def page_class(page):
    """The class of a page's bytes; of pages that no tree uses, "empty"."""
    objid, flags = struct.unpack_from("<I", page, 24)[0], struct.unpack_from("<I", page, 36)[0]
    if not any(page) or flags & EMPTY:
        return "empty"
    if flags & SPACE:
        return "space tree"
    if objid == CATALOG:
        return "catalog"
    if objid == SHADOW:
        return "shadow catalog"
    if flags & ROOT:
        return "root"
    if flags & LONG_VALUE:
        return "long value"
    if flags & INDEX:
        return "index"
    return "leaf" if flags & LEAF else "branch"


def classes(data, size):
    """{class: [page numbers]} of a database file; header and shadow header have the numbers -1 and 0."""
    found = {"header": [-1, 0]}
    for pgno in range(1, len(data) // size - 1):
        at = (pgno + 1) * size
        found.setdefault(page_class(data[at : at + size]), []).append(pgno)
    return found
