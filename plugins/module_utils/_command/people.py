# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verbs for people: parse, dispatch, and turn every failure into one line and an exit code. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys

from .arguments import parse
from .exits import FAILED, INTERRUPTED, CommandError
from .terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def main(arguments: list[str]) -> int:
    """Do one verb and give its exit code."""
    try:
        code = _verb(parse(arguments))
        sys.stdout.flush()
        return code
    except CommandError as error:
        if error.message:
            complain(f"holdfast: {error.message}")
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. The interpreter flushes once more at its end: that must find somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"holdfast: {where}{error.strerror or error}")
        return FAILED


def _verb(options: Namespace) -> int:
    verb = options.verb
    if verb == "status":
        from .status import status

        return status(options)
    if verb in ("start", "stop", "restart", "reload", "once"):
        from .change import change

        return change(options)
    if verb == "logs":
        from .logs import logs

        return logs(options)
    if verb == "check":
        from .check import check

        return check(options)
    if verb == "why":
        from .why import why

        return why(options)
    if verb == "lease":
        from .lease import lease

        return lease(options)
    if verb == "selftest":
        from .selftest import selftest

        return selftest(options)
    if verb == "jobs":
        from .jobs import jobs

        return jobs(options)
    if verb == "resource":
        from .resource import resource

        return resource(options)
    if verb in ("call", "operations", "outcome"):
        from . import helper

        return {"call": helper.call, "operations": helper.operations, "outcome": helper.outcome}[verb](options)
    from .version import version

    return version(options)
