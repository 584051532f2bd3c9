"""Progress of long calls: what a callable gets, and the bar that progress=True shows."""

import dataclasses
import sys
import time

from . import _jet

_PHASES = {
    _jet.JET_sntBegin: "begin",
    _jet.JET_sntProgress: "progress",
    _jet.JET_sntComplete: "complete",
    _jet.JET_sntFail: "fail",
}


@dataclasses.dataclass(frozen=True)
class Progress:
    """One step of a long call: ``done`` of ``total``, never going back within one ``stage``.

    ``unit``: "bytes" in a backup and in all that the repository layer does, "percent" in restore and recovery. ``phase``:
    "begin", "progress", "complete" or "fail". ``stage``: "engine" for the engine's own call; the repository layer has further
    ones. ``snp`` and ``snt`` are ESE's numbers, 0 for stages that ESE does not have.
    """

    op: str
    phase: str
    done: int
    total: int
    snp: int = 0
    snt: int = 0
    unit: str = "percent"
    stage: str = "engine"

    @property
    def percent(self):
        """0 to 100."""
        return 100.0 * self.done / self.total if self.total else 0.0


class _Bar:
    """A tqdm bar on a terminal, lines of text elsewhere: one each 10 percent, at most one a second."""

    def __init__(self, op):
        self.op = op
        self.bar = None
        self.told = -10.0
        self.at = 0.0
        self.stage = "engine"
        if sys.stderr.isatty() or "ipykernel" in sys.modules:
            from tqdm.auto import tqdm

            self.bar = tqdm(
                total=100,
                desc=op,
                unit="%",
                leave=True,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            )

    def __call__(self, step):
        percent = step.percent
        if step.stage != self.stage:
            self.stage, self.told, self.at = step.stage, -10.0, 0.0
            if self.bar is not None:
                self.bar.reset(total=100)
                self.bar.set_description(self.op if step.stage == "engine" else f"{self.op}: {step.stage}")
        if self.bar is not None:
            if percent > self.bar.n:
                self.bar.update(percent - self.bar.n)
            return
        now = time.monotonic()
        if percent >= 100 > self.told or (percent >= self.told + 10 and now >= self.at + 1):
            self.told, self.at = percent, now
            print(f"{self.op}: {percent:.0f}%", file=sys.stderr)

    def close(self):
        if self.bar is not None:
            self.bar.close()


class watch:
    """What goes to the C layer for a user's ``progress``: None, True or a callable that takes a Progress."""

    def __init__(self, op, progress):
        self.op = op
        self.user = _Bar(op) if progress is True else progress
        if self.user is False:
            self.user = None
        if self.user is not None and not callable(self.user):
            raise TypeError("progress is a callable, True or None")

    @property
    def callback(self):
        return None if self.user is None else self

    def __call__(self, snp, snt, done, total):
        unit = "percent"
        if snp == _jet.JET_snpBackup:  # the engine tells KiB of a backup
            done, total, unit = done * 1024, total * 1024, "bytes"
        return self.user(
            Progress(self.op, _PHASES.get(snt, "progress"), done, total, snp, snt, unit)
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if isinstance(self.user, _Bar):
            self.user.close()
