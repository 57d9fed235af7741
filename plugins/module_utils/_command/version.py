# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast version`. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys

from .exits import OK, CommandError
from .places import own, scan_directory
from .terminal import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def this_version() -> str:
    """Give the version of the runtime that this process was started from: the name of its tree."""
    tree = os.path.dirname(os.path.realpath(str(getattr(sys.modules["__main__"], "__file__", "") or "")))
    return os.path.basename(tree) or "unknown"


def version(options: Namespace) -> int:
    """Show the version of this runtime and, when one runs, that of the supervisor."""
    write(f"holdfast {this_version()}")
    try:
        scan = scan_directory(options.scan)
        with open(own(scan, "version"), encoding="utf-8") as stream:
            running = stream.readline().strip()
    except (CommandError, OSError):
        return OK
    write(f"supervisor of {scan}: {running}")
    return OK
