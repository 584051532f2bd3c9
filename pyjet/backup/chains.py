"""How sets follow each other. No files are touched here."""

import datetime

from .. import errors
from ..position import in_utc
from .manifest import BackupSet

LEVELS = ("FILES", "CHECKSUMS", "CHAIN", "REPLAY", "RESTORE")


def is_mark(value):
    """A past verification: {"level", "time", "ok"}."""
    if (
        not isinstance(value, dict)
        or value.get("level") not in LEVELS
        or type(value.get("ok")) is not bool
    ):
        return False
    try:
        return datetime.datetime.fromisoformat(value.get("time")).tzinfo is not None
    except (TypeError, ValueError):
        return False


def passed(s, level):
    """True when the last verification that went as deep as this level found the set sound."""
    deep = [m for m in s.verified if LEVELS.index(m["level"]) >= LEVELS.index(level) or not m["ok"]]
    return bool(deep) and deep[-1]["ok"]


def check_follows(parent, child):
    """ChainBrokenError unless child's logs continue those of parent."""
    hint = "Make a full backup; sets before this one restore as they are."
    if child.signature != parent.signature or child.base_name.lower() != parent.base_name.lower():
        raise errors.ChainBrokenError(
            f"the logs of {child.id} are of another sequence than those of {parent.id}", hint
        )
    if child.generations[0] > parent.generations[1] + 1:
        raise errors.ChainBrokenError(
            f"{parent.id} ends with generation {parent.generations[1]:#x}, {child.id} begins with {child.generations[0]:#x}",
            hint,
        )
    if child.generations[1] < parent.generations[1]:
        raise errors.ChainBrokenError(f"{child.id} ends before {parent.id}", hint)


def ordered(sets):
    """Oldest first: by the time they were finished. Where the clock had gone back a set still comes behind those that were made into this
    repository before it, and behind the one that it continues."""
    at, last = {}, None
    for s in sorted(sets, key=lambda s: (s.order, s.generations[1], s.finished, s.id)):
        at[s.id] = max([s.finished, *([at[s.parent]] if s.parent in at else ()), *([last] if s.order and last else ())])
        last = at[s.id] if s.order else None
    return sorted(sets, key=lambda s: (at[s.id], s.order, s.generations[1], s.id))


def build(sets):
    """(chains, orphans): lists that begin with a full set, ordered by their last sets; sets whose ancestors are not there.

    Two increments of one parent (an import beside a backup) make two chains that share their beginning."""
    by_id = {s.id: s for s in sets}
    parents = {s.parent for s in sets}
    found, used = [], set()
    for leaf in sets:
        if leaf.id in parents:
            continue
        chain, at, seen = [], leaf, set()
        while at is not None and at.id not in seen:
            seen.add(at.id)
            chain.append(at)
            at = by_id.get(at.parent) if at.parent is not None else None
        if chain[-1].kind == "full":
            found.append(chain[::-1])
            used |= seen
    place = {s.id: n for n, s in enumerate(ordered(sets))}
    return sorted(found, key=lambda chain: place[chain[-1].id]), [s for s in sets if s.id not in used]


def chain_of(sets, s):
    """The sets that s needs, the full one first, s last. ChainBrokenError when one is not there, or does not fit."""
    by_id = {x.id: x for x in sets}
    chain, seen = [s], {s.id}
    while chain[-1].parent is not None:
        parent = by_id.get(chain[-1].parent)
        if parent is None or parent.id in seen:
            raise errors.ChainBrokenError(
                f"{chain[-1].id} continues {chain[-1].parent}, which is not in the repository",
                "Import that set, or choose an older one.",
            )
        check_follows(parent, chain[-1])
        seen.add(parent.id)
        chain.append(parent)
    return chain[::-1]


def reaching(sets, stop, goes_on):
    """The set to restore to come to a datetime or a LgPos: of the newest chain whose full set had ended by then the first whose logs
    go as far, else its last. None: no chain is as old as that. goes_on: there are logs behind the last set. ChainBrokenError when there
    are none, and a later chain shows that something was logged since."""

    def ended(s):
        if isinstance(stop, datetime.datetime):
            return s.finished <= stop
        return s.generations[1] <= stop.generation

    def goes_as_far(s):
        if isinstance(stop, datetime.datetime):
            return s.finished >= stop
        return s.generations[1] >= stop.generation

    found = build(sets)[0]
    if not isinstance(stop, datetime.datetime) and found:
        newest = ordered(sets)[-1].signature  # a position means one sequence of logs
        found = [chain for chain in found if chain[0].signature == newest]
    fitting = [chain for chain in found if ended(chain[0])]
    if not fitting:
        return None
    place = {s.id: n for n, s in enumerate(ordered(sets))}
    chain = max(fitting, key=lambda c: (place[c[0].id], place[c[-1].id]))
    reaches = next((s for s in chain if goes_as_far(s)), None)
    later = min((c[0] for c in found if not ended(c[0])), key=lambda s: s.finished, default=None)
    if reaches is None and later is not None and not goes_on:
        raise errors.ChainBrokenError(
            f"no set has the logs to {stop}: {chain[-1].id} ends before, at {chain[-1].finished}, {later.id} begins anew behind it",
            f"Restore {chain[-1].id} as it is, or name a folder with the logs that followed it (roll_forward).",
        )
    return reaches or chain[-1]


def _one(found, which):
    if not found:
        raise errors.SetNotFoundError(str(which), "pyjet list shows those that are there.")
    return found[-1]


def refuse_hidden(found, failed, until=None):
    """ManifestError when a set whose manifest cannot be used was begun behind this one: nobody may take the older one for the latest."""
    for x in failed:
        begun = x.id[: len("20261121T053000Z")]  # to the second: what began in the same one may be the newer
        if begun >= found.id[: len(begun)] and (until is None or begun <= until.strftime("%Y%m%dT%H%M%SZ")):
            raise errors.ManifestError(
                f"{x.id} is newer than {found.id}, and its manifest cannot be used: {x.error.detail}",
                f"To go back to the older one, name it: {found.id}.",
            )


def choose(sets, which, failed=()):
    """The set that a user's word means; see BackupRepo.get. failed: the FailedSets beside them."""
    found = _choose(sets, which)
    if isinstance(which, datetime.datetime):
        refuse_hidden(found, failed, in_utc(which))
    elif which in ("latest", "latest-full"):
        refuse_hidden(found, failed)
    return found


def _choose(sets, which):
    sets = ordered(sets)
    if isinstance(which, BackupSet):
        return _one([s for s in sets if s.id == which.id], which.id)
    if isinstance(which, datetime.datetime):
        which = in_utc(which)
        return _one([s for s in sets if s.finished <= which], f"none was finished by {which}")
    if not isinstance(which, str) or not which:
        raise errors.InvalidParameterError(
            "a set is named by an id, its beginning, a label, a datetime, latest, latest-full or first"
        )
    if which == "latest":
        return _one(sets, which)
    if which == "latest-full":
        return _one([s for s in sets if s.kind == "full"], which)
    if which == "first":
        return _one(sets[:1], which)
    named = [s for s in sets if s.id == which] or [s for s in sets if s.label == which]
    if named:
        return named[-1]
    fitting = [s for s in sets if s.id.startswith(which)]
    if len(fitting) > 1:
        raise errors.InvalidParameterError(
            f"{which!r} fits {len(fitting)} sets: {fitting[0].id}, {fitting[1].id} ..."
        )
    return _one(fitting, which)
