# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entry of the `holdfast` command: one verb, loaded when it is asked for. PRIVATE to the collection.

The daemons start here too and live long: nothing is imported at the top that they do not need.
"""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Do what the command line says and give the exit code. *arguments* comes without the program's name."""
    verb = arguments[0] if arguments else ""
    if arguments[1:] in (["--help"], ["-h"]) and verb not in ("operate", "step"):
        # Those two have no options at all: what they are given may be a caller's.
        verb, arguments = "help", ["help", verb]
    if verb == "supervise":
        from .._supervise._embedded import daemon as supervisor

        return supervisor.main(arguments[1:])
    if verb == "logwriter":
        from .._supervise._logwriter import daemon as log_writer

        return log_writer.main(arguments[1:])
    if verb == "step":
        from .._supervise._steps import steps

        return steps.main(arguments[1:])
    if verb == "await":
        from .._supervise import awaiting

        return awaiting.main(arguments[1:])
    if verb == "attend":
        from .._supervise._attend import attend

        return attend.main(arguments[1:])
    if verb == "helper":
        from .._helper import daemon as helper

        return helper.main(arguments[1:])
    if verb == "operate":
        from .._helper._operate import program

        return program.main(arguments[1:])
    if verb in ("guard", "hold", "register"):
        from .._lean import start

        start.forget()
    if verb == "guard":
        from .._lean import end
        from .._lease._guard import daemon as guard

        # The next one in line is starting on the same processors.
        end.leave(guard.main(arguments[1:]))
    if verb == "hooks":
        from .._hooks import daemon as around

        return around.main(arguments[1:])
    if verb in ("hold", "register"):
        from .._lease._guard import hold

        return hold.main(verb, arguments[1:])
    from . import people

    return people.main(arguments)
