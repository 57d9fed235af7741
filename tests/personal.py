# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An ordinary user's own tree, without root: on this machine, and on a host where a systemd of that user runs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible
import deployed
import hosted
import procs
import rolefiles
from conforming_systemd import SystemdHost
from converging import PYTHON
from deployed import Deployment, runtime
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import install

USER = pwd.getpwnam("nobody")


def library_in(base: Path) -> Path:
    """What an ordinary user can read, wherever the checkout and the packages are."""
    library = base / "library"
    for name in ("_vendor", "module_utils"):
        shutil.copytree(hosted.ANSIBLE / name, library / "ansible" / name)
    shutil.copytree(hosted.PLUGINS, library / "ansible_collections" / "holdfast" / "supervision" / "plugins")
    for name in ("__init__.py", "release.py"):
        shutil.copy(Path(ansible.__file__).parent / name, library / "ansible" / name)
    return library


class Person:
    """Does what hosted.Machine does inside of a host, as an ordinary user of this machine."""

    def __init__(self, base: Path) -> None:
        library = library_in(base)
        ids = [f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--clear-groups"]
        self._agent = subprocess.Popen(
            ["setpriv", *ids, PYTHON, "-c", hosted.AGENT, str(library), str(library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(base), "LANG": "C.UTF-8"},
        )

    def call(self, verb: str, *arguments: Any) -> Any:
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._agent.stdin.flush()
        answer = json.loads(self._agent.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["answer"]

    def numbers(self) -> dict[int, int]:
        return {pid: pid for pid in procs.pids()}

    def end(self) -> None:
        self._agent.communicate(timeout=300)


class Resident(hosted.Machine):
    """A host of systemd, in which an ordinary user's own systemd runs without a session, and a task is that user's."""

    user = "ordinary"

    def __init__(self, base: Path) -> None:
        super().__init__("systemd")
        self._base = base
        self.uid, self.gid = (int(self.do("id", option, self.user)) for option in ("-u", "-g"))
        # Elsewhere pam_systemd says where it is; the hosts do without.
        script = """mkdir -p "$1" && printf '[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n' >"$1/place.conf" &&
            systemctl daemon-reload && loginctl enable-linger "$2" """
        self.do("sh", "-c", script, "sh", "/etc/systemd/system/user@.service.d", self.user)
        wait_until(self.manages, 120, "the user's systemd does not come up")

    def manages(self) -> bool:
        """Tell whether the user's systemd runs."""
        # It may have ended and its socket be there.
        connects = """
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except OSError:
    sys.exit()
print("yes")
"""
        path = f"/run/user/{self.uid}/systemd/private"
        return self.do("python3", "-c", connects, path).strip() == "yes"

    def ends(self) -> bool:
        """Tell whether anything of a user's systemd that has been told to end is still there."""
        units = f"user@{self.uid}.service user-runtime-dir@{self.uid}.service"
        states = self.do("sh", "-c", f"systemctl is-active {units} || true").split()
        return not set(states) <= {"inactive", "failed"}

    def _resident(self, program: str = hosted.AGENT) -> list[str]:
        library = self._base / "library"
        if not library.exists():
            library_in(self._base)
        self.share(self._base)
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups"]
        # As a task over ssh that has no session: nobody says where the user's systemd is.
        clean = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", f"HOME=/home/{self.user}", "LANG=C.UTF-8"]
        return ["setpriv", *ids, *clean, "python3", "-c", program, str(library), str(library)]

    def end(self) -> None:
        self.down()


class PersonalHost(SystemdHost):
    """A scan directory below the home of a user, where the role puts it."""

    uid, gid = USER.pw_uid, USER.pw_gid

    def prepare(self) -> None:
        self.below = self.base / "home" / ".holdfast"
        self.scan, self.logs = self.below / "services", self.below / "log"
        self.person = self.somebody()
        (self.base / "home").mkdir()
        os.chown(self.base / "home", self.uid, self.gid)
        self.library = self.install()

    def install(self) -> str:
        """Install the runtime; where."""
        deployment = Deployment(self.base)
        deployment.install(runtime())
        return deployment.layout.root

    def somebody(self) -> Any:
        """The user."""
        return Person(self.base)

    @property
    def machine(self) -> Any:
        return self.person

    def to(self, backend: str, state: str = "started", check: bool = False, **options: Any) -> dict[str, Any]:
        """Do what the module supervisor does with this backend."""
        everything = deployed.options(self.scan, self.below, self.library, **options)
        result: dict[str, Any] = self.person.call("supervisor", everything, state, backend, check)
        if not check:
            self.backend = backend  # type: ignore[misc]
        return result

    def close(self) -> None:
        try:
            if self.scan.is_dir():
                self.to(self.backend, "absent")
            self.person.end()
        finally:
            super(SystemdHost, self).close()


class ResidentHost(PersonalHost):
    """The same in a host where the user has a systemd of his own."""

    def somebody(self) -> Any:
        one = Resident(self.base)
        self.uid, self.gid = one.uid, one.gid
        return one


class BootedHost(ResidentHost):
    """The same as the role has it: the user's runtime and command are his own, and there are units for his systemd."""

    def install(self) -> str:
        deployment = Deployment(self.base)
        deployment.scan, deployment.command = self.scan, self.below / "bin" / "holdfast"
        deployment.layout = install.Layout(str(self.below / "lib"))
        deployment.install(runtime())
        for path in (self.below, *self.below.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        return deployment.layout.root

    def to(self, backend: str, state: str = "started", check: bool = False, **options: Any) -> dict[str, Any]:
        options = {"units": rolefiles.units(backend, self.below, root=False), **options}
        return super().to(backend, state, check, **options)

    def reboot(self) -> None:
        """Cut the power, and boot; the user's systemd starts when the folder is there, as after a mount of his home."""
        waits = """printf '[Unit]\\nConditionPathExists=%s\\n' "$1" >"$2" """
        drop_in = "/etc/systemd/system/user@.service.d/folder.conf"
        self.machine.do("sh", "-c", waits, "sh", str(self.below), drop_in)
        self.machine.power_cycle()
        self.machine.do("systemctl", "start", f"user@{self.uid}.service")
        wait_until(self.answers, 120, "the supervisor does not answer after the boot")

    def answers(self) -> bool:
        """Tell whether the supervisor can be asked."""
        try:
            self.snapshot()
        except AssertionError:
            return False
        return True

    def systemctl(self, *words: str) -> str:
        """Ask the user's systemd."""
        folder = f"XDG_RUNTIME_DIR=/run/user/{self.uid}"
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups"]
        return str(self.machine.do("setpriv", *ids, "env", folder, "systemctl", "--user", *words))

    def unit(self, name: str, key: str) -> str:
        """What the user's systemd says of a unit."""
        return self.systemctl("show", "--value", f"--property={key}", name).strip()

    def units(self) -> list[str]:
        """Everything below the user's configuration."""
        find = "find ~ordinary/.config -name 'holdfast*' 2>/dev/null || true"
        return sorted(str(self.machine.do("sh", "-c", find)).split())


def made(kind: type[PersonalHost]) -> Iterator[PersonalHost]:
    base = Path(tempfile.mkdtemp(prefix="hf-user-"))
    base.chmod(0o755)
    one = kind(base, base)
    one.prepare()
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(base)
