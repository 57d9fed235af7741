# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree of an ordinary user's own, without root: every backend that needs no init, and from one to the next."""

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
import hosted
import procs
import pytest
from conforming_systemd import SystemdHost
from converging import PYTHON, SLEEP
from deployed import Deployment, runtime
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

USER = pwd.getpwnam("nobody")
BACKENDS = ("embedded", "s6", "runit", "daemontools", "supervisord")
SPEAKS = ["/bin/sh", "-c", "echo hello; exec sleep 100000"]


class Person:
    """Does what hosted.Machine does inside of a host, as an ordinary user of this machine."""

    def __init__(self, base: Path) -> None:
        # What he can read, wherever the checkout and the packages are.
        library = base / "library"
        for name in ("_vendor", "module_utils"):
            shutil.copytree(hosted.ANSIBLE / name, library / "ansible" / name)
        shutil.copytree(hosted.PLUGINS, library / "ansible_collections" / "holdfast" / "supervision" / "plugins")
        for name in ("__init__.py", "release.py"):
            shutil.copy(Path(ansible.__file__).parent / name, library / "ansible" / name)
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
        self._agent.communicate(timeout=60)


class PersonalHost(SystemdHost):
    """A scan directory below the home of a user, where the role puts it."""

    def prepare(self) -> None:
        self.below = self.base / "home" / ".holdfast"
        self.scan, self.logs = self.below / "services", self.below / "log"
        self.person = Person(self.base)
        (self.base / "home").mkdir()
        os.chown(self.base / "home", USER.pw_uid, USER.pw_gid)
        deployment = Deployment(self.base)
        deployment.install(runtime())
        self.library = deployment.layout.root

    @property
    def machine(self) -> Any:
        return self.person

    def to(self, backend: str, state: str = "started", check: bool = False, **options: Any) -> dict[str, Any]:
        """Do what the module supervisor does with this backend."""
        everything = {
            "prefix": None,
            "scan_directory": str(self.scan),
            "run_directory": str(self.below / "run"),
            "log_directory": str(self.logs),
            "runtime_directory": self.library,
            "python": PYTHON,
            "log_user": None,
            "version": None,
            "units": {},
            "scripts": {},
            "timeout": 20.0,
            "stop_timeout": 30.0,
            "remove_logs": False,
            **options,
        }
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


@pytest.fixture
def host() -> Iterator[PersonalHost]:
    base = Path(tempfile.mkdtemp(prefix="hf-user-"))
    base.chmod(0o755)
    one = PersonalHost(base, base)
    one.prepare()
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(base)


def owners(pid: int) -> set[str]:
    return set(procs.status(pid)["Uid"].split())


def test_services_run_as_the_user_and_move_from_one_backend_to_the_next(host: PersonalHost) -> None:
    definitions = {
        "one": {"command": SPEAKS, "log": {"format": "none"}},
        "still": {"command": SLEEP, "state": "stopped"},
    }
    quick = {"stop_timeout": "5s"}
    with pytest.raises(AssertionError, match="an ordinary user has no init scripts"):
        host.to("openrc")
    assert not host.scan.exists()
    for count, backend in enumerate((*BACKENDS, "embedded")):
        made = host.to(backend)
        assert made["state"] == "running" and owners(made["pid"]) == {str(USER.pw_uid)}
        assert "ordinary user" in made["boot"]
        assert set(made["switched"]) == (set(definitions) if count else set())
        if not count:
            assert host.good(definitions, defaults=quick)["changed"]
        again = host.good(definitions, defaults=quick)
        assert not again["changed"], again["actions"]
        assert not host.to(backend)["changed"]
        pid = host.until("one", "ready").pid
        assert pid and owners(pid) == {str(USER.pw_uid)}
        assert host.service("still").state == "down"
        # What only root can give is refused before anything is changed.
        before = sorted(path.name for path in host.scan.iterdir())
        for key, value in {"user": "daemon", "nice": -5, "hooks": {}}.items():
            result = host.task({**definitions, "bad": {"command": SLEEP, key: value}}, defaults=quick)
            assert result["failed"] and not result["changed"], key
            assert f"bad: {key}" in result["msg"] and "only root can give that to a service" in result["msg"]
        assert sorted(path.name for path in host.scan.iterdir()) == before
        log = host.logs / "one" / "current"
        wait_until(lambda: log.exists() and log.read_text().splitlines()[-1:] == ["hello"])  # noqa: B023 - called at once
        assert log.stat().st_uid == USER.pw_uid
        host.control(("one", "restart"))
        wait_until(lambda: host.service("one").pid not in (None, pid))  # noqa: B023 - called at once
        host.until("one", "ready")
    assert host.to("embedded", "absent")["changed"]
    wait_until(lambda: host.pids(str(host.below)) == [])
