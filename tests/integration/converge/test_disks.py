# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File systems that are full, or not to be written: told before anything is changed."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from converging import SLEEP, Host

NEW_MOUNTS = 0x20000  # CLONE_NEWNS
READ_ONLY, REMOUNT, REC_PRIVATE = 1, 32, 0x44000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode() or None):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def apart(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do something in a process with mounts of its own, and give its answer."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 77
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS) == 0:
                mount("none", "/", "", REC_PRIVATE)
                code = 1
                os.write(writer, json.dumps(action()).encode())
                code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 77:
        pytest.skip("this machine does not allow mounts")
    assert code == 0
    return dict(json.loads(answer))


def services(count: int) -> dict[str, Any]:
    return {f"service-{number}": {"command": SLEEP} for number in range(count)}


@pytest.mark.parametrize("options", ["size=100k,mode=755", "nr_inodes=40,mode=755"])
def test_a_file_system_that_is_too_small(idle: Host, options: str) -> None:
    def run() -> dict[str, Any]:
        mount("tmpfs", str(idle.scan), "tmpfs", 0, options)
        small = idle.task(services(2), offline=True)
        large = idle.task(services(40), offline=True)
        return {"small": small, "large": large, "there": sorted(os.listdir(idle.scan))}

    answer = apart(run)
    assert answer["small"]["changed"] and not answer["small"].get("failed")
    assert answer["large"]["failed"] and not answer["large"]["changed"]
    assert "make room" in answer["large"]["msg"]
    assert answer["there"] == ["service-0", "service-1"]


def test_a_file_system_that_is_read_only(idle: Host) -> None:
    def run() -> dict[str, Any]:
        mount("tmpfs", str(idle.scan), "tmpfs", 0, "mode=755")
        first = idle.task(services(1), offline=True)
        mount("tmpfs", str(idle.scan), "tmpfs", REMOUNT | READ_ONLY)
        return {
            "first": first,
            "same": idle.task(services(1), offline=True),
            "more": idle.task(services(2), offline=True),
        }

    answer = apart(run)
    assert answer["first"]["changed"]
    # Nothing is to be written, so nothing is wrong.
    assert not answer["same"].get("failed") and not answer["same"]["changed"]
    assert answer["more"]["failed"] and "mounted read-only" in answer["more"]["msg"]


def test_a_file_system_that_cannot_exchange_names(idle: Host) -> None:
    """What is published by two renames is as good, as long as nobody kills the run in between."""
    from ansible_collections.holdfast.supervision.plugins.module_utils._plan import publish

    def refuse(*_names: object) -> None:
        raise OSError(22, "Invalid argument")

    def run() -> dict[str, Any]:
        publish.exchange = refuse
        first = idle.task(services(1), offline=True)
        (Path(idle.scan) / "service-0" / "data").mkdir()
        second = idle.task({"service-0": {"command": SLEEP, "nice": 1}}, offline=True)
        return {"first": first, "second": second, "there": sorted(os.listdir(idle.scan / "service-0"))}

    answer = apart(run)
    assert answer["second"]["actions"] == ["service-0: update"]
    assert "data" in answer["there"] and "run" in answer["there"]
