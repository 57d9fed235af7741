# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every other module here needs of the machine: running a command, waiting, namespaces."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NEEDED_COMMANDS = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
}
"""Command and the Debian package that brings it."""


class HostsError(Exception):
    """Something that the person at the terminal can understand; printed without a traceback."""


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    stdin: str | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it with its output.

    Raises HostsError with the command, its exit code and what it wrote when it fails (unless ``check``
    is false) or takes longer than ``timeout`` seconds; it is killed then.
    """
    words = [os.fspath(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostsError(f"no end after {timeout} s: {' '.join(words)}") from error
    if check and done.returncode != 0:
        raise HostsError(f"exit code {done.returncode}: {' '.join(words)}\n{done.stdout}{done.stderr}".rstrip())
    return done


def wait_until(predicate: Callable[[], object], timeout: float, what: str) -> None:
    """Return as soon as the predicate is true; HostsError naming ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not predicate():
        if time.monotonic() > deadline:
            raise HostsError(f"still waiting after {timeout:g} s for: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def require_root() -> None:
    """HostsError unless we are root: namespaces with real owners cannot be made otherwise."""
    if os.geteuid() != 0:
        raise HostsError("test hosts need root (they are made of namespaces with an overlay root file system)")


def require_namespaces() -> None:
    """HostsError unless this machine lets us make namespaces; a container often does not."""
    require_root()
    run(["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true"])


def require_commands(needed: Mapping[str, str] | None = None) -> None:
    """Install with apt whatever of these commands, by their packages, is missing; HostsError when that is not possible.

    needed: NEEDED_COMMANDS unless given.
    """
    needed = NEEDED_COMMANDS if needed is None else needed
    packages = sorted({package for name, package in needed.items() if shutil.which(name) is None})
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise HostsError(f"missing, and no apt-get to install them: {', '.join(packages)}")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if run(install, check=False).returncode != 0:
        # The lists of a fresh image are empty or old.
        run(["apt-get", "update"])
        run(install)


def enter_network(namespace: Path) -> list[str]:
    """The words to put before a command that is to run in the network namespace kept at this file."""
    return ["nsenter", f"--net={namespace}", "--"]


def greets(namespace: Path, address: str, port: int, timeout: float = 1.0) -> bool:
    """Whether a server at this address, seen from inside the network namespace, says its first bytes."""
    answers: list[bytes] = []

    def ask() -> None:
        # A thread of its own: setns moves only the calling thread, which ends after this.
        try:
            _enter_network_here(namespace)
            with socket.create_connection((address, port), timeout) as connection:
                answers.append(connection.recv(4))
        except OSError:
            pass

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return bool(answers and answers[0])


def _enter_network_here(namespace: Path) -> None:
    import ctypes

    clone_newnet = 0x40000000
    with namespace.open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), clone_newnet) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(namespace))


def share_mount(path: Path, namespace: Path) -> None:
    """Mount a directory at its own path in another mount namespace, where this process is afterwards."""
    import ctypes

    # open_tree(2), move_mount(2): the only way to take a mount from one namespace to another.
    open_tree, move_mount, here = 428, 429, -100
    clone, recursive, empty_path, clone_newns = 0x1, 0x8000, 0x4, 0x20000
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise HostsError(f"{path} cannot be shared: {os.strerror(number)}")
        return result

    name = os.fsencode(path)
    with namespace.open("rb") as file:
        tree = check(libc.syscall(open_tree, here, ctypes.c_char_p(name), clone | recursive))
        check(libc.setns(file.fileno(), clone_newns))
    path.mkdir(parents=True, exist_ok=True)
    check(libc.syscall(move_mount, tree, ctypes.c_char_p(b""), here, ctypes.c_char_p(name), empty_path))
    os.close(tree)


def mounts_below(directory: Path) -> list[str]:
    """Mount points of this process's mount namespace at or below the directory, the deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4].encode("ascii", "surrogateescape").decode("unicode_escape")
        if Path(point).is_relative_to(directory):
            found.append(point)
    return found[::-1]


def unmount_below(directory: Path) -> None:
    """Take away every mount at or below the directory."""
    for point in mounts_below(directory):
        run(["umount", "--lazy", point])
