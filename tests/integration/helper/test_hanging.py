# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker that hangs in the kernel, where no signal reaches it: on a file system that is frozen."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from helping import HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.calls import ABANDONED
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def frozen(helper: HelperProcess) -> Iterator[Path]:
    """A file system on which every write hangs until the end of the test."""
    image, mount = helper.base / "image", helper.base / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(8 * 2**20)
    made = run("mkfs.ext4", "-q", "-F", str(image))
    mounted = run("mount", "-o", "loop", str(image), str(mount)) if made.returncode == 0 else made
    if mounted.returncode != 0:
        pytest.skip(f"no loop mount here: {mounted.stderr.strip()}")
    try:
        assert run("fsfreeze", "-f", str(mount)).returncode == 0
        yield mount
        run("fsfreeze", "-u", str(mount))
    finally:
        wait_until(lambda: run("umount", str(mount)).returncode == 0)


#: How often it is tried to have something hang. One whose time is over before it comes to the file system is only killed.
TRIES = 20


def call_hangs(helper: HelperProcess, operation: str) -> None:
    """Call what hangs until it does so, and expect the answer of that."""
    for _try in range(TRIES):
        with pytest.raises(HelperError) as caught:
            helper.call(operation)
        assert caught.value.name == "Timeout"
        if helper.calls("abandoned"):
            break
    assert "hangs in the kernel" in str(caught.value)


def test_a_worker_that_hangs_in_the_kernel_is_abandoned_and_holds_up_nobody(
    helper: HelperProcess, frozen: Path
) -> None:
    pid = helper.start(
        hangs={"argv": ["/usr/bin/touch", str(frozen / "file")], "timeout": 0.3},
        works={"argv": ["/bin/true"]},
    )
    call_hangs(helper, "hangs")
    (record,) = helper.calls("abandoned")
    assert procs.state(record["worker"]) == "D"
    assert helper.call("works")["exit"] == 0
    run("fsfreeze", "-u", str(frozen))
    # It is collected when it ends after all.
    wait_until(lambda: not procs.state(record["worker"]))
    assert procs.alive(pid)


def test_a_pooled_function_that_hangs_in_the_kernel_keeps_no_place_from_others(
    helper: HelperProcess, frozen: Path
) -> None:
    source = helper.base / "operations.py"
    source.write_text(
        f"import os\ndef touch():\n    open({str(frozen / 'file')!r}, 'w')\ndef pid():\n    return os.getpid()\n"
    )
    source.chmod(0o644)
    common = {"idempotency": "pure"}
    pid = helper.start(
        touch={"function": {"file": str(source), "name": "touch"}, "timeout": 0.3, **common},
        pid={"function": {"file": str(source), "name": "pid"}, **common},
    )
    call_hangs(helper, "touch")
    (record,) = helper.calls("abandoned")
    assert procs.state(record["worker"]) == "D"
    assert helper.call("pid")["result"] != record["worker"]
    run("fsfreeze", "-u", str(frozen))
    wait_until(lambda: not procs.state(record["worker"]))
    assert procs.alive(pid) and helper.call("pid")["result"] > 1


def test_with_so_many_that_hang_nothing_more_is_begun_until_one_is_gone(helper: HelperProcess, frozen: Path) -> None:
    pid = helper.start(
        hangs={"argv": ["/usr/bin/touch", str(frozen / "file")], "timeout": 0.2},
        works={"argv": ["/bin/true"]},
    )
    records: list[dict[str, Any]] = []
    for _try in range(TRIES):
        callers = [helper.caller(0, "call", "hangs") for _number in range(ABANDONED - len(records))]
        for caller in callers:
            _out, _err = caller.communicate(timeout=120)
            assert caller.returncode != 0
        records = helper.calls("abandoned")
    # Each is counted, and all of them are still there.
    assert sorted(record["hanging"] for record in records) == [*range(1, ABANDONED + 1)]
    assert {procs.state(record["worker"]) for record in records} == {"D"}
    with pytest.raises(HelperError, match=f"{ABANDONED} workers hang in the kernel") as caught:
        helper.call("works")
    assert caught.value.name == "Busy"
    run("fsfreeze", "-u", str(frozen))
    for record in records:
        wait_until(lambda record=record: not procs.state(record["worker"]))  # type: ignore[misc]
    assert helper.call("works")["exit"] == 0
    assert procs.alive(pid)


def test_a_job_that_hangs_in_the_kernel_is_abandoned_and_told_of(helper: HelperProcess, frozen: Path) -> None:
    helper.start(
        hangs={"argv": ["/usr/bin/touch", str(frozen / "file")], "timeout": 0.2, "asynchronous": "always"},
        works={"argv": ["/bin/true"]},
    )
    client = helper.client()
    for number in range(TRIES):
        stuck = f"stuck-{number}"
        client.start("hangs", {}, stuck)
        helper.kill()
        helper.start()
        # Its keeper has given it up, with or without a helper.
        wait_until(lambda: client.job(stuck)["state"] == "failed", 60)  # noqa: B023
        if client.job(stuck)["error"] != "timeout":
            break
    assert client.job(stuck)["error"] == "abandoned"
    assert helper.call("works")["exit"] == 0
    run("fsfreeze", "-u", str(frozen))
