# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast resource`: runs a command while it holds a shared resource. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import select
import signal

from .._helper.client import Held, Helper, HelperError
from .exits import FAILED, OK, USAGE, CommandError
from .helper import parameters_of
from .terminal import complain, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def resource(options: Namespace) -> int:
    """Hold a resource, or show all; gives the exit code of the command."""
    helper = Helper(options.socket, first_launch=options.wait)
    try:
        if options.name is None:
            return _show(helper, options)
        if not options.run:
            raise CommandError(USAGE, "a command is needed: --run COMMAND")
        kinds = {}
        for one in helper.operations():
            # A helper of an earlier version does not say it: what it is given is text.
            if options.name in one.get("makes", ()):
                kinds = {parameter["name"]: parameter["type"] for parameter in one["parameters"]}
        parameters = parameters_of(options.parameters, kinds)
        with helper.hold(options.name, parameters, options.exclusive, options.timeout) as held:
            return _run(held, options.run)
    except HelperError as error:
        raise CommandError(FAILED, str(error)) from None


def _show(helper: Helper, options: Namespace) -> int:
    found = helper.resources()
    if options.json:
        write(json.dumps(found, indent=2))
        return OK
    for one in found:
        given = " ".join(f"{key}={value}" for key, value in one["parameters"].items())
        holders = "held alone" if one["exclusive"] else f"held by {one['shared']}"
        write("  ".join(filter(None, [one["resource"], given, one["state"], holders, one["message"]])))
    return OK


def _run(held: Held, command: list[str]) -> int:
    try:
        pid = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        raise CommandError(FAILED, f"{command[0]}: {error.strerror}") from None
    # Those who end us mean the command; we end with it, and not before.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _frame: _pass_on(pid, number))
    child = os.pidfd_open(pid)
    lost = -1
    while True:
        connection = held.fileno()
        waited = [child] if connection in (-1, lost) else [child, connection]
        ready = select.select(waited, [], [], None if lost < 0 else 5.0)[0]
        if child in ready:
            break
        try:
            held.attach()
            lost = -1
        except HelperError as error:
            if lost < 0:
                complain(f"holdfast: {error}; the resource is held on")
            lost = connection
    os.close(child)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _pass_on(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
