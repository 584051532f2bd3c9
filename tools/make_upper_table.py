"""Prints csrc/record/upper.def: simple upper-case mappings of the BMP beyond ASCII, as runs.

The order of our Unicode keys depends on this table, and indexes on disk depend on the order: the
committed file is frozen (Unicode 14) and is only made anew together with a new sort version.
"""
import sys
import unicodedata


def upper(c):
    """The one-character upper case of c; titlecase stands in where the full mapping is longer."""
    mapped = chr(c).upper()
    if len(mapped) > 1:
        mapped = chr(c).title()
    return ord(mapped) if len(mapped) == 1 and ord(mapped) < 0x10000 else c


def runs():
    """Yields (first, last, step, delta) with equal deltas; step 1 or 2."""
    run = None
    for c in range(0x80, 0x10000):
        if 0xD800 <= c < 0xE000 or upper(c) == c:
            continue
        delta = upper(c) - c
        if run and delta == run[3] and c - run[1] in (1, 2) and run[2] in (0, c - run[1]):
            run[1:3] = c, c - run[1]
            continue
        if run:
            yield run
        run = [c, c, 0, delta]
    yield run


def main():
    out = sys.stdout
    out.write(f"/* Made by tools/make_upper_table.py from Unicode {unicodedata.unidata_version}. "
              "Frozen: see its head.\n * X(first, last, step, delta) */\n")
    for first, last, step, delta in runs():
        out.write(f"X(0x{first:04x}, 0x{last:04x}, {max(step, 1)}, {delta})\n")


if __name__ == "__main__":
    main()
