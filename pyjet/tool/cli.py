"""The command line: its parser, signals, and the one place where errors become exit codes (see codes.py)."""

import argparse
import os
import signal
import sys

import pyjet

from . import events, look, repos, runs, units
from .codes import NAGIOS, Terminated, exit_code
from .output import Output, let_go, to_stderr, to_stdout


class WrongCommandLine(Exception):
    """What argparse says of it."""


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit, so that all errors are told in one place."""

    def error(self, message):
        raise WrongCommandLine(self, message)

    def _print_message(self, message, file=None):  # of --help and --version: argparse drops what it cannot write
        with to_stdout():
            (file or sys.stderr).write(message or "")


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
        type=units.address,
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
    top = _Parser(
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
    p.add_argument(
        "--rows", type=int, help="rows to load (default 100,000; of a CSV file those that it has)"
    )
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


def _asked(argv, option):
    """The option stands on a command line that could not be parsed, whole or shortened as argparse takes it."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return any(len(word) > 2 and option.startswith(word) for word in words)


def _told_wrong(argv, error):
    """Usage and message as argparse prints them, and with --json an exit_error; gives back the exit code."""
    where, message = error.args
    verb = where.prog.partition(" ")[2] or next((word for word in argv if not word.startswith("-")), "")
    to_stderr(f"{where.format_usage()}{where.prog}: error: {message}")
    out = Output(argparse.Namespace(json=_asked(argv, "--json"), quiet=False, verb=verb))
    rc = _unknown(out, message) if verb == "status" and _asked(argv, "--nagios") else 2
    hint = f"{where.prog} --help tells every option."
    out.emit("exit_error", code=rc, error=type(error).__name__, text=message, hint=hint)
    return rc


def _unknown(out, text):
    """What a monitoring system shows when there is no status to show."""
    out.text(f"UNKNOWN: {text}")
    return NAGIOS["unknown"]


def _run(argv):
    """Parses, runs, tells an error; gives back the exit code."""
    try:
        options = parser().parse_args(argv)
    except WrongCommandLine as error:
        return _told_wrong(argv, error)
    except SystemExit:  # --help, --version: were they printed?
        with to_stdout():
            sys.stdout.flush()
        raise
    out = Output(options)
    try:
        with events.kept(options.events, options.syslog):
            rc = options.run(options, out) or 0
        with to_stdout():
            sys.stdout.flush()
        return rc
    except BrokenPipeError:
        return 1
    except (Exception, KeyboardInterrupt, Terminated) as error:
        nagios = getattr(options, "nagios", False) and isinstance(error, Exception)
        rc = _unknown(out, error) if nagios else exit_code(error)
        out.error(error, rc)
        return rc


def main(argv=None):
    """Runs one verb; gives back the exit code."""
    if sys.stdout is None or sys.stderr is None:  # closed by who started us
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    before = signal.signal(signal.SIGTERM, _on_term)
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # nobody reads: also what went wrong is told to nobody
        return 1
    except OSError as error:  # of telling it
        to_stderr(f"pyjet: {error}")
        return exit_code(error)
    finally:
        let_go(sys.stdout), let_go(sys.stderr)
        signal.signal(signal.SIGTERM, before)
