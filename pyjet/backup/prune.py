"""Which chains go. The choice is a pure function of sets, rules and time; removing comes after it."""

import collections
import collections.abc
import dataclasses
import datetime
import os

from .. import errors
from . import chains, files, limits
from .manifest import now
from .results import Result, human

PERIODS = {
    "keep_hourly": lambda t: (t.date(), t.hour),
    "keep_daily": lambda t: t.date(),
    "keep_weekly": lambda t: t.isocalendar()[:2],
    "keep_monthly": lambda t: (t.year, t.month),
    "keep_yearly": lambda t: t.year,
}


@dataclasses.dataclass(frozen=True)
class PruneReport(Result):
    """``kept``: why, by id; ``removed``: ids in the order of removal, of a dry run those that would go."""

    dry_run: bool
    kept: dict
    removed: tuple
    bytes: int

    def __str__(self):
        what = "would remove" if self.dry_run else "removed"
        lines = [f"keep {set_id}: {why}" for set_id, why in self.kept.items()]
        lines += [f"{what} {set_id}" for set_id in self.removed]
        return "\n".join([*lines, f"{what} {len(self.removed)} sets, {human(self.bytes)}"])


def _check_rules(rules):
    known = {"keep_last", *PERIODS, "keep_within", "keep_labels", "min_full"}
    if unknown := set(rules) - known:
        raise errors.InvalidParameterError(f"prune has no rule {sorted(unknown)[0]!r}")
    for name in ("keep_last", *PERIODS, "min_full"):
        if type(rules.get(name, 1)) is not int or rules.get(name, 1) < (
            1 if name == "min_full" else 0
        ):
            raise errors.InvalidParameterError(f"{name} is a count; min_full at least 1")
    labels = rules.get("keep_labels") or ()
    if isinstance(labels, (str, bytes)) or not isinstance(labels, collections.abc.Collection):
        raise TypeError(f"keep_labels is a list of labels, not {labels!r}")
    if not any(rules.get(name) for name in known - {"min_full"}):
        raise errors.InvalidParameterError(
            "prune needs a rule, such as keep_last=7, so that nothing is removed by mistake"
        )


def _picked(sets, rules, at):
    """{id: why} of the sets that a rule keeps by itself."""
    newest_first = chains.ordered(sets)[::-1]
    why = {}
    for s in newest_first[: rules.get("keep_last", 0)]:
        why.setdefault(s.id, "keep_last")
    for name, period in PERIODS.items():
        seen = set()
        for s in newest_first:
            key = period(s.finished.astimezone(datetime.timezone.utc))
            if key not in seen and len(seen) < rules.get(name, 0):
                seen.add(key)
                why.setdefault(s.id, name)
    if rules.get("keep_within"):
        for s in newest_first:
            if at - s.finished <= rules["keep_within"]:
                why.setdefault(s.id, "keep_within")
    for s in newest_first:
        if s.label is not None and s.label in (rules.get("keep_labels") or ()):
            why.setdefault(s.id, "keep_labels")
    return why


def last_verified(sets):
    """The newest set whose last verification, as deep as its chain, found it sound; None when there is none."""
    found = [s for s in chains.ordered(sets) if chains.passed(s, "CHAIN")]
    return found[-1] if found else None


def choose(sets, rules, at):
    """({id: why kept}, [sets to remove, each before those it needs]). Sets whose chain is damaged are kept: they are for people."""
    _check_rules(rules)
    found, orphans = chains.build(sets)
    why = _picked(sets, rules, at)
    for chain in found[-rules.get("min_full", 1) :]:
        why.setdefault(chain[-1].id, "min_full")
    if (sure := last_verified(sets)) is not None:
        why.setdefault(sure.id, "last verified")
    kept = {s.id: "its chain is damaged" for s in orphans}
    for chain in found:
        reasons = [why[s.id] for s in chain if s.id in why]
        if reasons:
            for s in chain:
                kept[s.id] = why.get(s.id, f"its chain is kept ({reasons[0]})")
    return {s.id: kept[s.id] for s in sets if s.id in kept}, _from_their_ends(found, kept)


def _from_their_ends(found, kept):
    """The sets of chains that are not kept, each behind all that continue it: branches meet in a set that both need."""
    gone = {s.id: s for chain in found for s in chain if s.id not in kept}
    left = collections.Counter(s.parent for s in gone.values())
    order = []
    for chain in found:
        for s in reversed(chain):
            if s.id not in gone or left[s.id]:
                break
            order.append(gone.pop(s.id))
            left[s.parent] -= 1
    return order


def prune(repo, dry_run, **rules):
    """The work of BackupRepo.prune."""
    if rules.get("keep_within") is not None:
        what = "keep_within is a timedelta, or a number of seconds"
        rules["keep_within"] = datetime.timedelta(seconds=limits.checked_seconds(rules["keep_within"], what))
    _check_rules(rules)
    if dry_run:
        kept, gone = choose(repo.sets(), rules, now())
    else:
        with repo._writing(), repo.removing():
            kept, gone = choose(repo.sets(), rules, now())
            for s in gone:
                repo.remove(s)
            for name in os.listdir(
                repo.path("scratch")
            ):  # of verifications that were killed: none runs now
                files.remove_tree(repo.path("scratch", name))
            for name in os.listdir(repo.path("catalog")):  # of manifests and marks that were being written: nobody writes one now
                if name.startswith(".") and name.endswith(".tmp"):
                    os.unlink(repo.path("catalog", name))
    return PruneReport(dry_run, kept, tuple(s.id for s in gone), sum(s.stored_bytes for s in gone))
