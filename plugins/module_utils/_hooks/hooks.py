# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hooks: programs of the host's administrator that run around a service, and around the start of the supervisor.

PRIVATE to the collection.

They are the executables of `DIRECTORY/POINT/`, in the order of their names. What they are told and what they may say is
in docs/hooks.md.
"""

from __future__ import annotations

import os
import stat

from .._helper.trust import untrusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Around the start of whatever supervises the services.
BEFORE_DAEMON_START, AFTER_DAEMON_START = "before_daemon_start", "after_daemon_start"
DAEMON_POINTS = (BEFORE_DAEMON_START, AFTER_DAEMON_START)
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


def directory_of(scan: str) -> str:
    """Give where the hooks around the start of the supervisor of a scan directory are."""
    return os.path.join(os.path.dirname(os.path.abspath(scan)), "hooks.d")


def find(directory: str, point: str) -> list[str]:
    """Give the hooks of *point*, in their order; none if there is no such folder.

    Names that begin with a dot, that editors leave, and files that are not executable do not count. Raises BadHook if
    somebody else than root (or us) could have put one there.
    """
    found = []
    for path in _candidates(os.path.join(directory, point)):
        reason = untrusted(path)
        if reason:
            raise BadHook(f"hook {reason}")
        found.append(path)
    return found


def describe(directory: str, points: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    """Give for each point its hooks in their order: *path*, *sha256* ("" if it cannot be read) and *problem*.

    problem is why it is refused, "" if it is not. Nothing that is not there is an error.
    """
    # Guards and supervisors, which live long, do not need it.
    import hashlib

    described: dict[str, list[dict[str, str]]] = {}
    for point in points:
        described[point] = []
        try:
            for path in _candidates(os.path.join(directory, point)):
                digest = ""
                try:
                    with open(path, "rb") as file:
                        digest = hashlib.sha256(file.read()).hexdigest()
                except OSError:
                    pass  # An ordinary user may not be allowed to.
                described[point].append({"path": path, "sha256": digest, "problem": untrusted(path)})
        except BadHook as error:
            described[point].append({"path": os.path.join(directory, point), "sha256": "", "problem": str(error)})
    return described


def environment(own: Mapping[str, str], point: str, state: str, told: Mapping[str, str]) -> dict[str, str]:
    """Give a hook's environment: what docs/hooks.md lists and nothing else.

    own: what it is run for. state: the folder that hooks share. told: what else this point is told.
    """
    return {**_ENVIRONMENT, "HOLDFAST_POINT": point, "HOLDFAST_HOOK_STATE": state, **own, **told}


def judge(path: str, status: int | None, said: str) -> tuple[str, bool]:
    """Say what went wrong with a hook, "" if nothing did, and whether nothing may follow.

    status: of wait(2), None if it was killed because it took too long. said: what it wrote to standard error.
    """
    if status is not None and os.WIFEXITED(status) and os.WEXITSTATUS(status) == WELL:
        return "", False
    how, stop = "took too long and was killed", True
    if status is not None and os.WIFEXITED(status):
        how, stop = f"exit code {os.WEXITSTATUS(status)}", os.WEXITSTATUS(status) != FAILED
    elif status is not None:
        how = f"signal {os.WTERMSIG(status)}"
    return f"hook {path} failed ({how})" + (f": {said}" if said else ""), stop


def _candidates(folder: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadHook(f"{folder}: {error.strerror}") from None
    for name in names:
        path = os.path.join(folder, name)
        if not name.startswith(".") and not name.endswith(_LEFT) and _executable(path):
            yield path


def _executable(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)
