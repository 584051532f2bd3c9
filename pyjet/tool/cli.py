"""The command line: its parser, signals, and the one place where errors become exit codes (see codes.py)."""

import argparse
import os
import signal
import sys

import pyjet

from . import events, look, repos, runs, units
from .codes import Terminated, exit_code
from .output import Output


def run_demo(options, out):
    """pyjet demo: load, back up under writers, kill, restore, recover, verify."""
    from .. import demo

    return demo.run(options, out)


def _common():
    p = argparse.ArgumentParser(add_help=False)
    p.add_argument(
        "--json", action="store_true", help="JSON lines; the last one is a summary or exit_error"
    )
    p.add_argument("-q", "--quiet", action="store_true", help="only errors")
    p.add_argument(
        "--events",
        metavar="FILE",
        help="append the engine's event entries as JSON lines; - is stderr",
    )
    p.add_argument(
        "--syslog",
        nargs="?",
        const="local",
        metavar="HOST:PORT",
        help="send event entries to syslog",
    )
    p.add_argument(
        "--wait",
        type=units.seconds,
        default=0.0,
        metavar="TIME",
        help="for another process to leave a repository",
    )
    return p


def _long():
    p = argparse.ArgumentParser(add_help=False)
    p.add_argument(
        "--progress",
        choices=("auto", "bar", "plain", "none"),
        default="auto",
        help="auto: a bar on a terminal",
    )
    p.add_argument(
        "--deadline",
        type=units.seconds,
        metavar="TIME",
        help="give up after this time: 90, 30m, 2h (exit code 40)",
    )
    return p


def parser():
    common, long_runs = _common(), _long()
    top = argparse.ArgumentParser(
        prog="pyjet",
        description="ESE databases on Linux: backup, restore, repositories of backups, and looking at files.",
    )
    top.add_argument("--version", action="version", version=f"pyjet {pyjet.__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, run, long=False):
        text = run.__doc__.splitlines()[0]
        p = verbs.add_parser(
            name,
            parents=[common, long_runs] if long else [common],
            description=text,
            help=text.split(": ", 1)[-1],
        )
        p.set_defaults(run=run)
        return p

    p = verb("demo", run_demo)
    p.add_argument("--rows", type=int, default=100_000, help="rows to load (default 100,000)")
    p.add_argument(
        "--csv", help="load this CSV file (first line: names) instead of the Unicode table"
    )
    p.add_argument("--dir", help="work here and keep it (default: a temporary folder)")
    p.add_argument("--writers", type=int, default=2, help="writer threads (default 2)")
    p.add_argument("--seed", type=int, default=None, help="of the writers' choices")
    for part in (runs, repos, look):
        part.add(verb)
    return top


def _on_term(number, frame):
    raise Terminated()


def main(argv=None):
    """Runs one verb; gives back the exit code."""
    options = parser().parse_args(argv)
    if sys.stdout is None or sys.stderr is None:  # closed by who started us
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    out = Output(options)
    before = signal.signal(signal.SIGTERM, _on_term)
    try:
        with events.kept(options.events, options.syslog):
            return options.run(options, out) or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt, Terminated) as error:
        rc = exit_code(error)
        out.error(error, rc)
        return rc
    finally:
        signal.signal(signal.SIGTERM, before)
