# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Forking a child that is our parent's, on the Python that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import nursery, operations, seccomp, zygote

pytestmark = pytest.mark.skipif(os.uname().machine not in zygote.CLONE, reason="the number of clone is not known here")


def told() -> dict[str, object]:
    """What a process of Python can do and knows of itself."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(threading.get_native_id()))
    thread.start()
    thread.join()
    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], check=False, capture_output=True, text=True)
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "main": threading.current_thread() is threading.main_thread(),
        "native": threading.get_native_id(),
        "thread": bool(found),
        "ran": done.stdout.strip(),
    }


def test_the_child_is_our_parents_and_a_whole_python() -> None:
    read, write = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            clone = nursery._Clone()
            pid = clone()
            if pid == 0:
                os.write(write, json.dumps(told()).encode())
                os._exit(7)
            # It is no child of this process.
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as file:
        found = json.load(file)
    assert os.waitpid(between, 0)[1] == 0
    # It is ours to be waited for.
    _pid, status = os.waitpid(found["pid"], 0)
    assert os.WEXITSTATUS(status) == 7
    assert found == {
        "pid": found["pid"],
        "parent": os.getpid(),
        "main": True,
        "native": found["pid"],
        "thread": True,
        "ran": "42",
    }


def test_filters_are_made_for_the_machines_that_are_said_to_have_them() -> None:
    assert set(operations.FILTERED) == set(seccomp._ARCHITECTURES)
