# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast start|stop|restart|reload|once`: change services and tell the verdict. PRIVATE to the collection."""

from __future__ import annotations

import time

from .exits import FAILED, NO_SUPERVISOR, OK, CommandError
from .logfiles import LogError, tail
from .places import layers, scan_directory, service_names
from .status import reason
from .supervisor import Supervisor, elsewhere
from .terminal import complain, ending, harmless, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

#: The state that each verb waits for.
WISHES = {"start": "ready", "once": "ready", "restart": "ready", "reload": "ready", "stop": "down"}
#: Deaths after which a person is told at once; the supervisor goes on trying. The first one of a restart is asked for.
DEATHS = {"start": 1, "once": 1, "restart": 2, "reload": 1, "stop": 1}
#: Log lines that are shown of a service that failed.
LAST_LINES = 10


def change(options: Namespace) -> int:
    """Do one of the verbs to the services that the command line names. Exit code 0 only if all got there."""
    scan = scan_directory(options.scan)
    if options.verb == "stop" and options.orphans:
        return _stop_orphans(scan, options.timeout)
    try:
        supervisor = Supervisor(scan)
    except CommandError as error:
        if error.code == NO_SUPERVISOR and options.verb == "stop" and options.all:
            # While a host is switched, another one has the rest.
            return _stop_orphans(scan, options.timeout, error if elsewhere(scan) else None)
        raise
    with supervisor:
        return _steer(supervisor, options)


def _steer(supervisor: Supervisor, options: Namespace) -> int:
    # Asked first, so that a name that does not exist is found before anything is changed.
    services = supervisor.status(options.names)["services"]
    names = list(dict.fromkeys(service["name"] for service in services))
    if options.all:
        names = _all(services, options.verb)
    if not names:
        write("nothing to do")
        return OK
    batches = layers(supervisor.scan, names) if options.verb == "stop" and options.all else [names]
    deadline = time.monotonic() + options.timeout
    failures = 0
    for batch in batches:
        refused = supervisor.control(batch, options.verb)
        for name, message in refused.items():
            complain(harmless(f"{name}: {message}"))
        failures += len(refused)
        accepted = [name for name in batch if name not in refused]
        if accepted and not options.no_wait:
            left = max(deadline - time.monotonic(), 0.0)
            for result in supervisor.wait(accepted, WISHES[options.verb], left, DEATHS[options.verb]):
                failures += not _tell(supervisor.scan, options.verb, result)
    return FAILED if failures else OK


def _all(services: list[dict[str, Any]], verb: str) -> list[str]:
    """Give the services that `--all` means.

    start: those that are normally up and that nobody has asked to be up; so a job that has done its work is not done
    again. stop: all. restart and reload: those that are wanted up. Loggers of plain directories go on with any of them.
    """
    services = [service for service in services if "/" not in service["name"]]
    if verb in ("start", "once"):
        services = [service for service in services if service["enabled"] and service["want"] != "up"]
    elif verb != "stop":
        services = [service for service in services if service["want"] == "up"]
    return [service["name"] for service in services]


def _tell(scan: str, verb: str, result: dict[str, Any]) -> bool:
    """Tell one verdict; a bad one with the reason and the last log lines. Give whether it was good."""
    name, outcome, service = result["name"], result["outcome"], result["service"]
    if verb == "once" and _done(service):
        write(f"{name}: done, {ending(service['exit'])}")
        return True
    if outcome == "reached":
        running = f", pid {service['pid']}" if service.get("pid") else ""
        because = f": {reason(service)}" if service["state"] == "waiting" else ""
        write(harmless(f"{name}: {service['state']}{running}{because}"))
        return True
    told = "not in time" if outcome == "timeout" else "failed"
    because = reason(service)
    complain(harmless(f"{name}: {told}: {service['state']}" + (f": {because}" if because else "")))
    if verb != "stop":
        _show_log(scan, name)
    return False


def _done(service: dict[str, Any]) -> bool:
    """Say whether a service that was to run once has run, and well."""
    exit_status = service.get("exit") or {}
    return not service.get("pid") and exit_status.get("kind") == "exit" and exit_status.get("code") == 0


def _show_log(scan: str, name: str) -> None:
    try:
        lines = tail(scan, name, LAST_LINES)
    except FileNotFoundError:
        # It has not got as far as saying anything.
        return
    except LogError as error:
        complain(harmless(str(error)))
        return
    except OSError as error:
        complain(harmless(f"{name}: its log cannot be shown: {error}"))
        return
    for line in lines:
        complain("  " + harmless(line.decode("utf-8", "replace"), keep="\t"))


def _stop_orphans(scan: str, timeout: float, otherwise: CommandError | None = None) -> int:
    from .orphans import stop_recorded

    stopped, failed = stop_recorded(scan, service_names(scan), timeout)
    for name, message in stopped:
        write(f"{name}: {message}")
    for name, message in failed:
        complain(f"{name}: {message}")
    if not stopped and not failed:
        if otherwise is not None:
            raise otherwise
        write("nothing was left running")
    return FAILED if failed else OK
