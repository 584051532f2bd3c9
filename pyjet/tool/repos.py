"""Verbs over a repository of backup sets."""

import os
import sys

from ..backup import BackupRepo, BackupSet, human
from ..backup.verify import as_level
from . import units
from .codes import NAGIOS
from .runs import repo_of


def run_init(options, out):
    """pyjet init REPO: makes a repository for backup sets."""
    repo = BackupRepo(options.repo, create=True, compress=options.compress, level=options.level)
    out.emit("summary", path=repo.root, compress=repo.compress, level=repo.level)
    out.text(f"{repo.root}: {'compressed ' if repo.compress else ''}repository")


def run_list(options, out):
    """pyjet list REPO: the sets, oldest first."""
    listed = repo_of(options, options.repo).list(include_failed=True)
    sets = [s for s in listed if isinstance(s, BackupSet)]
    for s in listed:
        if isinstance(s, BackupSet):
            out.emit("set", **s.summary())
            out.text(str(s))
        else:
            out.emit("set", id=s.id, error=str(s.error))
            out.text(f"{s.id} cannot be used: {s.error}")
    failed = len(listed) - len(sets)
    out.emit(
        "summary", sets=len(sets), failed=failed, stored_bytes=sum(s.stored_bytes for s in sets)
    )
    return 20 if failed else 0


def run_show(options, out):
    """pyjet show REPO SET: one set, its files, and what it continues."""
    repo = repo_of(options, options.repo)
    s = repo.get(options.set)
    out.result(s, folder=repo.folder(s))
    for key in ("parent", "label", "metadata", "reason", "origin", "store", "started", "duration"):
        out.text(f"  {key}: {getattr(s, key)}")
    out.text(f"  folder: {repo.folder(s)}")
    for name, original in s.databases:
        out.text(f"  database {name} from {original}")
    for f in s.files:
        out.text(f"  {f.name}: {f.role}, {human(f.size)}, sha256 {f.sha256 or 'not taken yet'}")


def run_verify(options, out):
    """pyjet verify REPO [SET]: looks at one set, or at all. 20 when something is wrong, 40 when the deadline came first."""
    report = repo_of(options, options.repo).verify(
        options.set,
        level=as_level(options.level),
        since_last=options.since_last,
        deadline=options.deadline,
        progress=out.progress(),
        scratch=options.scratch,
    )
    for finding in report.findings:
        out.emit("finding", **finding.to_dict())
    out.result(report)
    return 20 if report.findings else 40 if report.not_reached else 0


def run_prune(options, out):
    """pyjet prune REPO --keep-...: removes chains that no rule keeps; without --yes it only says which."""
    names = (
        "keep_last",
        "keep_hourly",
        "keep_daily",
        "keep_weekly",
        "keep_monthly",
        "keep_yearly",
        "keep_within",
        "min_full",
    )
    rules = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    if options.keep_label:
        rules["keep_labels"] = tuple(options.keep_label)
    out.result(repo_of(options, options.repo).prune(dry_run=not options.yes, **rules))


def run_status(options, out):
    """pyjet status REPO: ages, sizes and problems. Exit code 3 for warnings, 20 when it is critical; see also --nagios."""
    status = repo_of(options, options.repo).status(
        max_age=options.max_age, max_verify_age=options.max_verify_age
    )
    out.result(status)
    codes = NAGIOS if options.nagios else {"ok": 0, "warning": 3, "critical": 20}
    return codes[status.level]


def run_adopt(options, out):
    """pyjet adopt REPO DIR: copies a backup folder that was made elsewhere into the repository."""
    repo = repo_of(options, options.repo)
    out.result(
        repo.adopt(
            options.dir,
            label=options.label,
            metadata=dict(options.meta or ()),
            progress=out.progress(),
            deadline=options.deadline,
        )
    )


def run_export(options, out):
    """pyjet export REPO FILE: writes a set, and what it continues, to a tar.gz with checksums."""
    repo = repo_of(options, options.repo)
    out.result(
        repo.export(
            options.set,
            options.file,
            level=options.level,
            progress=out.progress(),
            deadline=options.deadline,
        )
    )


def run_import(options, out):
    """pyjet import REPO FILE: takes the sets of an exported tar.gz; "-" reads it from a pipe."""
    repo = repo_of(options, options.repo)
    source = sys.stdin.buffer if options.file == "-" else os.path.abspath(options.file)
    taken = repo.import_(source, progress=out.progress(), deadline=options.deadline)
    for s in taken:
        out.emit("set", **s.summary())
        out.text(str(s))
    out.emit("summary", sets=[s.id for s in taken], bytes=sum(s.bytes for s in taken))
    out.text(f"imported {len(taken)} sets")


def add(verb):
    """The verbs' own arguments. verb(name, run) gives a parser."""

    def over_repo(name, run, **kw):
        p = verb(name, run, **kw)
        p.add_argument("repo", help="folder of the repository")
        return p

    p = over_repo("init", run_init)
    p.add_argument(
        "--compress", action="store_true", help="store sets compressed (zlib, block by block)"
    )
    p.add_argument("--level", type=int, default=1, help="of compression, 1 (fast, default) to 9")
    over_repo("list", run_list)
    p = over_repo("show", run_show)
    p.add_argument(
        "set",
        nargs="?",
        default="latest",
        help="latest (default), latest-full, first, an id, a label",
    )
    p = over_repo("verify", run_verify, long=True)
    p.add_argument("set", nargs="?", default="latest", help='a set, or "all"')
    p.add_argument(
        "--level", default="chain", help="files, checksums, chain (default), replay, restore"
    )
    p.add_argument(
        "--since-last", action="store_true", help="pass over sets that passed this level before"
    )
    p.add_argument("--scratch", help="folder to restore to, at levels replay and restore")
    p = over_repo("prune", run_prune)
    for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly"):
        p.add_argument(f"--keep-{name}", type=int, metavar="N")
    p.add_argument(
        "--keep-within", type=units.seconds, metavar="TIME", help="sets younger than this: 30d"
    )
    p.add_argument("--keep-label", action="append", metavar="LABEL")
    p.add_argument(
        "--min-full", type=int, metavar="N", help="newest chains always kept (default 1)"
    )
    p.add_argument("--yes", action="store_true", help="remove; without it this is a dry run")
    p = over_repo("status", run_status)
    p.add_argument(
        "--max-age",
        type=units.seconds,
        metavar="TIME",
        help="critical when the latest set is older: 26h",
    )
    p.add_argument(
        "--max-verify-age",
        type=units.seconds,
        metavar="TIME",
        help="warning when no set was verified since",
    )
    p.add_argument(
        "--nagios",
        action="store_true",
        help="exit codes of monitoring plug-ins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (any error)",
    )
    p = over_repo("adopt", run_adopt, long=True)
    p.add_argument("dir", help="folder of the backup")
    p.add_argument("--label", help="a name for this set")
    p.add_argument(
        "--meta", action="append", type=units.pair, metavar="KEY=VALUE", help="kept with the set"
    )
    p = over_repo("export", run_export, long=True)
    p.add_argument("file", help="new file")
    p.add_argument(
        "--set", default="latest", help="latest (default), latest-full, first, an id, a label"
    )
    p.add_argument("--level", type=int, default=6, help="of compression, 1 to 9 (default 6)")
    p = over_repo("import", run_import, long=True)
    p.add_argument("file", help='exported file, or "-"')
