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
QUICK = {"stop_timeout": "5s"}
SPEAKS = ["/bin/sh", "-c", "echo hello; exec sleep 100000"]


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
        self._agent.communicate(timeout=60)


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
        self.do("sh", "-c", script, "sh", "/run/systemd/system/user@.service.d", self.user)
        wait_until(self.manages, 30, "the user's systemd does not come up")

    def manages(self) -> bool:
        """Tell whether the user's systemd runs."""
        path = f"/run/user/{self.uid}/systemd/private"
        return self.do("sh", "-c", f"[ ! -S {path} ] || echo yes").strip() == "yes"

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
        deployment = Deployment(self.base)
        deployment.install(runtime())
        self.library = deployment.layout.root

    def somebody(self) -> Any:
        """The user."""
        return Person(self.base)

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


class ResidentHost(PersonalHost):
    """The same in a host where the user has a systemd of his own."""

    def somebody(self) -> Any:
        one = Resident(self.base)
        self.uid, self.gid = one.uid, one.gid
        return one


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


@pytest.fixture
def host() -> Iterator[PersonalHost]:
    yield from made(PersonalHost)


@pytest.fixture
def resident() -> Iterator[PersonalHost]:
    reason = hosted.Machine.missing()
    if reason:
        pytest.skip(reason)
    yield from made(ResidentHost)


def owners(pid: int) -> set[str]:
    return set(procs.status(pid)["Uid"].split())


def test_services_run_as_the_user_and_move_from_one_backend_to_the_next(host: PersonalHost) -> None:
    definitions = {
        "one": {"command": SPEAKS, "log": {"format": "none"}},
        "still": {"command": SLEEP, "state": "stopped"},
    }
    with pytest.raises(AssertionError, match="an ordinary user has no init scripts"):
        host.to("openrc")
    assert not host.scan.exists()
    for count, backend in enumerate((*BACKENDS, "embedded")):
        made = host.to(backend)
        assert made["state"] == "running" and owners(made["pid"]) == {str(USER.pw_uid)}
        assert "ordinary user" in made["boot"]
        assert set(made["switched"]) == (set(definitions) if count else set())
        if not count:
            assert host.good(definitions, defaults=QUICK)["changed"]
        again = host.good(definitions, defaults=QUICK)
        assert not again["changed"], again["actions"]
        assert not host.to(backend)["changed"]
        pid = host.until("one", "ready").pid
        assert pid and owners(pid) == {str(USER.pw_uid)}
        assert host.service("still").state == "down"
        # What only root can give is refused before anything is changed.
        before = sorted(path.name for path in host.scan.iterdir())
        for key, value in {"user": "daemon", "nice": -5, "hooks": {}}.items():
            result = host.task({**definitions, "bad": {"command": SLEEP, key: value}}, defaults=QUICK)
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


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def looked_after(host: PersonalHost) -> None:
    """Have services that most supervisors can have only below a parent of ours: by time, by health, with all descendants."""
    home = host.base / "home"
    marks, sign, child = home / "marks", home / "well", home / "child"
    sign.touch()
    # The embedded supervisor knows one that hides by its environment, all others by being its parent.
    forgets = "" if host.backend == "embedded" else "env -i "
    hides = f"{forgets}setsid sh -c 'setsid sh -c \"echo \\$\\$ >{child}; exec sleep 100000\" &'; exec sleep 100000"
    definitions = {
        "beat": {"command": ["/bin/sh", "-c", f"echo run >>{marks}"], "type": "periodic", "interval": "1h"},
        "well": {
            "command": SLEEP,
            "health": {"check": ["/usr/bin/test", "-e", str(sign)], "interval": "50ms", "failures": 2},
        },
        "tree": {"command": ["/bin/sh", "-c", hides], "kill": "tree", "needs": ["well"]},
    }
    host.good(definitions, defaults=QUICK)
    host.until("beat", "scheduled")
    assert lines(marks) == ["run"]
    again = host.good(definitions, defaults=QUICK)
    assert not again["changed"], again["actions"]
    assert host.tell("beat", "restart").outcome == "reached"
    wait_until(lambda: lines(marks) == ["run", "run"])

    before = host.service("well").pid
    assert before and owners(before) == {str(host.uid)}
    sign.unlink()
    wait_until(lambda: host.service("well").pid not in (None, before))
    sign.touch()
    host.until("well", "ready")

    wait_until(lambda: lines(child))
    pid = host.number(int(lines(child)[0]))
    assert owners(pid) == {str(host.uid)}
    assert host.tell("tree", "stop", "down").outcome == "reached"
    procs.until_dead(pid)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_has_a_parent_of_ours_needs_no_root(host: PersonalHost, backend: str) -> None:
    host.to(backend)
    looked_after(host)


def test_a_user_has_units_of_his_own_systemd(resident: PersonalHost) -> None:
    made_ = resident.to("systemd")
    assert made_["boot"] == "the systemd of ordinary starts the services at boot"
    looked_after(resident)
    definitions = {
        "one": {"command": SPEAKS, "log": {"format": "none"}},
        "still": {"command": SLEEP, "state": "stopped"},
    }
    resident.good(definitions, defaults=QUICK, prune=True)
    again = resident.good(definitions, defaults=QUICK, prune=True)
    assert not again["changed"], again["actions"]
    assert not resident.to("systemd")["changed"]
    pid = resident.until("one", "ready").pid
    assert pid and owners(pid) == {str(resident.uid)} and resident.service("still").state == "down"
    log = resident.logs / "one" / "current"
    wait_until(lambda: lines(log)[-1:] == ["hello"])
    for key, value in {"user": "daemon", "group": "daemon", "groups": []}.items():
        result = resident.task({**definitions, "bad": {"command": SLEEP, key: value}}, defaults=QUICK)
        assert result["failed"] and not result["changed"] and f"bad: {key}" in result["msg"], key

    # To a suite below nobody, and back.
    for backend in ("s6", "systemd", "embedded", "systemd"):
        assert set(resident.to(backend)["switched"]) == set(definitions)
        again = resident.good(definitions, defaults=QUICK)
        assert not again["changed"], again["actions"]
        assert resident.until("one", "ready").pid and resident.service("still").state == "down"
    assert resident.to("systemd", "absent")["changed"]
    left = resident.machine.do("sh", "-c", "find /home/ordinary/.config; ps -eo args | grep '[s]leep 100000' || true")
    assert left == ""


def test_what_is_stopped_is_not_stopped_again(resident: PersonalHost) -> None:
    resident.to("systemd")
    definitions = {"one": {"command": SLEEP}}
    for _time in range(2):
        assert resident.good(definitions, defaults=QUICK)["changed"]
        assert resident.until("one", "ready").pid
        for changed in (True, False):
            assert resident.to("systemd", "stopped", check=True)["changed"] is changed
            result = resident.to("systemd", "stopped")
            assert (result["changed"], result["state"], result["pid"]) == (changed, "stopped", None)


def test_what_was_a_users_is_removed_without_his_systemd(resident: PersonalHost) -> None:
    machine = resident.machine
    resident.to("systemd")
    resident.good({"one": {"command": SLEEP}}, defaults=QUICK)
    assert resident.until("one", "ready").pid
    machine.do("loginctl", "disable-linger", machine.user)
    wait_until(lambda: not machine.manages(), 60, "the user's systemd does not end")
    assert resident.to("systemd", "absent")["changed"]
    assert machine.do("sh", "-c", "find /home/ordinary/.config; ps -eo args | grep '[s]leep 100000' || true") == ""


def test_who_has_no_systemd_of_his_own_is_told_what_is_missing(resident: PersonalHost) -> None:
    machine = resident.machine
    machine.do("loginctl", "disable-linger", machine.user)
    wait_until(lambda: not machine.manages(), 60)
    with pytest.raises(AssertionError, match="loginctl enable-linger"):
        resident.to("systemd")
    assert not resident.scan.exists()
