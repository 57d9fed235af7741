# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control groups: they tell which processes belong to a host, whoever made them, and can freeze them.

Only the version 2 hierarchy is used, wherever it is mounted; no controller is needed.
"""

from __future__ import annotations

import functools
import os
import signal
import typing as t
from pathlib import Path

from .system import HostsError, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Collection


@functools.cache
def hierarchy() -> Path:
    """Where the version 2 hierarchy is mounted; HostsError where there is none."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        point, kind = line.split()[1:3]
        if kind == "cgroup2":
            return Path(point)
    raise HostsError("no cgroup2 hierarchy is mounted on this machine (mount -t cgroup2 none SOMEWHERE)")


class Cgroup:
    """One control group by its path below the root of the hierarchy."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at(cls, *names: str) -> Cgroup:
        """The group of these names, which need not exist yet."""
        return cls(hierarchy().joinpath(*names))

    def child(self, name: str) -> Cgroup:
        """The group of this name inside this one."""
        return Cgroup(self.path / name)

    @property
    def members_file(self) -> Path:
        """Writing ``0`` here makes the writer a member."""
        return self.path / "cgroup.procs"

    def create(self) -> Cgroup:
        """Make the group and those above it; it may exist."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def join(self) -> None:
        """Make the calling process a member."""
        self.members_file.write_text("0", encoding="ascii")

    def pids(self) -> list[int]:
        """The processes of this group and of all groups below it."""
        found: list[int] = []
        for directory, _folders, _files in os.walk(self.path):
            try:
                found += map(int, Path(directory, "cgroup.procs").read_text(encoding="ascii").split())
            except OSError:  # the group has just gone
                continue
        return found

    def freeze(self, frozen: bool) -> None:
        """Stop (or continue) all processes of the group at once, unseen by them; returns when it is so."""
        self.path.joinpath("cgroup.freeze").write_text(str(int(frozen)), encoding="ascii")
        events = self.path / "cgroup.events"
        wait_until(lambda: f"frozen {int(frozen)}" in events.read_text(encoding="ascii"), 60, f"{events} to change")

    def is_frozen(self) -> bool:
        """Whether `freeze` holds the group now."""
        try:
            return self.path.joinpath("cgroup.freeze").read_text(encoding="ascii").strip() == "1"
        except OSError:
            return False

    def kill(self, spare: Collection[int] = ()) -> None:
        """SIGKILL to every member, again and again until none but the spared ones is left."""

        def none_left() -> bool:
            targets = [pid for pid in self.pids() if pid not in spare]
            for pid in targets:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            return not targets

        wait_until(none_left, 120, f"the processes of {self.path} to end")

    def remove(self) -> None:
        """Remove the group and those below it; spared members go to the group above it."""
        if not self.path.is_dir():
            return
        for pid in self.pids():
            try:
                self.path.parent.joinpath("cgroup.procs").write_text(str(pid), encoding="ascii")
            except ProcessLookupError:
                continue
        for directory, _folders, _files in os.walk(self.path, topdown=False):
            # A group stays busy for a moment after its last process.
            wait_until(functools.partial(_remove_one, directory), 60, f"{directory} to be free")


def _remove_one(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
