# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runtime is upgraded under helper and callers, and no call is lost or made twice."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from helping import CALLER, HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")


def adding(file: Path, **more: Any) -> dict[str, Any]:
    """Adds the line that it is given."""
    return {
        "argv": ["/bin/sh", "-c", f'echo "$WHICH" >>{file}'],
        "environment": {"WHICH": "{which}"},
        "parameters": {"which": {"type": "string"}},
        "capabilities": ["dac_override"],
        **more,
    }


def version(helper: HelperProcess) -> str:
    with Connection(str(helper.socket)) as connection:
        return str(connection.call("org.varlink.service.GetInfo")["version"])


@pytest.mark.parametrize("orderly", [True, False])
def test_an_upgrade_of_both_under_load_loses_and_doubles_nothing(helper: HelperProcess, orderly: bool) -> None:
    """Callers that stay, and keep their client, and callers that start with whatever version there is."""
    for name in ("one", "two"):
        shutil.copytree(helper.runtime, helper.base / name)
    current = helper.base / "current"
    current.symlink_to("one")
    helper.runtime = current
    file = helper.work / "lines"
    # Killed, it may have been in the middle of one that must not be made twice: then only jobs are certain.
    calls = adding(file) if orderly else adding(file, asynchronous="always")
    helper.start(once=calls, idempotent=adding(helper.work / "again", idempotency="idempotent"))
    assert version(helper) == "one"
    done: list[str] = []
    again: list[str] = []
    stop = threading.Event()
    client = helper.client(pause=1, tries=15)

    def stays(name: str) -> None:
        number = 0
        while not stop.is_set():
            which = f"{name}-{number}"
            assert client.call("once", {"which": which})["exit"] == 0
            done.append(which)
            assert client.call("idempotent", {"which": which})["exit"] == 0
            again.append(which)
            number += 1

    def starts() -> None:
        number = 0
        while not stop.is_set():
            which = f"process-{number}"
            for _attempt in range(8):
                # On a busy machine three tries may be over before there is a helper. The same id is the same call.
                code, _out, err = helper.as_user(CALLER, "call", "--id", which, "once", f"which={which}")
                if code == 0:
                    break
            assert code == 0, err
            done.append(which)
            number += 1

    callers = [helper.beside(stays, f"thread{number}") for number in range(3)]
    callers.append(helper.beside(starts))
    try:
        for to in ("two", "one", "two"):
            seen = len(done)
            wait_until(lambda seen=seen: len(done) > seen + 8 or any(map(Future.done, callers)), 60)  # type: ignore[misc]
            (helper.base / ".new").symlink_to(to)
            (helper.base / ".new").rename(current)
            if orderly:
                assert helper.stop() == 0
            else:
                helper.kill()
            helper.start()
            assert version(helper) == to
    finally:
        stop.set()
    for caller in callers:
        caller.result(60)
    lines = file.read_text().split()
    assert len(lines) == len(set(lines)) and set(lines) == set(done)
    assert set((helper.work / "again").read_text().split()) >= set(again)
