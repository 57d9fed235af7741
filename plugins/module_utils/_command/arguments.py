# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of the verbs for people. PRIVATE to the collection."""

from __future__ import annotations

import argparse
import sys

from .._helper.client import SOCKET as HELPER
from .arguments_lease import add_lease
from .exits import USAGE, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EPILOGUE = """\
exit codes: 0 so it is, 1 it failed, 2 wrong usage, 3 no supervisor, 4 no such service;
of a daemon: 100 another one runs here already, 111 the directory cannot be used
the scan directory: --scan, else HOLDFAST_SCAN, else /etc/holdfast/services (root) or ~/.holdfast/services
"""
#: Seconds that a change may take before the command gives up waiting for it.
PATIENCE = 60.0


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(USAGE, f"{message}\n{self.format_usage().rstrip()}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise CommandError(status, (message or "").rstrip())


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line. Raises CommandError for a wrong one, and after help was printed."""
    parser = _parser()
    if not arguments:
        sys.stderr.write(parser.format_help())
        raise CommandError(USAGE)
    if arguments[0] == "help":
        # `help VERB` is `VERB --help`; programs that stay read their own command line.
        usage = _usage(arguments[1]) if arguments[1:] else ""
        if usage:
            sys.stdout.write(usage)
            raise CommandError(0)
        arguments = [*arguments[1:2], "--help"]
    options = parser.parse_args(arguments)
    if options.verb is None:
        parser.error("which verb?")
    if options.verb == "stop":
        _check_stop(parser, options)
    elif options.verb in ("start", "restart", "reload", "once") and not options.names and not options.all:
        parser.error(f"{options.verb} what? Name services, or say --all")
    if getattr(options, "all", False) and options.names:
        parser.error("either names or --all")
    return options


def _usage(verb: str) -> str:
    """Give the usage of a verb that reads its own command line, "" for the others."""
    if verb == "guard":
        from .._lease._guard.daemon import USAGE as usage
    elif verb in ("hold", "register"):
        from .._lease._guard.hold import USAGE as usage
    elif verb == "helper":
        from .._helper.daemon import USAGE as usage
    elif verb == "supervise":
        from .._supervise._embedded.daemon import USAGE as usage
    else:
        return ""
    return usage


def _check_stop(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    chosen = [bool(options.names), options.all, options.orphans]
    if sum(chosen) != 1:
        parser.error("stop what? Either names, or --all, or --orphans")


def _parser() -> _Parser:
    # `--scan` may stand before or after the verb, so neither place may overwrite the other with its default.
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--scan", metavar="DIR", help="the scan directory")
    parser = _Parser(
        prog="holdfast",
        description="See and steer supervised services.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(scan=None)
    parser.add_argument("--scan", metavar="DIR", default=None, help="the scan directory")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=summary, description=summary, parents=[common])

    status = add("status", "Show services: state, pid, for how long, readiness, deaths, reason.")
    status.add_argument("names", metavar="NAME", nargs="*")
    status.add_argument("--json", action="store_true", help="for programs")

    for name, summary in (
        ("start", "Start services and wait until they are ready."),
        ("stop", "Stop services and wait until they are down."),
        ("restart", "Stop and start services and wait until they are ready."),
        ("reload", "Send services their reload signal and see that they live."),
        ("once", "Start services that are not restarted when they end."),
    ):
        change = add(name, summary)
        change.add_argument("names", metavar="NAME", nargs="*")
        change.add_argument("--all", action="store_true", help="every service, in an orderly way")
        if name == "stop":
            change.add_argument(
                "--orphans", action="store_true", help="what a dead supervisor left running, by its records"
            )
        change.add_argument("--no-wait", action="store_true", help="do not wait for the verdict")
        change.add_argument(
            "--timeout", type=_seconds, default=PATIENCE, metavar="SECONDS", help="wait at most so long (60)"
        )

    logs = add("logs", "Show the last log lines of a service.")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("-n", "--lines", type=_count, default=20, metavar="N", help="how many lines (20)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is logged from now on")

    check = add("check", "Exit 0 if a service is ready, 1 if it is not.")
    check.add_argument("name", metavar="NAME")

    why = add("why", "Tell when a service started, died and why.")
    why.add_argument("name", metavar="NAME")
    why.add_argument("-n", "--lines", type=_count, default=20, metavar="N", help="how many events (20)")
    why.add_argument("--json", action="store_true", help="for programs")

    add_lease(add("lease", "See who holds what under which lease, and change it."), common, _seconds)

    add("version", "Show the version of this runtime and of the running supervisor.")
    selftest = add("selftest", "Load every module of this runtime and read the live state of a scan directory.")
    selftest.add_argument("directory", metavar="SCAN", nargs="?")
    call = add("call", "Have the privileged helper run an operation; exits as that does.")
    call.add_argument("operation", metavar="OPERATION")
    call.add_argument("parameters", metavar="NAME=VALUE", nargs="*")
    call.add_argument("--id", help="the name of this call: the same again is not done twice")
    call.add_argument("--job", action="store_true", help="do not wait for its end: print the name of the job")
    call.add_argument(
        "--fd",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="pass a descriptor: of the file, opened here for reading, or by its number",
    )
    call.add_argument(
        "--run",
        metavar="COMMAND",
        nargs=argparse.REMAINDER,
        default=[],
        help="what to run, with all that follows, with the descriptor that the operation returns; its number is in "
        "HOLDFAST_DESCRIPTOR",
    )
    jobs = add("jobs", "Show, wait for or end your jobs; exits with 0 if the one asked for has not failed.")
    jobs.add_argument("id", metavar="ID", nargs="?")
    jobs.add_argument("--follow", action="store_true", help="wait until it has ended, and show its progress")
    jobs.add_argument("--cancel", action="store_true", help="end it, with all that belongs to it")
    jobs.add_argument("--user", type=_count, metavar="UID", help="whose it is (for root)")
    resource = add(
        "resource", "Run a command while it holds a shared resource; without one, show those that are there."
    )
    resource.add_argument("name", metavar="RESOURCE", nargs="?")
    resource.add_argument("parameters", metavar="NAME=VALUE", nargs="*")
    resource.add_argument("--exclusive", action="store_true", help="hold it alone")
    resource.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="to wait for it")
    resource.add_argument(
        "--run", metavar="COMMAND", nargs=argparse.REMAINDER, default=[], help="what to run, with all that follows"
    )
    operations = add("operations", "Show the operations of the privileged helper that you may call.")
    outcome = add("outcome", "Tell what became of a call whose connection was lost.")
    outcome.add_argument("id", metavar="ID")
    for one in (call, jobs, resource, operations, outcome):
        one.add_argument("--json", action="store_true", help="for programs")
        one.add_argument("--socket", default=HELPER, metavar="PATH", help=f"where the helper listens ({HELPER})")
        one.add_argument("--wait", type=_seconds, default=5.0, metavar="SECONDS", help="for its first launch (5)")
    for name, summary in (
        ("helper", "Run the privileged helper, in the foreground."),
        ("supervise", "Run the supervisor of a scan directory, in the foreground."),
        ("guard", "Run a command while it holds leases, in the foreground."),
        ("hold", "Hold a lease for an owner, in the foreground."),
        ("register", "Hold the lease of this host, in the foreground."),
        ("help", "Explain a verb."),
    ):
        verbs.add_parser(name, help=summary, add_help=False)
    for name, words, summary in (
        ("operate", "OPERATION ARGUMENT...", "Do a ready operation (the privileged helper does that)."),
        ("logwriter", "TABLE", "Run the log writer (the supervisor does that itself)."),
        ("step", "STEP SERVICE STATE", "Do a step beside a service that another init runs."),
    ):
        verbs.add_parser(name, help=summary, description=summary, usage=f"holdfast {name} {words}")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86400:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


_seconds.__name__ = "number of seconds"
_count.__name__ = "count"
