# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the control groups of services are, and what they tell. PRIVATE to the collection.

Not below the supervisor's own unit: a systemd before 254 can't start a unit whose group hands controllers down while
services live there. With `--groups UNIT` they are below that unit, which is delegated to us and has no process of its
own. Without systemd they are below the root of what we see of the hierarchy, or else below our own group.
"""

from __future__ import annotations

import binascii
import os
import signal

from ..._process_state.groups import OWN, path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYSTEMD = "/run/systemd/system"
_UNIFIED = "boot with systemd.unified_cgroup_hierarchy=1, or without what turns it off"


class Groups:
    """Names of groups and what can be read from them. unit: the unit that is delegated to us, None without systemd."""

    def __init__(self, scan: str, unit: str | None) -> None:
        self._unit = unit
        # Several supervisors may be below one root.
        self._rest = "" if unit else f"holdfast/{binascii.crc32(os.fsencode(scan)):08x}/"
        self._top = ""
        self.problem = ""

    def locate(self) -> str:
        """Find the place for groups, unless it is known, and give it; on "" `problem` says what is missing."""
        if not self._top:
            self._top, self.problem = _locate(self._unit)
        if self._top and not os.path.isdir(self._top):
            self._top, self.problem = "", f"{self._top} has gone"
        return self._top

    def describe(self) -> dict[str, Any]:
        """Give what the interface calls Groups."""
        top = self.locate()
        controllers = _read(f"{top}/cgroup.controllers").split() if top else []
        return {
            "path": f"{top}/{self._rest}".rstrip("/") if top else "",
            "controllers": controllers,
            "problem": self.problem,
        }

    def of(self, service: str, present: Group | None = None) -> Group | None:
        """Give the group of a service, whether it is there or not: *present* if it is that; None if there can be none."""
        top = self.locate()
        if not top:
            return None
        # A service may have the name of one of the kernel's files, were it not for the prefix.
        name = f"{top}//{self._rest}service-{service}"
        return present if present is not None and present.name == name else Group(name)

    def tidy(self) -> None:
        """Remove the groups that ours are in, if nobody needs them."""
        path = f"{self._top}/{self._rest}".rstrip("/")
        while self._top and path != self._top:
            try:
                os.rmdir(path)
            except OSError:
                return
            path = os.path.dirname(path)


class Group:
    """The control group of one service. name: TOP//REST, as `_process_state.groups` has it."""

    __slots__ = ("_kills", "name", "path")

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = path_of(name)
        # A former life may have left the group behind, with somebody in it.
        self._kills = self._count()

    def killed(self) -> int:
        """Give how many processes the kernel has killed since the last call because the group's memory was used up."""
        before, self._kills = self._kills, self._count()
        return max(self._kills - before, 0)

    def _count(self) -> int:
        for line in _read(f"{self.path}/memory.events").splitlines():
            key, _space, count = line.partition(" ")
            if key == "oom_kill":
                return int(count)
        return 0

    def exists(self) -> bool:
        """Say whether the group is there."""
        return os.path.isdir(self.path)

    def send(self, number: int) -> bool:
        """Send a signal to all processes in the group; False if nobody is in it."""
        members = _read(f"{self.path}/cgroup.procs").split()
        if number == signal.SIGKILL and members:
            try:
                # Since Linux 5.14, and no fork gets away from it.
                with open(f"{self.path}/cgroup.kill", "w", encoding="ascii") as file:
                    file.write("1")
                return True
            except OSError:
                pass
        for pid in members:
            try:
                os.kill(int(pid), number)
            except (ProcessLookupError, PermissionError):
                continue
        return bool(members)

    def remove(self) -> bool:
        """Remove the group; False if somebody is left in it."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        self._kills = 0
        return True


def _locate(unit: str | None) -> tuple[str, str]:
    """Give the group below which ours are made, or "" and why there is none."""
    found = _mount()
    if found is None:
        cure = _UNIFIED if os.path.isdir(_SYSTEMD) else "mount -t cgroup2 none /sys/fs/cgroup"
        return "", f"cgroup v2 is not mounted on this host: {cure}"
    mount, root = found
    own = _own()
    if unit:
        if not own.endswith(".service"):
            return "", f"systemd does not keep its units in cgroup v2 on this host: {_UNIFIED}"
        top = f"{mount}{os.path.dirname(own).rstrip('/')}/{unit}"
        if not os.path.isdir(top):
            return "", f"there is no group {top}: systemctl start {unit} (both units belong into one slice)"
        return top, ""
    if os.path.isdir(_SYSTEMD):
        return "", (
            "the control groups of this host are systemd's, and this supervisor was not given any: have it started by "
            "its unit (role supervisor, as root)"
        )
    problem = _unusable(mount, True)
    if problem and root == "/" and own.strip("/") and ".." not in own:
        parent = own[: -len(OWN) - 1] if own.endswith(f"/{OWN}") else own
        below = _unusable(mount + parent, False)
        if not below:
            return mount + parent, ""
        problem += f"; {below}"
    return ("", problem) if problem else (mount, "")


def _unusable(top: str, is_root: bool) -> str:
    """Say why no groups can be made below *top*; nothing if they can. is_root: nothing above it is to be seen."""
    for name in ("", "/cgroup.procs", "/cgroup.subtree_control"):
        if not os.access(top + name, os.W_OK):
            return f"{top}{name} can't be written: the group has to be delegated to this supervisor"
    if not os.path.exists(f"{top}/cgroup.events"):
        # The root of the whole hierarchy, in which processes may stay.
        return ""
    if _read(f"{top}/cgroup.type").strip() != "domain":
        return f"{top} is threaded"
    members = _read(f"{top}/cgroup.procs").split()
    if "0" in members:
        return f"{top} has processes of another pid namespace"
    if not is_root and not all(_is_ours(int(pid)) for pid in members):
        return f"{top} has processes that are not of this supervisor"
    return ""


def _is_ours(pid: int) -> bool:
    """Say whether *pid* is this process or descends from it, or has ended."""
    from . import identity

    while pid > 1 and pid != os.getpid():
        found = identity.process(pid)
        if found is None:
            return True
        pid = found[2]
    return pid == os.getpid()


def _mount() -> tuple[str, str] | None:
    """Give mount point and root of the cgroup v2 hierarchy, None if it is not mounted."""
    # proc_pid_mountinfo(5): ID parent device root point options [optional ...] - type source options
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _dash, after = line.partition(" - ")
        if after.split(" ", 1)[0] == "cgroup2":
            fields = before.split()
            return _unescape(fields[4]), _unescape(fields[3])
    return None


def _unescape(text: str) -> str:
    """Give a path of mountinfo, in which spaces and the like are octal."""
    return (
        text.encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
        if "\\" in text
        else text
    )


def _own() -> str:
    """Give the path of our own group in the hierarchy, "" if there is none."""
    for line in _read("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
