# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the supervisor has for itself, its services do not get."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest
from supervised import Scan
from waiting import wait_until

REPORT = """#!/bin/sh
{ cat /proc/self/oom_score_adj; ulimit -Sn; } >out.new
mv out.new out
exec sleep 100000
"""


@pytest.mark.parametrize("process", [{}, {"umask": 0o22}], ids=["spawned", "forked"])
def test_services_do_not_inherit_it(scan: Scan, process: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    directory = scan.add("a", run=REPORT, process=process)
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    # Raising it is allowed to everybody, and going back to the former value too.
    own.write_text("100")
    try:
        scan.start()
    finally:
        own.write_text(before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    scan.until("a", "ready")
    wait_until((directory / "out").exists)
    assert (directory / "out").read_text().split() == ["0", str(soft - 1)]
    supervisor = scan.process
    assert supervisor is not None
    assert Path(f"/proc/{supervisor.pid}/oom_score_adj").read_text().strip() == "100"
    limits = Path(f"/proc/{supervisor.pid}/limits").read_text()
    assert str(hard) in next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3]
    assert os.getpid() != supervisor.pid


@pytest.mark.parametrize("process", [{}, {"umask": 0o22}], ids=["spawned", "forked"])
def test_no_signal_is_ignored_or_blocked_in_services(scan: Scan, process: dict[str, Any]) -> None:
    run = "#!/bin/sh\ngrep -E 'Sig(Ign|Blk)' /proc/self/status >out.new\nmv out.new out\nexec sleep 100000\n"
    directory = scan.add("a", run=run, process=process)
    scan.start()
    wait_until((directory / "out").exists)
    masks = [int(line.split()[1], 16) for line in (directory / "out").read_text().splitlines()]
    # 32 and 33 are the C library's own; its posix_spawn leaves them ignored.
    assert [mask & ~(3 << 31) for mask in masks] == [0, 0]


def test_a_stop_right_after_the_start_is_not_lost(scan: Scan) -> None:
    """The forked child has the supervisor's handlers until it becomes its program; they must not swallow a TERM."""
    names = [f"a{number}" for number in range(20)]
    for name in names:
        scan.add(name, files={"down": ""}, process={"umask": 0o22}, stop_timeout=0.0)
    scan.start()
    for _turn in range(5):
        scan.call("Control", commands=[{"name": name, "action": "start"} for name in names])
        wait_until(lambda: any(scan.service(name)["pid"] for name in names))
        scan.call("Control", commands=[{"name": name, "action": "stop"} for name in names])
        answer = scan.call("Wait", wishes=[{"name": name, "state": "down"} for name in names], timeout=30)
        assert {result["outcome"] for result in answer["results"]} == {"reached"}
