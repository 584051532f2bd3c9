"""Prune: over many histories and rules, no chain is broken and the last verified set stays."""

import datetime
import itertools
import random

import pyjet
import pytest
from pyjet.backup import chains, prune
from pyjet.backup.manifest import BackupSet, SetFile

START = datetime.datetime(2024, 2, 27, 23, 30, tzinfo=datetime.timezone.utc)


def make(number, kind, parent, at, *, verified=None, label=None, generations=(1, 1)):
    marks = (
        ()
        if verified is None
        else ({"level": verified[0], "time": at.isoformat(), "ok": verified[1]},)
    )
    return BackupSet(
        id=f"20240227T233000Z-{number:08x}",
        kind=kind,
        parent=parent,
        started=at,
        finished=at,
        base_name="edb",
        page_size=4096,
        log_file_size=1 << 20,
        signature="s",
        generations=generations,
        databases=(("a.edb", ""),) if kind == "full" else (),
        files=(SetFile("edb00001.log", "log", 10, "0" * 64),),
        label=label,
        verified=marks,
    )


def history(chance):
    """Sets in any shape: chains, branches, sets whose parents are gone, verified or failed at any level."""
    sets, at = [], START
    for number in range(chance.randint(0, 25)):
        at += datetime.timedelta(minutes=chance.choice((0, 7, 55, 60 * 11, 60 * 24 * 3, 60 * 24 * 40)))
        parent = chance.choice([None, None, *sets[-4:], "gone"]) if sets else None
        parent_id = (
            parent.id
            if isinstance(parent, BackupSet)
            else f"20240227T233000Z-{0xDEAD:08x}"
            if parent
            else None
        )
        last = parent.generations[1] if isinstance(parent, BackupSet) else 5
        sets.append(
            make(
                number,
                "incremental" if parent else "full",
                parent_id,
                at,
                verified=chance.choice((None, (chance.choice(chains.LEVELS), chance.random() < 0.5))),
                label=chance.choice((None, None, None, "keep")),
                generations=(last + 1, last + 2) if parent else (3, 5),
            )
        )
    return chance.sample(sets, len(sets))


RULES = {
    "keep_last": range(7),
    **{name: range(5) for name in prune.PERIODS},
    "keep_within": (datetime.timedelta(0), datetime.timedelta(days=2)),
    "keep_labels": ((), ("keep",)),
    "min_full": (1, 2, 3),
}


def some_rules(chance):
    """Each with its own odds, from none to all of them."""
    often = chance.random()
    return {name: chance.choice(values) for name, values in RULES.items() if chance.random() < often}


def test_prune_never_breaks_a_chain():
    removed = 0
    for seed in range(600):
        chance = random.Random(seed)
        sets, rules = history(chance), some_rules(chance)
        try:
            removed += holds(sets, rules)
        except BaseException as e:
            raise AssertionError(f"seed {seed}: {len(sets)} sets, {rules}") from e
    assert removed > 600


def holds(sets, rules):
    """How many sets are removed of this history; raises when a rule or a chain is broken."""
    at = max((s.finished for s in sets), default=START) + datetime.timedelta(hours=1)
    if not any(rules.get(r) for r in (*prune.PERIODS, "keep_last", "keep_within", "keep_labels")):
        with pytest.raises(pyjet.InvalidParameterError):
            prune.choose(sets, rules, at)
        return 0
    kept, gone = prune.choose(sets, rules, at)
    gone_ids = [s.id for s in gone]
    assert sorted([*kept, *gone_ids]) == sorted(s.id for s in sets)
    restorable = {s.id for chain in chains.build(sets)[0] for s in chain}
    sure = prune.last_verified(sets)
    # after every single removal, so at every crash: what was restorable and is still there is restorable, the verified one is there
    for n in range(len(gone) + 1):
        left = [s for s in sets if s.id not in gone_ids[:n]]
        now_restorable = {s.id for chain in chains.build(left)[0] for s in chain}
        assert now_restorable == restorable - set(gone_ids[:n])
        assert sure is None or sure.id in {s.id for s in left}
    # the newest chains stay, and so does what the rules name, for what is still restorable
    newest = sorted(sets, key=lambda s: (s.finished, s.generations[1], s.id))  # of one moment: what ends with the later log
    assert not {s.id for s in newest[len(sets) - rules.get("keep_last", 0) :]} & set(gone_ids)
    assert not {
        s.id for chain in chains.build(sets)[0][-rules.get("min_full", 1) :] for s in chain
    } & set(gone_ids)
    assert not {s.id for s in sets if s.label in rules.get("keep_labels", ())} & set(gone_ids)
    # and it does remove: a chain goes when nothing in it is kept by itself
    for s in gone:
        assert s.id in restorable
    return len(gone)


def test_periods():
    """One full set each six hours for ten days: the newest of each day, of each week."""
    sets = [make(n, "full", None, START + datetime.timedelta(hours=6 * n)) for n in range(40)]
    at = sets[-1].finished
    kept, gone = prune.choose(sets, {"keep_daily": 3}, at)
    days = [s.finished.date() for s in sets if s.id in kept]
    assert len(days) == 3 and days == sorted(set(days)) and days[-1] == at.date()
    for s in (s for s in sets if s.id in kept):
        later = [
            x for x in sets if x.finished.date() == s.finished.date() and x.finished > s.finished
        ]
        assert not later
    kept, _ = prune.choose(sets, {"keep_last": 2, "keep_weekly": 2}, at)
    assert len(kept) == 3 and len(gone) == 37


def test_the_last_verified_stays():
    sets = [
        make(0, "full", None, START, verified=("RESTORE", True)),
        make(1, "full", None, START + datetime.timedelta(days=1)),
        make(2, "full", None, START + datetime.timedelta(days=2), verified=("FILES", True)),
        make(3, "full", None, START + datetime.timedelta(days=3), verified=("REPLAY", False)),
    ]
    kept, gone = prune.choose(sets, {"keep_last": 1}, START)
    assert kept[sets[0].id] == "last verified" and [s.id for s in gone] == [sets[1].id, sets[2].id]


def test_rules_are_checked():
    for bad in (
        {},
        {"keep_last": 0},
        {"min_full": 2},
        {"keep_last": -1},
        {"keep_last": 1, "min_full": 0},
        {"keep_lots": 1},
        {"keep_last": True},
    ):
        with pytest.raises(pyjet.InvalidParameterError):
            prune.choose([], bad, START)


def test_order_of_branches():
    """Two increments of one parent, as an import beside a backup makes them."""
    a = make(0, "full", None, START, generations=(3, 5))
    b = make(1, "incremental", a.id, START + datetime.timedelta(hours=1), generations=(6, 7))
    c = make(2, "incremental", a.id, START + datetime.timedelta(hours=2), generations=(6, 8))
    d = make(3, "full", None, START + datetime.timedelta(hours=3))
    for order in itertools.permutations([a, b, c, d]):
        gone = [s.id for s in prune.choose(list(order), {"keep_last": 1}, START)[1]]
        assert gone[-1] == a.id and sorted(gone[:2]) == [b.id, c.id]
        assert prune.choose(list(order), {"keep_last": 2}, START)[0].keys() == {a.id, c.id, d.id}
