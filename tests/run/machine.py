# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine must have before the gates can run: Debian packages, interpreters, a virtualenv of test tools."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
POLICY = Path("/usr/sbin/policy-rc.d")

#: What the tests use of Debian: the peers whose tools are the judges, and what test hosts are made of.
PACKAGES = (
    "daemontools",
    "debootstrap",
    "dpkg-dev",
    "etcd-client",
    "etcd-server",
    "iproute2",
    "nftables",
    "openssh-client",
    "openssh-server",
    "procps",
    "python3-venv",
    "qemu-system-x86",
    "runit",
    "s6",
    "sanlock",
    "shellcheck",
    "supervisor",
)

#: What the benchmarks compare with, beyond that: the floor is a C program.
PEERS = ("gcc", "libc6-dev", "sudo")

#: The Pythons on which ansible-core 2.19 runs, and those on which our modules run.
CONTROLLER_PYTHONS = ((3, 11), (3, 12), (3, 13))
HOST_PYTHONS = ((3, 9), (3, 10), (3, 11), (3, 12), (3, 13))


class NotReady(Exception):
    """The machine lacks something; the message says what, and the cure."""


def cache() -> Path:
    """The folder of what is kept between runs, outside the checkout."""
    top = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(top) / "holdfast-supervision"
    path.mkdir(parents=True, exist_ok=True)
    return path


# --- Debian packages ---------------------------------------------------------------------------------------------


def missing_packages(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Those of *packages* that are not installed; none where there is no dpkg."""
    if not shutil.which("dpkg-query"):
        return []
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${binary:Package}\n", *packages],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    installed = {line.split()[1].partition(":")[0] for line in shown.splitlines() if line.startswith("installed ")}
    return [name for name in packages if name not in installed]


@contextlib.contextmanager
def _no_daemons() -> Iterator[None]:
    """Keep the packages' own daemons (sshd, supervisord) from being started on this machine while apt works."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def install_packages(packages: Sequence[str] = PACKAGES) -> None:
    """Install what is missing, when we are root on a Debian. Raises NotReady when apt fails."""
    missing = missing_packages(packages)
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"Installing with apt-get: {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_daemons():
        for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *missing]):
            done = subprocess.run(
                ["apt-get", *command],
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode != 0:
                raise NotReady(f"apt-get {' '.join(command)} failed:\n{done.stdout}")


# --- interpreters ------------------------------------------------------------------------------------------------


def _candidates(name: str) -> Iterator[str]:
    for folder in [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            yield path
    # A version manager's stand-ins on PATH may refuse to run; the real programs lie below its root.
    manager = shutil.which("pyenv")
    if manager:
        root = subprocess.run([manager, "root"], check=False, capture_output=True, text=True).stdout.strip()
        yield from sorted(str(path) for path in Path(root).glob(f"versions/*/bin/{name}"))


def find_python(version: tuple[int, int]) -> str | None:
    """The real path of a working Python of this version, or None."""
    script = "import sys, sqlite3, ssl; print(*sys.version_info[:2], sys.executable)"
    for candidate in _candidates(f"python{version[0]}.{version[1]}"):
        done = subprocess.run([candidate, "-c", script], check=False, capture_output=True, text=True)
        words = done.stdout.split(maxsplit=2)
        if done.returncode == 0 and (int(words[0]), int(words[1])) == version:
            return words[2].strip()
    return None


def host_pythons() -> dict[str, str]:
    """Version -> path of every Python of this machine on which the modules must work."""
    found = {f"{version[0]}.{version[1]}": find_python(version) for version in HOST_PYTHONS}
    return {version: path for version, path in found.items() if path}


def _controller_python() -> str:
    if sys.version_info[:2] in CONTROLLER_PYTHONS:
        return sys.executable
    for version in CONTROLLER_PYTHONS:
        path = find_python(version)
        if path:
            return path
    raise NotReady("ansible-core 2.19 needs Python 3.11, 3.12 or 3.13, and none of them was found.")


# --- virtualenvs -------------------------------------------------------------------------------------------------


def tools() -> Path:
    """The virtualenv of the test tools, made when it is not there yet. Raises NotReady."""
    return virtualenv(_controller_python(), TESTS / "requirements.txt")


def peers() -> Path:
    """Have what the benchmarks compare with; gives the virtualenv of oslo.privsep. Raises NotReady."""
    install_packages(PEERS)
    return virtualenv(_controller_python(), TESTS / "requirements-benchmarks.txt")


def virtualenv(python: str, requirements: Path) -> Path:
    """A virtualenv of this Python with what the file pins, kept between runs. Raises NotReady."""
    key = hashlib.sha256(requirements.read_bytes() + os.path.realpath(python).encode()).hexdigest()[:16]
    venv = cache() / f"venv-{key}"
    with open(cache() / f"venv-{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / "complete").exists():
            print(f"Making a virtualenv of {python} for {requirements.name}", flush=True)
            _make_venv(python, requirements, venv)
    return venv


def _make_venv(python: str, requirements: Path, venv: Path) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    made = subprocess.run([python, "-m", "venv", str(venv)], check=False, capture_output=True, text=True)
    if made.returncode != 0:
        raise NotReady(f"{python} -m venv failed; on Debian: apt-get install python3-venv\n{made.stdout}{made.stderr}")
    command = [str(venv / "bin" / "pip"), "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    installed = subprocess.run(
        [*command, "--requirement", str(requirements)],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if installed.returncode != 0:
        raise NotReady(f"pip could not install {requirements}:\n{installed.stdout}")
    (venv / "complete").touch()
