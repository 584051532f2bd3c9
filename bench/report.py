"""python bench/report.py FILE: the table of a run. Ratios are made inside a round, of neighbouring runs: median (min, max)."""

import json
import statistics
import sys

import lines

LOWER_IS_BETTER = {"p50"}
UNITS = {"cpu_rate": "/CPU-s", "wall_rate": "/s", "mb_s": "MB/s", "p50": "us p50"}


def by_round(rows, line, engine, layer):
    return {r["round"]: r["value"] for r in rows if "value" in r and (r["line"], r["engine"], r["layer"]) == (line, engine, layer)}


def ratios(rows, line, layer, engine, peer, peer_line=None, peer_layer=None):
    """pyjet's share of the peer in each round where both ran."""
    ours = by_round(rows, line, engine, layer)
    theirs = by_round(rows, peer_line or line, peer, peer_layer or layer)
    return [ours[r] / theirs[r] for r in sorted(ours) if theirs.get(r)]


def spread(values, digits=2):
    if not values:
        return "-"
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}, {max(values):.{digits}f})"


def short(number):
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.3g}"


def cell(rows, line, engine, layer, unit):
    values = list(by_round(rows, line, engine, layer).values())
    return f"{short(statistics.median(values))} {unit}" if values else "-"


def of_peers(rows, r, tell):
    """What the peers have beside pyjet's row, in its round."""
    same = [p for p in rows if "value" in p and (p["line"], p["layer"], p["round"]) == (r["line"], r["layer"], r["round"])]
    return "".join(f", {p['engine']} {tell(p)}" for p in same if p["engine"] != "pyjet")


def kept(r):
    return f"{r['writer_during'] / max(r['writer_before'], 1e-9):.2f}"


def extra(rows, line, layer):
    """What a line tells beside its number, of pyjet's last round."""
    mine = [r for r in rows if "value" in r and (r["line"], r["engine"], r["layer"]) == (line, "pyjet", layer)]
    if not mine:
        return ""
    r = mine[-1]
    if line.startswith("insert_durable"):
        return f"p50 {r['p50_us']:.0f} us, p99 {r['p99_us']:.0f} us, {r['syncs'] / r['ops']:.2f} syncs a commit"
    if line == "backup_full_writer":
        return (
            f"writer keeps {kept(r)}{of_peers(rows, r, kept)}; p99 {r['writer_p99_before_us']:.0f} -> {r['writer_p99_during_us']:.0f} us, "
            f"longest {r['writer_stall_us'] / 1e3:.1f} ms"
        )
    if line == "backup_incr_1pct":
        others = of_peers(rows, r, lambda p: f"{p['bytes'] / 1e6:.2f}")
        return f"{r['bytes'] / 1e6:.2f} MB copied{others}; {r['log_bytes'] / 1e6:.2f} MB of log, database {r['db_bytes'] / 1e6:.0f} MB"
    if line.startswith("insert_random") and layer == "c":
        return f"{r['log_bytes'] / r['ops']:.0f} B of log a row"
    return ""


def against_best(rows, line, layer, peers):
    """pyjet beside the best of the peers, by their medians; more than 1: pyjet leads."""
    lower = line.metric in LOWER_IS_BETTER
    middles = {p: statistics.median(v) for p in peers if (v := ratios(rows, line.name, layer, "pyjet", p))}
    if not middles:
        return "-"
    best = (max if lower else min)(middles, key=middles.get)
    share = 1 / middles[best] if lower else middles[best]
    return f"leads, {share:.2f} x {best}" if share >= 1 else f"{share:.2f} x {best}"


def table(rows):
    out = []
    misses = [r for r in rows if r.get("misses")]
    noisy = sum(1 for r in rows if r.get("noisy"))
    for layer, title, all_lines in (("c", "C libraries", lines.C_LINES), ("py", "from Python", lines.PY_LINES)):
        there = [line for line in all_lines if by_round(rows, line.name, "pyjet", layer) or layer_has(rows, line.name, layer)]
        if not there:
            continue
        peers = sorted({r["engine"] for r in rows if r["layer"] == layer} - {"pyjet"}, reverse=True)
        out += ["", f"| {title} | class | pyjet | " + " | ".join(f"{p} | pyjet / {p}" for p in peers) + " | beside the best | |"]
        out.append("|---|---|---|" + "---|---|" * len(peers) + "---|---|")
        for line in there:
            cells = [cell(rows, line.name, "pyjet", layer, UNITS[line.metric])]
            for p in peers:
                cells += [cell(rows, line.name, p, layer, UNITS[line.metric]), spread(ratios(rows, line.name, layer, "pyjet", p))]
            cells.append(against_best(rows, line, layer, peers))
            out.append(f"| {line.name} | {line.durability} | " + " | ".join(cells) + f" | {extra(rows, line.name, layer)} |")
    for name, unit in (("phys_fsync_append", "us p50"), ("phys_copy_sync", "MB/s")):
        values = [r["value"] for r in rows if r["line"] == name and "value" in r]
        if values:
            out.append(f"\n{name}: {spread(values, 1)} {unit}")
    used = {(r["engine"], r.get("durability")) for r in rows}
    out += ["", *(f"{e}, class {c}: {text}" for (e, c), text in lines.FOOTNOTES.items() if (e, c) in used)]
    out.append("Rates are per CPU second of the process where the unit says so, p50 lines: lower is better.")
    if noisy:
        out.append(f"{noisy} of {len(rows)} runs met more than half a CPU of foreign load.")
    failed = sorted({f"{r['line']} of {r['engine']}" for r in rows if "error" in r})
    if failed:
        out.append("Failed, no number: " + ", ".join(failed) + ".")
    if misses:
        out.append(f"{len(misses)} runs gave wrong or missing rows: their numbers are void.")
    return "\n".join(out)


def layer_has(rows, name, layer):
    return any(r["line"] == name and r["layer"] == layer and "value" in r for r in rows)


def read(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(text) for text in f]


if __name__ == "__main__":
    print(table(read(sys.argv[1])))
