# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root file systems that hosts share read-only: built once for each family of inits, kept in the user's cache."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from .system import HostsError, require_commands, unmount_below

if t.TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    # the host itself
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    # clients and suites to compare with; without their *-run packages none of them starts anything by itself
    "daemontools",
    "runit",
    "s6",
    "supervisor",
)
INIT_PACKAGES = {
    "systemd": ("systemd", "systemd-sysv"),
    "sysvinit": ("sysv-rc", "sysvinit-core"),
    # Debian's OpenRC is started by the inittab of sysvinit.
    "openrc": ("sysv-rc", "sysvinit-core"),
}
"""What brings each init; no two of them can be in one tree. A host with another init uses the first tree."""
REPLACEMENTS = {"openrc": "openrc"}
"""What takes the place of a package that debootstrap would not leave out."""
SETUP = Path(__file__).with_name("setup.sh")


def cache_directory() -> Path:
    """Where trees are kept: outside of the checkout, so that a clean checkout need not build again."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "holdfast-supervision"


def recipe(init: str = "systemd") -> str:
    """A short name of everything that decides what is in the tree of an init."""
    digest = hashlib.sha256()
    for part in (SUITE, *PACKAGES, *_of(init), REPLACEMENTS.get(init, ""), SETUP.read_text(encoding="utf-8")):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:12]


def _of(init: str) -> tuple[str, ...]:
    return INIT_PACKAGES.get(init, INIT_PACKAGES["systemd"])


def root_tree(init: str = "systemd") -> Path:
    """The finished tree for an init; builds it first when there is none (about a minute). Two runs do not build twice."""
    tree = cache_directory() / f"root-{recipe(init)}"
    if tree.is_dir():
        return tree
    require_commands()
    tree.parent.mkdir(parents=True, exist_ok=True)
    with locked(tree.parent / "root.lock"):
        if not tree.is_dir():
            _build(tree, init)
    return tree


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file: one of several runs works, the others wait."""
    with path.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(tree: Path, init: str) -> None:
    for left_over in tree.parent.glob("root-*.new"):  # of a build that was killed; we hold the lock
        _remove(left_over)
    new = tree.with_name(tree.name + ".new")
    mirror = os.environ.get("HOLDFAST_HOSTS_MIRROR", MIRROR)
    packages = tree.parent / "packages"
    packages.mkdir(exist_ok=True)
    print(f"building the root tree of the test hosts, once, in {tree}", file=sys.stderr)
    log = tree.parent / "root.log"
    try:
        with log.open("w", encoding="utf-8") as output:
            for command in (
                [
                    "debootstrap",
                    "--variant=minbase",
                    f"--cache-dir={packages}",
                    f"--include={','.join((*PACKAGES, *_of(init)))}",
                ]
                + [SUITE, os.fspath(new), mirror],
                ["chroot", os.fspath(new), "/bin/sh", "-eu", "-c", _replacing(init)],
                ["chroot", os.fspath(new), "/bin/sh", "-eu", "-c", SETUP.read_text(encoding="utf-8")],
            ):
                # Own mount and pid namespaces: whatever happens, no mount and no process is left behind.
                done = subprocess.run(
                    ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "LC_ALL": "C.UTF-8"},
                    check=False,
                )
                if done.returncode != 0:
                    end = "\n".join(log.read_text(encoding="utf-8").splitlines()[-15:])
                    raise HostsError(f"the root tree could not be built: {command[0]} failed, see {log}\n{end}")
        new.rename(tree)
    except BaseException:
        _remove(new)
        raise


def _replacing(init: str) -> str:
    """The shell command that installs what debootstrap could not."""
    package = REPLACEMENTS.get(init)
    install = "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
    return f"apt-get update && {install} {package}" if package else ":"


def _remove(tree: Path) -> None:
    unmount_below(tree)
    shutil.rmtree(tree, ignore_errors=True)
