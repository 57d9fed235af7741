# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control groups (cgroup v2) of services: made, limited and entered. PRIVATE to the collection.

Every write here may take its time: the kernel reclaims memory within a write to memory.max, and waits for all processors
before it moves a process. So all of it is done in forked children, never in the supervisor.

A group is named TOP//REST: from TOP on, the groups are ours, and it is TOP that hands its controllers down. See
Documentation/admin-guide/cgroup-v2.rst of the kernel for the files and the rules.
"""

from __future__ import annotations

import errno
import os

from .._supervise.limits import CONTROLLERS, device_number
from .apply import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The subgroup of TOP for the processes that were in TOP itself: no process may be in a group (but the root of all)
#: that hands domain controllers down.
OWN = "holdfast-own"
#: Microseconds: the period of cpu.max, and the one for a share so small that the kernel refuses it for the former.
_PERIOD, _LONG_PERIOD = 100_000, 1_000_000
_LEAST_QUOTA = 1000
#: Times that TOP is emptied: processes may be born in it meanwhile.
_ATTEMPTS = 20
_IO_KEYS = ("rbps", "wbps", "riops", "wiops")


def path_of(group: str) -> str:
    """Give the directory of the group TOP//REST."""
    return group.replace("//", "/")


def enter(group: str, resources: dict[str, Any]) -> None:
    """Make the group with its limits as far as it is not there, and put the calling process into it. Raises StateError."""
    path, _slashes, rest = group.partition("//")
    for part in rest.split("/"):
        _hand_down(path, resources)
        path = f"{path}/{part}"
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            pass
        except OSError as error:
            raise StateError(f"resources: {path}: {error.strerror}") from None
    limit(path, resources)
    _write("resources", f"{path}/cgroup.procs", "0")


def limit(path: str, resources: dict[str, Any]) -> None:
    """Set the limits of the group at *path*; what *resources* does not name becomes unlimited. Raises StateError."""
    for key, name, value in (
        ("memory_max", "memory.max", resources.get("memory_max", "max")),
        ("pids_max", "pids.max", resources.get("pids_max", "max")),
        ("cpu_weight", "cpu.weight", resources.get("cpu_weight", 100)),
        ("cpu_max", "cpu.max", _share(resources.get("cpu_max"))),
    ):
        # A controller that nobody asked for is not there, and has nothing to be reset.
        if key in resources or os.path.exists(f"{path}/{name}"):
            _write(f"resources.{key}", f"{path}/{name}", str(value))
    _limit_devices(path, resources.get("io_max") or {})


def _share(share: float | None) -> str:
    """Give the text of cpu.max for so many processors."""
    if share is None:
        return f"max {_PERIOD}"
    period = _PERIOD if share * _PERIOD >= _LEAST_QUOTA else _LONG_PERIOD
    return f"{max(round(share * period), _LEAST_QUOTA)} {period}"


def _limit_devices(path: str, devices: dict[str, dict[str, Any]]) -> None:
    target = f"{path}/io.max"
    lines = {}
    for device, limits in devices.items():
        try:
            number = device_number(device)
        except OSError as error:
            raise StateError(f"resources.io_max.{device}: {error.strerror}") from None
        lines[number] = " ".join(f"{key}={limits.get(key) or 'max'}" for key in _IO_KEYS)
    if os.path.exists(target):
        for line in _read(target).splitlines():
            lines.setdefault(line.split()[0], " ".join(f"{key}=max" for key in _IO_KEYS))
    for number, text in lines.items():
        # One device a write.
        _write("resources.io_max", target, f"{number} {text}")


def _hand_down(path: str, resources: dict[str, Any]) -> None:
    """Let the groups in *path* have the controllers that *resources* needs."""
    target = f"{path}/cgroup.subtree_control"
    needed = {CONTROLLERS[key]: key for key in resources}
    missing = sorted(needed.keys() - set(_read(target).split()))
    if not missing:
        return
    lacking = [name for name in missing if name not in _read(f"{path}/cgroup.controllers").split()]
    if lacking:
        raise StateError(f"resources.{needed[lacking[0]]}: {path} does not have the controller {lacking[0]}")
    for attempt in range(_ATTEMPTS):
        # Not only when the kernel says EBUSY: with pids or cpu alone it would make a threaded group instead, in which
        # others can't be had any more. Processes may stay in the root of all, which has no cgroup.events.
        if os.path.exists(f"{path}/cgroup.events"):
            _empty(path)
        try:
            with open(target, "w", encoding="ascii") as file:
                file.write(" ".join(f"+{name}" for name in missing))
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == _ATTEMPTS - 1:
                raise StateError(f"resources: {target}: {error.strerror}") from None


def _empty(path: str) -> None:
    """Move the processes of a group, if there are any, into its subgroup OWN."""
    pids = _read(f"{path}/cgroup.procs").split()
    if not pids:
        return
    own = f"{path}/{OWN}"
    try:
        os.mkdir(own, 0o755)
    except FileExistsError:
        pass
    except OSError as error:
        raise StateError(f"resources: {own}: {error.strerror}") from None
    for pid in pids:
        try:
            with open(f"{own}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(pid)
        except ProcessLookupError:
            continue
        except OSError as error:
            raise StateError(f"resources: process {pid} can't be moved to {own}: {error.strerror}") from None


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError as error:
        raise StateError(f"resources: {path}: {error.strerror}") from None


def _write(key: str, path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise StateError(f"{key}: {text} into {path}: {error.strerror}") from None
