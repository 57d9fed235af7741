# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hooks around the start of what supervises the services, with the real daemons."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import procs
import pytest
from conforming import sweep
from converging import SLEEP
from switching import Switched
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.information import service_info
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.host import Failed

BACKENDS = ("embedded", "s6", "runit", "daemontools", "supervisord")


@pytest.fixture
def host() -> Iterator[Switched]:
    base = Path(tempfile.mkdtemp(prefix="hf-begin-"))
    base.chmod(0o755)
    one = Switched(base)
    yield one
    one.close()
    sweep(base)
    shutil.rmtree(base)


def hook(host: Switched, point: str, text: str) -> Path:
    path = host.scan.parent / "hooks.d" / point / "10-hook"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def story(host: Switched) -> list[str]:
    path = host.base / "story"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("backend", BACKENDS)
def test_they_run_before_and_after_the_start(host: Switched, backend: str) -> None:
    told = [f"before_daemon_start {backend} ", f"after_daemon_start {backend} kept"]
    for point in ("before_daemon_start", "after_daemon_start"):
        hook(
            host,
            point,
            f'read kept 2>/dev/null <"$HOLDFAST_HOOK_STATE/x"; echo "$@ $kept" >>{host.base}/story\n'
            'echo kept >"$HOLDFAST_HOOK_STATE/x"',
        )
    first = host.to(backend)["pid"]
    wait_until(lambda: story(host) == told)
    assert not host.to(backend)["changed"]
    assert story(host) == told
    # A root process that has died is started again: that is a start like any other.
    procs.kill(first)
    procs.until_dead(first)
    assert host.to(backend)["pid"] != first
    wait_until(lambda: story(host) == told * 2)
    assert not host.running("hooks.d")


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_says_stop_keeps_it_from_being_started(host: Switched, backend: str) -> None:
    path = hook(host, "before_daemon_start", f"echo no route >&2; echo x >>{host.base}/story; exit 2")

    def told() -> str:
        with pytest.raises(Failed) as failure:
            host.to(backend, timeout=2.0)
        return str(failure.value)

    # It need not have run within the two seconds.
    wait_until(lambda: "10-hook failed (exit code 2): no route" in told())
    assert story(host)
    path.unlink()
    assert host.to(backend)["state"] == "running"


def test_a_supervisor_that_becomes_another_version_has_not_been_started(host: Switched) -> None:
    host.to("embedded")
    hook(host, "before_daemon_start", f"echo x >>{host.base}/story")
    before = host.deployment.call("Status")["supervisor"]
    host.deployment.call("Reexec")
    found = wait_until(host.deployment.supervisor.ask)
    assert found.pid == before["pid"] and story(host) == []


def test_service_info_tells_checksums(host: Switched) -> None:
    host.to("s6")
    path = hook(host, "after_daemon_start", "exit 0")
    host.converge({"plain": {"command": SLEEP}})
    found = service_info({"names": None, "scan_directory": str(host.scan), "backend": "auto"})
    assert found["hooks"]["before_daemon_start"] == []
    [told] = found["hooks"]["after_daemon_start"]
    assert told["path"] == str(path) and len(told["sha256"]) == 64 and told["problem"] == ""
    assert [one["hooks"] for one in found["services"]] == [None]
