"""docs/media.rst, from the cases of a sitting."""

HEAD = """Bad media
=========

What happens when a disk gives back other bytes than were written. Every class of page and of log segment was damaged in each of
these ways:
{ways};
one block a case, noise from a seeded generator.

{count} cases, seed {seed}, pages of {page_size} bytes, 0 in which anything wrong was given to anybody. Made by::

    python -m tests.media.media --cases {count} --seed {seed} --jobs {jobs} --table docs/media.rst

Pages
-----

A column counts the cases in which

- *checked*: ``pyjet check`` tells it, with the page's number (of the headers: by name);
- *corrected*: it was one flipped bit, and the checksum's ECC put it right;
- *reported*: event 474 named the page while an instance read all rows of all indexes and backed up;
- *refused*: a reader got an error that names the page. In the other cases the rows were right: the bit was corrected, the other
  copy of a header served, or no row needs the page;
- *healed*: after an instance had read it and detached it, the file was in order again, written back by the cache;
- *backed up*: the set restores to the right rows; *backup refused*: with the page's number;
- *harmless*: zeros over a page that is not in use.

"""

LOGS = """
Log segments
------------

All generations of a crash image are needed here. *recovered*: all that was committed is there: the bit was corrected, or the
segment is not needed. *refused*: recovery says which log is damaged. *shorter*: the newest generation ends before the damaged
segment, as after a torn write, from which it cannot be told; everything up to there is there, nothing of what comes after. That
never happens in a closed generation.

"""

BLIND = """
What the checksum does not see
------------------------------

ESE's checksum is linear, and its ECC corrects one bit but tells no three from one. These changes are believed, or corrected to
something else: a run of one repeated byte over zeros, or zeros over one, an even number of words long; the same even number of
bits changed in two words a multiple of 4 bytes apart; three flipped bits of which two are a multiple of 32 bits apart. Of {count} cases of such changes ({ways}) {seen}
were told all the same, by the structure of the page or the tree; {harmless} changed nothing that a reader sees; {wrong} gave
wrong rows. They are the format's, shared with every file of ESE, and no part of the count above.

Nor does any checksum see a *lost write*: an old version of the same page, whole and sound. ``pyjet check`` can find it only where trees,
indexes or space no longer agree. That is not measured here.

What to do
----------

``pyjet check FILE`` names file, page, tree and table. One flipped bit heals by itself when an instance reads the page. A backup
refuses, so the last good set stays the last good set: restore it and roll forward over the live logs, which lose nothing.
"""

PAGE_COLUMNS = ("checked", "corrected", "reported", "refused", "healed", "backed up", "backup refused", "harmless")
LOG_COLUMNS = ("recovered", "refused", "shorter")


def _grid(cases, first, columns, key):
    rows = {}
    for case in cases:
        rows.setdefault(key(case), []).append(case)
    lines = [[first, "cases", *columns]]
    for name, some in rows.items():
        lines.append([name, str(len(some)), *(str(sum(c in case.outcome for case in some)) for c in columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = "  ".join("=" * w for w in widths)
    texts = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([rule, texts[0], rule, *texts[1:], rule]) + "\n"


def table(done, spots, seed, page_size, ways, jobs):
    """The whole page of the documentation."""
    pages, logs = ([c for c in done if c.kind == kind] for kind in ("page", "log"))
    blind = [c for c in spots if c.kind == "page"]
    wrong = [c for c in blind if any("wrong" in f for f in c.faults)]
    seen = [c for c in blind if ("checked" in c.outcome or "refused" in c.outcome) and c not in wrong]
    text = HEAD.format(ways=", ".join(ways), count=len(done), seed=seed, jobs=jobs, page_size=page_size)
    text += _grid(pages, "class", PAGE_COLUMNS, lambda c: c.cls) + "\n" + _grid(pages, "damage", PAGE_COLUMNS, lambda c: c.way)
    text += LOGS + _grid(logs, "segment", LOG_COLUMNS, lambda c: c.cls) + "\n" + _grid(logs, "damage", LOG_COLUMNS, lambda c: c.way)
    return text + BLIND.format(ways=", ".join(sorted({c.way for c in blind})), count=len(blind), seen=len(seen), wrong=len(wrong), harmless=len(blind) - len(seen) - len(wrong))
