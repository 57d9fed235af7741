# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The suites' own clients work on the service directories, and so do the modules of others that steer services."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import community
import procs
import pytest
from conforming import Supervised
from conforming_family import EncoreHost
from converging import SLEEP
from playing import Player
from waiting import wait_until


def programs(host: Supervised) -> str:
    """The folder of the suite's own clients, with a slash, where that is not among the folders of all programs."""
    return f"{host.prefix}/" if isinstance(host, EncoreHost) else ""


def client(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_sv_as_the_module_runit_uses_it(host: Supervised) -> None:
    if host.backend not in ("embedded", "runit") or host.title != host.backend or not shutil.which("sv"):
        pytest.skip("sv reads the status files of runit")
    host.good({"one": {"command": SLEEP}})
    directory = str(host.scan / "one")
    first = host.service("one").pid
    assert client("sv", "status", directory).startswith(f"run: {directory}: (pid {first}) ")
    client("sv", "restart", directory)
    wait_until(lambda: host.service("one").pid not in (None, first))
    host.until("one", "ready")
    client("sv", "stop", directory)
    assert host.until("one", "down").pid is None
    assert client("sv", "status", directory).startswith(f"down: {directory}: ")
    client("sv", "start", directory)
    host.until("one", "ready")
    assert not host.good({"one": {"command": SLEEP}})["changed"]


def test_svc_and_svstat_as_the_module_svc_uses_them(host: Supervised) -> None:
    if host.title not in (
        "embedded",
        "embedded, encore layout",
        "runit",
        "daemontools",
        "daemontools-encore",
    ) or not shutil.which(f"{programs(host)}svc"):
        pytest.skip("svc speaks to daemontools and what is compatible with it")
    host.good({"one": {"command": SLEEP}})
    directory = str(host.scan / "one")
    first = host.service("one").pid or 0
    svok, svstat, svc = (f"{programs(host)}{name}" for name in ("svok", "svstat", "svc"))
    client(svok, directory)
    assert client(svstat, directory).startswith(f"{directory}: up (pid {first}) ")
    client(svc, "-t", directory)
    procs.until_dead(first)
    wait_until(lambda: host.service("one").pid not in (None, first))
    host.until("one", "ready")
    client(svc, "-d", directory)
    host.until("one", "down")
    wait_until(lambda: client(svstat, directory).startswith(f"{directory}: down "))
    # Whoever takes it down by hand is overruled by the inventory.
    assert host.good({"one": {"command": SLEEP}})["actions"] == ["one: start"]


def test_the_module_runit(host: Supervised) -> None:
    if host.backend not in ("embedded", "runit") or host.title != host.backend or not shutil.which("sv"):
        pytest.skip("sv reads the status files of runit")
    host.good({"one": {"command": SLEEP}})
    ask = {"name": "one", "service_dir": str(host.scan)}
    first = host.service("one").pid
    found = community.run("runit", state="started", **ask)
    assert not found["changed"] and found["sv"]["pid"] == str(first)
    assert community.run("runit", state="stopped", **ask)["sv"]["state"] == "stopped"
    assert host.until("one", "down").pid is None
    assert not community.run("runit", state="stopped", **ask)["changed"]
    assert community.run("runit", state="started", **ask)["changed"]
    second = host.until("one", "ready").pid
    assert community.run("runit", state="restarted", **ask)["changed"]
    wait_until(lambda: host.service("one").pid not in (None, first, second))


def test_the_module_svc(host: Supervised) -> None:
    kinds = ("embedded", "embedded, encore layout", "runit", "daemontools", "daemontools-encore")
    if host.title not in kinds or not shutil.which(f"{programs(host)}svc"):
        pytest.skip("svc speaks to daemontools and what is compatible with it")
    host.good({"one": {"command": SLEEP}})
    ask = {"name": "one", "service_dir": str(host.scan), "search": programs(host)}
    first = host.service("one").pid
    assert not community.run("svc", state="started", **ask)["changed"]
    assert community.run("svc", state="stopped", **ask)["changed"]
    host.until("one", "down")
    assert community.run("svc", state="started", **ask)["changed"]
    second = wait_until(lambda: host.service("one").pid)
    assert second != first
    assert community.run("svc", state="restarted", **ask)["changed"]
    wait_until(lambda: host.service("one").pid not in (None, first, second))


def test_the_module_supervisorctl(host: Supervised) -> None:
    if host.backend != "supervisord":
        pytest.skip("supervisorctl speaks to supervisord")
    host.good({"one": {"command": SLEEP}, "two": {"command": SLEEP}})
    configuration = str(host.scan / ".supervisord" / "supervisord.conf")
    ask = {"name": "one", "config": configuration}
    assert f"pid {host.service('one').pid}," in client("supervisorctl", "-c", configuration, "status", "one")
    before = {name: service.pid for name, service in host.snapshot().services.items()}
    assert not community.run("supervisorctl", state="started", **ask)["changed"]
    assert community.run("supervisorctl", state="stopped", **ask)["changed"]
    assert host.until("one", "down").pid is None
    assert community.run("supervisorctl", state="started", **ask)["changed"]
    second = host.until("one", "ready").pid
    assert community.run("supervisorctl", state="restarted", **ask)["changed"]
    host.until("one", "ready")
    # The module has supervisord update everything first, which is nothing here.
    assert host.service("one").pid not in (before["one"], second) and host.service("two").pid == before["two"]


def test_ansible_builtin_service_is_redirected(host: Supervised, tmp_path: Path, collections_path: Path) -> None:
    host.good({"one": {"command": SLEEP}, "two": {"command": SLEEP}})
    first, other = host.service("one").pid, host.service("two").pid
    player = Player(tmp_path, collections_path, host, host.inventory())
    started, restarted, stopped, again = player.play(
        {"ansible.builtin.service": {"name": "one", "state": "started", "enabled": True}},
        {"ansible.builtin.service": {"name": "one", "state": "restarted", "sleep": 1}},
        {"ansible.builtin.service": {"name": "two", "state": "stopped", "enabled": False}},
        {"ansible.builtin.service": {"name": "two", "state": "stopped", "enabled": False}},
        module_defaults={
            "ansible.builtin.service": {"use": "holdfast.supervision.service"},
            "holdfast.supervision.service": {"scan_directory": str(host.scan)},
        },
    )
    assert (started["failed"], started["changed"], started["manager"]) == (False, False, host.backend), started
    assert (restarted["failed"], restarted["changed"], restarted["state"]) == (False, True, "started"), restarted
    assert (stopped["failed"], stopped["changed"], stopped["state"]) == (False, True, "stopped"), stopped
    assert (again["failed"], again["changed"], again["enabled"]) == (False, False, False), again
    assert host.until("one", "ready").pid not in (None, first)
    assert host.until("two", "down").pid is None
    assert other
    procs.until_dead(other)
