"""python bench/check.py RESULTS [GOALS]: ratios of a run against goals.toml. Exit 1 when one is below its floor or void."""

import dataclasses
import pathlib
import statistics
import sys

import report

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib


@dataclasses.dataclass
class Verdict:
    name: str
    values: list
    goal: float
    floor: float
    better: str
    verdict: str


def read_goals(path):
    with open(path, "rb") as f:
        return tomllib.load(f)


def measured(rows, text):
    """The values, one a round, that a goal speaks of."""
    kind, what = text.split(":", 1)
    if kind == "line":
        line, peer = what.split("/")
        layer = "py" if line.startswith("py_") else "c"
        if peer.startswith("phys_"):
            return report.ratios(rows, line, layer, "pyjet", "machine", peer, "phys")
        return report.ratios(rows, line, layer, "pyjet", peer)
    if kind == "field":
        line, fields = what.split(":")
        over, under = fields.split("/")
        mine = [r for r in rows if r["line"] == line and r["engine"] == "pyjet" and "error" not in r]
        return [r[over] / r[under] for r in mine if r.get(under)]
    if kind == "number":
        return list(report.by_round(rows, what, "pyjet", "c").values())
    raise ValueError(f"goals: {text!r} is neither line:, field: nor number:")


def rank(goal, middle):
    lower = goal.get("better") == "lower"

    def reaches(limit):
        return middle <= limit if lower else middle >= limit

    if reaches(goal["goal"]):
        return "goal"
    return "ok" if "floor" not in goal or reaches(goal["floor"]) else "FAIL"


def judge(rows, goals):
    verdicts = []
    void = {r["line"] for r in rows if r.get("misses") or "error" in r}
    for name, goal in goals.items():
        values = measured(rows, goal["value"])
        if not values:
            verdict = "not run"
        elif any(line in goal["value"] for line in void):
            verdict = "FAIL"
        else:
            verdict = rank(goal, statistics.median(values))
        verdicts.append(Verdict(name, values, goal["goal"], goal.get("floor"), goal.get("better", "higher"), verdict))
    return verdicts


def table(verdicts):
    out = ["", "| goal | measured: median (min, max) | goal v1 | floor | |", "|---|---|---|---|---|"]
    for v in verdicts:
        sign = "<=" if v.better == "lower" else ">="
        floor = "-" if v.floor is None else f"{sign} {v.floor:g}"
        digits = 0 if v.goal > 1000 else 2
        out.append(f"| {v.name} | {report.spread(v.values, digits)} | {sign} {v.goal:g} | {floor} | {v.verdict} |")
    return "\n".join(out)


def main(argv):
    here = pathlib.Path(__file__).resolve().parent
    verdicts = judge(report.read(argv[0]), read_goals(argv[1] if len(argv) > 1 else here / "goals.toml"))
    print(table(verdicts))
    return 1 if any(v.verdict == "FAIL" for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
