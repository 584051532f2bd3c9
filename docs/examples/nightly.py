#!/usr/bin/env python3
"""Nightly backup, from cron: 15 2 * * *  /usr/bin/python3 nightly.py /srv/mail /backups/mail"""

import json, sys, traceback  # noqa: E401
import pyjet
from pyjet.backup import BackupRepo, recovery

live, root = sys.argv[1:3]
try:
    repo = BackupRepo(root, create=True, compress=True, lock_timeout=600)
    with pyjet.Instance(live) as inst, inst.session() as session:
        for database in recovery.databases_of(live):
            session.attach(database)
        made = repo.backup(inst, rate_limit=200 << 20, deadline=3 * 3600, label="nightly")
    report = repo.verify(made, level="replay")
    pruned = repo.prune(keep_daily=7, keep_weekly=4, keep_monthly=12, dry_run=False)
    print(json.dumps({"set": made.summary(), "verified": report.to_dict(), "removed": pruned.removed}))
    sys.exit(0 if report.ok else 20)
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error), "trace": traceback.format_exc()}))
    sys.exit(1)
