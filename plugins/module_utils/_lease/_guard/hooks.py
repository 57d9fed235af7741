# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hooks: programs of the host's administrator that run around a service. PRIVATE to the collection.

They are the executables of `DIRECTORY/POINT/`, in the order of their names. What they are told and what they may say is
in docs/hooks.md.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where they run: around the start and the stop of a service.
BEFORE_START, AFTER_START, BEFORE_STOP, AFTER_STOP = "before_start", "after_start", "before_stop", "after_stop"
POINTS = (BEFORE_START, AFTER_START, BEFORE_STOP, AFTER_STOP)
#: What a hook's exit code means: all is well, it failed and the others go on, it failed and nothing goes on.
WELL, FAILED, STOP = 0, 1, 2
#: Variables of a hook's environment that are neither the service's nor anybody's who asks for it.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
#: Ends of names that editors and package managers leave behind.
_LEFT = (
    "~",
    ".bak",
    ".orig",
    ".rej",
    ".swp",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-new",
    ".dpkg-tmp",
    ".rpmsave",
    ".rpmnew",
)


class BadHook(Exception):
    """A hook must not be run; the text says which and why."""


def find(directory: str, point: str) -> list[str]:
    """Give the hooks of *point*, in their order; none if there is no such folder.

    Names that begin with a dot, that editors leave, and files that are not executable do not count. Raises BadHook if
    somebody else than root (or us) could have put one there.
    """
    folder = os.path.join(directory, point)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadHook(f"{folder}: {error.strerror}") from None
    found = []
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(".") or name.endswith(_LEFT) or not _executable(path):
            continue
        # Only here: most guards have no hooks, and this brings along more than they need.
        from ..._helper.operations import untrusted

        reason = untrusted(path)
        if reason:
            raise BadHook(f"hook {reason}")
        found.append(path)
    return found


def environment(service: str, point: str, state: str, told: Mapping[str, str]) -> dict[str, str]:
    """Give a hook's environment: what docs/hooks.md lists and nothing else. state: the folder that hooks share."""
    own = {"HOLDFAST_SERVICE": service, "HOLDFAST_POINT": point, "HOLDFAST_HOOK_STATE": state}
    return {**_ENVIRONMENT, **own, **told}


def _executable(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)
