# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The suites' own clients work on the service directories, with the commands that community.general's modules give them."""

from __future__ import annotations

import shutil
import subprocess

import procs
import pytest
from conforming import Supervised
from converging import SLEEP
from waiting import wait_until


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
    if (
        host.backend not in ("embedded", "runit", "daemontools")
        or host.title != host.backend
        or not shutil.which("svc")
    ):
        pytest.skip("svc speaks to daemontools and what is compatible with it")
    host.good({"one": {"command": SLEEP}})
    directory = str(host.scan / "one")
    first = host.service("one").pid or 0
    client("svok", directory)
    assert client("svstat", directory).startswith(f"{directory}: up (pid {first}) ")
    client("svc", "-t", directory)
    procs.until_dead(first)
    wait_until(lambda: host.service("one").pid not in (None, first))
    host.until("one", "ready")
    client("svc", "-d", directory)
    host.until("one", "down")
    wait_until(lambda: client("svstat", directory).startswith(f"{directory}: down "))
    # Whoever takes it down by hand is overruled by the inventory.
    assert host.good({"one": {"command": SLEEP}})["actions"] == ["one: start"]
