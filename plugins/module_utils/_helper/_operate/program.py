# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast operate`: the programs of the ready operations. PRIVATE to the collection.

    holdfast operate OPERATION ARGUMENT...

The helper runs them, in a process with the declared capabilities and no more. Whatever they may touch is in arguments that
the inventory made; those of a caller are names to look up there, or are checked against it once more. They
have no options. Exit codes: 0 done, 1 not done, with the reason on standard error, 2 wrong usage.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

USAGE = 2


class Failed(Exception):
    """It was not done; the text says why."""


def main(arguments: list[str]) -> int:
    """Do one operation; gives the exit code."""
    operations = _operations()
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name not in operations or len(rest) != operations[name][0]:
        _say(f"usage: holdfast operate {'|'.join(sorted(operations))} ARGUMENT...")
        return USAGE
    from ..paths import Refused

    try:
        operations[name][1](*rest)
    except (Failed, Refused) as error:
        _say(f"{name}: {error}")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{name}: {where}{error.strerror or error}")
        return 1
    return 0


def _operations() -> dict[str, tuple[int, Callable[..., None]]]:
    """Give the number of arguments and the function of each; each is loaded when it is asked for."""

    def mounts(verb: str) -> Callable[..., None]:
        def run(table: str, name: str) -> None:
            from . import mounts

            getattr(mounts, verb)(entry(table, name))

        return run

    def tree(verb: str) -> Callable[..., None]:
        def run(options: str, wanted: str, path: str) -> None:
            from . import tree

            getattr(tree, verb)(json.loads(options), wanted, path)

        return run

    def kernel(verb: str) -> Callable[..., None]:
        def run(*words: str) -> None:
            from . import kernel

            getattr(kernel, verb)(*words)

        return run

    def fence(table: str, node: str, action: str) -> None:
        from . import fence

        fence.fence(entry(table, node), action)

    return {
        "mount": (2, mounts("mount")),
        "umount": (2, mounts("umount")),
        "chown": (3, tree("chown")),
        "chmod": (3, tree("chmod")),
        "kernel-parameter": (3, kernel("parameter")),
        "scsi-scan": (1, kernel("scsi_scan")),
        "block-rescan": (1, kernel("block_rescan")),
        "fence": (3, fence),
    }


def entry(table: str, name: str) -> dict[str, Any]:
    """Give what a table of the inventory says of *name*. Raises Failed."""
    found = json.loads(table).get(name)
    if not isinstance(found, dict):
        raise Failed("is not one of the inventory's")
    return found


def _say(text: str) -> None:
    os.write(2, f"holdfast operate {text}\n".encode("utf-8", "replace"))
